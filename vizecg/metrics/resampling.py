"""Every metric of one class in every resample of the patients: (resamples,), NaN where a resample does not define it.

A resample is a row of weights, as `bootstrap.patient_weights` draws them; a row of ones gives the plain value.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from vizecg.bootstrap import weighted_auroc, weighted_average_precision
from vizecg.metrics.calibration import Bools, Floats, recalibration

# Resamples × records at a time: 80 MB of float64, whatever the size of the test set.
_CELLS_AT_ONCE: Final = 10_000_000


def resampled_metrics(
    labels: Bools, probabilities: Floats, *, threshold: float | Floats, weights: Floats, names: Sequence[str]
) -> dict[str, Floats]:
    """Measure one class in every resample.

    Args:
        labels: (records,) of one class.
        probabilities: (records,), within 0..1.
        threshold: a record is called positive at or above it; one for all, or (records,).
        weights: (resamples, records), whole numbers.
        names: of `KINDS`; metrics of one kind are computed together.
    """
    rows = max(1, _CELLS_AT_ONCE // max(1, len(labels)))
    kinds = list(dict.fromkeys(KINDS[name] for name in names))
    blocks = []
    for start in range(0, len(weights), rows):
        found: dict[str, Floats] = {}
        for kind in kinds:
            found |= kind(labels, probabilities, threshold, weights[start : start + rows])
        blocks.append(found)
    return {name: np.concatenate([block[name] for block in blocks]) for name in names}


def _auroc(labels: Bools, probabilities: Floats, _threshold: float | Floats, weights: Floats) -> dict[str, Floats]:
    return {"auroc": weighted_auroc(labels, probabilities, weights)}


def _auprc(labels: Bools, probabilities: Floats, _threshold: float | Floats, weights: Floats) -> dict[str, Floats]:
    return {"auprc": weighted_average_precision(labels, probabilities, weights)}


def _counted(labels: Bools, probabilities: Floats, threshold: float | Floats, weights: Floats) -> dict[str, Floats]:
    called = probabilities >= threshold
    weight = weights.sum(axis=1)
    positive, predicted, both = (weights @ part.astype(np.float64) for part in (labels, called, labels & called))
    negative, passed_over = weight - positive, weight - positive - predicted + both
    return {
        # Calling nobody positive is no precision at all, as torchmetrics has it; having no positives is undefined.
        "precision": np.where(positive > 0, both / np.maximum(predicted, 1), np.nan),
        "recall": np.where(positive > 0, both / np.maximum(positive, 1), np.nan),
        "f1": np.where(positive > 0, 2 * both / np.maximum(positive + predicted, 1), np.nan),
        "specificity": np.where(negative > 0, passed_over / np.maximum(negative, 1), np.nan),
        "accuracy": (both + passed_over) / weight,
    }


def _brier(labels: Bools, probabilities: Floats, _threshold: float | Floats, weights: Floats) -> dict[str, Floats]:
    return {"brier": weights @ (probabilities - labels) ** 2 / weights.sum(axis=1)}


def _recalibrated(
    labels: Bools, probabilities: Floats, _threshold: float | Floats, weights: Floats
) -> dict[str, Floats]:
    found = recalibration(labels, probabilities, weights)
    return {"calibration_intercept": found.intercept, "calibration_slope": found.slope}


KINDS: Final[dict[str, Callable[[Bools, Floats, float | Floats, Floats], dict[str, Floats]]]] = {
    "auroc": _auroc,
    "auprc": _auprc,
    **dict.fromkeys(("precision", "recall", "f1", "specificity", "accuracy"), _counted),
    "brier": _brier,
    **dict.fromkeys(("calibration_intercept", "calibration_slope"), _recalibrated),
}
"""Metrics that a resample has."""
