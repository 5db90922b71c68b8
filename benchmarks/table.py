"""The README's table of speeds, from `results.json`: python -m benchmarks.table."""

import json
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results.json"


class Told(NamedTuple):
    """What is shown of an entry that is no race: what its name begins with, what was measured, what was wanted."""

    name: str
    measured: str
    wanted: str


_WITHIN = "{seconds:g} s; at most {peak_mb:g} MB, for a tenth of the records {peak_mb_of_a_tenth:g} MB"
_ALONE = "p50 {p50_ms:g} ms, {times:g} times decoding, intake and network alone; {http_ms:g} ms of it HTTP"
_TOLD = (
    Told(
        "the service at",
        "answers {answered_of_capacity:.0%} of its capacity, refuses the rest within {refused_ms_p99:g} ms (p99)",
        "≥ {wanted_of_capacity:.0%}, {wanted_refused_within_ms:g} ms",
    ),
    Told("likeness to pycairo", "PSNR {PSNR_dB_least:g} dB", "≥ {wanted_dB:g} dB"),
    Told("pages read and jittered", "{share:.2%}", "< {wanted_below:.0%}"),
    Told("one ", _ALONE, "≤ {wanted_times:g} times, {wanted_http_ms:g} ms"),
    Told("from start to ready", "{seconds:g} s, the slowest {slowest_s:g} s", "< {wanted_below_s:g} s"),
    Told("21799 records", _WITHIN, "< {wanted_below_s:g} s"),
    Told("training as", "{images_per_s:g} images a second; {waiting_share:.2%} of the time it waits for them", ""),
)


def table(found: dict[str, Any]) -> str:
    """Markdown: work, ours, peer, ratio, wanted; then on which machine."""
    rows = ["| work | ours | peer | ratio | wanted |", "|---|---|---|---|---|"]
    rows += [_row(entry) for entry in found["entries"]]
    machine = (
        f"`{found['command']}` on one core of {found['cpu']} ({found['cores']} cores), "
        f"CPython {found['python']}, {found['date']}; records: {found['records']}. "
        "Medians, and of the ratio the middle eight tenths of the rounds."
    )
    return "\n".join([*rows, "", machine])


def _row(entry: dict[str, Any]) -> str:
    if "ours_ms" not in entry:
        (told,) = (told for told in _TOLD if entry["name"].startswith(told.name))
        measured, wanted = (text.format(**entry["figures"]) for text in (told.measured, told.wanted))
        return f"| {entry['name']} | {measured} | | | {wanted} |"
    peer = f"{entry['peer']} {_ms(entry['peer_ms'])}" if "peer" in entry else ""
    ratio = "{median} ({low}–{high})".format(**_rounded(entry["ratio"])) if "peer" in entry else ""
    return f"| {entry['name']} | {_ms(entry['ours_ms'])} | {peer} | {ratio} | {_wanted(entry['wanted'])} |"


def _ms(spread: dict[str, float]) -> str:
    median = spread["median"]
    return f"{median:.0f} ms" if median >= 100 else f"{median:.3g} ms"


def _wanted(wanted: dict[str, float]) -> str:
    if "ratio_at_least" in wanted:
        return f"≥ {wanted['ratio_at_least']:g}"
    return f"≤ {wanted['ms_at_most']:g} ms" if "ms_at_most" in wanted else ""


def _rounded(ratio: dict[str, float]) -> dict[str, str]:
    """Whole numbers, but for a ratio of a few, of which half is much."""
    digits = 0 if ratio["median"] >= 10 else 1
    return {key: f"{value:.{digits}f}" for key, value in ratio.items()}


if __name__ == "__main__":
    print(table(json.loads(RESULTS.read_text(encoding="utf-8"))))
