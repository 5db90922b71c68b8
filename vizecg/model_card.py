"""The bundle in words: what the model is for, how good it is, and what it must not be used for."""

from collections.abc import Mapping
from typing import Any, Final

from vizecg.answer import DISCLAIMER, SIMULATED_NOTE
from vizecg.bundle import Contract

_PTBXL_ADDRESSES: Final = ("https://physionet.org/files/ptb-xl/", "s3://physionet-open/ptb-xl/")
_SIMULATED: Final = "simulated hearts"
_MOST_NAMED: Final = 8


def write(contract: Contract, *, scores: dict[str, Any], description: dict[str, Any]) -> str:
    """Markdown, from numbers that are there; nothing in it depends on the clock."""
    parts = [
        f"# Model card: {contract.model_name}",
        *([f"> **SIMULATED.** {SIMULATED_NOTE}"] if contract.simulated else []),
        f"> {DISCLAIMER}",
        _purpose(contract),
        _scores(contract, scores=scores),
        _reading(contract),
        _origin(contract, description=description),
        _limits(contract, description=description),
    ]
    return "\n\n".join(parts) + "\n"


def _purpose(contract: Contract) -> str:
    scales = ", ".join(f"{scale.mm_per_s:g} mm/s and {scale.mm_per_mv:g} mm/mV" for scale in contract.paper_scales)
    width_mm, height_mm = contract.image.field_mm
    return f"""## What it is for

{contract.intended_use}

Input: a picture (PNG, JPEG, TIFF or PDF) of one printed 12-lead ECG at {scales}. The intake makes \
{contract.image.width_px} × {contract.image.height_px} gray pixels of it, {contract.image.px_per_mm:g} to the \
millimetre, a field of {width_mm:.0f} × {height_mm:.0f} mm. Labels may occur together."""


def _scores(contract: Contract, *, scores: dict[str, Any]) -> str:
    of = " simulated" if contract.simulated else ""
    covered = scores["macro_classes"]
    of_which = (
        ", ".join(covered) if len(covered) <= _MOST_NAMED else f"{len(covered)} of {len(contract.classes)} classes"
    )
    macro = f"| macro of {of_which} | {_cells(scores['macro'])} |"
    rows = [f"| {entry.code}, {entry.name} | {_cells(scores['classes'][entry.code])} |" for entry in contract.classes]
    table = "\n".join([macro, *rows])
    return f"""## How good it is

On {scores["records"]}{of} records of fold 10, never used in training; 95 % intervals by bootstrap over patients. \
A class without a positive record there has no AUROC, and is not in the macro.

| class | AUROC | AUPRC | F1 |
|---|---|---|---|
{table}"""


def _cells(metrics: dict[str, Any]) -> str:
    ends = ("", "_low", "_high")
    return " | ".join(_interval(*(metrics.get(f"{name}{end}") for end in ends)) for name in ("auroc", "auprc", "f1"))


def _reading(contract: Contract) -> str:
    point = contract.operating_point
    rows = "\n".join(
        f"| {entry.code} | {threshold:.3f} |"
        for entry, threshold in zip(contract.classes, point.thresholds, strict=True)
    )
    return f"""## How its answer is read

A label is positive when its calibrated probability reaches its threshold. Calibration and thresholds come from fold 9.

| class | threshold |
|---|---|
{rows}"""


def _selected(description: dict[str, Any]) -> str:
    epoch = description.get("best_epoch", "unknown")
    if description.get("params", {}).get("select") == "last":
        return f"averaged weights of its last epoch, {epoch}"
    return f"best epoch {epoch} by fold 9"


def _origin(contract: Contract, *, description: dict[str, Any]) -> str:
    inputs = contract.inputs
    source = description["source"]
    # Of joined sources some may be simulated; the URI names them all.
    all_simulated = contract.simulated and not source.get("parts")
    trained_on = "simulated records" if all_simulated else f"records of {source['uri']}"
    return f"""## Where it comes from

VizECGNet, our reconstruction of Nam et al. 2024 (arXiv 2408.02888), trained on {trained_on} {_beside(description)}; \
{_selected(description)}. The picture alone decides what is served.

| made from | SHA-256 |
|---|---|
| records | {inputs.records} |
| pages | {inputs.pages} |
| model run | {inputs.model_run} |
| evaluation | {inputs.evaluation} |

With {", ".join(f"{name} {version}" for name, version in sorted(contract.packages.items()))}."""


def _limits(contract: Contract, *, description: dict[str, Any]) -> str:
    population = _population(description["source"], simulated=contract.simulated)
    return f"""## Limits

- Trained and scored on {population}; nothing is known about others.
- It knows {len(contract.classes)} classes, of the task {contract.task}. A picture without a positive label is not \
thereby normal.
- {_pages(description)}"""


def _beside(description: dict[str, Any]) -> str:
    """What the image head was taught with; a description that does not say is of drawn pages alone."""
    records, on_paper = _on_paper(description)
    if not on_paper:
        return "with the signal beside the image"
    if on_paper == records:
        return "that came on paper, from the image alone, without a teacher"
    return f"with the signal beside the image, but for {on_paper} of {records} records that came on paper"


def _pages(description: dict[str, Any]) -> str:
    records, on_paper = _on_paper(description)
    if not on_paper:
        return "Pages were drawn by software; other layouts, paper speeds and gains have not been scored."
    drawn = "none was" if on_paper == records else "the others were"
    return (
        f"{on_paper} of the {records} pages it learned from came on paper, {drawn} drawn by software; "
        "what neither shows, such as other layouts, paper speeds and gains, has not been scored."
    )


def _on_paper(description: dict[str, Any]) -> tuple[int, int]:
    """Records learned from, and those of them that came on paper."""
    said = description.get("learned_from", {})
    return int(said.get("records", 0)), int(said.get("on_paper", 0))


def _population(source: Mapping[str, Any], *, simulated: bool) -> str:
    """Who was recorded; of a folder or archive nobody knows more than its name."""
    parts = source.get("parts") or ()
    if len(parts) > 1:
        each = "; ".join(_recorded(part["uri"], simulated=part["simulated"]) for part in parts)
        return f"{len(parts)} sources ({each})"
    if simulated:
        return f"{_SIMULATED}, which have no medical meaning at all"
    return f"one source ({_recorded(source['uri'], simulated=False)})"


def _recorded(uri: str, *, simulated: bool) -> str:
    if simulated:
        return _SIMULATED
    return f"{uri}; PTB-XL: Germany, 1989–1996" if uri.startswith(_PTBXL_ADDRESSES) else uri


def _interval(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "not defined"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
