"""The README's table of speeds, from `results.json`: python -m benchmarks.table."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"


def table(found: dict[str, Any]) -> str:
    """Markdown: work, ours, peer, ratio; then on which machine."""
    rows = ["| work | ours | peer | ratio |", "|---|---|---|---|"]
    rows += [_row(entry) for entry in found["entries"]]
    machine = (
        f"`{found['command']}` on one core of {found['cpu']} ({found['cores']} cores), "
        f"CPython {found['python']}, {found['date']}; records: {found['records']}. "
        "Medians, and of the ratio the middle eight tenths of the rounds."
    )
    return "\n".join([*rows, "", machine])


def _row(entry: dict[str, Any]) -> str:
    if "ours_ms" not in entry:
        told = "; ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in entry["figures"].items())
        return f"| {entry['name']} | {told} | | |"
    peer = f"{entry['peer']} {entry['peer_ms']['median']:.3g} ms" if "peer" in entry else ""
    ratio = "{median:.0f} ({low:.0f}–{high:.0f})".format(**entry["ratio"]) if "peer" in entry else ""
    return f"| {entry['name']} | {entry['ours_ms']['median']:.3g} ms | {peer} | {ratio} |"


if __name__ == "__main__":
    print(table(json.loads(RESULTS.read_text(encoding="utf-8"))))
