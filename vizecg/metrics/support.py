"""Which classes a set of records can say something about."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_SCORED: Final = 10
"""Positives, and negatives, below which the value of a class is chance: it moves by a tenth with each record."""


def left_out(labels: ArrayLike, *, codes: Sequence[str], min_scored: int = MIN_SCORED) -> dict[str, str]:
    """Name the classes that are not averaged over, each with the reason.

    Args:
        labels: (records, classes), 0 or 1.
        codes: names of the classes, in column order.
        min_scored: positives, and negatives, that a class needs; at least one of each in any case.
    """
    truth: NDArray[np.bool_] = np.asarray(labels, dtype=bool)
    least = max(1, min_scored)
    found = {}
    for code, positives in zip(codes, truth.sum(axis=0).tolist(), strict=True):
        few = [(count, side) for count, side in ((positives, "positive"), (len(truth) - positives, "negative"))]
        if reasons := [f"{count} {side}" for count, side in few if count < least]:
            found[code] = f"{' and '.join(reasons)} records, at least {least} are needed"
    return found


def scorable(labels: ArrayLike, *, codes: Sequence[str], min_scored: int = MIN_SCORED) -> tuple[str, ...]:
    """Name the classes that are averaged over, in column order."""
    without = left_out(labels, codes=codes, min_scored=min_scored)
    return tuple(code for code in codes if code not in without)


def cuts_of(thresholds: ArrayLike, *, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Where each record of each class is cut: (records, classes).

    Args:
        thresholds: (classes,) for all records, or (records, classes) where folds have their own.
        shape: (records, classes).

    Raises:
        ValueError: they are neither.
    """
    cuts = np.asarray(thresholds, dtype=np.float64)
    if cuts.shape not in (shape, shape[1:]):
        raise ValueError(f"thresholds must be {shape[1:]} or {shape}, got {cuts.shape}")
    return np.broadcast_to(cuts, shape)
