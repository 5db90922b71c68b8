"""The points of every curve, and the tables of them for `dvc plots`."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from vizecg.labels import slug
from vizecg.report.scored import Scored

Floats = NDArray[np.float64]
Points = list[tuple[float, ...]]

BINS: Final = 10
SWEPT: Final = tuple(step / 100 for step in range(1, 100))
"""Thresholds of a sweep."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sweep:
    """One class cut at each of `SWEPT`; NaN where a share has nothing to be a share of."""

    sensitivity: Floats
    specificity: Floats
    precision: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Records of one class at its threshold."""

    found: int
    missed: int
    false_alarms: int
    rightly_not: int


def roc(labels: NDArray[np.uint8], probabilities: Floats) -> Points:
    """False positive rate and true positive rate, rising."""
    false_positive, true_positive, _ = roc_curve(labels, probabilities)
    return list(zip(false_positive.tolist(), true_positive.tolist(), strict=True))


def precision_recall(labels: NDArray[np.uint8], probabilities: Floats) -> Points:
    """Recall and precision, recall rising."""
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    return list(zip(recall[::-1].tolist(), precision[::-1].tolist(), strict=True))


def reliability(labels: NDArray[np.uint8], probabilities: Floats) -> list[tuple[float, float, int]]:
    """Mean probability, observed share and size of bins with equally many records each.

    Bins of equal width would leave most of them with a handful of records, since most probabilities are small.
    """
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return [(float(probabilities[part].mean()), float(labels[part].mean()), len(part)) for part in parts]


def sweep(labels: NDArray[np.uint8], probabilities: Floats) -> Sweep:
    """What each threshold would find, spare and get right, of (records,) labels and probabilities."""
    truth = labels == 1
    said = probabilities[np.newaxis, :] >= np.asarray(SWEPT)[:, np.newaxis]
    found = (said & truth).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Sweep(
            sensitivity=found / truth.sum(),
            specificity=(~said & ~truth).sum(axis=1) / (~truth).sum(),
            precision=found / said.sum(axis=1),
        )


def confusion(labels: NDArray[np.uint8], said: NDArray[np.bool_]) -> Confusion:
    """Count (records,) labels against what was said."""
    truth = labels == 1
    return Confusion(
        found=int((truth & said).sum()),
        missed=int((truth & ~said).sum()),
        false_alarms=int((~truth & said).sum()),
        rightly_not=int((~truth & ~said).sum()),
    )


def write_tables(folder: Path, scored: Scored) -> None:
    """Write roc, precision_recall and reliability, a file for each class, one row a point.

    A file a class, because `dvc plots` draws a line for each file. A class without a curve has a file without points.
    """
    curves = dict(scored.drawable())
    for k, code in enumerate(scored.codes):
        labels, probabilities = scored.labels[:, k], scored.probabilities[:, k]
        found: tuple[Points, Points, Points] = ([], [], [])
        if k in curves:
            bins: Points = [*reliability(labels, probabilities)]
            found = (roc(labels, probabilities), precision_recall(labels, probabilities), bins)
        _write_csv(folder / f"roc_{slug(code)}.csv", ("false_positive_rate", "true_positive_rate"), found[0])
        _write_csv(folder / f"precision_recall_{slug(code)}.csv", ("recall", "precision"), found[1])
        header = ("mean_probability", "observed_share", "records")
        _write_csv(folder / f"reliability_{slug(code)}.csv", header, found[2])


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])
