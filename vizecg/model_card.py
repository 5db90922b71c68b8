"""The bundle in words: what the model is for, how good it is, and what it must not be used for."""

from typing import Any, Final

from vizecg.answer import DISCLAIMER, SIMULATED_NOTE
from vizecg.bundle import Contract

_PTBXL_ADDRESS: Final = "https://physionet.org/files/ptb-xl/"


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
        _limits(contract, uri=str(description["source"]["uri"])),
    ]
    return "\n\n".join(parts) + "\n"


def _purpose(contract: Contract) -> str:
    scales = ", ".join(f"{scale.mm_per_s:g} mm/s and {scale.mm_per_mv:g} mm/mV" for scale in contract.paper_scales)
    width_mm, height_mm = contract.image.field_mm
    return f"""## What it is for

{contract.intended_use}

Input: a picture (PNG or JPEG) of one printed 12-lead ECG at {scales}. The intake makes {contract.image.width_px} × \
{contract.image.height_px} gray pixels of it, {contract.image.px_per_mm:g} to the millimetre, a field of \
{width_mm:.0f} × {height_mm:.0f} mm. Labels may occur together."""


def _scores(contract: Contract, *, scores: dict[str, Any]) -> str:
    of = " simulated" if contract.simulated else ""
    macro = f"| macro of {', '.join(scores['macro_classes'])} | {_cells(scores['macro'])} |"
    rows = [f"| {entry.code}, {entry.name} | {_cells(scores['classes'][entry.code])} |" for entry in contract.classes]
    table = "\n".join([macro, *rows])
    return f"""## How good it is

On {scores["records"]}{of} records of fold 10, never used in training; 95 % intervals by bootstrap over patients.

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


def _origin(contract: Contract, *, description: dict[str, Any]) -> str:
    inputs = contract.inputs
    uri = description["source"]["uri"]
    trained_on = "simulated records" if contract.simulated else f"records of {uri}"
    return f"""## Where it comes from

VizECGNet, our reconstruction of Nam et al. 2024 (arXiv 2408.02888), trained on {trained_on} with the signal beside \
the image; best epoch {description.get("best_epoch", "unknown")} by fold 9. The picture alone decides what is served.

| made from | SHA-256 |
|---|---|
| records | {inputs.records} |
| pages | {inputs.pages} |
| model run | {inputs.model_run} |
| evaluation | {inputs.evaluation} |

With {", ".join(f"{name} {version}" for name, version in sorted(contract.packages.items()))}."""


def _limits(contract: Contract, *, uri: str) -> str:
    return f"""## Limits

- Trained and scored on {_population(contract, uri=uri)}; nothing is known about others.
- It knows {len(contract.classes)} broad classes. A picture without a positive label is not thereby normal.
- Pages were drawn by software; other layouts, paper speeds and gains have not been scored."""


def _population(contract: Contract, *, uri: str) -> str:
    """Who was recorded; of a folder or archive nobody knows more than its name."""
    if contract.simulated:
        return "simulated hearts, which have no medical meaning at all"
    if uri.startswith(_PTBXL_ADDRESS):
        return f"one source ({uri}; PTB-XL: Germany, 1989–1996)"
    return f"one source ({uri})"


def _interval(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "not defined"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
