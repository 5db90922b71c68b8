"""Scores of a set of predictions, by class and macro, each with its interval.

Values come from torchmetrics (the Brier score, which it lacks for labels, from its
definition); intervals from resampling patients with `bootstrap`. Tests hold the two
to each other and to scikit-learn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vizecg.bootstrap import (
    covered,
    interval,
    mean_of_defined,
    patient_weights,
    weighted_auroc,
    weighted_average_precision,
)

Floats = NDArray[np.float64]

METRICS: Final = ("auroc", "auprc", "precision", "recall", "f1", "accuracy", "brier", "ece")
# Without a positive these say nothing; torchmetrics would call them 0.
_NEED_POSITIVES: Final = ("auroc", "auprc", "precision", "recall", "f1")
# Fewer, wider bins than the usual 15: a test fold of some hundred records fills no more.
CALIBRATION_BINS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A score and its interval; None where the records do not define it."""

    value: float | None
    low: float | None
    high: float | None


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
        macro_classes: classes with at least one positive and one negative.
        records: how many were scored.
        patients: how many they are of; these are resampled.
        resamples: how many.
        confidence: of every interval.
    """

    classes: tuple[ClassScores, ...]
    macro: Mapping[str, Estimate]
    macro_classes: tuple[str, ...]
    records: int
    patients: int
    resamples: int
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe and flat: each metric beside its `_low` and `_high`, as `dvc metrics` and MLflow show them."""
        return {
            "records": self.records,
            "patients": self.patients,
            "resamples": self.resamples,
            "confidence": self.confidence,
            "macro_classes": list(self.macro_classes),
            "macro": _flat(self.macro),
            "classes": {
                entry.code: {
                    "positives": entry.positives,
                    "negatives": entry.negatives,
                    "threshold": entry.threshold,
                    **_flat(entry.metrics),
                }
                for entry in self.classes
            },
        }


