"""The report for people: one HTML file, nothing loaded from elsewhere, readable by day and by night."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from vizecg.records import AGE_BANDS, FOLDS, TEST_FOLD, VALIDATION_FOLD, Reason, RecordSet
from vizecg.signals import QUALITY_FLAGS
from vizecg.validation.baseline import Change, Comparison
from vizecg.validation.judge import Outcome
from vizecg.validation.records_suite import REFERENCE_PREVALENCE, REFERENCE_TASK
from vizecg.validation.signals_suite import FLAG_NAMES
from vizecg.validation.tables import TABLES, TableName
from vizecg.webpage import counted, document

REASON_NAMES: Final[Mapping[str, str]] = {
    Reason.MISSING_FILE: "a file is not there",
    Reason.OUTSIDE_FOLDER: "it names a file outside its folder",
    Reason.FILE_CHECKSUM: "a file is not the one that was published",
    Reason.HEADER_UNREADABLE: "its header cannot be read",
    Reason.TRUNCATED: "its recording is cut short or too long",
    Reason.HEADER_CHECKSUM: "its recording is not the one its header describes",
    Reason.WRONG_UNITS: "it is not in millivolts",
    Reason.WRONG_RATE: "it has another sampling rate",
    Reason.WRONG_LENGTH: "it is not ten seconds long",
    Reason.DUPLICATE_LEAD: "a lead comes twice",
    Reason.UNKNOWN_LEAD: "it has a lead that is none of the twelve",
    Reason.MISSING_LEAD: "a lead is missing",
    Reason.NOT_A_NUMBER: "samples are missing",
    Reason.OUT_OF_RANGE: "its voltages are too large for any heart",
    Reason.LEAD_RELATION: "its limb leads contradict each other",
    Reason.IMAGE_UNREADABLE: "its image cannot be read",
    Reason.IMAGE_TOO_LARGE: "its image is too large",
    Reason.PAGE_MISSING: "its file does not have the page that the table names",
}

_TABLE_NAMES: Final[Mapping[TableName, tuple[str, str]]] = {
    "records": ("Patients and diagnoses", "what the tables say about each record"),
    "classes": ("Classes", "whether there is enough of each to tune and to test on"),
    "signals": ("Recordings", "the voltages themselves, measured again"),
    "pages": ("Pages", "what the model will look at"),
    "baseline": ("Against the last data", "whether anything has changed since data was last accepted"),
}


MOST_CLASSES: Final = 15
"""As many bars as are read; of a task with more classes the commonest are shown."""


def render_page(outcomes: Sequence[Outcome], *, record_set: RecordSet, pages: int, comparison: Comparison) -> str:
    """Give the whole page; equal findings give equal bytes."""
    body = (
        _heading(outcomes, record_set=record_set)
        + _tiles(outcomes, record_set=record_set, pages=pages)
        + _attention(outcomes)
        + _arrived(record_set)
        + _compared(comparison)
        + _mixture(record_set)
        + _quality(record_set)
        + "".join(_expectations(name, outcomes) for name in TABLES)
        + _colophon(record_set)
    )
    return document("VizECG: can a model learn from this data?", body=body, style=_STYLE, inline_styles=True)


def _heading(outcomes: Sequence[Outcome], *, record_set: RecordSet) -> str:
    failed = sum(not outcome.passed and outcome.check.hard for outcome in outcomes)
    warnings = sum(not outcome.passed and not outcome.check.hard for outcome in outcomes)
    if failed:
        kind, verdict = (
            "fails",
            f"Stop: {counted(failed, 'thing')} that must be true {'is' if failed == 1 else 'are'} not.",
        )
        advice = "Nothing is trained on this data until that is mended."
    elif warnings:
        kind, verdict = "look", f"Good to use, with {counted(warnings, 'warning')}."
        advice = "Everything that must be true is. Somebody should look at the warnings; they stop nothing."
    else:
        kind, verdict, advice = "holds", "Good to use.", "Everything that was checked is as it should be."
    simulated = (
        '<p class="simulated"><b>Simulated records.</b> They were made by a program and have no medical meaning.</p>'
        if record_set.simulated
        else ""
    )
    return (
        f"<header><h1>Can a model learn from this data?</h1>{simulated}"
        f'<div class="verdict {kind}"><strong>{escape(verdict)}</strong><span>{escape(advice)}</span></div></header>'
    )


def _tiles(outcomes: Sequence[Outcome], *, record_set: RecordSet, pages: int) -> str:
    passed = sum(outcome.passed for outcome in outcomes)
    tiles = (
        (f"{len(record_set):,}", "records"),
        (f"{record_set.table['patient_id'].nunique():,}", "patients"),
        (f"{pages:,}", "pages"),
        (f"{passed} of {len(outcomes)}", "checks hold"),
    )
    return f'<ul class="tiles">{"".join(f"<li><b>{value}</b>{name}</li>" for value, name in tiles)}</ul>'


def _attention(outcomes: Sequence[Outcome]) -> str:
    broken = sorted((outcome for outcome in outcomes if not outcome.passed), key=lambda one: not one.check.hard)
    if not broken:
        return ""
    return f"<section><h2>What to look at</h2>{_list(broken)}</section>"


def _arrived(record_set: RecordSet) -> str:
    counts = record_set.counts
    rows = [("Records that came in", counts["in"], ""), ("… kept", counts["published"], "")]
    rows += [("… of these without a diagnosis", counts["unlabelled"], "kept, but nothing is learned from them")]
    if counts["without_signal"]:
        rows += [("… of these on paper alone", counts["without_signal"], "they teach the image stream")]
    rows += [("… set aside", counts["quarantined"], "listed one by one in quarantine.csv")]
    rows += [(f"…… because {REASON_NAMES[reason]}", number, "") for reason, number in counts["by_reason"].items()]
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td class=number>{number:,}</td><td class=note>{escape(note)}</td></tr>"
        for name, number, note in rows
    )
    return f"<section><h2>What came in</h2><table>{lines}</table>{_sources(record_set)}</section>"


def _sources(record_set: RecordSet) -> str:
    """Where the records of a set came from, when it joins several sources."""
    if not record_set.source["parts"]:
        return ""
    of_source = record_set.table["source"].value_counts()
    entries = ((part["uri"], int(of_source.get(part["uri"], 0)), None) for part in record_set.source["parts"])
    return f"<h3>From where</h3>{_bars(entries, total=len(record_set))}"


def _compared(comparison: Comparison) -> str:
    """Then and now, for what has changed; the rest folded away."""
    head = "<section><h2>Against the last data</h2>"
    if comparison.reason:
        return f"{head}<p class=note>{escape(comparison.reason)}</p></section>"
    accepted = comparison.accepted or {}
    told = f"Accepted last: {accepted['records']:,} records of {accepted['source']}."
    changed = [change for change in comparison.changes if change.changed]
    same = [change for change in comparison.changes if not change.changed]
    said = "Nothing has changed by more than chance." if not changed else f"{counted(len(changed), 'thing')} changed."
    return (
        f"{head}<p class=note>{escape(told)} {escape(said)}</p>{_then_and_now(changed)}"
        f"<details><summary>{counted(len(same), 'thing')} as before</summary>{_then_and_now(same)}</details></section>"
    )


def _then_and_now(changes: Sequence[Change]) -> str:
    rows = []
    for change in changes:
        if change.kind == "share":
            then, now = (
                f'<div class=bar><span style="width:{share:.1%}"></span></div>' for share in (change.then, change.now)
            )
            numbers = f"{_share(change.then)} → {_share(change.now)}"
            shown = f"<div class=then>{then}</div>{now}"
        else:
            shown, numbers = "<span class=note>how it is spread</span>", f"index {change.now:.2f}"
        rows.append(
            f"<tr><td>{escape(change.quantity)}</td><td class=wide>{shown}</td><td class=number>{numbers}</td></tr>"
        )
    return f"<table class=bars>{''.join(rows)}</table>"


def _mixture(record_set: RecordSet) -> str:
    table, total = record_set.table, len(record_set)
    published = REFERENCE_PREVALENCE if record_set.task == REFERENCE_TASK else {}
    of_classes = [(entry, int(table[entry.code].sum())) for entry in record_set.classes]
    commonest = {entry.code for entry, _ in sorted(of_classes, key=lambda one: -one[1])[:MOST_CLASSES]}
    classes = (
        (f"{entry.name} ({entry.code})", number, published.get(entry.code))
        for entry, number in of_classes
        if entry.code in commonest
    )
    told = "A record can have several."
    told += " The line marks the share in all of PTB-XL." if published else ""
    left_out = len(of_classes) - len(commonest)
    told += f" Of {len(of_classes)} classes the commonest; {left_out} rarer ones are not shown." if left_out else ""
    ages = ((band, int((table["age_band"] == band).sum()), None) for band in AGE_BANDS)
    sexes = ((sex, int((table["sex"] == sex).sum()), None) for sex in ("female", "male", "unknown"))
    folds = ((_fold_name(fold), int((table["fold"] == fold).sum()), None) for fold in FOLDS)
    return (
        "<section><h2>Who and what</h2>"
        f"<h3>Diagnoses</h3><p class=note>{told}</p>"
        f"{_bars(classes, total=total)}"
        f"<div class=columns><div><h3>Age in years</h3>{_bars(ages, total=total)}</div>"
        f"<div><h3>Sex</h3>{_bars(sexes, total=total)}<h3>Folds</h3>{_bars(folds, total=total)}</div></div></section>"
    )


def _fold_name(fold: int) -> str:
    return {VALIDATION_FOLD: f"{fold} (to tune on)", TEST_FOLD: f"{fold} (to test on)"}.get(fold, f"{fold} (to learn)")


def _quality(record_set: RecordSet) -> str:
    flags = ((FLAG_NAMES[flag], int(record_set.table[flag].sum()), None) for flag in QUALITY_FLAGS)
    return (
        "<section><h2>Poor recordings</h2><p class=note>Kept on purpose: a hospital's paper looks like this too. "
        f"Recordings that have …</p>{_bars(flags, total=len(record_set))}</section>"
    )


def _bars(entries: Iterable[tuple[str, int, float | None]], *, total: int) -> str:
    """Rows of name, count and share; a line where a reference share is given."""
    rows = []
    for name, number, reference in entries:
        share = number / total if total else 0.0
        mark = "" if reference is None else f'<i style="left:{reference:.1%}"></i>'
        bar = f'<div class=bar><span style="width:{share:.1%}"></span>{mark}</div>'
        rows.append(
            f"<tr><td>{escape(name)}</td><td class=wide>{bar}</td>"
            f"<td class=number>{number:,}</td><td class=number>{_share(share)}</td></tr>"
        )
    return f"<table class=bars>{''.join(rows)}</table>"


def _share(share: float) -> str:
    return f"{share:.0%}" if share == 0 or share >= 0.1 else f"{share:.1%}"


def _expectations(name: TableName, outcomes: Sequence[Outcome]) -> str:
    of_table = [outcome for outcome in outcomes if outcome.check.table == name]
    title, subtitle = _TABLE_NAMES[name]
    held = sum(outcome.passed for outcome in of_table)
    return (
        f"<section><h2>{title}</h2><details><summary>{held} of {len(of_table)} checks hold: {subtitle}</summary>"
        f"{_list(of_table)}</details></section>"
    )


def _list(outcomes: Iterable[Outcome]) -> str:
    return f"<ol class=checks>{''.join(_item(outcome) for outcome in outcomes)}</ol>"


def _item(outcome: Outcome) -> str:
    kind = "holds" if outcome.passed else "fails" if outcome.check.hard else "look"
    word = {"holds": "✓ holds", "fails": "✗ must be mended", "look": "! look at it"}[kind]
    why = "" if outcome.passed else f"<span class=why>{escape(outcome.check.why)}</span>"
    return (
        f'<li class="{kind}" id="{_anchor(outcome)}"><em>{word}</em><div><b>{escape(outcome.check.says)}</b>'
        f"<span>{escape(outcome.found[:1].upper() + outcome.found[1:])}.</span>{why}</div></li>"
    )


def _anchor(outcome: Outcome) -> str:
    return escape(f"{outcome.check.id}-{'ok' if outcome.passed else 'broken'}", quote=True)


def _colophon(record_set: RecordSet) -> str:
    return (
        f"<footer>Source: {escape(str(record_set.source['uri']))}. Record set {record_set.digest[:12]}, "
        f"{record_set.sampling_hz} Hz, task {escape(record_set.task)}. "
        "Written by <code>vizecg validate</code>.</footer>"
    )


_STYLE: Final = """
.bars td:first-child { width: 42%; }
.bars .number { width: 4rem; }
.bar { position: relative; height: .7rem; background: var(--track); border-radius: 3px; }
.bar span { display: block; height: 100%; background: var(--bar); border-radius: 3px; }
.then { opacity: .45; margin-bottom: .2rem; }
.bar i { position: absolute; top: -.2rem; width: 2px; height: 1.1rem; background: var(--ink); }
.checks { list-style: none; padding: 0; margin: .6rem 0 0; }
.checks li { display: grid; grid-template-columns: 9.5rem 1fr; gap: .2rem 1rem; padding: .6rem 0;
  border-top: 1px solid var(--line); }
.checks li:first-child { border-top: 0; }
.checks em { font-style: normal; font-weight: 600; }
.checks .holds em { color: var(--holds); }
.checks .look em { color: var(--look); }
.checks .fails em { color: var(--fails); }
.checks b { font-weight: 500; display: block; }
.checks span { display: block; font-size: .92rem; }
.checks span:first-of-type { color: var(--ink); opacity: .85; }
@media (max-width: 34rem) { .checks li { grid-template-columns: 1fr; } .bars td:first-child { width: 46%; } }
"""
