"""Every figure of the page: what it is called, how it is read, and the drawing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from vizecg.report import curves
from vizecg.report.beside import Beside, CoveragePoint
from vizecg.report.scored import Line, Scored
from vizecg.report.svg import Axis, Place, Plot, kind_of, legend, round_ticks

SHARE: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure with its name and one sentence for somebody who has never seen one like it."""

    name: str
    reading: str
    drawing: str

    def html(self) -> str:
        """As a figure with its sentence below."""
        return (
            f"<figure><h3>{escape(self.name)}</h3>{self.drawing}"
            f"<figcaption><b>How to read it.</b> {escape(self.reading)}</figcaption></figure>"
        )


def class_charts(scored: Scored) -> list[Chart]:
    """ROC, and precision and recall: a line for each class; nothing where no class has a line."""
    return [_roc(scored), _precision_recall(scored)] if scored.drawable() else []


def sweep_charts(scored: Scored) -> list[str]:
    """A small drawing for each of the commonest classes: what each threshold would find, spare and get right."""
    drawable = dict(scored.drawable())
    return [_sweep(scored, k) for k in scored.panels() if k in drawable]


def coverage_chart(points: Sequence[CoveragePoint]) -> Chart:
    """Risk against coverage."""
    ordered = sorted(points, key=lambda point: point.answered)
    ticks = round_ticks(max(*(point.records_wrong for point in ordered), 0.05))
    plot = Plot(
        x=Axis(label="share of records that are answered"), y=Axis(label="share wrong", high=ticks[-1], ticks=ticks)
    )
    labels: list[Place] = [(point.answered, point.labels_wrong) for point in ordered]
    records: list[Place] = [(point.answered, point.records_wrong) for point in ordered]
    lines = [("k0", "labels", labels), ("k1", "records with any label wrong", records)]
    name = "Risk against coverage"
    return Chart(
        name=name,
        reading="To the left the model answers only where it is clearest; the lower a line is there, the more is "
        "gained by leaving the unclear records to a person.",
        drawing=plot.drawn(
            title=name,
            about="Share wrong by share of answered records",
            marks=[plot.line(places, kind=kind, title=said) for kind, said, places in lines],
        )
        + legend([(kind, said) for kind, said, _ in lines]),
    )


def history_chart(beside: Beside) -> Chart:
    """Macro AUROC of the validation fold by epoch, a line for each head."""
    places = [place for points in beside.history.values() for place in points]
    epochs = [epoch for epoch, _ in places]
    lowest = min(min(value for _, value in places), 0.5)
    low = int(lowest * 10) / 10
    first, last = min(epochs), max(max(epochs), min(epochs) + 1)
    step = max(1, round((last - first) / 6))
    x = Axis(label="epoch", low=first, high=last, ticks=[first + at for at in range(0, int(last - first) + 1, step)])
    y = Axis(label="macro AUROC, fold 9", low=low, ticks=_tenths(low))
    plot = Plot(x=x, y=y)
    kinds = [(f"k{at}", head, points) for at, (head, points) in enumerate(beside.history.items())]
    name = "How it learned"
    return Chart(
        name=name,
        reading="Each line is one head of the network on records it did not learn from; only the image head is "
        "served, the others teach it. A line that falls again at the end learned too long.",
        drawing=plot.drawn(
            title=name,
            about="Macro AUROC of fold 9 by epoch",
            marks=[plot.line(points, kind=kind, title=head) for kind, head, points in kinds],
        )
        + legend([(kind, head) for kind, head, _ in kinds]),
    )


def _roc(scored: Scored) -> Chart:
    plot = Plot(x=Axis(label="false alarms, share of records without it"), y=Axis(label="found, share of cases"))
    return _lines(
        scored,
        plot=plot,
        name="Found against false alarms (ROC)",
        reading="Each point is one possible threshold. The closer a line comes to the top left corner, the more cases "
        "are found for the same number of false alarms; the diagonal is guessing.",
        points=curves.roc,
        under=[plot.line([(0, 0), (1, 1)], kind="rule")],
    )


