"""Figures of what lies beside the scores: slices, risk against coverage, robustness; none of what is not there."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Final

import numpy as np

from vizecg.report.beside import Beside, CoveragePoint, Robustness, Slice
from vizecg.report.canvas import figure_of, save
from vizecg.report.scored import COLOURS

NAME_LETTERS: Final = 36
WORST_SHOWN: Final = 0.2
"""Difference of macro AUROC at which a heat map's colour is full, or the largest there is, if that is more."""


def write_beside_figures(folder: Path, beside: Beside, *, note: str) -> None:
    """Write slices, risk_coverage and robustness as PNG, each where there is something to draw."""
    folder.mkdir(parents=True, exist_ok=True)
    if known := [part for part in beside.slices if part.value is not None]:
        _draw_slices(folder / "slices.png", known, left_out=len(beside.slices) - len(known), note=note)
    if beside.coverage:
        _draw_coverage(folder / "risk_coverage.png", beside.coverage, note=note)
    if beside.robustness:
        _draw_robustness(folder / "robustness.png", beside.robustness, note=note)


def _draw_slices(path: Path, slices: Sequence[Slice], *, left_out: int, note: str) -> None:
    figure, (axes,) = figure_of(1, width_in=6.2, height_in=1.4 + 0.22 * max(len(slices), 5))
    for at, part in enumerate(reversed(slices)):
        if part.low is not None and part.high is not None:
            axes.plot([part.low, part.high], [at, at], color="0.6", linewidth=1.4, solid_capstyle="butt")
        axes.plot(part.value or 0.0, at, "o", color=COLOURS[0], markersize=4)
    names = [f"{shorten(f'{part.group}: {part.name}', NAME_LETTERS)} ({part.records})" for part in reversed(slices)]
    axes.set_yticks(range(len(slices)), names, fontsize=8)
    axes.axvline(0.5, color="0.7", linewidth=0.8)
    axes.set(xlabel="macro AUROC (95 % interval where there is one)", ylim=(-0.7, len(slices) - 0.3))
    axes.set_title("Macro AUROC of parts of the records (records)", fontsize=10)
    save(figure, path, note=note + (f"; {left_out} parts are too small" if left_out else ""))


def _draw_coverage(path: Path, points: Sequence[CoveragePoint], *, note: str) -> None:
    figure, (axes,) = figure_of(1, width_in=5.6, height_in=4.2)
    ordered = sorted(points, key=lambda point: point.answered)
    answered = [point.answered for point in ordered]
    axes.plot(answered, [point.labels_wrong for point in ordered], color=COLOURS[0], linewidth=1.6, label="labels")
    records = [point.records_wrong for point in ordered]
    axes.plot(answered, records, color=COLOURS[1], linewidth=1.6, label="records with any label wrong")
    axes.legend(frameon=False, fontsize=8)
    axes.set(
        xlabel="share of records that are answered",
        ylabel="share wrong",
        title="Risk against coverage",
        xlim=(0, 1),
        ylim=(0, None),
    )
    save(figure, path, note=note)


def _draw_robustness(path: Path, cells: Sequence[Robustness], *, note: str) -> None:
    styles, cameras = rows_and_columns(cells)
    table = np.full((len(styles), len(cameras)), np.nan)
    for cell in cells:
        table[styles.index(cell.style), cameras.index(cell.camera)] = cell.difference
    limit = max(WORST_SHOWN, float(np.nanmax(np.abs(table))))
    figure, (axes,) = figure_of(1, width_in=2.2 + 0.85 * len(cameras), height_in=1.6 + 0.34 * len(styles))
    axes.imshow(table, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    for row, column in zip(*np.nonzero(np.isfinite(table)), strict=True):
        value = table[row, column]
        ink = "white" if abs(value) > 0.6 * limit else "black"
        axes.text(column, row, f"{value:+.3f}", ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(len(cameras)), cameras, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(styles)), styles, fontsize=8)
    axes.set_title("Macro AUROC minus that of the standard page", fontsize=10)
    save(figure, path, note=note)


def rows_and_columns(cells: Sequence[Robustness]) -> tuple[list[str], list[str]]:
    """Styles and cameras in the order they first come."""
    return list(dict.fromkeys(cell.style for cell in cells)), list(dict.fromkeys(cell.camera for cell in cells))
