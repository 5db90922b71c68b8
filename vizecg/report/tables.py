"""The tables of the page: scores by class, calibration, right and wrong at the threshold, parts, robustness."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from vizecg.report import curves
from vizecg.report.beside import Asked, Paper, Robustness, Slice, Textbook
from vizecg.report.beside_figures import WORST_SHOWN, rows_and_columns
from vizecg.report.scored import Scored
from vizecg.report.svg import Axis, interval

METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "auroc": (
        "AUROC",
        "of a record with the finding and one without, how often the one with it gets more: 0.5 is chance",
    ),
    "auprc": ("AUPRC", "precision averaged over all thresholds; chance is the share of records that have the finding"),
    "recall": ("sensitivity", "share of the cases that are found (recall)"),
    "specificity": ("specificity", "share of the records without it that are left alone"),
    "precision": ("precision", "share that is right where the model says yes"),
    "f1": ("F1", "sensitivity and precision in one number; low when either is"),
    "accuracy": ("accuracy", "share of records that are right; high for a rare class even if no case is found"),
    "brier": ("Brier", "mean squared error of the probability; 0 is perfect"),
}
"""Columns in their order, as far as they were measured: heading, and what it means."""

CALIBRATION: Final[Mapping[str, tuple[str, str]]] = {
    "calibration_slope": ("slope", "1 is right; below 1 the probabilities are too extreme, above too cautious"),
    "calibration_intercept": ("intercept", "0 is right; below 0 the finding is called too often, above too seldom"),
    "ece": ("ECE", "by how much probability and share differ on average; never 0 on few records"),
    "ece_expected": ("ECE by chance", "what a perfectly calibrated model would show on as many records"),
}
ALPHA: Final = 0.05
LADDER: Final = 8
"""Steps of colour on either side of a heat map's middle."""


def class_table(content: Mapping[str, Any], *, names: Mapping[str, str]) -> str:
    """Each metric of each class that was measured, with its interval, below the macro."""
    shown = [name for name in METRICS if any(name in scores for scores in content["classes"].values())]
    head = "".join(f"<th>{METRICS[name][0]}</th>" for name in shown)
    macro = "".join(_cell(content["macro"], name) for name in shown)
    rows = [
        f"<tr class=macro><th scope=row>macro<small>mean of {len(content['macro_classes'])} classes</small></th>"
        f"<td class=number></td><td class=number></td>{macro}</tr>"
    ]
    for code, scores in content["classes"].items():
        cells = "".join(_cell(scores, name) for name in shown)
        rows.append(
            f"<tr><th scope=row>{escape(code)}<small>{escape(names.get(code, ''))}</small></th>"
            f"<td class=number>{_count(scores, 'positives')}</td>"
            f"<td class=number>{_number(scores.get('threshold'))}</td>{cells}</tr>"
        )
    return _wide(f"<thead><tr><th>class</th><th>cases</th><th>threshold</th>{head}</tr></thead>", rows) + _meanings(
        {name: METRICS[name] for name in shown}
    )


def calibration_table(content: Mapping[str, Any]) -> str:
    """Slope, intercept and calibration error of each class, as far as they were measured; else nothing."""
    shown = [name for name in CALIBRATION if any(name in scores for scores in content["classes"].values())]
    if not shown:
        return ""
    head = "".join(f"<th>{CALIBRATION[name][0]}</th>" for name in shown)
    entries = {"macro": content["macro"], **content["classes"]}
    rows = [
        f"<tr{' class=macro' if at == 0 else ''}><th scope=row>{escape(code)}</th>"
        f"{''.join(_cell(scores, name) for name in shown)}</tr>"
        for at, (code, scores) in enumerate(entries.items())
    ]
    return _wide(f"<thead><tr><th>class</th>{head}</tr></thead>", rows) + _meanings(
        {name: CALIBRATION[name] for name in shown}
    )


def served_table(found: Mapping[str, Any]) -> str:
    """Macro of the network that is served, and of the one that was scored, about the same records."""
    shown = [name for name in (*METRICS, *CALIBRATION) if found["macro"].get(name) is not None]
    heads = {name: told[0] for name, told in (*METRICS.items(), *CALIBRATION.items())}
    rows = [
        f"<tr><th scope=row>{who}</th>{''.join(_cell(found[block], name) for name in shown)}</tr>"
        for who, block in (("served", "macro"), ("out of fold", "out_of_fold_macro"))
    ]
    head = "".join(f"<th>{heads[name]}</th>" for name in shown)
    return _wide(f"<thead><tr><th>network</th>{head}</tr></thead>", rows) + _difference(found)


