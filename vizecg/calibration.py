"""Fits what `operating_point` applies: probabilities that mean what they say, and where to cut them.

Calibration is logistic: probability = σ(slope · logit + bias), one slope for all
classes and a bias for each (Platt 1999; one slope, because sixteen positives cannot
carry two numbers of their own), by Newton's method on the penalised likelihood.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vizecg.operating_point import Calibration, sigmoid

Floats = NDArray[np.float64]

# Standard deviations of what we expect before seeing data: a slope near 1, a bias near 0.
_SLOPE_SPREAD = 0.5
_BIAS_SPREAD = 2.0
# A slope at or below 0 would turn the model's order upside down, and every AUROC with it.
_SMALLEST_SLOPE = 0.05
_MOST_STEPS = 50
# A threshold of 0 would call everything positive, and one of 1 nothing that is not certain.
_NEAREST_TO_CERTAIN = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where to cut calibrated probabilities; `pooled` names the classes that had too few positives for their own."""

    values: tuple[float, ...]
    pooled: tuple[str, ...]


def fit_calibration(labels: ArrayLike, logits: ArrayLike) -> Calibration:
    """Fit slope and biases on records the model has not learned from.

    Args:
        labels: (records, classes), 0 or 1.
        logits: same shape, before sigmoid.

    Raises:
        ValueError: shapes differ, there is no record, or a logit is not finite.
    """
    truth, score = _two_tables(labels, logits)
    theta = _newton(truth, score, slope=None)
    if theta[0] < _SMALLEST_SLOPE:
        theta = _newton(truth, score, slope=_SMALLEST_SLOPE)
    return Calibration(slope=(float(theta[0]),) * truth.shape[1], bias=tuple(theta[1:].tolist()))


def choose_thresholds(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    codes: Sequence[str],
    min_positives: int,
    plateau_f1: float = 0.01,
) -> Thresholds:
    """Cut each class where F1 is highest, in the middle of the stretch that is as good.

    Args:
        labels: (records, classes), 0 or 1.
        probabilities: same shape, calibrated: only then can classes share a threshold.
        codes: names of the classes, in column order.
        min_positives: a class with fewer takes the threshold of all classes pooled.
        plateau_f1: F1 this much below the highest still counts as as good: the very
            maximum of a small set is an accident of a few records.

    Raises:
        ValueError: shapes differ, or no class has a positive.
    """
    truth, score = _two_tables(labels, probabilities)
    if not truth.any():
        raise ValueError(f"no threshold can be chosen: none of {len(truth)} records has any of {list(codes)}")
    positives = truth.sum(axis=0)
    pooled = tuple(code for code, count in zip(codes, positives, strict=True) if count < max(1, min_positives))
    shared = f1_threshold(truth.ravel(), score.ravel(), plateau_f1=plateau_f1)
    values = tuple(
        shared if code in pooled else f1_threshold(truth[:, k], score[:, k], plateau_f1=plateau_f1)
        for k, code in enumerate(codes)
    )
    return Thresholds(values=values, pooled=pooled)


def f1_threshold(labels: ArrayLike, probabilities: ArrayLike, *, plateau_f1: float) -> float:
    """The middle of the stretch of thresholds around the highest F1 of one class.

    A record is positive at or above the threshold. Between two neighbouring
    probabilities F1 does not change, so a stretch runs from just above one to the next.
    """
    truth, score = np.asarray(labels, dtype=bool), np.asarray(probabilities, dtype=np.float64)
    cuts = np.unique(score)  # ascending; a cut at one of them calls it positive
    of_positives, of_all = np.sort(score[truth]), np.sort(score)
    found = len(of_positives) - np.searchsorted(of_positives, cuts)
    called = len(of_all) - np.searchsorted(of_all, cuts)
    f1 = 2 * found / (called + len(of_positives))
    best = int(np.argmax(f1))
    good = f1 >= f1[best] - plateau_f1
    first_good, last_good = best, best
    while first_good > 0 and good[first_good - 1]:
        first_good -= 1
    while last_good < len(cuts) - 1 and good[last_good + 1]:
        last_good += 1
    below = cuts[first_good - 1] if first_good else 0.0
    return float(np.clip((below + cuts[last_good]) / 2, _NEAREST_TO_CERTAIN, 1 - _NEAREST_TO_CERTAIN))


def _newton(truth: Floats, score: Floats, *, slope: float | None) -> Floats:
    """Minimise the penalised cross-entropy over (slope, biases); with `slope` given, over the biases alone."""
    classes = truth.shape[1]
    theta = np.concatenate([[1.0 if slope is None else slope], np.zeros(classes)])
    center = np.concatenate([[1.0], np.zeros(classes)])
    precision = np.concatenate([[_SLOPE_SPREAD**-2], np.full(classes, _BIAS_SPREAD**-2)])
    free = np.arange(0 if slope is None else 1, classes + 1)
    for _ in range(_MOST_STEPS):
        probability = sigmoid(theta[0] * score + theta[1:])
        error, spread = probability - truth, probability * (1 - probability)
        gradient = np.concatenate([[(error * score).sum()], error.sum(axis=0)]) + precision * (theta - center)
        hessian = np.diag(np.concatenate([[(spread * score**2).sum()], spread.sum(axis=0)]) + precision)
        hessian[0, 1:] = hessian[1:, 0] = (spread * score).sum(axis=0)
        step = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        # A full step can overshoot where all probabilities are near 0 or 1; 2 is far in logits.
        theta[free] -= step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < 1e-9:
            break
    return theta


def _two_tables(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    truth, score = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != score.shape or not len(truth):
        raise ValueError(f"labels and scores must both be (records, classes), got {truth.shape} and {score.shape}")
    if not np.isfinite(score).all():
        raise ValueError(f"scores must be finite, got {int((~np.isfinite(score)).sum())} that are not")
    return truth, score
