"""The sections of a model card, from numbers that are there."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vizecg.answer import DISCLAIMER, SIMULATED_NOTE
from vizecg.bundle import Contract
from vizecg.model_card.front_matter import front_matter
from vizecg.model_card.tripod import Told, checklist
from vizecg.protocol import CROSS, FOLDS, words_of
from vizecg.public import is_ptbxl
from vizecg.report import Slice

_SIMULATED: Final = "simulated hearts"
_MOST_NAMED: Final = 8


_HEADINGS: Final[Mapping[str, str]] = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "precision": "precision",
    "recall": "sensitivity",
    "specificity": "specificity",
    "brier": "Brier",
}
_CALIBRATION: Final[Mapping[str, str]] = {
    "calibration_slope": "slope (1 is right)",
    "calibration_intercept": "intercept (0 is right)",
    "ece": "ECE",
    "ece_expected": "ECE of a perfect model",
}


def write(
    contract: Contract, *, scores: dict[str, Any], description: dict[str, Any], slices: Sequence[Slice] = ()
) -> str:
    """Give Markdown, with what machines read before it; nothing in it depends on the clock.

    Args:
        contract: of the bundle.
        scores: of the evaluation's `metrics.json`.
        description: of the model run.
        slices: of the evaluation, if it has any.
    """
    calibration = _calibration(contract, scores=scores)
    parts = [
        front_matter(contract, scores=scores, source=description["source"]),
        f"# Model card: {contract.model_name}",
        *([f"> **SIMULATED.** {SIMULATED_NOTE}"] if contract.simulated else []),
        f"> {DISCLAIMER}",
        _purpose(contract),
        _data(contract, scores=scores, description=description),
        _scores(contract, scores=scores),
        *([calibration] if calibration else []),
        *([_parts_of_records(slices, scored_on=words_of(scores).scored_on)] if slices else []),
        _reading(contract, scores=scores),
        _origin(contract, description=description),
        _limits(contract, description=description),
        checklist(
            Told(
                slices=bool(slices),
                calibration=bool(calibration),
                ptbxl=is_ptbxl(description["source"]["uri"]),
                pages_read="refused_by_intake" in scores,
            )
        ),
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


def _data(contract: Contract, *, scores: dict[str, Any], description: dict[str, Any]) -> str:
    learned, on_paper = _on_paper(description)
    number = f"{learned:,} records" if learned else "the labelled records"
    paper = f", {on_paper:,} of them on paper alone" if on_paper else ""
    left_out = description.get("learned_from", {}).get("pages_left_out", 0)
    unread = f" Pages not learned from, because the intake took them for no ECG: {left_out:,}." if left_out else ""
    roles = (
        f"fold 9 chose calibration and thresholds, fold 10 ({scores['records']:,} records) scored it"
        if _protocol(scores) == FOLDS
        else f"fold 9 chose the epoch where the best was taken; all ten ({scores['records']:,} records) chose "
        "calibration and thresholds, and were scored, out of fold"
    )
    return f"""## Data

From {_population(description["source"], simulated=contract.simulated)}. Folds 1 to 8 taught it ({number}{paper}), \
{roles}; no patient is in two of them. The labels are the statements of the source, as the task {contract.task} \
groups them; a record without a label of the task is neither learned from nor scored.{unread}"""


def _protocol(scores: Mapping[str, Any]) -> str:
    """Older evaluations know one."""
    return str(scores.get("protocol", FOLDS))


def _scores(contract: Contract, *, scores: dict[str, Any]) -> str:
    of = " simulated" if contract.simulated else ""
    entries = [scores["macro"], *(scores["classes"][entry.code] for entry in contract.classes)]
    shown = [name for name in _HEADINGS if any(name in entry for entry in entries)]
    covered = scores["macro_classes"]
    of_which = (
        ", ".join(covered) if len(covered) <= _MOST_NAMED else f"{len(covered)} of {len(contract.classes)} classes"
    )
    rows = [f"| macro of {of_which} | | {_cells(scores['macro'], shown)} |"]
    for entry in contract.classes:
        found = scores["classes"][entry.code]
        rows.append(f"| {entry.code}, {entry.name} | {found.get('positives', '')} | {_cells(found, shown)} |")
    table = "\n".join(rows)
    how = (
        "records of fold 10, never used in training"
        if _protocol(scores) == FOLDS
        else "records of all ten folds, each asked of a network that had not learned from its fold"
    )
    return f"""## How good it is

On {scores["records"]}{of} {how}; 95 % intervals by bootstrap over patients. {_left_out(scores)}{_of_recipe(scores)}

