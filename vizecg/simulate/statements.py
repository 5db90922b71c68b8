"""The rows of `scp_statements.csv`, in the columns that PTB-XL has."""

from typing import Final

from vizecg.statements import STATEMENTS, Statement

COLUMNS: Final = (
    "",
    "description",
    "diagnostic",
    "form",
    "rhythm",
    "diagnostic_class",
    "diagnostic_subclass",
    "Statement Category",
    "SCP-ECG Statement Description",
    "AHA code",
    "aECG REFID",
    "CDISC Code",
    "DICOM Code",
)

NAMES: Final = {statement.code: statement.name for statement in STATEMENTS}


def row(statement: Statement) -> tuple[str, ...]:
    """One row under `COLUMNS`; codes of other vocabularies stay empty, the pipeline reads none."""
    kinds = (statement.diagnostic, statement.form, statement.rhythm)
    return (
        statement.code,
        statement.name,
        *("1.0" if yes else "" for yes in kinds),
        statement.superclass or "",
        statement.subclass or "",
        "",
        statement.name,
        *[""] * 4,
    )
