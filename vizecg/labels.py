"""Classes: which tasks there are, which classes each has, in which order, and what each is called.

The order of a task's classes is the order of every label vector made for it:
table columns, logits, thresholds, answers.

Source of the tasks and the protocol: Strodthoff et al., "Deep learning for ECG
analysis: benchmarks and insights from PTB-XL" (2020): every SCP statement of a
kind counts, whatever likelihood was noted beside it.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from vizecg.errors import InputError
from vizecg.statements import STATEMENTS, Statement

LEADS: tuple[str, ...] = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The twelve standard leads, in the order every signal array has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelClass:
    """One label of a task: `code` as in PTB-XL's tables, `name` in plain words."""

    code: str
    name: str


def slug(code: str) -> str:
    """A code as part of the name of a file or metric: `LAO/LAE` is `LAO-LAE`, `PRC(S)` is `PRC-S`.

    Codes of one task stay distinct.
    """
    return re.sub(r"[^A-Za-z0-9_]+", "-", code).strip("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A question asked of every record: which of `classes` does it belong to? None, one or several."""

    name: str
    classes: tuple[LabelClass, ...]
    class_of: dict[str, str]
    """SCP code -> code of its class; a statement that is not here says nothing about this task."""

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the classes, in their order."""
        return tuple(entry.code for entry in self.classes)

    def classes_of(self, statements: Collection[str]) -> tuple[str, ...]:
        """Class codes of a record with these SCP codes, in the order of `codes`; empty when none is of this task."""
        found = {self.class_of[code] for code in statements if code in self.class_of}
        return tuple(code for code in self.codes if code in found)


SUPERDIAGNOSTIC: Final[tuple[LabelClass, ...]] = (
    LabelClass(code="NORM", name="normal ECG"),
    LabelClass(code="MI", name="myocardial infarction"),
    LabelClass(code="STTC", name="ST/T changes"),
    LabelClass(code="CD", name="conduction disturbance"),
    LabelClass(code="HYP", name="hypertrophy"),
)

_SUBDIAGNOSTIC_NAMES: Final = {
    "STTC": "ST/T changes without ischaemia",
    "IMI": "inferior myocardial infarction",
    "AMI": "anterior myocardial infarction",
    "LAFB/LPFB": "left anterior or posterior fascicular block",
    "_AVB": "AV block",
    "ISCA": "anterior or lateral ischaemia",
    "ISCI": "inferior ischaemia",
}
"""Subclasses that gather several statements; the others are called as their one statement is."""


def _superdiagnostic() -> Task:
    class_of = {entry.code: entry.superclass for entry in STATEMENTS if entry.superclass is not None}
    return Task(name="superdiagnostic", classes=SUPERDIAGNOSTIC, class_of=class_of)


def _subdiagnostic() -> Task:
    class_of = {entry.code: entry.subclass for entry in STATEMENTS if entry.subclass is not None}
    plain = {entry.code: entry.name for entry in STATEMENTS}
    codes = dict.fromkeys(class_of.values())
    classes = tuple(LabelClass(code=code, name=_SUBDIAGNOSTIC_NAMES.get(code) or plain[code]) for code in codes)
    return Task(name="subdiagnostic", classes=classes, class_of=class_of)


def _by_statement(name: str, statements: Iterable[Statement]) -> Task:
    classes = tuple(LabelClass(code=entry.code, name=entry.name) for entry in statements)
    return Task(name=name, classes=classes, class_of={entry.code: entry.code for entry in classes})


TASKS: Final[dict[str, Task]] = {
    task.name: task
    for task in (
        _superdiagnostic(),
        _subdiagnostic(),
        _by_statement("diagnostic", (entry for entry in STATEMENTS if entry.diagnostic)),
        _by_statement("form", (entry for entry in STATEMENTS if entry.form)),
        _by_statement("rhythm", (entry for entry in STATEMENTS if entry.rhythm)),
        _by_statement("all", STATEMENTS),
    )
}
"""The tasks of the PTB-XL benchmark by name."""


def task_of(name: str) -> Task:
    """Find a task by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in TASKS:
        raise InputError(f"there is no task {name!r}; allowed are {', '.join(TASKS)}")
    return TASKS[name]
