"""What a scoring says: each metric with its interval, by class and macro, and how it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A score and its interval; None where the records do not define it."""

    value: float | None
    low: float | None
    high: float | None


UNDEFINED = Estimate(value=None, low=None, high=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """All metrics of one class."""

    code: str
    positives: int
    negatives: int
    threshold: float
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """All metrics of one set of predictions.

    Attributes:
        classes: every class, in order.
        macro: metric -> mean over `macro_classes`; in each resample over those it defines.
        macro_classes: classes with enough positives and negatives.
        left_out: the others -> why they are not in the macro; their own values stand in `classes` where defined.
        exact_match: share of records of which every class is right, those of `left_out` too.
        min_scored: positives, and negatives, that are enough.
        records: how many were scored.
        patients: how many they are of; these are resampled.
        resamples: how many.
        confidence: of every interval.
    """

    classes: tuple[ClassScores, ...]
    macro: Mapping[str, Estimate]
    macro_classes: tuple[str, ...]
    left_out: Mapping[str, str]
    exact_match: Estimate
    min_scored: int
    records: int
    patients: int
    resamples: int
    confidence: float

    @property
    def mean_per_class_accuracy(self) -> Estimate:
        """The macro accuracy under the name that says what it is: not the share of records that are all right."""
        return self.macro["accuracy"]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe and flat: each metric beside its `_low` and `_high`, as `dvc metrics` and MLflow show them."""
        return {
            "records": self.records,
            "patients": self.patients,
            "resamples": self.resamples,
            "confidence": self.confidence,
            "min_scored": self.min_scored,
            "macro_classes": list(self.macro_classes),
            "left_out": dict(self.left_out),
            **flat({"mean_per_class_accuracy": self.mean_per_class_accuracy, "exact_match": self.exact_match}),
            "macro": flat(self.macro),
            "classes": {
                entry.code: {
                    "positives": entry.positives,
                    "negatives": entry.negatives,
                    "threshold": entry.threshold,
                    **flat(entry.metrics),
                }
                for entry in self.classes
            },
        }


def flat(metrics: Mapping[str, Estimate]) -> dict[str, float | None]:
    """Each value under its name, its ends under `_low` and `_high`."""
    found: dict[str, float | None] = {}
    for name, estimate in metrics.items():
        found |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return found
