"""The evaluation as one page for people: numbers with intervals, figures with how to read them, worst mistakes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from vizecg.labels import LabelClass
from vizecg.protocol import BY_THE_SERVED, FOLDS, words_of
from vizecg.report import tables
from vizecg.report.beside import Beside, read_beside
from vizecg.report.beside_figures import write_beside_figures
from vizecg.report.charts import (
    SWEEP_LINES,
    class_charts,
    coverage_chart,
    history_chart,
    reliability_chart,
    sweep_charts,
)
from vizecg.report.mistakes import Mistake, Mistakes, Said, most_telling
from vizecg.report.page_style import STYLE
from vizecg.report.scored import Scored
from vizecg.report.svg import legend
from vizecg.webpage import counted, document, picture_uri

PAGE_FILE: Final = "evaluation.html"
SCORES_FILE: Final = "metrics.json"
OPERATING_POINT_FILE: Final = "operating_point.json"
_MOST_NAMED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was evaluated: the classes, where the records are from, and the curves of the training, if they are kept."""

    classes: Sequence[LabelClass]
    source: str
    curves: Path | None = None


def write_page(folder: Path, *, scored: Scored, subject: Subject, mistakes: Mistakes) -> None:
    """Write `evaluation.html`, and the figures of what lies beside the scores, from what an evaluation's folder holds.

    To be called last: a section is there only if its numbers are.

    Raises:
        InputError: a file in the folder is not what its writer writes.
    """
    beside = read_beside(folder, curves=subject.curves)
    write_beside_figures(folder / "figures", beside, note=scored.note)
    content = _json(folder / SCORES_FILE)
    point = _json(folder / OPERATING_POINT_FILE)
    page = render_page(content, point=point, scored=scored, subject=subject, beside=beside, mistakes=mistakes)
    (folder / PAGE_FILE).write_text(page, encoding="utf-8")


def render_page(
    content: Mapping[str, Any],
    *,
    point: Mapping[str, Any],
    scored: Scored,
    subject: Subject,
    beside: Beside,
    mistakes: Mistakes,
) -> str:
    """Give the whole page; equal numbers give equal bytes.

    Args:
        content: of `metrics.json`.
        point: of `operating_point.json`.
        scored: the same records one by one, for the curves.
        subject: what was evaluated.
        beside: what else was measured.
        mistakes: to be shown as pages.
    """
    names = {entry.code: entry.name for entry in subject.classes}
    # A file sorts them by name; people read them in the task's order.
    content = {**content, "classes": {code: content["classes"][code] for code in names}}
    body = (
        _heading(content)
        + _tiles(content, names=names)
        + _left_out(content)
        + _served(content)
        + _section("By class", tables.class_table(content, names=names))
        + _forest(content, names=names)
        + _figures(scored)
        + _thresholds(scored, point=point, fitted_on=words_of(content).fitted_on)
        + _calibration(content, scored=scored)
        + _slices(beside, content=content)
        + _coverage(beside, content=content)
        + _robustness(beside)
        + _controls(beside)
        + _mistakes(mistakes)
        + _history(beside)
        + _colophon(content, subject=subject)
    )
    return document("VizECG: how good is the model?", body=f"<main>{body}</main>", style=STYLE)


def _heading(content: Mapping[str, Any]) -> str:
    simulated = (
        '<p class="simulated"><b>SIMULATED.</b> The records were made by a program: '
        "nothing here has a medical meaning.</p>"
        if content.get("simulated")
        else ""
    )
    protocol = f"<p class=note>{escape(words_of(content).summary)}</p>"
    return f"<header><h1>How good is the model?</h1>{simulated}{_headline(content)}{protocol}</header>"


def _headline(content: Mapping[str, Any]) -> str:
    value, low, high = (content["macro"].get(name) for name in ("auroc", "auroc_low", "auroc_high"))
    if value is None:
        said, means = "Macro AUROC is not defined.", "No class has enough records with it and without it."
    else:
        span = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
        said = f"Macro AUROC {value:.3f}{span}"
        means = (
            "Of a record with a finding and one without it, the model gives the one with it the higher probability in "
            f"{value * 100:.0f} of 100 pairs, averaged over the classes; guessing is 50."
        )
    return f'<div class="verdict plain"><strong>{said}</strong><span>{means}</span></div>'


def _tiles(content: Mapping[str, Any], *, names: Mapping[str, str]) -> str:
    tiles = [(f"{content['records']:,}", f"records of {words_of(content).scored_on}")]
    if "patients" in content:
        tiles.append((f"{content['patients']:,}", "patients"))
    tiles.append((f"{len(content['macro_classes'])} of {len(names)}", "classes in the macro"))
    if content.get("exact_match") is not None:
        tiles.append((f"{content['exact_match']:.0%}", "records with every class right"))
    if content.get("refused_by_intake"):
        done = "scored all the same" if content.get("protocol", FOLDS) == FOLDS else "neither learned from nor scored"
        tiles.append((f"{content['refused_by_intake']:,}", f"pages taken for no ECG, {done}"))
    if content.get("on_paper"):
        tiles.append((f"{content['on_paper']:,}", "records that came on paper"))
    return f'<ul class="tiles">{"".join(f"<li><b>{value}</b>{escape(name)}</li>" for value, name in tiles)}</ul>'


