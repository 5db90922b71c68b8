"""Who is scored on which records, and where the operating point comes from: the protocols of an evaluation.

By folds, one network answers fold 9 and fold 10. Out of fold, ten networks answer every
record once; the network that is served is none of them, so it is asked about fold 10,
which it has not learned from, and held against them there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vizecg import publish
from vizecg.bootstrap import PairedDifference, paired_auroc_difference
from vizecg.calibration import CalibrationKind, ThresholdRule
from vizecg.errors import InputError
from vizecg.evaluation import Asked, Model, ask, fit_operating_point, reference_of
from vizecg.metrics import Scores, score
from vizecg.operating_point import OperatingPoint
from vizecg.out_of_fold import CACHE_NAME, OutOfFold, decide, out_of_fold
from vizecg.progress import counting
from vizecg.protocol import CROSS, FOLDS, Protocol
from vizecg.recipe import Recipe
from vizecg.records import FOLDS as ALL_FOLDS
from vizecg.records import TEST_FOLD, VALIDATION_FOLD
from vizecg.reference import Reference

if TYPE_CHECKING:
    from vizecg.pages import PageSet
    from vizecg.records import RecordSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How an operating point is fitted; `described` goes into it as it is."""

    min_positives: int
    abstain_margin: float
    calibration: CalibrationKind
    threshold: ThresholdRule
    described: Mapping[str, Any]

    def of(self, said: Asked | OutOfFold, **described: Any) -> OperatingPoint:  # noqa: ANN401 (whatever JSON holds)
        """Calibrate on these answers and choose thresholds on the calibrated probabilities."""
        return fit_operating_point(
            said,
            min_positives=self.min_positives,
            abstain_margin=self.abstain_margin,
            fitted_on={**described, **self.described},
            calibration=self.calibration,
            threshold=self.threshold,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """Records, what was said about them, and where it was cut.

    Attributes:
        rows: of the record set.
        labels: (records, classes), as they are written.
        logits: same shape.
        probabilities: same shape, calibrated.
        thresholds: same shape: folds may have their own.
        refused: records whose standard page the intake takes for no ECG.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.uint8]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    refused: int

    @classmethod
    def by(cls, point: OperatingPoint, asked: Asked) -> "Answered":
        """One network's answers, read by one operating point."""
        return cls(
            rows=asked.rows,
            labels=asked.labels,
            logits=asked.logits,
            probabilities=point.probabilities(asked.logits),
            thresholds=np.tile(np.asarray(point.thresholds), (len(asked.rows), 1)),
            refused=len(asked.refused),
        )

    def among(self, rows: NDArray[np.int64]) -> "Answered":
        """Those of these records."""
        chosen = np.isin(self.rows, rows)
        arrays = ("rows", "labels", "logits", "probabilities", "thresholds")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What a protocol gives.

    Attributes:
        protocol: its name.
        point: what is served reads its answers by this.
        scored: what the scores are of.
        served: what the network that is served says of fold 10, read by a point that knows nothing of that fold.
        pooled: fold -> classes that had too few positives outside it for a threshold of their own.
        reference: what later pictures are held against.
    """

    protocol: Protocol
    point: OperatingPoint
    scored: Answered
    served: Answered
    pooled: Mapping[int, tuple[str, ...]]
    reference: Reference


def by_folds(model: Model, *, record_set: "RecordSet", fit: Fit) -> Judged:
    """Fit on fold 9, score on fold 10.

    Raises:
        InputError: one of them holds no labelled record.
    """
    point = fit.of(ask(model, record_set=record_set, fold=VALIDATION_FOLD), protocol=FOLDS, fold=VALIDATION_FOLD)
    asked = ask(model, record_set=record_set, fold=TEST_FOLD)
    answered, reference = Answered.by(point, asked), reference_of(asked, point)
    return Judged(protocol=FOLDS, point=point, scored=answered, served=answered, pooled={}, reference=reference)


def by_crossing(model: Model, *, record_set: "RecordSet", page_set: "PageSet", fit: Fit, cache_beside: Path) -> Judged:
    """Train the model's recipe on the others of each fold, fit and score on what these networks say.

    Args:
        model: what is served; its recipe and seed are trained.
        record_set: all ten folds of it.
        page_set: the pages it learned from.
        fit: of the operating points.
        cache_beside: answers are kept beside this path, so that what was cut off goes on.

    Raises:
        InputError: the pages are others than the model's, or a fold cannot be scored.
        Conflict: another process trains on the same answers.
    """
    if model.description["pages"] != page_set.digest:
        raise InputError("the model learned from other pages than these; run train again")
    said = _answers(model, record_set=record_set, page_set=page_set, cache=cache_beside.parent / CACHE_NAME)
    decided = decide(said, min_positives=fit.min_positives, calibration=fit.calibration, threshold=fit.threshold)
    point = fit.of(said, protocol=CROSS, folds=list(ALL_FOLDS))
    without = fit.of(_without(said, fold=TEST_FOLD), protocol=CROSS, folds=[*ALL_FOLDS[:-1]])
    asked = ask(model, record_set=record_set, fold=TEST_FOLD)
    return Judged(
        protocol=CROSS,
        point=point,
        scored=Answered(
            rows=said.rows,
            labels=said.labels,
            logits=said.logits,
            probabilities=decided.probabilities,
            thresholds=decided.thresholds,
            refused=len(record_set.rows(folds=list(ALL_FOLDS))) - len(said.rows),
        ),
        served=Answered.by(without, asked),
        pooled=decided.pooled,
        reference=reference_of(asked, point),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedCheck:
    """The network that is served beside those that were scored, on the records of fold 10 that both answered.

    Attributes:
        served: its scores.
        out_of_fold: those of the network that has not learned from fold 10.
        difference: macro AUROC, `served` minus `out_of_fold`; 0 in its interval says that they rank alike.
    """

    served: Scores
    out_of_fold: Scores
    difference: PairedDifference

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe, flat enough for `dvc metrics diff`."""
        served, out_of_fold = self.served.to_dict(), self.out_of_fold.to_dict()
        return {
            "records": self.served.records,
            "macro_classes": served["macro_classes"],
            "macro": served["macro"],
            "out_of_fold_macro": out_of_fold["macro"],
            "difference": self.difference.difference,
            "difference_low": self.difference.low,
            "difference_high": self.difference.high,
        }


def check_served(judged: Judged, *, record_set: "RecordSet", min_scored: int, resamples: int, seed: int) -> ServedCheck:
    """Hold the network that is served against the out-of-fold answers about the same records."""
    common = np.intersect1d(judged.served.rows, judged.scored.rows)
    served, out_of_fold = judged.served.among(common), judged.scored.among(common)
    patient_ids = record_set.table["patient_id"].to_numpy()[common]
    how: dict[str, Any] = {
        "codes": record_set.codes,
        "patient_ids": patient_ids,
        "resamples": resamples,
        "seed": seed,
    }
    scores = (
        score(each.labels, each.probabilities, thresholds=each.thresholds, min_scored=min_scored, **how)
        for each in (served, out_of_fold)
    )
    difference = paired_auroc_difference(
        served.labels, challenger=served.probabilities, champion=out_of_fold.probabilities, **how
    )
    return ServedCheck(served=next(scores), out_of_fold=next(scores), difference=difference)


def _answers(model: Model, *, record_set: "RecordSet", page_set: "PageSet", cache: Path) -> OutOfFold:
    params = dict(model.description["params"])
    seed = int(params.pop("seed"))
    recipe = Recipe.model_validate(params)
    total = len(ALL_FOLDS) * recipe.epochs
    # One at a time: two that train the same fold would write the same checkpoint.
    with publish.locked(cache), counting(total=total, what="epochs of ten networks") as done:

        def on_part(part: tuple[int, ...], was_there: bool) -> None:
            print(f"evaluate: fold {part[0]} of {len(ALL_FOLDS)}{': was there' if was_there else ''}", flush=True)
            done(recipe.epochs if was_there else 0)

        return out_of_fold(
            record_set,
            page_set=page_set,
            recipe=recipe,
            seed=seed,
            folds=ALL_FOLDS,
            cache=cache,
            on_part=on_part,
            on_epoch=lambda *_: done(1),
        )


def _without(said: OutOfFold, *, fold: int) -> OutOfFold:
    others = said.folds != fold
    arrays = ("rows", "folds", "networks", "labels", "logits")
    return replace(said, **{name: getattr(said, name)[others] for name in arrays})
