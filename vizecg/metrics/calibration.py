"""Do the probabilities of a class mean what they say?

Two answers. The expected calibration error compares said and happened in bins with
equally many records; it is never 0 for a finite set, so beside it stands what a perfectly
calibrated model would show. Intercept and slope are those of the logistic regression of
the label on the logit of the probability (Cox 1958): 0 and 1 where nothing is to mend; a
slope below 1 says that the probabilities are too extreme.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CALIBRATION_BINS: Final = 10
"""Fewer than the usual 15: a test fold of some hundred records fills no more."""
DRAWS: Final = 300
"""Of labels for a perfectly calibrated model: their mean is then known to about a hundredth of itself."""
# The logit of a certain probability is infinite; float64 says 0 from a logit of -745 on.
_NEAREST_TO_CERTAIN: Final = 1e-12
_MOST_STEPS: Final = 30
_LARGEST_STEP: Final = 2.0
_STEP_DONE: Final = 1e-7


@dataclass(frozen=True, kw_only=True, eq=False)
class Recalibration:
    """Intercept and slope for each row of weights: (resamples,); NaN where the records do not identify them."""

    intercept: Floats
    slope: Floats


def calibration_error(labels: Bools, probabilities: Floats) -> float:
    """Mean of |said - happened| over ten bins with equally many records, equal probabilities in one bin.

    Args:
        labels: (records,) of one class.
        probabilities: (records,), within 0..1.
    """
    return _error(probabilities - labels, bins=_equal_mass_bins(probabilities))


def calibration_error_by_chance(probabilities: Floats, *, seed: int, draws: int = DRAWS) -> float:
    """Mean calibration error of labels drawn from these very probabilities: of a model that needs no mending.

    Args:
        probabilities: (records,) of one class.
        seed: of the drawing.
        draws: how many sets of labels.
    """
    bins = _equal_mass_bins(probabilities)
    order = np.argsort(bins, kind="stable")
    said, starts = probabilities[order], np.flatnonzero(np.diff(bins[order], prepend=-1))
    rng = np.random.default_rng([seed, len(said)])
    gaps = np.zeros((draws, len(starts)))
    for draw in range(draws):  # a draw at a time: all at once would need 300 tables of the test set
        gaps[draw] = np.add.reduceat(said - (rng.random(len(said)) < said), starts)
    return float(np.abs(gaps).sum(axis=1).mean() / len(said))


def recalibration(labels: Bools, probabilities: Floats, weights: Floats) -> Recalibration:
    """Fit label ~ intercept + slope · logit(probability) by unpenalised maximum likelihood, for each row of weights.

    Not identified where a side has no weight, all logits are one, or the logit splits the
    sides: then the likelihood grows without end.

    Args:
        labels: (records,) of one class.
        probabilities: (records,), within 0..1.
        weights: (resamples, records).
    """
    said = np.clip(probabilities, _NEAREST_TO_CERTAIN, 1 - _NEAREST_TO_CERTAIN)
    logits = np.log(said) - np.log1p(-said)
    ones = np.ones((1, len(logits)))
    fitted = np.full((len(weights), 2), np.nan)
    middle, spread = float(logits.mean()), float(logits.std())
    if _overlap(labels, logits, ones)[0]:
        scaled = (logits - middle) / spread  # else a step of Newton's would be of no known size
        begin = _newton(labels, scaled, ones, begin=np.zeros((1, 2)))
        rows = np.flatnonzero(_overlap(labels, logits, weights))
        fitted[rows] = _newton(labels, scaled, weights[rows], begin=np.repeat(begin, len(rows), axis=0))
    slope = fitted[:, 1] / (spread or 1.0)
    return Recalibration(intercept=fitted[:, 0] - slope * middle, slope=slope)


def _equal_mass_bins(probabilities: Floats) -> NDArray[np.int64]:
    edges = np.quantile(probabilities, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1])
    return np.searchsorted(edges, probabilities).astype(np.int64)


def _error(gaps: Floats, *, bins: NDArray[np.int64]) -> float:
    return float(np.abs(np.bincount(bins, weights=gaps)).sum() / len(gaps))


def _overlap(labels: Bools, logits: Floats, weights: Floats) -> Bools:
    """Whether some positive lies below some negative, and some above: only then has the likelihood a maximum."""
    lowest, highest = _ends(logits[labels], weights[:, labels])
    lowest_negative, highest_negative = _ends(logits[~labels], weights[:, ~labels])
    return (lowest < highest_negative) & (lowest_negative < highest)


def _ends(logits: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Lowest and highest logit with any weight, for each row; +∞ and -∞ where nothing has."""
    if not logits.size:
        return np.full(len(weights), np.inf), np.full(len(weights), -np.inf)
    order = np.argsort(logits, kind="stable")
    counts, ordered = weights[:, order] > 0, logits[order]
    first, last = counts.argmax(axis=1), len(order) - 1 - counts[:, ::-1].argmax(axis=1)
    anything = counts.any(axis=1)
    return np.where(anything, ordered[first], np.inf), np.where(anything, ordered[last], -np.inf)


def _newton(labels: Bools, logits: Floats, weights: Floats, *, begin: Floats) -> Floats:
    """(resamples, 2) intercepts and slopes; NaN in a row that does not settle."""
    theta, squares = begin.copy(), logits**2
    wanted = np.stack([weights @ labels, weights @ (labels * logits)], axis=1)
    open_rows = np.arange(len(theta))
    for _ in range(_MOST_STEPS):
        weight = weights[open_rows]
        said = (1 + np.tanh((theta[open_rows, :1] + theta[open_rows, 1:] * logits) / 2)) / 2
        weighted = weight * said
        error = np.stack([weighted.sum(axis=1), weighted @ logits], axis=1) - wanted[open_rows]
        weighted *= 1 - said
        step = _solved(weighted.sum(axis=1), weighted @ logits, weighted @ squares, error)
        size = np.abs(step).max(axis=1, initial=0)
        theta[open_rows] -= step / np.maximum(1, size / _LARGEST_STEP)[:, None]
        open_rows = open_rows[size > _STEP_DONE]
        if not open_rows.size:
            break
    theta[open_rows] = np.nan
    return theta


def _solved(first: Floats, mixed: Floats, second: Floats, error: Floats) -> Floats:
    """Solve [[first, mixed], [mixed, second]] · step = error in every row; NaN where that has no one solution."""
    determinant = first * second - mixed**2
    determinant = np.where(determinant > 0, determinant, np.nan)
    steps = (second * error[:, 0] - mixed * error[:, 1], first * error[:, 1] - mixed * error[:, 0])
    return np.stack(steps, axis=1) / determinant[:, None]
