"""Is the model as good for everybody? Macro AUROC in each slice of the records, and its difference to the rest.

A slice and its rest hold other classes in other shares, so both are averaged over the
same classes before they are subtracted. How many slices were asked about is in the
p-values (Holm), and a slice too small to tell says so instead of giving a number.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vizecg import publish
from vizecg.bootstrap import auroc, interval, mean_of_defined, patient_weights, resample_auroc
from vizecg.comparison import holm, normal_p
from vizecg.labels import slug
from vizecg.metrics import MIN_SCORED, UNDEFINED, Bools, Estimate, Floats, flat, scorable
from vizecg.signals import QUALITY_FLAGS

if TYPE_CHECKING:
    import pandas as pd

SLICES_FILE: Final = "slices.json"
SLICES_TABLE: Final = "slices.csv"
SCHEMA_VERSION: Final = 1
MIN_RECORDS: Final = 30
COLUMNS: Final = {"sex": "sex", "age": "age_band", "device": "device", "site": "site"}
"""Kinds of slices with a value for each record, and where; `quality` is the other kind, a flag that one has or not."""
ANY_FLAG: Final = "any flag"
UNSTATED: Final = "not stated"


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """Some of the records, and those they are held against.

    Attributes:
        kind: such as `age`.
        value: such as `90+`.
        chosen: (records,), those in it.
        rest: (records,), those out of it of which that is known.
    """

    kind: str
    value: str
    chosen: Bools
    rest: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceScore:
    """What the records of a slice say.

    Attributes:
        kind: of the slice.
        value: of the slice.
        records: in it.
        patients: in it.
        positives: of each class, in it.
        classes: those with enough positives and negatives in it.
        auroc: macro, over `classes`.
        class_auroc: of each of them.
        compared: those that have enough in the rest too.
        difference: macro AUROC in it minus that of the rest, over `compared`.
        p: two-sided, of no difference.
        p_holm: corrected for all slices that have a p.
        reason: why there is no number, or no difference.
    """

    kind: str
    value: str
    records: int
    patients: int
    positives: Mapping[str, int]
    classes: tuple[str, ...] = ()
    auroc: Estimate = UNDEFINED
    class_auroc: Mapping[str, Estimate]
    compared: tuple[str, ...] = ()
    difference: Estimate = UNDEFINED
    p: float | None = None
    p_holm: float | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """As people say it."""
        return f"{self.kind} {self.value}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "kind": self.kind,
            "value": self.value,
            "records": self.records,
            "patients": self.patients,
            "positives": dict(self.positives),
            "classes": list(self.classes),
            **flat({"auroc": self.auroc}),
            "class_auroc": {code: flat({"auroc": found}) for code, found in self.class_auroc.items()},
            "compared": list(self.compared),
            **flat({"difference": self.difference}),
            "p": self.p,
            "p_holm": self.p_holm,
            "reason": self.reason,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """What every slice is measured on."""

    truth: Bools
    said: Floats
    patients: NDArray[Any]
    weights: Floats
    codes: tuple[str, ...]
    min_records: int
    min_scored: int
    confidence: float


def slices_of(table: "pd.DataFrame") -> list[Slice]:
    """Slice by sex, age band, device and site, with each value that occurs, and by every quality flag.

    Args:
        table: rows of a record set's table. Of records that came on paper nobody knows
            the flags, so they are on neither side of one.
    """
    found = []
    for kind, column in COLUMNS.items():
        of_record = np.array([str(value).strip() or UNSTATED for value in table[column]])
        for value in np.unique(of_record).tolist():
            chosen = of_record == value
            found.append(Slice(kind=kind, value=value, chosen=chosen, rest=~chosen))
    has_signal = table["has_signal"].to_numpy(dtype=bool)
    flags = table[list(QUALITY_FLAGS)].to_numpy(dtype=bool)
    flagged = {ANY_FLAG: flags.any(axis=1), **dict(zip(QUALITY_FLAGS, flags.T, strict=True))}
    return found + [
        Slice(kind="quality", value=flag, chosen=has & has_signal, rest=~has & has_signal)
        for flag, has in flagged.items()
    ]


def score_slices(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    slices: Sequence[Slice],
    codes: Sequence[str],
    patient_ids: ArrayLike,
    min_records: int = MIN_RECORDS,
    min_scored: int = MIN_SCORED,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[SliceScore]:
    """Score every slice, in the order given.

    The same patients are drawn for a slice and its rest, so that one who has records in
    both counts in both. The p-values are of normally distributed differences, with the
    bootstrap's standard error.

    Args:
        labels: (records, classes), 0 or 1.
        probabilities: same shape; only their order counts.
        slices: of these records.
        codes: names of the classes, in column order.
        patient_ids: (records,).
        min_records: of a slice.
        min_scored: positives, and negatives, of a class in a slice; of the rest too.
        resamples: how many.
        seed: of the resampling.
        confidence: of the intervals.

    Raises:
        ValueError: shapes differ, or a probability is not finite.
    """
    patients = np.asarray(patient_ids)
    asked = _Asked(
        truth=np.asarray(labels, dtype=bool),
        said=np.asarray(probabilities, dtype=np.float64),
        patients=patients,
        weights=patient_weights(patients, resamples=resamples, seed=seed),
        codes=tuple(codes),
        min_records=min_records,
        min_scored=min_scored,
        confidence=confidence,
    )
    found = [_score(part, asked=asked) for part in slices]
    return [replace(one, p_holm=p) for one, p in zip(found, holm([one.p for one in found]), strict=True)]


def _score(part: Slice, *, asked: _Asked) -> SliceScore:
    truth = asked.truth[part.chosen]
    score = SliceScore(
        kind=part.kind,
        value=part.value,
        records=len(truth),
        patients=len(np.unique(asked.patients[part.chosen])),
        positives=dict(zip(asked.codes, truth.sum(axis=0).tolist(), strict=True)),
        class_auroc={},
    )
    if len(truth) < asked.min_records:
        held = "1 record" if len(truth) == 1 else f"{len(truth)} records"
        return replace(score, reason=f"{held}, at least {asked.min_records} are needed")
    classes = scorable(truth, codes=asked.codes, min_scored=asked.min_scored)
    if not classes:
        return replace(score, reason=f"no class has {asked.min_scored} positive and as many negative records in it")
    values, drawn = _auroc_of(part.chosen, classes, asked=asked)
    score = replace(
        score,
        classes=classes,
        auroc=_estimate(float(values.mean()), mean_of_defined(drawn), confidence=asked.confidence),
        class_auroc={
            code: _estimate(float(values[k]), drawn[:, k], confidence=asked.confidence)
            for k, code in enumerate(classes)
        },
    )
    return _against_rest(score, part, values=values, drawn=drawn, asked=asked)


def _against_rest(score: SliceScore, part: Slice, *, values: Floats, drawn: Floats, asked: _Asked) -> SliceScore:
    rest = scorable(asked.truth[part.rest], codes=asked.codes, min_scored=asked.min_scored)
    compared = tuple(code for code in score.classes if code in rest)
    if int(part.rest.sum()) < asked.min_records or not compared:
        return replace(score, reason="too few other records to compare with")
    columns = [score.classes.index(code) for code in compared]
    rest_values, rest_drawn = _auroc_of(part.rest, compared, asked=asked)
    difference = float((values[columns] - rest_values).mean())
    resampled = mean_of_defined(drawn[:, columns] - rest_drawn)
    return replace(
        score,
        compared=compared,
        difference=_estimate(difference, resampled, confidence=asked.confidence),
        p=normal_p(difference, resampled),
    )


def _auroc_of(chosen: Bools, classes: Sequence[str], *, asked: _Asked) -> tuple[Floats, Floats]:
    """(classes,) and (resamples, classes)."""
    columns = [asked.codes.index(code) for code in classes]
    truth, said = asked.truth[chosen][:, columns], asked.said[chosen][:, columns]
    return auroc(truth, said), resample_auroc(truth, said, asked.weights[:, chosen])


def _estimate(value: float, resampled: Floats, *, confidence: float) -> Estimate:
    ends = interval(resampled, confidence=confidence)
    return Estimate(value=value, low=ends.low, high=ends.high)


def summary(found: Sequence[SliceScore], *, alpha: float = 0.05) -> dict[str, Any]:
    """JSON-safe: how many were scored, how many differ from the rest beyond chance, and which is lowest."""
    scored = [one for one in found if one.auroc.value is not None]
    lowest = min(scored, key=lambda one: one.auroc.value or 0.0, default=None)
    return {
        "scored": len(scored),
        "too_small": len(found) - len(scored),
        "beyond_chance": [one.name for one in found if one.p_holm is not None and one.p_holm <= alpha],
        "lowest": None if lowest is None else lowest.name,
        "lowest_auroc": None if lowest is None else lowest.auroc.value,
    }


def write_slices(folder: Path, found: Sequence[SliceScore], *, codes: Sequence[str], limits: Mapping[str, int]) -> None:
    """Write `slices.json`, everything, and `slices.csv`, a row a slice.

    Args:
        folder: to write into.
        found: what `score_slices` gave.
        codes: names of the classes, in column order.
        limits: `min_records` and `min_scored` that were asked for.
    """
    content = {"schema_version": SCHEMA_VERSION, **limits, "slices": [one.to_dict() for one in found]}
    (folder / SLICES_FILE).write_text(publish.to_json(content), encoding="utf-8")
    with (folder / SLICES_TABLE).open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        ends = [f"{name}{end}" for name in ("auroc", "difference") for end in ("", "_low", "_high")]
        after = [*ends, "p", "p_holm", "reason"]
        positives = [f"positives_{slug(code)}" for code in codes]
        writer.writerow(["kind", "value", "records", "patients", *after, "classes", *positives])
        for one in found:
            said = one.to_dict()
            row = [one.kind, one.value, one.records, one.patients, *(_cell(said[name]) for name in after)]
            writer.writerow([*row, " ".join(one.classes), *(one.positives[code] for code in codes)])


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