def _precision_recall(scored: Scored) -> Chart:
    plot = Plot(x=Axis(label="found, share of cases (recall)"), y=Axis(label="right when it says so (precision)"))
    return _lines(
        scored,
        plot=plot,
        name="Right when it says so (precision and recall)",
        reading="Going right, more of the cases are found; the height says how often the model is then right when it "
        "says yes. Rare classes start lower: compare a line with how common its class is.",
        points=curves.precision_recall,
    )


def reliability_chart(scored: Scored) -> Chart:
    """Observed share by mean probability, a line for each class that has one."""
    plot = Plot(x=Axis(label="probability said"), y=Axis(label="share that has it"))
    marks = [plot.line([(0, 0), (1, 1)], kind="rule")]
    for line in scored.lines():
        bins = curves.reliability(scored.labels[:, line.column], scored.probabilities[:, line.column])
        places: list[Place] = [(said, happened) for said, happened, _ in bins]
        kind = kind_of(line.colour)
        marks.append(plot.line(places, kind=kind, title=line.code or ""))
        if line.code is not None:
            titles = [f"{line.code}: said {said:.0%}, was {was:.0%} of {count}" for said, was, count in bins]
            marks.append(plot.dots(places, kind=kind, titles=titles))
    name = "Do probabilities mean what they say? (reliability)"
    return Chart(
        name=name,
        reading="Each dot is a tenth of the records. On the diagonal, of the records called 30 % likely 30 % have the "
        "finding; below it the model promises too much, above it too little.",
        drawing=plot.drawn(title=name, about="Observed share by mean probability, ten bins of equal size", marks=marks)
        + _names(scored.lines()),
    )


def _lines(
    scored: Scored,
    *,
    plot: Plot,
    name: str,
    reading: str,
    points: Callable[..., curves.Points],
    under: Sequence[str] = (),
) -> Chart:
    marks = list(under)
    for line in scored.lines():
        found = points(scored.labels[:, line.column], scored.probabilities[:, line.column])
        places: list[Place] = [(x, y) for x, y in found]
        marks.append(plot.line(places, kind=kind_of(line.colour), title=line.code or ""))
    about = "Lines: " + ", ".join(line.code for line in scored.lines() if line.code is not None)
    return Chart(
        name=name, reading=reading, drawing=plot.drawn(title=name, about=about, marks=marks) + _names(scored.lines())
    )


def _names(lines: Sequence[Line]) -> str:
    named = [(kind_of(line.colour), line.code) for line in lines if line.code is not None]
    rarer = sum(line.code is None for line in lines)
    return legend([*named, *([("others", f"{rarer} rarer classes")] if rarer else [])])


def _sweep(scored: Scored, k: int) -> str:
    found = curves.sweep(scored.labels[:, k], scored.probabilities[:, k])
    plot = Plot(
        x=Axis(label="threshold", ticks=(0, 0.5, 1)), y=Axis(label="share", ticks=(0, 0.5, 1)), width=260, height=200
    )
    marks = [plot.rule_at_x(float(scored.thresholds[k]), title=f"threshold in use: {scored.thresholds[k]:.2f}")]
    for kind, name in SWEEP_LINES:
        # Where nothing is called positive there is no precision: the line ends.
        places = [(x, float(y)) for x, y in zip(curves.SWEPT, getattr(found, name), strict=True) if y == y]
        marks.append(plot.line(places, kind=kind, title=name))
    code = scored.codes[k]
    about = f"Sensitivity, specificity and precision by threshold; in use is {scored.thresholds[k]:.2f}"
    return f"<div><h3>{escape(code)}</h3>{plot.drawn(title=code, about=about, marks=marks)}</div>"


SWEEP_LINES: Final = (("k0", "sensitivity"), ("k1", "specificity"), ("k2", "precision"))


def _tenths(low: float) -> list[float]:
    return [at / 10 for at in range(round(low * 10), 11)]
