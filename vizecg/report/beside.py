"""What an evaluation may hold beside its scores: slices, risk against coverage, robustness, and how the model learned.

Each is read from its file and is empty where there is none, so a page tells what is there and is silent about the rest.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vizecg.errors import InputError

SLICES_FILE: Final = "slices.json"
COVERAGE_FILE: Final = "risk_coverage.csv"
ROBUSTNESS_FILE: Final = "robustness.csv"
PAPER_FILE: Final = "paper.csv"
CONTROLS_FILE: Final = "controls.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Macro AUROC of a part of the records; without a value, `reason` says why, and else why it is not compared."""

    group: str
    name: str
    records: int
    value: float | None
    low: float | None
    high: float | None
    reason: str = ""
    p: float | None = None
    """Of no difference to the other records, corrected for how many parts were asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveragePoint:
    """Of the share of records that are answered: share of wrong labels, and of records with any label wrong."""

    answered: float
    labels_wrong: float
    records_wrong: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """Macro AUROC of pages in a style and through a camera, minus that of the standard page of the same records."""

    style: str
    camera: str
    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Macro AUROC of pages of one layout or paper speed, minus that of standard pages; `reason` why there is none."""

    kind: str
    value: str
    records: int
    difference: float | None
    low: float | None
    high: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A sceptic's question, its answer, what a sound model's is, and whether they agree; None where nobody can say."""

    question: str
    expected: str
    value: float | None
    low: float | None
    high: float | None
    held: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Textbook:
    """What was said of a textbook page, and what was to be said; None where the task has no class for it."""

    name: str
    expected: tuple[str, ...]
    positives: tuple[str, ...]
    probabilities: Mapping[str, float]
    held: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """All of it; `history` is head -> (epoch, macro AUROC) of the validation fold."""

    slices: tuple[Slice, ...] = ()
    coverage: tuple[CoveragePoint, ...] = ()
    robustness: tuple[Robustness, ...] = ()
    papers: tuple[Paper, ...] = ()
    controls: tuple[Asked, ...] = ()
    textbook: tuple[Textbook, ...] = ()
    history: Mapping[str, Sequence[tuple[float, float]]]


def read_beside(folder: Path, *, curves: Path | None = None) -> Beside:
    """Read what lies in an evaluation's folder, and the curves of its model run.

    Raises:
        InputError: a file is there and is not what its writer writes.
    """
    return Beside(
        slices=read_slices(folder / SLICES_FILE),
        coverage=tuple(
            CoveragePoint(
                answered=float(row["answered_share"]),
                labels_wrong=float(row["error_rate"]),
                records_wrong=float(row["mismatch_rate"]),
            )
            for row in _rows(folder / COVERAGE_FILE, columns=("answered_share", "error_rate", "mismatch_rate"))
            if row["error_rate"]
        ),
        robustness=tuple(
            Robustness(
                style=row["style"],
                camera=row["camera"],
                difference=float(row["difference"]),
                low=_optional(row.get("low")),
                high=_optional(row.get("high")),
            )
            for row in _rows(folder / ROBUSTNESS_FILE, columns=("style", "camera", "difference"))
            if row["difference"]
        ),
        papers=tuple(
            Paper(
                kind=row["kind"],
                value=row["value"],
                records=int(row["records"]),
                difference=_optional(row["difference"]),
                low=_optional(row["low"]),
                high=_optional(row["high"]),
                reason=row["reason"],
            )
            for row in _rows(folder / PAPER_FILE, columns=("kind", "value", "records", "difference", "reason"))
        ),
        **_controls(folder / CONTROLS_FILE),
        history=_history(curves) if curves is not None else {},
    )


def read_slices(path: Path) -> tuple[Slice, ...]:
    """Read the parts that were scored, and those too small to be.

    Raises:
        InputError: the file is there and does not hold them.
    """
    if not path.is_file():
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return tuple(_slice(entry) for entry in content["slices"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold slices ({type(error).__name__}: {error}); run evaluate again") from None


def _controls(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = ("question", "expected", "value", "low", "high", "held")
        asked = tuple(Asked(**{name: entry[name] for name in names}) for entry in content["controls"])
        textbook = tuple(
            Textbook(
                name=str(entry["name"]),
                expected=tuple(entry["expected"]),
                positives=tuple(entry["positives"]),
                probabilities=dict(entry["probabilities"]),
                held=entry["held"],
            )
            for entry in content["textbook"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} does not hold controls ({type(error).__name__}: {error}); run evaluate again"
        ) from None
    return {"controls": asked, "textbook": textbook}


def _slice(entry: Mapping[str, Any]) -> Slice:
    return Slice(
        group=str(entry["kind"]),
        name=str(entry["value"]),
        records=int(entry["records"]),
        value=entry["auroc"],
        low=entry["auroc_low"],
        high=entry["auroc_high"],
        reason=entry.get("reason") or "",
        p=entry.get("p_holm"),
    )


def _history(path: Path) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for row in _rows(path, columns=("epoch",)):
        epoch = float(row.pop("epoch"))
        for head, value in row.items():
            if value:
                found.setdefault(head, []).append((epoch, float(value)))
    return found


def _rows(path: Path, *, columns: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as opened:
        reader = csv.DictReader(opened)
        if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise InputError(f"{path} has no column {missing[0]!r}, it has {reader.fieldnames}; produce it again")
        return list(reader)


def _optional(text: str | None) -> float | None:
    return float(text) if text else None
