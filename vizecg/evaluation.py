"""Evaluation: the artefact of evaluate. One model, asked as the service asks it, held against what is written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vizecg import intake, modelrun, publish, report
from vizecg.audit import ImageStatistics, statistics_of
from vizecg.bundle import OPERATING_POINT_FILE
from vizecg.calibration import F1_PLATEAU, CalibrationKind, ThresholdRule, choose_thresholds, fit_calibration
from vizecg.checks import Checks
from vizecg.errors import InputError
from vizecg.intake import CanonicalSpec
from vizecg.labels import LabelClass
from vizecg.metrics import Scores, risk_at, write_sweeps
from vizecg.operating_point import OperatingPoint
from vizecg.pages import PageRecipe, opened, upload_of
from vizecg.predictor import ImageModel
from vizecg.progress import tracked
from vizecg.protocol import CROSS, FOLDS, measured_on, words_of
from vizecg.recipe import SIGNAL_READERS
from vizecg.records import TEST_FOLD, RecordSet
from vizecg.reference import REFERENCE_FILE, Reference, describe, write_reference
from vizecg.slices import SliceScore, summary, write_slices

if TYPE_CHECKING:
    from vizecg.judging import Answered, Judged, ServedCheck
    from vizecg.out_of_fold import OutOfFold

EVALUATION: Final = "evaluation"
SCHEMA_VERSION: Final = 1
SCORES_FILE: Final = "metrics.json"
PREDICTIONS_FILE: Final = "predictions.parquet"
SIMULATED_NOTE: Final = "simulated records: no medical meaning"
_PAGES_AT_ONCE: Final = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What the model said about one fold's standard pages."""

    codes: tuple[str, ...]
    """Classes, in column order."""

    rows: NDArray[np.int64]
    """Rows of the record set, labelled ones only."""
    labels: NDArray[np.uint8]
    logits: NDArray[np.float32]
    refused: tuple[int, ...]
    """ecg_id of the records whose page the intake took for no ECG; scored all the same."""
    images: tuple[ImageStatistics, ...] = ()
    """What the intake measured of each page."""
    read: NDArray[np.bool_] | None = None
    """(records,) pages that the intake took for an ECG."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A verified model run, ready to be asked."""

    folder: Path
    network: ImageModel
    classes: tuple[LabelClass, ...]
    recipe: PageRecipe
    description: dict[str, Any]
    digest: str

    @property
    def codes(self) -> tuple[str, ...]:
        """Classes it answers, in the order of its logits."""
        return tuple(entry.code for entry in self.classes)


def read_model(model_run: Path, *, threads: int) -> Model:
    """Verify a model run and open its ONNX file.

    Raises:
        InputError: it is not there, damaged, no model, or of one that reads the signal.
    """
    manifest = publish.verify(model_run, kind=modelrun.MODEL_RUN, schema_version=modelrun.SCHEMA_VERSION)
    description = json.loads((model_run / modelrun.DESCRIPTION_FILE).read_text(encoding="utf-8"))
    if (architecture := modelrun.architecture_of(description)) in SIGNAL_READERS:
        raise InputError(
            f"{model_run} is a rival that reads the signal ({architecture}): it can answer no page, so nothing of it "
            "is evaluated as a service would be asked; set train.model.architecture to vizecgnet and run train again"
        )
    spec = CanonicalSpec(**description["image"])
    return Model(
        folder=model_run,
        network=ImageModel(model_run / modelrun.ONNX_FILE, spec=spec, threads=threads),
        classes=modelrun.classes_of(description, source=model_run / modelrun.DESCRIPTION_FILE),
        recipe=PageRecipe(spec=spec, **description["recipe"]),
        description=description,
        digest=manifest.digest,
    )


