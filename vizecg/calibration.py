"""Fits what `operating_point` applies: probabilities that mean what they say, and where to cut them.

Calibration is logistic: probability = σ(slope · logit + bias), one slope for all
classes and a bias for each (Platt 1999; one slope, because sixteen positives cannot
carry two numbers of their own), or the slope alone, 1 / temperature (Guo et al. 2017),
by Newton's method on the penalised likelihood.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from vizecg.config import Section
from vizecg.operating_point import Calibration, sigmoid

Floats = NDArray[np.float64]
CalibrationKind = Literal["slope_and_biases", "temperature"]

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


class ThresholdRule(Section):
    """How thresholds are chosen: for the highest F1, or for a share of the positives or negatives to be got right."""

    rule: Literal["f1_plateau", "sensitivity", "specificity"] = "f1_plateau"
    at: float | None = Field(default=None, gt=0, lt=1, description="the sensitivity or specificity to reach")

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if (self.at is None) != (self.rule == "f1_plateau"):
            wanted = "takes none: it must be null" if self.rule == "f1_plateau" else "needs one, such as 0.9"
            raise ValueError(f"at is {self.at}, and the rule {self.rule} {wanted}")
        return self


F1_PLATEAU = ThresholdRule()


def fit_calibration(labels: ArrayLike, logits: ArrayLike, *, kind: CalibrationKind = "slope_and_biases") -> Calibration:
    """Fit slope and biases on records the model has not learned from.

    Args:
        labels: (records, classes), 0 or 1.
        logits: same shape, before sigmoid.
        kind: `temperature` leaves every bias at 0, and fits the slope that all classes share.

    Raises:
        ValueError: shapes differ, there is no record, or a logit is not finite.
    """
    truth, score = _two_tables(labels, logits)
    biases = kind == "slope_and_biases"
    theta = _newton(truth, score, slope=None, biases=biases)
    if theta[0] < _SMALLEST_SLOPE:
        theta = _newton(truth, score, slope=_SMALLEST_SLOPE, biases=biases)
    return Calibration(slope=(float(theta[0]),) * truth.shape[1], bias=tuple(theta[1:].tolist()))


def choose_thresholds(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    codes: Sequence[str],
    min_positives: int,
    rule: ThresholdRule = F1_PLATEAU,
    plateau_f1: float = 0.01,
) -> Thresholds:
    """Cut each class by a rule, in the middle of the stretch that is as good.

    Args:
        labels: (records, classes), 0 or 1.
        probabilities: same shape, calibrated: only then can classes share a threshold.
        codes: names of the classes, in column order.
        min_positives: a class with fewer takes the threshold of all classes pooled; of
            negatives, where the rule is a specificity.
        rule: what the threshold is to reach.
        plateau_f1: F1 this much below the highest still counts as as good: the very
            maximum of a small set is an accident of a few records.

    Raises:
        ValueError: shapes differ, or no class has a positive (a negative, for a specificity).
    """
    truth, score = _two_tables(labels, probabilities)
    decisive = 1 - truth if rule.rule == "specificity" else truth
    if not decisive.any():
        lack = "all have all" if rule.rule == "specificity" else f"none of {len(truth)} records has any"
        raise ValueError(f"no threshold can be chosen: {lack} of {list(codes)}")
    counts = decisive.sum(axis=0)
    pooled = tuple(code for code, count in zip(codes, counts, strict=True) if count < max(1, min_positives))
    cut = _cut_by(rule, plateau_f1=plateau_f1)
    shared = cut(truth.ravel(), score.ravel())
    values = tuple(shared if code in pooled else cut(truth[:, k], score[:, k]) for k, code in enumerate(codes))
    return Thresholds(values=values, pooled=pooled)


def _cut_by(rule: ThresholdRule, *, plateau_f1: float) -> Callable[[ArrayLike, ArrayLike], float]:
    def cut(labels: ArrayLike, probabilities: ArrayLike) -> float:
        if rule.at is None:
            return f1_threshold(labels, probabilities, plateau_f1=plateau_f1)
        if rule.rule == "sensitivity":
            return sensitivity_threshold(labels, probabilities, at=rule.at)
        return specificity_threshold(labels, probabilities, at=rule.at)

    return cut


def sensitivity_threshold(labels: ArrayLike, probabilities: ArrayLike, *, at: float) -> float:
    """The highest threshold that still finds this share of the positives of one class."""
    truth, score = np.asarray(labels, dtype=bool), np.asarray(probabilities, dtype=np.float64)
    of_positives, cuts = np.sort(score[truth])[::-1], np.unique(score)
    lowest_found = of_positives[_reaching(at, of=len(of_positives)) - 1]
    place = int(np.searchsorted(cuts, lowest_found))
    return _between(cuts[place - 1] if place else 0.0, lowest_found)


def specificity_threshold(labels: ArrayLike, probabilities: ArrayLike, *, at: float) -> float:
    """The lowest threshold that passes over this share of the negatives of one class."""
    truth, score = np.asarray(labels, dtype=bool), np.asarray(probabilities, dtype=np.float64)
    of_negatives, cuts = np.sort(score[~truth]), np.unique(score)
    highest_passed = of_negatives[_reaching(at, of=len(of_negatives)) - 1]
    place = int(np.searchsorted(cuts, highest_passed, side="right"))
    return _between(highest_passed, cuts[place] if place < len(cuts) else 1.0)


def _reaching(share: float, *, of: int) -> int:
    """How many of so many are this share at least; 0.28 of 25 is 7, though 0.28 · 25 is above 7 in floats."""
    return max(1, math.ceil(share * of - 1e-9))


def _between(below: float, cut: float) -> float:
    """The middle of a stretch of thresholds that all call `cut` positive, and `below` not."""
    return float(np.clip((below + cut) / 2, _NEAREST_TO_CERTAIN, 1 - _NEAREST_TO_CERTAIN))


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
    return _between(below, cuts[last_good])


def _newton(truth: Floats, score: Floats, *, slope: float | None, biases: bool) -> Floats:
    """Minimise the penalised cross-entropy over (slope, biases); a `slope` given stays, and without `biases` they do.

    They stay at 0 then.
    """
    classes = truth.shape[1]
    theta = np.concatenate([[1.0 if slope is None else slope], np.zeros(classes)])
    center = np.concatenate([[1.0], np.zeros(classes)])
    precision = np.concatenate([[_SLOPE_SPREAD**-2], np.full(classes, _BIAS_SPREAD**-2)])
    free = np.arange(0 if slope is None else 1, classes + 1 if biases else 1)
    if not free.size:
        return theta
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