def _difference(found: Mapping[str, Any]) -> str:
    value, low, high = (found[f"difference{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return ""
    span = "" if low is None or high is None else f" ({_signed(low)} to {_signed(high)})"
    return f"<p class=note>Macro AUROC, served minus out of fold: {_signed(value)}{span}.</p>"


def forest(content: Mapping[str, Any], *, names: Mapping[str, str]) -> str:
    """AUROC of each class that has one as a dot with its interval, the best on top."""
    known = [(code, scores) for code, scores in content["classes"].items() if scores.get("auroc") is not None]
    known.sort(key=lambda entry: -entry[1]["auroc"])
    entries = [
        Slice(
            group=names.get(code, ""),
            name=code,
            records=int(scores.get("positives", 0)),
            value=scores["auroc"],
            low=scores.get("auroc_low"),
            high=scores.get("auroc_high"),
        )
        for code, scores in known
    ]
    return _forest(entries, heading="class", counted="cases", rule=0.5) if entries else ""


def slice_forest(slices: Sequence[Slice], *, macro: float | None) -> str:
    """Macro AUROC of each part; the line is the whole set's."""
    return _forest(slices, heading="part", counted="records", rule=0.5 if macro is None else macro)


def _forest(entries: Sequence[Slice], *, heading: str, counted: str, rule: float) -> str:
    ends = [end for entry in entries for end in (entry.value, entry.low) if end is not None]
    scale = Axis(label="AUROC", low=min([0.5, rule, *ends]), high=1.0)
    rows, group = [], None
    for entry in entries:
        if heading == "part" and entry.group != group:
            group = entry.group
            rows.append(f"<tr class=group><th colspan=4 scope=rowgroup>{escape(group)}</th></tr>")
        said = _interval(entry.value, entry.low, entry.high)
        strip = f"<span class=note>{escape(entry.reason or 'too few to say')}</span>"
        if entry.value is not None:
            title = f"{entry.name}: {said}"
            strip = interval(entry.low, entry.value, entry.high, scale=scale, title=title, rule=rule)
        rows.append(
            f"<tr><th scope=row>{escape(entry.name)}</th><td class=number>{entry.records:,}</td>"
            f"<td class=drawn>{strip}</td><td class=number>{said}{_beyond(entry)}</td></tr>"
        )
    ends_of_scale = f"<span class=ends><span>{scale.low:.2f}</span><span>{scale.high:.2f}</span></span>"
    head = f"<tr><th>{heading}</th><th>{counted}</th><th>{ends_of_scale}</th><th>AUROC</th></tr>"
    return f"<table class=forest><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _beyond(entry: Slice) -> str:
    if entry.p is None or entry.p > ALPHA:
        return ""
    return f"<small>differs from the others (p {'below 0.001' if entry.p < 0.001 else f'{entry.p:.3f}'})</small>"


def confusions(scored: Scored) -> str:
    """Written against said for each of the commonest classes at its threshold."""
    return "".join(_confusion(scored, k) for k in scored.panels())


def _confusion(scored: Scored, k: int) -> str:
    counts = curves.confusion(scored.labels[:, k], scored.called[:, k])
    has, has_not = counts.found + counts.missed, counts.false_alarms + counts.rightly_not
    return (
        f"<table class=confusion><caption>{escape(scored.codes[k])}</caption>"
        "<tr><td></td><th scope=col>said yes</th><th scope=col>said no</th></tr>"
        f"<tr><th scope=row>has it</th>{_shaded(counts.found, has)}{_shaded(counts.missed, has)}</tr>"
        f"<tr><th scope=row>has it not</th>{_shaded(counts.false_alarms, has_not)}"
        f"{_shaded(counts.rightly_not, has_not)}</tr></table>"
    )


def _shaded(count: int, of: int) -> str:
    share = count / of if of else 0.0
    return f'<td class="number h{round(share * LADDER)}">{count:,}<small>{share:.0%}</small></td>'


def robustness_table(cells: Sequence[Robustness]) -> str:
    """Style by camera, each the difference to the standard page of the same records, coloured by how much is lost."""
    styles, cameras = rows_and_columns(cells)
    found = {(cell.style, cell.camera): cell for cell in cells}
    limit = max(WORST_SHOWN, *(abs(cell.difference) for cell in cells))
    head = "".join(f"<th scope=col>{escape(camera)}</th>" for camera in cameras)
    rows = [
        f"<tr><th scope=row>{escape(style)}</th>"
        + "".join(_robust(found.get((style, camera)), limit=limit) for camera in cameras)
        + "</tr>"
        for style in styles
    ]
    return _wide(f"<thead><tr><th>style</th>{head}</tr></thead>", rows, kind="heat")


def _robust(cell: Robustness | None, *, limit: float) -> str:
    if cell is None:
        return "<td class=number>–</td>"
    step = round(min(abs(cell.difference) / limit, 1.0) * LADDER)
    span = (
        "" if cell.low is None or cell.high is None else f"<small>{_signed(cell.low)} to {_signed(cell.high)}</small>"
    )
    return f'<td class="number {"l" if cell.difference < 0 else "h"}{step}">{_signed(cell.difference)}{span}</td>'


def paper_table(parts: Sequence[Paper]) -> str:
    """Each layout and paper speed: how many records, and the difference or why there is none."""
    rows = [
        f"<tr><th scope=row>{escape(part.kind)} {escape(part.value)}</th><td class=number>{part.records:,}</td>"
        + (
            f"<td class=note>{escape(part.reason)}</td>"
            if part.difference is None
            else _robust(
                Robustness(style="", camera="", difference=part.difference, low=part.low, high=part.high),
                limit=max(WORST_SHOWN, abs(part.difference)),
            )
        )
        + "</tr>"
        for part in parts
    ]
    return _wide("<thead><tr><th>paper</th><th>records</th><th>AUROC</th></tr></thead>", rows, kind="heat")


def control_table(asked: Sequence[Asked]) -> str:
    """Question, answer with its interval, what a sound model's is, and whether they agree."""
    rows = [
        f"<tr><th scope=row>{escape(one.question)}</th>{_estimated(one.value, one.low, one.high)}"
        f"<td>{escape(one.expected)}</td><td>{_held(one.held)}</td></tr>"
        for one in asked
    ]
    head = "<thead><tr><th>question</th><th>answer</th><th>of a sound model</th><th>agrees</th></tr></thead>"
    return _wide(head, rows, kind="asked")


def textbook_table(pages: Sequence[Textbook]) -> str:
    """What was drawn, what was said of it, and whether the class it belongs to was among that."""
    rows = []
    for page in pages:
        said = ", ".join(f"{escape(code)} {page.probabilities[code]:.2f}" for code in page.positives) or "none"
        expected = ", ".join(f"{escape(code)} ({page.probabilities[code]:.2f})" for code in page.expected) or "–"
        cells = f"<td>{expected}</td><td>{said}</td><td>{_held(page.held)}</td>"
        rows.append(f"<tr><th scope=row>{escape(page.name)}</th>{cells}</tr>")
    head = "<thead><tr><th>drawn</th><th>expected (probability)</th><th>given</th><th>agrees</th></tr></thead>"
    return _wide(head, rows, kind="asked")


def _estimated(value: float | None, low: float | None, high: float | None) -> str:
    scores = {"it": value, "it_low": low, "it_high": high}
    return _cell(scores, "it")


def _held(held: bool | None) -> str:
    return {True: "yes", False: "<b>no</b>", None: "–"}[held]


def _wide(head: str, rows: Sequence[str], *, kind: str = "scores") -> str:
    """A table that scrolls by itself where the screen is narrow."""
    return f"<div class=wide tabindex=0><table class={kind}>{head}<tbody>{''.join(rows)}</tbody></table></div>"


def _meanings(metrics: Mapping[str, tuple[str, str]]) -> str:
    items = "".join(f"<div><dt>{name}</dt><dd>{meaning}</dd></div>" for name, meaning in metrics.values())
    return f"<details><summary>What the columns mean</summary><dl>{items}</dl></details>"


def _cell(scores: Mapping[str, Any], name: str) -> str:
    value, low, high = (scores.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    # Of negative ends, a dash between them would read as a third minus.
    between = " to " if low is not None and low < 0 else "–"
    span = (
        ""
        if low is None or high is None
        else f"<small>{_number(low, digits=2)}{between}{_number(high, digits=2)}</small>"
    )
    return f"<td class=number>{_number(value)}{span}</td>"


def _number(value: float | None, *, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _count(scores: Mapping[str, Any], name: str) -> str:
    return f"{scores[name]:,}" if name in scores else "–"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.2f}–{high:.2f})"