def _left_out(content: Mapping[str, Any]) -> str:
    """Classes outside the macro, each with its reason; of an older evaluation, without one."""
    without = [code for code in content["classes"] if code not in content["macro_classes"]]
    reasons = content.get("left_out") or dict.fromkeys(without, "no record with it, or none without it")
    if not reasons:
        return ""
    items = [f"<li><b>{escape(code)}</b>: {escape(str(why))}</li>" for code, why in reasons.items()]
    shown, rest = items[:_MOST_NAMED], items[_MOST_NAMED:]
    more = f"<details><summary>and {len(rest)} more</summary><ul>{''.join(rest)}</ul></details>" if rest else ""
    told = "Too few records to judge them by; their own rows below say what there is."
    return _section("Classes left out of the macro", f"<p class=note>{told}</p><ul>{''.join(shown)}</ul>{more}")


def _served(content: Mapping[str, Any]) -> str:
    """The network that is served beside those that were scored, where they are not the same."""
    if not (found := content.get("served_network")):
        return ""
    told = (
        f"The {found['records']:,} records of fold 10 that both answered. Neither network learned from them, and both "
        "are read by calibrations and thresholds that know nothing of them."
    )
    reading = (
        "If 0 lies in the interval of the difference, the network that is served ranks these records no differently "
        "from the ones that were scored; it learned from one fold less."
    )
    return _section(
        "The network that is served", f"<p class=note>{told}</p>{tables.served_table(found)}{_reading(reading)}"
    )


def _forest(content: Mapping[str, Any], *, names: Mapping[str, str]) -> str:
    drawn = tables.forest(content, names=names)
    reading = (
        "The dot is the AUROC, the bar the range it would likely fall in on other patients; a bar that reaches the "
        "line at 0.5 may be chance, and bars that overlap may be equal."
    )
    return _section("AUROC of each class", drawn + _reading(reading)) if drawn else ""


def _figures(scored: Scored) -> str:
    charts = class_charts(scored)
    return _section("Figures", f"<div class=charts>{''.join(chart.html() for chart in charts)}</div>") if charts else ""


def _thresholds(scored: Scored, *, point: Mapping[str, Any], fitted_on: str) -> str:
    """What each threshold would do, and what the ones in use did."""
    pooled = point.get("pooled_thresholds") or ()
    told = f"Thresholds were chosen on {fitted_on}, and are applied to calibrated probabilities."
    if scored.cuts is not None and (scored.cuts != scored.thresholds).any():
        told += " Every fold was scored with those of the other folds; the lines show the ones that are served."
    if pooled:
        named = ", ".join(map(str, pooled[:_MOST_NAMED])) + (" and others" if len(pooled) > _MOST_NAMED else "")
        told += f" Too rare for a threshold of their own, these share one: {named}."
    left_out = len(scored.codes) - len(scored.panels())
    told += f" Shown are the {len(scored.panels())} commonest of {len(scored.codes)} classes." if left_out else ""
    sweeps = sweep_charts(scored)
    swept = (
        f"<h3>If the threshold were another</h3>{legend(SWEEP_LINES)}<div class=panels>{''.join(sweeps)}</div>"
        + _reading(
            "Moving the threshold right, fewer cases are found (sensitivity falls) and fewer are called by mistake "
            "(specificity rises); the dashed line is the threshold in use."
        )
        if sweeps
        else ""
    )
    confused = f"<h3>Said against written</h3><div class=panels>{tables.confusions(scored)}</div>" + _reading(
        "Of the records that have it, the first row says how many were found and how many missed; of those that "
        "have it not, the second says how many were called all the same."
    )
    return _section("Thresholds", f"<p class=note>{escape(told)}</p>{swept}{confused}")


def _calibration(content: Mapping[str, Any], *, scored: Scored) -> str:
    table = tables.calibration_table(content)
    chart = reliability_chart(scored).html() if scored.drawable() else ""
    return _section("Calibration", chart + table) if chart or table else ""


def _slices(beside: Beside, *, content: Mapping[str, Any]) -> str:
    if not (parts := [part for part in beside.slices if part.records]):
        return ""
    reading = (
        "Each row is a part of the records; the upright line is the score of all of them. A bar far to the left is a "
        "group the model may serve worse, a wide one says only that the group is small; where a difference to the "
        "other records is beyond chance, the row says so."
    )
    return _section(
        "Parts of the records",
        tables.slice_forest(parts, macro=content["macro"].get("auroc")) + _reading(reading),
    )


