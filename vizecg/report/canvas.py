"""Opening and saving a figure of matplotlib, without its global state and without a clock in the file."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH: Final = 130


def figure_of(columns: int, *, rows: int = 1, width_in: float, height_in: float) -> tuple["Figure", list["Axes"]]:
    """A figure of so many panels, row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def save(figure: "Figure", path: Path, *, note: str) -> None:
    """Write a PNG with a note below; an equal figure is an equal file."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(note, fontsize=7, color="0.4")
    # Without the writer's version in it, an equal figure is an equal file.
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
