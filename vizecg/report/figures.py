"""Figures for MLflow, from labels and probabilities alone.

A figure names the commonest classes of a task with many; the tables, and `classes.png`, have them all.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from vizecg.report.canvas import figure_of, save
from vizecg.report.curves import SWEPT, confusion, reliability, sweep
from vizecg.report.scored import COLOURS, Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS_A_ROW = 5


def write_figures(folder: Path, scored: Scored) -> None:
    """Write roc, precision_recall, reliability, probabilities, thresholds, confusion and classes as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (
        ("roc", _draw_roc),
        ("precision_recall", _draw_precision_recall),
        ("reliability", _draw_reliability),
    ):
        _one_panel(folder / f"{name}.png", scored, draw=draw)
    _panel_a_class(folder / "probabilities.png", scored, draw=_draw_probabilities)
    _panel_a_class(folder / "thresholds.png", scored, draw=_draw_sweep)
    _panel_a_class(folder / "confusion.png", scored, draw=_draw_confusion)
    _row_a_class(folder / "classes.png", scored)


def _one_panel(path: Path, scored: Scored, *, draw: Any) -> None:  # noqa: ANN401 (a function of axes and scores)
    figure, axes = figure_of(1, width_in=5.6, height_in=5.2)
    draw(axes[0], scored)
    lines = scored.lines()
    if lines:
        axes[0].legend(frameon=False, fontsize=8)
    unnamed = sum(line.code is None for line in lines)
    save(figure, path, note=scored.note + (f"; gray: {unnamed} rarer classes" if unnamed else ""))


def _panel_a_class(path: Path, scored: Scored, *, draw: Any) -> None:  # noqa: ANN401 (a function of axes and scores)
    shown = scored.panels()
    # A row of panels as wide as they are many, until they are too many for one.
    columns = min(len(shown), PANELS_A_ROW)
    rows = -(-len(shown) // columns)
    figure, axes = figure_of(columns, rows=rows, width_in=2.5 * columns, height_in=3.4 * rows)
    for at, k in enumerate(shown):
        draw(axes[at], scored, k, first=at == 0)
        axes[at].set_title(scored.codes[k], fontsize=10)
    for spare in axes[len(shown) :]:
        spare.set_visible(False)
    left_out = len(scored.codes) - len(shown)
    save(figure, path, note=scored.note + (f"; the {len(shown)} commonest of {len(scored.codes)}" if left_out else ""))


def _row_a_class(path: Path, scored: Scored) -> None:
    """AUROC of every class that has one, the best on top, with its interval and its number of positives."""
    found = [(float(roc_auc_score(scored.labels[:, k], scored.probabilities[:, k])), k) for k, _ in scored.drawable()]
    found.sort()
    figure, (axes,) = figure_of(1, width_in=5.6, height_in=1.4 + 0.2 * max(len(found), 5))
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
    save(figure, path, note=scored.note + (f"; {without} classes have none" if without else ""))


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


def _draw_sweep(axes: "Axes", scored: Scored, k: int, *, first: bool) -> None:
    found = sweep(scored.labels[:, k], scored.probabilities[:, k])
    for name, colour in (("sensitivity", COLOURS[0]), ("specificity", COLOURS[1]), ("precision", COLOURS[2])):
        axes.plot(SWEPT, getattr(found, name), color=colour, linewidth=1.4, label=name)
    axes.axvline(scored.thresholds[k], color="0.5", linewidth=1.0, linestyle="--", label="threshold in use")
    axes.set(xlabel="threshold", ylabel="share" if first else "", xlim=(0, 1), ylim=(0, 1.02))
    if first:
        axes.legend(frameon=False, fontsize=7)


def _draw_confusion(axes: "Axes", scored: Scored, k: int, *, first: bool) -> None:
    counted = confusion(scored.labels[:, k], scored.called[:, k])
    counts = np.array([[counted.rightly_not, counted.false_alarms], [counted.missed, counted.found]])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in range(2):
        for column in range(2):
            ink = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink, fontsize=11)
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"] if first else ["", ""])
    axes.set(xlabel="said", ylabel="written" if first else "")
