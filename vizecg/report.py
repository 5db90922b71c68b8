"""What analysts look at: tables for `dvc plots`, figures for MLflow, from labels and probabilities alone.

A figure names the commonest classes of a task with many; the tables, and `classes.png`, have them all.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from vizecg.labels import slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = list[tuple[float, ...]]

BINS: Final = 10
DOTS_PER_INCH: Final = 130
# Okabe and Ito's palette: told apart by colour-blind readers, and in print.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""As many as are told apart in one figure, so as many lines have a name."""
MOST_PANELS: Final = 15
PANELS_A_ROW: Final = 5
OTHERS: Final = "0.85"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """One fold, scored.

    Attributes:
        codes: classes, in column order.
        labels: (records, classes), 0 or 1.
        probabilities: same shape, calibrated.
        thresholds: (classes,), on the probabilities.
        where: what was scored, in the title of every figure.
        note: said under every figure, such as that the records are simulated.
        intervals: ends of each class's AUROC, None where they are not defined; without them none is drawn.
    """

    codes: Sequence[str]
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    note: str
    where: str = "fold 10"
    intervals: Sequence[tuple[float | None, float | None]] = ()

    def drawable(self) -> list[tuple[int, str]]:
        """Column and code of the classes that have positives and negatives: others have no curve."""
        positives = self.labels.sum(axis=0)
        return [(k, code) for k, code in enumerate(self.codes) if 0 < positives[k] < len(self.labels)]

    def commonest(self, columns: Sequence[int], *, most: int) -> list[int]:
        """Those of `columns` with the most positives, in column order."""
        positives = self.labels.sum(axis=0, dtype=np.int64)
        return sorted(sorted(columns, key=lambda k: -positives[k])[:most])

    def lines(self) -> list["Line"]:
        """A line for each drawable class; those beyond the colours are gray, without a name, and drawn first."""
        drawable = [k for k, _ in self.drawable()]
        named = self.commonest(drawable, most=len(COLOURS))
        others = [Line(column=k, code=None, colour=OTHERS) for k in drawable if k not in named]
        return [
            *others,
            *(Line(column=k, code=self.codes[k], colour=colour) for k, colour in zip(named, COLOURS, strict=False)),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How a class is drawn; without a code it is one of many."""

    column: int
    code: str | None
    colour: str

    def label(self, detail: str = "") -> str:
        """What the legend says; nothing for one of many.

        matplotlib leaves out what begins with an underscore, as `_AVB` does.
        """
        if self.code is None:
            return "_"
        return f"{' ' * self.code.startswith('_')}{self.code}{detail}"


def write_tables(folder: Path, scored: Scored) -> None:
    """Write roc, precision_recall and reliability, a file for each class, one row a point.

    A file a class, because `dvc plots` draws a line for each file. A class without a curve has a file without points.
    """
    curves = dict(scored.drawable())
    for k, code in enumerate(scored.codes):
        labels, probabilities = scored.labels[:, k], scored.probabilities[:, k]
        roc, recall, bins = _curves(labels, probabilities) if k in curves else ([], [], [])
        _write_csv(folder / f"roc_{slug(code)}.csv", ("false_positive_rate", "true_positive_rate"), roc)
        _write_csv(folder / f"precision_recall_{slug(code)}.csv", ("recall", "precision"), recall)
        header = ("mean_probability", "observed_share", "records")
        _write_csv(folder / f"reliability_{slug(code)}.csv", header, bins)


def _curves(labels: NDArray[np.uint8], probabilities: NDArray[np.float64]) -> tuple[Points, Points, Points]:
    false_positive, true_positive, _ = roc_curve(labels, probabilities)
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    return (
        list(zip(false_positive, true_positive, strict=True)),
        list(zip(recall[::-1], precision[::-1], strict=True)),
        [tuple(part) for part in reliability(labels, probabilities)],
    )


def reliability(labels: NDArray[np.uint8], probabilities: NDArray[np.float64]) -> list[tuple[float, float, int]]:
    """Mean probability, observed share and size of bins with equally many records each.

    Bins of equal width would leave most of them with a handful of records, since most probabilities are small.
    """
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return [(float(probabilities[part].mean()), float(labels[part].mean()), len(part)) for part in parts]


def write_figures(folder: Path, scored: Scored) -> None:
    """Write roc, precision_recall, reliability, probabilities, confusion and classes as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (
        ("roc", _draw_roc),
        ("precision_recall", _draw_precision_recall),
        ("reliability", _draw_reliability),
    ):
        _one_panel(folder / f"{name}.png", scored, draw=draw)
    _panel_a_class(folder / "probabilities.png", scored, draw=_draw_probabilities)
    _panel_a_class(folder / "confusion.png", scored, draw=_draw_confusion)
    _row_a_class(folder / "classes.png", scored)


def _one_panel(path: Path, scored: Scored, *, draw: Any) -> None:  # noqa: ANN401 (a function of axes and scores)
    figure, axes = _figure(1, width_in=5.6, height_in=5.2)
    draw(axes[0], scored)
    lines = scored.lines()
    if lines:
        axes[0].legend(frameon=False, fontsize=8)
    unnamed = sum(line.code is None for line in lines)
    _save(figure, path, note=scored.note + (f"; gray: {unnamed} rarer classes" if unnamed else ""))


def _panel_a_class(path: Path, scored: Scored, *, draw: Any) -> None:  # noqa: ANN401 (a function of axes and scores)
    shown = scored.commonest(range(len(scored.codes)), most=MOST_PANELS)
    # A row of panels as wide as they are many, until they are too many for one.
    columns = min(len(shown), PANELS_A_ROW)
    rows = -(-len(shown) // columns)
    figure, axes = _figure(columns, rows=rows, width_in=2.5 * columns, height_in=3.4 * rows)
    for at, k in enumerate(shown):
        draw(axes[at], scored, k, first=at == 0)
        axes[at].set_title(scored.codes[k], fontsize=10)
    for spare in axes[len(shown) :]:
        spare.set_visible(False)
    left_out = len(scored.codes) - len(shown)
    _save(figure, path, note=scored.note + (f"; the {len(shown)} commonest of {len(scored.codes)}" if left_out else ""))


def _row_a_class(path: Path, scored: Scored) -> None:
    """AUROC of every class that has one, the best on top, with its interval and its number of positives."""
    found = [(float(roc_auc_score(scored.labels[:, k], scored.probabilities[:, k])), k) for k, _ in scored.drawable()]
    found.sort()
    figure, (axes,) = _figure(1, width_in=5.6, height_in=1.4 + 0.2 * max(len(found), 5))
    for at, (value, k) in enumerate(found):
        low, high = scored.intervals[k] if scored.intervals else (None, None)
        if low is not None and high is not None:
            axes.plot([low, high], [at, at], color="0.6", linewidth=1.4, solid_capstyle="butt")
        axes.plot(value, at, "o", color=COLOURS[0], markersize=4)
    names = [f"{scored.codes[k]} ({int(scored.labels[:, k].sum())})" for _, k in found]
    axes.set_yticks(range(len(found)), names, fontsize=8)
    axes.axvline(0.5, color="0.7", linewidth=0.8)
    axes.set(xlabel="AUROC (95 % interval where there is one)", xlim=(0, 1.02), ylim=(-0.7, max(len(found), 1) - 0.3))
    axes.set_title(f"AUROC of each class (positive records), {scored.where}", fontsize=10)
    without = len(scored.codes) - len(found)
    _save(figure, path, note=scored.note + (f"; {without} classes have none" if without else ""))


def _draw_roc(axes: "Axes", scored: Scored) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for line in scored.lines():
        x, y, _ = roc_curve(scored.labels[:, line.column], scored.probabilities[:, line.column])
        axes.plot(x, y, color=line.colour, label=line.label(f" ({np.trapezoid(y, x):.3f})"), linewidth=1.6)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, {scored.where}", aspect="equal")


def _draw_precision_recall(axes: "Axes", scored: Scored) -> None:
    for line in scored.lines():
        labels = scored.labels[:, line.column]
        precision, recall, _ = precision_recall_curve(labels, scored.probabilities[:, line.column])
        share = labels.mean()
        axes.plot(recall, precision, color=line.colour, label=line.label(f" (prevalence {share:.2f})"), linewidth=1.6)
        if line.code is not None:
            axes.axhline(share, color=line.colour, linewidth=0.6, linestyle=":")
    axes.set(
        xlabel="recall", ylabel="precision", title=f"Precision and recall, {scored.where}", xlim=(0, 1), ylim=(0, 1.02)
    )


def _draw_reliability(axes: "Axes", scored: Scored) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for line in scored.lines():
        bins = reliability(scored.labels[:, line.column], scored.probabilities[:, line.column])
        said, happened = [part[0] for part in bins], [part[1] for part in bins]
        axes.plot(said, happened, "o-", color=line.colour, label=line.label(), markersize=4, linewidth=1.2)
    title = f"Reliability, {scored.where}"
    axes.set(xlabel="mean probability", ylabel="observed share", title=title, xlim=(0, 1), ylim=(0, 1), aspect="equal")


def _draw_probabilities(axes: "Axes", scored: Scored, k: int, *, first: bool) -> None:
    edges = np.linspace(0, 1, 21)
    positive = scored.labels[:, k] == 1
    for chosen, colour, name in ((~positive, "0.75", "without"), (positive, COLOURS[0], "with")):
        axes.hist(scored.probabilities[chosen, k], bins=edges.tolist(), color=colour, alpha=0.8, label=name)
    axes.axvline(scored.thresholds[k], color=COLOURS[1], linewidth=1.2, label="threshold")
    axes.set(xlabel="probability", ylabel="records" if first else "")
    if first:
        axes.legend(frameon=False, fontsize=7)


def _draw_confusion(axes: "Axes", scored: Scored, k: int, *, first: bool) -> None:
    said = scored.probabilities[:, k] >= scored.thresholds[k]
    truth = scored.labels[:, k] == 1
    counts = np.array([[(~truth & ~said).sum(), (~truth & said).sum()], [(truth & ~said).sum(), (truth & said).sum()]])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in range(2):
        for column in range(2):
            ink = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink, fontsize=11)
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"] if first else ["", ""])
    axes.set(xlabel="said", ylabel="written" if first else "")


def _figure(columns: int, *, rows: int = 1, width_in: float, height_in: float) -> tuple["Figure", list["Axes"]]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=(width_in, height_in), squeeze=False, layout="constrained")
    return figure, list(axes.flat)


def _save(figure: "Figure", path: Path, *, note: str) -> None:
    from matplotlib import pyplot

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(note, fontsize=7, color="0.4")
    # Without the writer's version in it, an equal figure is an equal file.
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
    pyplot.close(figure)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])