def ask(model: Model, *, record_set: RecordSet, fold: int) -> Asked:
    """Send the standard page of every labelled record of a fold, or the paper it came on, the way of an upload.

    Raises:
        InputError: the fold has no such record.
    """
    rows = record_set.rows(folds=[fold])
    if not len(rows):
        raise InputError(f"fold {fold} holds no labelled record; folds 9 and 10 are needed to calibrate and to score")
    ecg_ids = record_set.table["ecg_id"].to_numpy()[rows]
    logits, canonical, refused, images = [], [], [], []
    for row, ecg_id in tracked(zip(rows.tolist(), ecg_ids.tolist(), strict=True), total=len(rows), what=f"fold {fold}"):
        upload = upload_of(record_set, row, copy=0, recipe=model.recipe)
        taken = intake.normalise(opened(upload.data, ecg_id=ecg_id), spec=model.recipe.spec)
        canonical.append(taken.canonical)
        images.append(statistics_of(taken))
        if not taken.is_ecg:
            refused.append(ecg_id)
        if len(canonical) == _PAGES_AT_ONCE:
            logits.append(model.network.logits(np.stack(canonical)))
            canonical.clear()
    if canonical:
        logits.append(model.network.logits(np.stack(canonical)))
    return Asked(
        codes=record_set.codes,
        rows=rows,
        labels=record_set.labels()[rows],
        logits=np.concatenate(logits),
        refused=tuple(refused),
        images=tuple(images),
        read=~np.isin(ecg_ids, refused),
    )


def reference_of(asked: Asked, point: OperatingPoint) -> Reference:
    """What pictures of later are held against: the pages of fold 10, and what the model that is served says of them."""
    assert asked.read is not None  # noqa: S101 (who was asked has been shown pages)
    probabilities = point.probabilities(asked.logits[asked.read])
    return describe(
        of=f"the pages of fold {TEST_FOLD}, as the evaluation saw them",
        images=asked.images,
        rejected=len(asked.refused),
        probabilities=dict(zip(asked.codes, probabilities.T, strict=True)),
    )


def fit_operating_point(
    validation: "Asked | OutOfFold",
    *,
    min_positives: int,
    abstain_margin: float,
    fitted_on: dict[str, Any],
    calibration: CalibrationKind = "slope_and_biases",
    threshold: ThresholdRule = F1_PLATEAU,
) -> OperatingPoint:
    """Calibrate on answers about records that were not learned from, then choose thresholds on the probabilities."""
    fitted = fit_calibration(validation.labels, validation.logits, kind=calibration)
    probabilities = fitted.apply(validation.logits)
    codes = validation.codes
    thresholds = choose_thresholds(
        validation.labels, probabilities, codes=codes, min_positives=min_positives, rule=threshold
    )
    positives = dict(zip(codes, validation.labels.sum(axis=0).tolist(), strict=True))
    return OperatingPoint(
        classes=codes,
        slope=fitted.slope,
        bias=fitted.bias,
        thresholds=thresholds.values,
        pooled_thresholds=thresholds.pooled,
        abstain_margin=abstain_margin,
        fitted_on={"records": len(validation.rows), "positives": positives, **fitted_on},
    )