| class | cases | {" | ".join(_HEADINGS[name] for name in shown)} |
|---|---|{"---|" * len(shown)}
{table}"""


def _of_recipe(scores: Mapping[str, Any]) -> str:
    """Out of fold, who was scored is not who is served."""
    if _protocol(scores) != CROSS:
        return ""
    found = scores["served_network"]
    served, other = (_cells(found[block], ("auroc",)) for block in ("macro", "out_of_fold_macro"))
    ends = (found[f"difference{end}"] for end in ("", "_low", "_high"))
    return (
        f"\n\n{words_of(scores).summary} On the {found['records']:,} records of fold 10, which it has not learned "
        f"from, the network that is served has a macro AUROC of {served}, the one of the ten that has not either "
        f"{other}; the difference is {_interval(*ends)}."
    )


def _left_out(scores: dict[str, Any]) -> str:
    """Why some classes are not in the macro."""
    if not (reasons := scores.get("left_out")):
        return "A class without a positive record there has no AUROC, and is not in the macro."
    named = [f"{code} ({why})" for code, why in reasons.items()]
    more = f" and {len(named) - _MOST_NAMED} others" if len(named) > _MOST_NAMED else ""
    return f"Too rare there to judge by, and so not in the macro: {'; '.join(named[:_MOST_NAMED])}{more}."


def _cells(metrics: dict[str, Any], shown: Sequence[str]) -> str:
    ends = ("", "_low", "_high")
    return " | ".join(_interval(*(metrics.get(f"{name}{end}") for end in ends)) for name in shown)


def _calibration(contract: Contract, *, scores: dict[str, Any]) -> str:
    """Nothing where it was not measured."""
    entries = {"macro": scores["macro"], **{entry.code: scores["classes"][entry.code] for entry in contract.classes}}
    shown = [name for name in _CALIBRATION if any(name in found for found in entries.values())]
    if not shown:
        return ""
    rows = "\n".join(f"| {code} | {_cells(found, shown)} |" for code, found in entries.items())
    words = words_of(scores)
    return f"""## Calibration

Fitted on {words.fitted_on}, measured on {words.scored_on}. A slope below 1 says that probabilities are too extreme. \
The calibration error (ECE) of a finite set is never 0: read it against that of a perfect model, where it stands \
beside it.

| class | {" | ".join(_CALIBRATION[name] for name in shown)} |
|---|{"---|" * len(shown)}
{rows}"""


def _parts_of_records(slices: Sequence[Slice], *, scored_on: str) -> str:
    scored = [part for part in slices if part.value is not None]
    rows = "\n".join(
        f"| {_plain(part.group)} | {_plain(part.name)} | {part.records} | {_interval(part.value, part.low, part.high)} "
        f"| {'' if part.p is None else f'{part.p:.3f}'} |"
        for part in scored
    )
    small = len(slices) - len(scored)
    return f"""## Parts of the records

Macro AUROC of each part that is large enough, on {scored_on}; too small were {small}. p is that of no difference to \
the other records, corrected for how many parts were asked about.

| of | part | records | macro AUROC | p |
|---|---|---|---|---|
{rows}"""


def _plain(text: str) -> str:
    """Text that cannot end its cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


def _reading(contract: Contract, *, scores: dict[str, Any]) -> str:
    point = contract.operating_point
    rows = "\n".join(
        f"| {entry.code} | {threshold:.3f} |"
        for entry, threshold in zip(contract.classes, point.thresholds, strict=True)
    )
    fitted = point.fitted_on.get("records")
    refused = scores.get("refused_by_intake")
    return f"""## How its answer is read

A label is positive when its calibrated probability reaches its threshold. Calibration and thresholds come from \
{words_of(point.fitted_on).fitted_on}{f" ({fitted} records)" if fitted else ""}: thresholds were chosen on its \
calibrated probabilities\
{_rule(point.fitted_on)}.{_pooled(point.pooled_thresholds)} The model abstains where no label is at least \
{point.abstain_margin:g} above its threshold.{_refused(refused, scores=scores)}

| class | threshold |
|---|---|
{rows}"""


def _rule(fitted_on: Mapping[str, Any]) -> str:
    """How thresholds were chosen, if the operating point says so."""
    if not (said := fitted_on.get("threshold")):
        return ""
    if said["rule"] == "f1_plateau":
        return ", each in the middle of the plateau of the highest F1"
    return f", each to reach a {said['rule']} of {said['at']:g}"


def _pooled(codes: Sequence[str]) -> str:
    if not codes:
        return ""
    more = f" and {len(codes) - _MOST_NAMED} others" if len(codes) > _MOST_NAMED else ""
    return f" Too rare for a threshold of their own, these share one: {', '.join(codes[:_MOST_NAMED])}{more}."


def _refused(number: int | None, *, scores: Mapping[str, Any]) -> str:
    told = " A picture that the intake takes for no ECG gets no answer"
    if number is None:
        return f"{told}."
    if _protocol(scores) == CROSS:
        return f"{told}; of the standard pages these were {number}, neither learned from nor scored."
    return f"{told}; of the pages of fold 10 these were {number}, scored all the same."


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
    return f"{uri}; PTB-XL: Germany, 1989–1996" if is_ptbxl(uri) else uri


def _interval(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "not defined"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
