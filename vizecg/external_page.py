"""The report of an external validation as a page for people: one file, no script, nothing from outside."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

FIGURES: Final = {
    "classes": "How well each class is told apart",
    "roc": "Found against falsely found, at every threshold",
    "reliability": "Do probabilities mean what they say?",
    "confusion": "Said against written, at the model's thresholds",
}
"""Figures of `report.write_figures` that the page shows, with what each is about."""

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
td,th{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:right}
td:not(:first-child){white-space:nowrap}
td:first-child,th:first-child{text-align:left}.wide{overflow-x:auto}
img{max-width:100%;background:#fff;border-radius:4px}figure{margin:1rem 0}figcaption{opacity:.8}
.note{background:var(--soft);padding:.6rem 1rem;border-left:4px solid #c60}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page tells: the numbers of `metrics.json`, and the names of the classes."""

    content: Mapping[str, Any]
    names: Mapping[str, str]


def render_page(shown: Shown, *, figures: Path) -> str:
    """Write the page; figures are put into it."""
    content = shown.content
    title = f"External validation on {escape(str(content['images']))}"
    parts = [
        f"<h1>{title}</h1>",
        _opening(content),
        "<h2>By class</h2>",
        _classes(shown),
        "<h2>By group</h2>",
        _groups(content),
        "<h2>Figures</h2>",
        *(_figure(figures / f"{name}.png", about) for name, about in FIGURES.items()),
        f"<footer><p>Bundle {escape(content['bundle'][:12])}, task {escape(content['task'])}. "
        f"Intervals: {content['confidence']:.0%}, from {content['resamples']} resamples by patient. "
        "Research software, not a medical device.</p></footer>",
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style>"
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _opening(content: Mapping[str, Any]) -> str:
    pages = content["pages"]
    answered = pages["ok"] + pages["abstain"]
    sentences = [
        f"Of {pages['listed']} pages of {pages['patients']} patients the model answered {answered} "
        f"({answered / pages['listed']:.0%}); rejected as no readable ECG: {pages['reject']}, "
        f"files that could not be read: {pages['unreadable']}.",
        f"Measured on the {content['records']} answered pages that have a label of the task: macro AUROC "
        f"<b>{_interval(content['macro'], 'auroc')}</b> over {len(content['macro_classes'])} classes.",
    ]
    if content["left_out"]:
        named = "; ".join(f"{escape(code)}: {escape(why)}" for code, why in content["left_out"].items())
        sentences.append(f"Not in that mean, because chance would decide: {named}.")
    if pages["reasons"]:
        named = ", ".join(f"{escape(code)} ({number})" for code, number in pages["reasons"].items())
        sentences.append(f"Why there was no answer: {named}.")
    opening = "".join(f"<p>{sentence}</p>" for sentence in sentences)
    if content["simulated"]:
        opening += (
            '<p class="note">This model was trained on simulated records: these numbers have no medical meaning.</p>'
        )
    return opening


def _classes(shown: Shown) -> str:
    head = "<tr><th>class</th><th>cases</th><th>AUROC</th><th>AUPRC</th><th>sensitivity</th><th>precision</th>"
    rows = [head + "<th>found of all cases</th></tr>"]
    for code, found in shown.content["classes"].items():
        with_rejected = shown.content["sensitivity_with_rejected"][code]
        cells = [_interval(found, name) for name in ("auroc", "auprc", "recall", "precision")]
        rows.append(
            f"<tr><td>{escape(code)}<br><small>{escape(shown.names[code])}</small></td><td>{found['positives']}</td>"
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + f"<td>{'–' if with_rejected is None else f'{with_rejected:.2f}'}</td></tr>"
        )
    told = "The last column counts cases without an answer as not found."
    return f'<div class="wide"><table>{"".join(rows)}</table></div><p>{told}</p>'


def _groups(content: Mapping[str, Any]) -> str:
    rows = ["<tr><th>group</th><th>pages</th><th>macro AUROC</th></tr>"]
    for name, group in content["groups"].items():
        value = _interval(group, "auroc") if "auroc" in group else "not enough data"
        rows.append(f"<tr><td>{escape(name)}</td><td>{group['records']}</td><td>{value}</td></tr>")
    return f'<div class="wide"><table>{"".join(rows)}</table></div>'


def _figure(path: Path, about: str) -> str:
    if not path.is_file():
        return ""
    picture = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(about)}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{escape(about)}</figcaption></figure>"
    )


def _interval(found: Mapping[str, Any], name: str) -> str:
    value, low, high = (found[key] for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return "–"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} ({low:.2f}–{high:.2f})"