def write(
    staging: Path,
    *,
    model: Model,
    record_set: RecordSet,
    judged: "Judged",
    scores: Scores,
    served: "ServedCheck | None",
    slices: Sequence[SliceScore],
    min_slice_records: int,
    checks: Checks | None,
) -> dict[str, Any]:
    """Fill a staging folder; returns what `metrics.json` says."""
    point, scored_ones, codes = judged.point, judged.scored, record_set.codes
    content = {
        "schema_version": SCHEMA_VERSION,
        "protocol": judged.protocol,
        "measured_on": measured_on(judged.protocol),
        **({"fold": TEST_FOLD} if judged.protocol == FOLDS else {"pooled_outside": _pooled(judged)}),
        "model_run": model.digest,
        "record_set": record_set.digest,
        "simulated": record_set.simulated,
        "refused_by_intake": scored_ones.refused,
        "on_paper": int((~record_set.has_signal[scored_ones.rows]).sum()),
        **scores.to_dict(),
        "abstain": _abstaining(scored_ones, margin=point.abstain_margin),
        "slices": summary(slices),
        **({} if served is None else {"served_network": served.to_dict()}),
        **({} if checks is None else checks.summary()),
    }
    (staging / SCORES_FILE).write_text(publish.to_json(content), encoding="utf-8")
    (staging / OPERATING_POINT_FILE).write_text(point.to_json(), encoding="utf-8")
    write_reference(staging / REFERENCE_FILE, judged.reference)
    _write_predictions(staging / PREDICTIONS_FILE, record_set=record_set, judged=judged)
    limits = {"min_records": min_slice_records, "min_scored": scores.min_scored}
    write_slices(staging, slices, codes=codes, limits=limits)
    write_sweeps(
        staging,
        labels=scored_ones.labels.astype(bool),
        probabilities=scored_ones.probabilities,
        codes=codes,
        thresholds=scored_ones.thresholds,
        in_use=point.thresholds,
    )
    intervals = [(entry.metrics["auroc"].low, entry.metrics["auroc"].high) for entry in scores.classes]
    where = words_of(content).scored_on
    scored = _for_report(scored_ones, record_set=record_set, point=point, where=where, intervals=intervals)
    if checks is not None:
        checks.write(staging)
    report.write_tables(staging, scored)
    report.write_figures(staging / "figures", scored)
    mistakes = report.worst_mistakes(
        record_set,
        rows=judged.served.rows,
        scored=_for_report(judged.served, record_set=record_set, point=point, where=f"fold {TEST_FOLD}"),
        network=model.network,
        recipe=model.recipe,
    )
    subject = report.Subject(
        classes=model.classes, source=record_set.source["uri"], curves=model.folder / modelrun.CURVES_FILE
    )
    # Last: it shows what the others wrote.
    report.write_page(staging, scored=scored, subject=subject, mistakes=mistakes)
    return content


def _for_report(
    answered: "Answered",
    *,
    record_set: RecordSet,
    point: OperatingPoint,
    where: str,
    intervals: Sequence[tuple[float | None, float | None]] = (),
) -> report.Scored:
    return report.Scored(
        codes=record_set.codes,
        labels=answered.labels,
        probabilities=answered.probabilities,
        thresholds=np.asarray(point.thresholds),
        cuts=answered.thresholds,
        where=where,
        note=f"{len(answered.rows)} records of {where}" + (f", {SIMULATED_NOTE}" if record_set.simulated else ""),
        intervals=intervals,
    )


def _pooled(judged: "Judged") -> dict[str, list[str]]:
    """Fold -> classes that had too few positives outside it for a threshold of their own."""
    return {str(fold): list(codes) for fold, codes in judged.pooled.items()}


def _abstaining(answered: "Answered", *, margin: float) -> dict[str, Any]:
    """How many are answered at the margin in use, and how often that is wrong."""
    risk = risk_at(
        answered.labels.astype(bool), answered.probabilities, thresholds=answered.thresholds, abstain_margin=margin
    )
    return {
        "margin": risk.abstain_margin,
        "answered_share": risk.answered_share,
        "error_rate": risk.error_rate,
        "mismatch_rate": risk.mismatch_rate,
    }


def _write_predictions(path: Path, *, record_set: RecordSet, judged: "Judged") -> None:
    """A row a record; out of fold, with its fold and the thresholds that were used on it."""
    answered, codes, out_of_fold = judged.scored, record_set.codes, judged.protocol == CROSS
    columns = ["ecg_id", "patient_id", *(["fold"] if out_of_fold else []), "sex", "age_band", *codes]
    table = record_set.table.iloc[answered.rows][columns]
    values: dict[str, NDArray[Any]] = {"logit": answered.logits, "probability": answered.probabilities}
    values |= {"threshold": answered.thresholds} if out_of_fold else {}
    # At once: a column at a time leaves a table of 71 classes in pieces.
    said = {f"{name}_{code}": array[:, k] for k, code in enumerate(codes) for name, array in values.items()}
    table = pd.concat([table.reset_index(drop=True), pd.DataFrame(said)], axis=1)
    table.to_parquet(path, index=False, compression="zstd")
