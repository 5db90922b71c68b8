"""The monitor's page for people: one file, nothing loaded from elsewhere."""

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any, Final

from vizecg.webpage import counted, document

_KINDS: Final = {
    "picture": "How the pages were pictured",
    "ink": "How much is drawn on them",
    "probability": "What the model says",
}
_RESULTS: Final = {"changed": "changed", "not changed": "no", "not enough data": "not enough data"}
# Beyond this every bar is full: an index of 2 is a set of other pictures altogether.
_FULL: Final = 2.0


def page_of(report: Mapping[str, Any], *, well: bool) -> str:
    """Give the whole page; `report` is the content of `monitor.json`."""
    model, window = report["model"], report["window"]
    version = f"version {model['version']}" if model["version"] else f"bundle {model['bundle_digest'][:12]}"
    parts = [
        f"<h1>What {escape(model['name'])} {escape(version)} was sent</h1>",
        '<p class="simulated">Trained on simulated records: its answers have no medical meaning.</p>'
        if model["simulated"]
        else "",
        _verdict(report, well=well),
        _tiles(report),
        "".join(_kind(report, kind) for kind in _KINDS) if report["shifts"] else "",
        _live(report["live"]),
        f"<footer>{_moment(window['begins'])} to {_moment(window['ends'])} UTC; bundle "
        f"{escape(model['bundle_digest'])}. {_left_out(window)}The trail holds no picture and no patient; "
        "so does this page. Research software, not a medical device.</footer>",
    ]
    return document(f"Monitor: {model['name']}", body="".join(parts), style=_STYLE, inline_styles=True)


def _verdict(report: Mapping[str, Any], *, well: bool) -> str:
    heading = "Nothing for anybody to do" if well else "Somebody should look"
    rows = "".join(
        f'<li class="{kind}"><b>{escape(look["about"])}</b> {escape(look["sentence"])}</li>'
        for kind, look in (("well" if look["well"] else "ill", look) for look in report["looks"])
    )
    notes = "".join(f"<li><b>note</b> {escape(note)}</li>" for note in report["notes"])
    kind = "holds" if well else "look"
    return f'<div class="verdict {kind}"><strong>{heading}</strong><ul class="looks">{rows}{notes}</ul></div>'


def _tiles(report: Mapping[str, Any]) -> str:
    window, changed = report["window"], [shift for shift in report["shifts"] if shift["result"] == "changed"]
    share = f"{window['rejected'] / window['pictures']:.0%}" if window["pictures"] else "–"
    tiles = [
        (f"{window['pictures']:,}", "pictures"),
        (share, "no readable ECG"),
        (f"{len(changed)} of {len(report['shifts'])}", "measures changed"),
        (f"{report['live']['confirmed']:,}", "confirmed diagnoses"),
    ]
    return '<ul class="tiles">' + "".join(f"<li><b>{value}</b>{name}</li>" for value, name in tiles) + "</ul>"


def _kind(report: Mapping[str, Any], kind: str) -> str:
    shifts = [shift for shift in report["shifts"] if shift["kind"] == kind]
    if not shifts:
        return ""
    shifts.sort(key=lambda shift: -(shift["psi"] or 0))
    rows = "".join(_row(shift) for shift in shifts)
    return (
        f"<section><h2>{_KINDS[kind]}</h2>"
        f'<p class="note">Against {escape(str(report["reference"]))}. The bar is the population stability index, up to '
        f"{_FULL:g}; the stroke on it is what chance alone gives with sets of this size in one case of a hundred.</p>"
        '<div class="wide"><table><thead><tr><th>measure</th><th class="psi">index</th><th class="number">index</th>'
        '<th class="number">by chance</th><th class="number">distance</th><th class="number">median then</th>'
        '<th class="number">now</th><th class="number">p</th><th>changed</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _row(shift: Mapping[str, Any]) -> str:
    cells = [
        _number(shift["psi"], ".2f"),
        _number(shift["psi_by_chance"], ".2f"),
        _number(shift["ks"], ".2f"),
        _median(shift["then"]),
        _median(shift["now"]),
        _p(shift["p"]),
    ]
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    result = _RESULTS[shift["result"]]
    marked = f'<td class="{"moved" if result == "changed" else "note"}">{result}</td>'
    return f"<tr><td>{escape(shift['name'])}</td><td>{_bar(shift)}</td>{numbers}{marked}</tr>"


def _bar(shift: Mapping[str, Any]) -> str:
    if shift["psi"] is None:
        return ""
    filled, stroke = (100 * min(1.0, shift[name] / _FULL) for name in ("psi", "psi_noticed"))
    kind = " moved" if shift["result"] == "changed" else ""
    return f'<div class="bar{kind}"><span style="width:{filled:.1f}%"></span><i style="left:{stroke:.1f}%"></i></div>'


def _live(live: Mapping[str, Any]) -> str:
    calibration = ""
    if live["calibration_error"] is not None:
        calibration = (
            f"<p>Calibration error {live['calibration_error']:.3f}; with true probabilities it would be "
            f"{live['calibration_by_chance']:.3f} on these.</p>"
        )
    return (
        f"<section><h2>Against confirmed diagnoses</h2><p>{escape(live['sentence'])}.</p>{calibration}"
        '<p class="note">Whoever confirms diagnoses chooses which: these are no random sample of what was sent. '
        f"{counted(live['unmatched'], 'confirmation')} of answers outside the window, "
        f"{counted(live['damaged'], 'line')} that could not be read.</p></section>"
    )


def _left_out(window: Mapping[str, Any]) -> str:
    said = [
        f"{counted(window[name], 'answer')} {why}"
        for name, why in (("again", "to a picture that was sent again later"), ("other_models", "by other models"))
        if window[name]
    ]
    return f"Left out: {' and '.join(said)}. " if said else ""


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _median(value: float | None) -> str:
    """Four digits, but nothing below a thousandth: no measure here is told that closely."""
    if value is not None and abs(value) < 0.0005:
        value = 0.0
    return _number(value, ".4g").replace("-", "−")


def _moment(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "&lt; .001" if value < 0.001 else f"{value:.3f}"


_STYLE: Final = """
body { max-width: 62rem; }
.looks { list-style: none; margin: .6rem 0 0; padding: 0; }
.looks li { padding: .15rem 0 .15rem 1.4rem; position: relative; overflow-wrap: anywhere; }
.looks li::before { position: absolute; left: 0; }
.looks .well::before { content: "✓"; color: var(--holds); }
.looks .ill::before { content: "!"; color: var(--fails); font-weight: 700; left: .3rem; }
.wide { overflow-x: auto; }
th { text-align: left; font-weight: 500; font-size: .85rem; color: var(--soft); padding: .22rem .6rem .22rem 0; }
th.number { text-align: right; }
th.psi { width: 24%; }
td { font-size: .92rem; border-top: 1px solid var(--line); padding-right: .6rem; white-space: nowrap; }
.bar { position: relative; height: .7rem; min-width: 7rem; background: var(--track); border-radius: 3px; }
.bar span { display: block; height: 100%; background: var(--soft); border-radius: 3px; }
.bar.moved span { background: var(--bar); }
.bar i { position: absolute; top: -.2rem; width: 2px; height: 1.1rem; background: var(--ink); }
td.moved { color: var(--fails); font-weight: 600; }
"""
