"""Verdicts, versions and history as tables: for a terminal, and in Markdown for Prefect's pages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vizecg.gates import LOST, MACRO_FLOOR, Row, Verdict, versus

if TYPE_CHECKING:
    from vizecg.promotion.ledger import Entry
    from vizecg.promotion.versions import VersionSummary

_COLOUR: Final = {"pass": "green", "fail": "bold red", "not enough data": "yellow", "not applicable": "dim"}
_STATE_COLOUR: Final = {
    "committed": "green",
    "refused": "red",
    "reverted": "yellow",
    "pending": "bold yellow",
    "waiting": "bold yellow",
}


def verdict_table(verdict: Verdict) -> RenderableType:
    """Every gate's value, limit, support and result; below, in words, what was refused or not decided."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("gate", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("positive", justify="right", no_wrap=True)
    table.add_column("result")
    for row in verdict.rows:
        counts = ("" if number is None else f"{number:,}" for number in (row.records, row.positives))
        table.add_row(row.gate, _value(row), _limit(row), *counts, Text(row.result, style=_COLOUR[row.result]))
    why = [row for row in verdict.rows if row.result in ("fail", "not enough data")]
    # What was refused names itself; what was not decided says only what it lacks.
    about = {"fail": "", "not enough data": " for {}"}
    lines = [
        Text.assemble((row.result, _COLOUR[row.result]), f"{about[row.result].format(row.gate)}: {row.sentence}")
        for row in why
    ]
    return Group(*([table] if verdict.rows else []), *lines, Text(verdict.sentence, style="bold"))


def verdict_markdown(verdict: Verdict, *, heading: str) -> str:
    """The same for a page that shows Markdown."""
    lines = [f"## {heading}", "", f"**{_escaped(verdict.sentence)}**", ""]
    if verdict.rows:
        lines += ["| gate | value | limit | support | result | in words |", "|---|--:|--:|---|---|---|"]
        for row in verdict.rows:
            result = f"**{row.result}**" if row.result == "fail" else row.result
            cells = (row.gate, _value(row), _limit(row), row.support, result, row.sentence)
            lines.append("| " + " | ".join(map(_escaped, cells)) + " |")
    return "\n".join(lines) + "\n"


def versions_table(versions: "Sequence[VersionSummary]") -> Table:
    """What is registered, newest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("version", justify="right")
    table.add_column("aliases", no_wrap=True)
    table.add_column("macro AUROC (95 %)", no_wrap=True)
    table.add_column("trained on", overflow="fold")
    table.add_column("created", no_wrap=True)
    table.add_column("bundle", no_wrap=True)
    for entry in versions:
        kind = {True: "simulated", False: "real", None: "unknown"}[entry.simulated]
        source = "" if entry.data_source in (None, kind) else f", {entry.data_source}"
        table.add_row(
            entry.version,
            Text(", ".join(entry.aliases), style="bold green" if "champion" in entry.aliases else ""),
            _interval(entry.macro_auroc, low=entry.macro_auroc_low, high=entry.macro_auroc_high),
            Text.assemble((f"{kind} records", "yellow" if entry.simulated else ""), source),
            f"{entry.created_at:%Y-%m-%d}",
            (entry.bundle_digest or "?")[:12],
        )
    return table


def history_table(entries: "Sequence[Entry]") -> Table:
    """The ledger, oldest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("version", no_wrap=True)
    table.add_column("bundle", no_wrap=True)
    table.add_column("who")
    table.add_column("why", ratio=1)
    for entry in entries:
        instead = f" (was {entry.previous_version})" if entry.previous_version else ""
        table.add_row(
            str(entry.sequence),
            f"{entry.created_at:%Y-%m-%d %H:%M}",
            f"{entry.action} (override)" if entry.verdict.get("overridden") else entry.action,
            Text(entry.state, style=_STATE_COLOUR[entry.state]),
            f"{entry.version}{instead}",
            entry.bundle_digest[:12],
            entry.actor,
            entry.reason or str(entry.verdict.get("sentence", "")),
        )
    return table


def _value(row: Row) -> str:
    return _number(row.value, signed=_compares(row))


def _limit(row: Row) -> str:
    if not isinstance(row.limit, float):
        return _number(row.limit, signed=False)
    sign = ">" if _compares(row) else "≥" if row.gate == MACRO_FLOOR else "≤"
    return f"{sign} {_number(row.limit, signed=_compares(row))}"


def _compares(row: Row) -> bool:
    return row.gate.endswith(versus("")) or row.gate.startswith(LOST)


def _number(value: float | str | None, *, signed: bool) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def _interval(value: float | None, *, low: float | None, high: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:.3f}" + (f" ({low:.3f}–{high:.3f})" if low is not None and high is not None else "")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
