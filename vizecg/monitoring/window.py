"""The pictures of the last weeks, from the audit trail: each once, and only those that this model answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from vizecg.audit import PredictionLine
from vizecg.auditing import predictions
from vizecg.drift import Kind, Measure, Params, Shift, shifts_of
from vizecg.reference import SCALE_FROM, Reference, describe

_OF_INK: Final = frozenset({"ink_share", "trace_columns_share", "canonical_mean", "canonical_std"})
_REJECTED: Final = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What the trail holds.

    Attributes:
        lines: answers of this model within the window, the newest of each picture, oldest first.
        again: answers left out because the very picture was answered again later.
        other_models: answers left out because another model gave them.
        begins: of the window.
        ends: of the window.
    """

    lines: tuple[PredictionLine, ...]
    again: int
    other_models: int
    begins: datetime
    ends: datetime

    def counted(self) -> dict[str, Any]:
        """For the report."""
        return {
            "begins": self.begins.isoformat(timespec="seconds"),
            "ends": self.ends.isoformat(timespec="seconds"),
            "pictures": len(self.lines),
            "again": self.again,
            "other_models": self.other_models,
        }

    def described(self) -> Reference | None:
        """The same as a reference has it; None where there is no picture."""
        if not self.lines:
            return None
        answered = [line for line in self.lines if line.decision != "reject"]
        codes = [output.code for output in answered[0].outputs] if answered else []
        said = np.array([[output.probability for output in line.outputs] for line in answered])
        return describe(
            of=f"what the service was sent from {self.begins:%Y-%m-%d} to {self.ends:%Y-%m-%d}",
            images=[line.image for line in self.lines],
            rejected=len(self.lines) - len(answered),
            probabilities={code: said[:, at] for at, code in enumerate(codes)},
        )


def read_window(folder: Path, *, bundle_digest: str, days: int, now: datetime) -> Window:
    """Read the trail, which is verified on the way.

    Args:
        folder: of the trail; one that is not there holds nothing yet.
        bundle_digest: of the model whose answers count.
        days: how long before now.
        now: with its time zone.

    Raises:
        BrokenChain: a line is not as it was written.
    """
    begins = now - timedelta(days=days)
    newest: dict[str, PredictionLine] = {}
    again = others = 0
    # Before the first answer there is no trail to verify.
    for line in predictions(folder) if any(folder.glob("audit-*.jsonl")) else ():
        if not begins <= line.time <= now:
            continue
        if line.model.bundle_digest != bundle_digest:
            others += 1
            continue
        known = newest.get(line.input_sha256)
        again += known is not None
        if known is None or known.time <= line.time:
            newest[line.input_sha256] = line
    lines = tuple(sorted(newest.values(), key=lambda line: line.time))
    return Window(lines=lines, again=again, other_models=others, begins=begins, ends=now)


def compare(reference: Reference, window: Reference, *, params: Params) -> tuple[Shift, ...]:
    """Ask of every measure of a picture, and of every class's probability, whether it has moved."""
    measures = [
        Measure(name=name, kind=_kind(name), reference=then.array(), window=window.images[name].array())
        for name, then in reference.images.items()
        if name in window.images
    ]
    measures += [
        _categories(SCALE_FROM, reference.scale_from, window.scale_from),
        _categories(_REJECTED, _rejections(reference), _rejections(window)),
    ]
    nothing = np.empty(0)
    measures += [
        Measure(
            name=code,
            kind="probability",
            reference=then.array(),
            window=window.probabilities[code].array() if code in window.probabilities else nothing,
        )
        for code, then in reference.probabilities.items()
    ]
    return shifts_of(measures, params=params)


def in_words(shifts: Sequence[Shift]) -> str:
    """Whether the pictures have changed, or the patients: one sentence, with what the numbers cannot tell."""
    moved: dict[Kind, list[str]] = {
        kind: [shift.name for shift in shifts if shift.kind == kind and shift.result == "changed"]
        for kind in ("picture", "ink", "probability")
    }
    if all(shift.result == "not enough data" for shift in shifts):
        fewest = min((shift.window for shift in shifts), default=0)
        return f"not enough data: {fewest} pictures"
    said = f" (probabilities of {', '.join(moved['probability'])})" if moved["probability"] else ""
    if moved["picture"]:
        also = f"; answers have moved too{said}, as other pictures alone can make them" if said else ""
        return f"the pictures have changed: {', '.join(moved['picture'] + moved['ink'])}{also}"
    if moved["ink"]:
        also = f", and answers have moved{said}" if said else ""
        return (
            f"what is drawn on the pages has changed: {', '.join(moved['ink'])}{also}; other patients or another "
            "print, which these numbers cannot tell apart"
        )
    if said:
        return f"the patients have changed, not the pictures: answers have moved{said} and no measure of a picture has"
    return "nothing has changed that chance does not explain"


def _kind(name: str) -> Kind:
    return "ink" if name in _OF_INK else "picture"


def _rejections(reference: Reference) -> dict[str, int]:
    return {"read": reference.pictures - reference.rejected, "rejected": reference.rejected}


def _categories(name: str, then: dict[str, int], now: dict[str, int]) -> Measure:
    names = sorted(then.keys() | now.keys())
    sides = (
        np.repeat(np.arange(len(names), dtype=float), [side.get(each, 0) for each in names]) for side in (then, now)
    )
    reference, window = sides
    return Measure(name=name, kind="picture", reference=reference, window=window, categories=True)
