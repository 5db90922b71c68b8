"""Diagnostic classes: which there are, in which order, and what each is called.

The order of `SUPERDIAGNOSTIC` is the order of every label vector in the project:
table columns, logits, thresholds, answers.

Source of the protocol: Strodthoff et al., "Deep learning for ECG analysis:
benchmarks and insights from PTB-XL" (2020): every SCP statement marked
diagnostic counts, whatever likelihood was noted beside it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticClass:
    """One label of a task: `code` as in PTB-XL's tables, `name` in plain words."""

    code: str
    name: str


SUPERDIAGNOSTIC: tuple[DiagnosticClass, ...] = (
    DiagnosticClass(code="NORM", name="normal ECG"),
    DiagnosticClass(code="MI", name="myocardial infarction"),
    DiagnosticClass(code="STTC", name="ST/T changes"),
    DiagnosticClass(code="CD", name="conduction disturbance"),
    DiagnosticClass(code="HYP", name="hypertrophy"),
)

CODES: tuple[str, ...] = tuple(entry.code for entry in SUPERDIAGNOSTIC)

LEADS: tuple[str, ...] = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The twelve standard leads, in the order every signal array has them."""


def classes_of(statements: Collection[str], *, class_of_statement: Mapping[str, str]) -> tuple[str, ...]:
    """Name the diagnostic classes a record's statements belong to.

    Args:
        statements: SCP codes of one record.
        class_of_statement: SCP code -> class, of diagnostic statements only.

    Returns:
        Class codes in `CODES` order; empty when no statement is diagnostic.
    """
    found = {class_of_statement[code] for code in statements if code in class_of_statement}
    return tuple(code for code in CODES if code in found)