def _coverage(beside: Beside, *, content: Mapping[str, Any]) -> str:
    if not beside.coverage:
        return ""
    abstain = content.get("abstain") or {}
    told = ""
    if abstain.get("error_rate") is not None:
        told = (
            f"<p class=note>At the margin in use, {abstain['margin']:g}, it answers {abstain['answered_share']:.0%} of "
            f"the records; of these {abstain['mismatch_rate']:.0%} have a wrong label, and {abstain['error_rate']:.1%} "
            "of all labels are wrong.</p>"
        )
    return _section("When it leaves the answer to a person", told + coverage_chart(beside.coverage).html())


def _robustness(beside: Beside) -> str:
    if not beside.robustness:
        return ""
    reading = (
        "Each field is the macro AUROC on pages of that style through that camera, minus that on the clean standard "
        "page of the same records: below 0 the model loses by it; the stronger the colour, the more."
    )
    matrix = _ASKED + tables.robustness_table(beside.robustness) + _reading(reading)
    return _section("Other papers and cameras", matrix + _papers(beside))


def _papers(beside: Beside) -> str:
    if not beside.papers:
        return ""
    reading = (
        "Of the pages drawn in a style of their own, those of one layout of leads or one paper speed, through all "
        "cameras, minus the clean standard pages of the same records."
    )
    return f"<h3>By layout and paper speed</h3>{tables.paper_table(beside.papers)}{_reading(reading)}"


def _controls(beside: Beside) -> str:
    if not beside.controls and not beside.textbook:
        return ""
    reading = (
        "A model that finds disease where no trace is, that changes its mind with the header, or whose evidence map "
        "names places that do not matter, has learned something else than electrocardiography."
    )
    asked = tables.control_table(beside.controls) + _reading(reading) if beside.controls else ""
    known = f"<h3>Textbook pages</h3>{tables.textbook_table(beside.textbook)}" if beside.textbook else ""
    known += _reading("Pages of simulated hearts that every textbook shows; one miss says little, three say much.")
    return _section("Does it look at the traces?", _ASKED + asked + (known if beside.textbook else ""))


def _mistakes(mistakes: Mistakes) -> str:
    withheld = (
        f"{counted(mistakes.withheld, 'record')} with a mistake {'is' if mistakes.withheld == 1 else 'are'} not shown: "
        "only simulated records and those of a public database are drawn, never what came on paper."
    )
    if not mistakes.shown:
        return _section("Worst mistakes", f"<p class=note>{withheld}</p>") if mistakes.withheld else ""
    told = (
        f"Of {BY_THE_SERVED}: {counted(mistakes.wrong, 'record')} {'has' if mistakes.wrong == 1 else 'have'} at least "
        "one wrong label; these are the ones the model was surest about. " + (withheld if mistakes.withheld else "")
    )
    reading = (
        "Orange is what spoke for the named class, blue what spoke against it, on the part of the page that the model "
        "sees; colours are each page's own, so they cannot be compared between pages."
    )
    shown = "".join(_mistake(mistake) for mistake in mistakes.shown)
    return _section("Worst mistakes", f"<p class=note>{told}</p>{_reading(reading)}<div class=mistakes>{shown}</div>")


def _mistake(mistake: Mistake) -> str:
    drawn = mistake.drawn
    kind = "missed" if drawn.written else "called by mistake"
    written = ", ".join(said.code for said in mistake.classes if said.written) or "none of the classes"
    said = ", ".join(_told(entry) for entry in most_telling(mistake, most=_MOST_NAMED)) or "nothing"
    alt = f"Page of record {mistake.ecg_id} with the evidence for {drawn.code}"
    return (
        f'<figure class=mistake><img alt="{escape(alt, quote=True)}" src="{picture_uri(mistake.jpeg, kind="jpeg")}">'
        f"<figcaption><b>Record {mistake.ecg_id}: {escape(drawn.code)} {kind}.</b> Written: {escape(written)}. "
        f"Said: {escape(said)}. Drawn: evidence for {escape(drawn.code)}, "
        f"said with {drawn.probability:.2f} at a threshold of {drawn.threshold:.2f}.</figcaption></figure>"
    )


def _told(said: Said) -> str:
    return f"{said.code} {'yes' if said.positive else 'no'} ({said.probability:.2f})"


def _history(beside: Beside) -> str:
    return _section("Training", history_chart(beside).html()) if beside.history else ""


def _colophon(content: Mapping[str, Any], *, subject: Subject) -> str:
    confidence = content.get("confidence", 0.95)
    parts = [
        f"Intervals: {confidence:.0%}, from {content.get('resamples', 0):,} resamples by patient.",
        f"Source: {subject.source}.",
        *(f"{name}: {str(content[key])[:12]}." for key, name in _DIGESTS.items() if key in content),
        "Research software, not a medical device.",
    ]
    return f"<footer>{escape(' '.join(parts))} Written by <code>vizecg evaluate</code>.</footer>"


_ASKED: Final = f"<p class=note>Asked of {BY_THE_SERVED}.</p>"
_DIGESTS: Final = {"model_run": "Model run", "record_set": "Record set"}


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _reading(sentence: str) -> str:
    return f"<p class=reading><b>How to read it.</b> {escape(sentence)}</p>"


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
