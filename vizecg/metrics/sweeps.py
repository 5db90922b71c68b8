"""What other thresholds, and other abstain margins, would have given: tables for analysts, not for choosing by.

Looking for the best row here is learning from the test fold.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from vizecg.labels import slug
from vizecg.metrics.calibration import Bools, Floats
from vizecg.metrics.resampling import resampled_metrics

SWEEP_FILE: Final = "threshold_sweep.csv"
RISK_FILE: Final = "risk_coverage.csv"
_SWEPT: Final = tuple(round(step / 100, 2) for step in range(1, 100))
_SWEPT_METRICS: Final = ("precision", "recall", "f1", "specificity")
_COVERAGE_STEPS: Final = 100
_MARGIN_STEPS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """How often the model is wrong on the records that it answers at one abstain margin.

    Attributes:
        abstain_margin: answered is who has a label this far above its threshold; below 0, not even at it.
        records: answered.
        answered_share: of all records.
        error_rate: mean over the classes, of the answered ones; None where nobody is answered.
        mismatch_rate: share of the answered that have any class wrong.
        class_error_rates: of each class.
    """

    abstain_margin: float
    records: int
    answered_share: float
    error_rate: float | None
    mismatch_rate: float | None
    class_error_rates: tuple[float | None, ...]


def risk_at(labels: Bools, probabilities: Floats, *, thresholds: ArrayLike, abstain_margin: float) -> Risk:
    """Measure the answered records at one margin.

    Args:
        labels: (records, classes).
        probabilities: same shape, calibrated.
        thresholds: (classes,), or (records, classes) where folds have their own.
        abstain_margin: see `Risk`.
    """
    cuts = np.asarray(thresholds)
    answered = (probabilities >= cuts + abstain_margin).any(axis=1)
    wrong = (labels != (probabilities >= cuts))[answered]
    records = len(wrong)
    return Risk(
        abstain_margin=abstain_margin,
        records=records,
        answered_share=records / len(labels),
        error_rate=float(wrong.mean()) if records else None,
        mismatch_rate=float(wrong.any(axis=1).mean()) if records else None,
        class_error_rates=tuple(wrong.mean(axis=0).tolist()) if records else (None,) * labels.shape[1],
    )


def risk_coverage(labels: Bools, probabilities: Floats, *, thresholds: ArrayLike) -> list[Risk]:
    """Answer everybody, then ever fewer, a hundredth of the records at a time, the least clear first.

    Returns:
        By margin, ascending; records that are equally clear are answered together.
    """
    clearness = np.sort((probabilities - np.asarray(thresholds)).max(axis=1))
    places = np.unique(np.arange(_COVERAGE_STEPS) * len(clearness) // _COVERAGE_STEPS)
    # Down to the digits that are written, and a bit below who stands exactly there: the file's margins give its rows.
    margins = np.unique(np.floor(clearness[places] * _MARGIN_STEPS - 1e-3) / _MARGIN_STEPS)
    return [risk_at(labels, probabilities, thresholds=thresholds, abstain_margin=margin) for margin in margins.tolist()]


def write_sweeps(
    folder: Path,
    *,
    labels: Bools,
    probabilities: Floats,
    codes: Sequence[str],
    thresholds: ArrayLike,
    in_use: Sequence[float],
) -> None:
    """Write `threshold_sweep.csv` and `risk_coverage.csv`.

    Args:
        folder: to write into.
        labels: (records, classes).
        probabilities: same shape, calibrated.
        codes: names of the classes, in column order.
        thresholds: what each record was cut at, as in `risk_at`.
        in_use: those that are served; each has a row of its own in the sweep, `in_use` being 1.
    """
    with (folder / SWEEP_FILE).open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(["class", "threshold", "in_use", "called", *_SWEPT_METRICS])
        for k, code in enumerate(codes):
            writer.writerows(_sweep(labels[:, k], probabilities[:, k], code=code, in_use=in_use[k]))
    with (folder / RISK_FILE).open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        names = ["abstain_margin", "records", "answered_share", "error_rate", "mismatch_rate"]
        writer.writerow([*names, *(f"error_rate_{slug(code)}" for code in codes)])
        for risk in risk_coverage(labels, probabilities, thresholds=thresholds):
            row = [*(getattr(risk, name) for name in names), *risk.class_error_rates]
            writer.writerow([_cell(value) for value in row])


def _sweep(labels: Bools, probabilities: Floats, *, code: str, in_use: float) -> list[list[object]]:
    ones = np.ones((1, len(labels)))
    rows: list[list[object]] = []
    for threshold in sorted({*_SWEPT, float(in_use)}):
        found = resampled_metrics(labels, probabilities, threshold=threshold, weights=ones, names=_SWEPT_METRICS)
        values = [_cell(None if np.isnan(found[name][0]) else float(found[name][0])) for name in _SWEPT_METRICS]
        called = int((probabilities >= threshold).sum())
        rows.append([code, _cell(threshold), int(threshold == in_use), called, *values])
    return rows


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
