"""What analysts look at: tables for `dvc plots`, figures for MLflow, from labels and probabilities alone."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = list[tuple[float, ...]]

BINS: Final = 10
DOTS_PER_INCH: Final = 130
# Okabe and Ito's palette: told apart by colour-blind readers, and in print.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """One fold, scored.

    Attributes:
        codes: classes, in column order.
        labels: (records, classes), 0 or 1.
        probabilities: same shape, calibrated.
        thresholds: (classes,), on the probabilities.
        note: said under every figure, such as that the records are simulated.
    """

    codes: Sequence[str]
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    note: str

    def drawable(self) -> list[tuple[int, str]]:
        """Column and code of the classes that have positives and negatives: others have no curve."""
        positives = self.labels.sum(axis=0)
        return [(k, code) for k, code in enumerate(self.codes) if 0 < positives[k] < len(self.labels)]


def write_tables(folder: Path, scored: Scored) -> None:
    """Write roc, precision_recall and reliability, a file for each class, one row a point.

    A file a class, because `dvc plots` draws a line for each file. A class without a curve has a file without points.
    """
    curves = dict(scored.drawable())
    for k, code in enumerate(scored.codes):
        labels, probabilities = scored.labels[:, k], scored.probabilities[:, k]
        roc, recall, bins = _curves(labels, probabilities) if k in curves else ([], [], [])
        _write_csv(folder / f"roc_{code}.csv", ("false_positive_rate", "true_positive_rate"), roc)
        _write_csv(folder / f"precision_recall_{code}.csv", ("recall", "precision"), recall)
        header = ("mean_probability", "observed_share", "records")
        _write_csv(folder / f"reliability_{code}.csv", header, bins)


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
    """Write roc, precision_recall, reliability, probabilities and confusion as PNG."""
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


def _one_panel(path: Path, scored: Scored, *, draw: Any) -> None:  # noqa: ANN401 (a function of axes and scores)
    figure, axes = _figure(1, width_in=5.6, height_in=5.2)
    draw(axes[0], scored)
    axes[0].legend(frameon=False, fontsize=8)
    _save(figure, path, note=scored.note)


def _panel_a_class(path: Path, scored: Scored, *, draw: Any) -> None:  # noqa: ANN401 (a function of axes and scores)
    figure, axes = _figure(len(scored.codes), width_in=2.5 * len(scored.codes), height_in=3.4)
    for k, code in enumerate(scored.codes):
        draw(axes[k], scored, k)
        axes[k].set_title(code, fontsize=10)
    _save(figure, path, note=scored.note)


def _draw_roc(axes: "Axes", scored: Scored) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for k, code in scored.drawable():
        x, y, _ = roc_curve(scored.labels[:, k], scored.probabilities[:, k])
        axes.plot(x, y, color=COLOURS[k % len(COLOURS)], label=f"{code} ({np.trapezoid(y, x):.3f})", linewidth=1.6)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC, fold 10", aspect="equal")


def _draw_precision_recall(axes: "Axes", scored: Scored) -> None:
    for k, code in scored.drawable():
        precision, recall, _ = precision_recall_curve(scored.labels[:, k], scored.probabilities[:, k])
        share = scored.labels[:, k].mean()
        colour = COLOURS[k % len(COLOURS)]
        axes.plot(recall, precision, color=colour, label=f"{code} (prevalence {share:.2f})", linewidth=1.6)
        axes.axhline(share, color=colour, linewidth=0.6, linestyle=":")
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall, fold 10", xlim=(0, 1), ylim=(0, 1.02))


def _draw_reliability(axes: "Axes", scored: Scored) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for k, code in scored.drawable():
        bins = reliability(scored.labels[:, k], scored.probabilities[:, k])
        said, happened = [part[0] for part in bins], [part[1] for part in bins]
        axes.plot(said, happened, "o-", color=COLOURS[k % len(COLOURS)], label=code, markersize=4, linewidth=1.2)
    title = "Reliability, fold 10"
    axes.set(xlabel="mean probability", ylabel="observed share", title=title, xlim=(0, 1), ylim=(0, 1), aspect="equal")


def _draw_probabilities(axes: "Axes", scored: Scored, k: int) -> None:
    edges = np.linspace(0, 1, 21)
    positive = scored.labels[:, k] == 1
    for chosen, colour, name in ((~positive, "0.75", "without"), (positive, COLOURS[0], "with")):
        axes.hist(scored.probabilities[chosen, k], bins=edges.tolist(), color=colour, alpha=0.8, label=name)
    axes.axvline(scored.thresholds[k], color=COLOURS[1], linewidth=1.2, label="threshold")
    axes.set(xlabel="probability", ylabel="records" if k == 0 else "")
    if k == 0:
        axes.legend(frameon=False, fontsize=7)


def _draw_confusion(axes: "Axes", scored: Scored, k: int) -> None:
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
    axes.set_yticks([0, 1], ["no", "yes"] if k == 0 else ["", ""])
    axes.set(xlabel="said", ylabel="written" if k == 0 else "")


def _figure(panels: int, *, width_in: float, height_in: float) -> tuple["Figure", list["Axes"]]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, panels, figsize=(width_in, height_in), squeeze=False, layout="constrained")
    return figure, list(axes[0])


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