def score(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    codes: Sequence[str],
    thresholds: Sequence[float],
    patient_ids: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Scores:
    """Score calibrated probabilities.

    Args:
        labels: (records, classes), 0 or 1.
        probabilities: same shape, calibrated.
        codes: names of the classes, in column order.
        thresholds: of each class; a record is positive at or above it.
        patient_ids: (records,); records of one patient are resampled together.
        resamples: how many.
        seed: of the resampling.
        confidence: of the intervals.

    Raises:
        ValueError: shapes do not fit, or a probability is not within 0..1.
    """
    truth, said, patients = _checked(labels, probabilities, patient_ids, codes=codes, thresholds=thresholds)
    weights = patient_weights(patients, resamples=resamples, seed=seed)
    resampled = [
        _resampled(truth[:, k], said[:, k], threshold=thresholds[k], weights=weights) for k in range(len(codes))
    ]
    values = [_values(truth[:, k], said[:, k], threshold=thresholds[k]) for k in range(len(codes))]
    classes = tuple(
        ClassScores(
            code=code,
            positives=int(truth[:, k].sum()),
            negatives=int((~truth[:, k]).sum()),
            threshold=float(thresholds[k]),
            metrics={name: _estimate(values[k][name], resampled[k][name], confidence=confidence) for name in METRICS},
        )
        for k, code in enumerate(codes)
    )
    macro_classes = covered(truth, codes=codes)
    return Scores(
        classes=classes,
        macro={
            name: _macro(
                name, codes=codes, among=macro_classes, values=values, resampled=resampled, confidence=confidence
            )
            for name in METRICS
        },
        macro_classes=macro_classes,
        records=len(truth),
        patients=len(np.unique(patients)),
        resamples=resamples,
        confidence=confidence,
    )


def _values(truth: NDArray[np.bool_], said: Floats, *, threshold: float) -> dict[str, float | None]:
    """Each metric of one class by torchmetrics; None where it is not defined."""
    import torch
    from torchmetrics.functional import classification

    target, predicted = torch.from_numpy(truth.astype(np.int64)), torch.from_numpy(np.ascontiguousarray(said))
    called = torch.from_numpy((said >= threshold).astype(np.int64))
    found: dict[str, float | None] = {
        "accuracy": float(classification.binary_accuracy(called, target)),
        "brier": float(np.mean((said - truth) ** 2)),
        "ece": float(classification.binary_calibration_error(predicted, target, n_bins=CALIBRATION_BINS)),
    }
    if not truth.any():
        return found | dict.fromkeys(_NEED_POSITIVES)
    found |= {
        "auprc": float(classification.binary_average_precision(predicted, target)),
        "precision": float(classification.binary_precision(called, target)),
        "recall": float(classification.binary_recall(called, target)),
        "f1": float(classification.binary_f1_score(called, target)),
    }
    return found | {"auroc": None if truth.all() else float(classification.binary_auroc(predicted, target))}


def _resampled(truth: NDArray[np.bool_], said: Floats, *, threshold: float, weights: Floats) -> dict[str, Floats]:
    """Each metric of one class in every resample: (resamples,)."""
    called = said >= threshold
    weight = weights.sum(axis=1)
    positive, predicted, both = (weights @ part.astype(np.float64) for part in (truth, called, truth & called))
    return {
        "auroc": weighted_auroc(truth, said, weights),
        "auprc": weighted_average_precision(truth, said, weights),
        # Calling nobody positive is no precision at all, as torchmetrics has it; having no positives is undefined.
        "precision": np.where(positive > 0, both / np.maximum(predicted, 1), np.nan),
        "recall": np.where(positive > 0, both / np.maximum(positive, 1), np.nan),
        "f1": np.where(positive > 0, 2 * both / np.maximum(positive + predicted, 1), np.nan),
        "accuracy": weights @ (truth == called).astype(np.float64) / weight,
        "brier": weights @ (said - truth) ** 2 / weight,
        # A resample's ECE is larger than its sample's, noise adding up in every bin, so its quantiles are no interval:
        # on 98 records they began above the value itself.
        "ece": np.full(len(weights), np.nan),
    }


def _estimate(value: float | None, resampled: Floats, *, confidence: float) -> Estimate:
    if value is None:
        return Estimate(value=None, low=None, high=None)
    ends = interval(resampled, confidence=confidence)
    return Estimate(value=value, low=ends.low, high=ends.high)


def _macro(
    name: str,
    *,
    codes: Sequence[str],
    among: Sequence[str],
    values: Sequence[Mapping[str, float | None]],
    resampled: Sequence[Mapping[str, Floats]],
    confidence: float,
) -> Estimate:
    columns = [k for k, code in enumerate(codes) if code in among]
    defined = [value for k in columns if (value := values[k][name]) is not None]
    if not defined:
        return Estimate(value=None, low=None, high=None)
    means = mean_of_defined(np.stack([resampled[k][name] for k in columns], axis=1))
    return _estimate(float(np.mean(defined)), means, confidence=confidence)


def _checked(
    labels: ArrayLike,
    probabilities: ArrayLike,
    patient_ids: ArrayLike,
    *,
    codes: Sequence[str],
    thresholds: Sequence[float],
) -> tuple[NDArray[np.bool_], Floats, NDArray[Any]]:
    truth, said = np.asarray(labels, dtype=bool), np.asarray(probabilities, dtype=np.float64)
    patients = np.asarray(patient_ids)
    if truth.ndim != 2 or truth.shape != said.shape or not len(truth):
        raise ValueError(f"labels and probabilities must both be (records, classes), got {truth.shape}, {said.shape}")
    if not (len(codes) == len(thresholds) == truth.shape[1]):
        raise ValueError(f"{truth.shape[1]} classes, but {len(codes)} codes and {len(thresholds)} thresholds")
    if patients.shape != (len(truth),):
        raise ValueError(f"patient_ids must be one a record, ({len(truth)},), got {patients.shape}")
    if not ((said >= 0) & (said <= 1)).all():  # NaN fails both
        raise ValueError("probabilities must be within 0..1, and none of them NaN")
    return truth, said, patients


def _flat(metrics: Mapping[str, Estimate]) -> dict[str, float | None]:
    flat: dict[str, float | None] = {}
    for name, estimate in metrics.items():
        flat |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return flat
