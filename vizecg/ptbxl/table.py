"""PTB-XL's two tables: who was recorded, and what each statement means."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from vizecg.errors import InputError
from vizecg.identity import ID_END
from vizecg.labels import Task
from vizecg.ptbxl.layout import FILENAME_COLUMN, STATEMENTS_NAME, TABLE_NAME
from vizecg.recordings.offer import Offer
from vizecg.recordings.reading import RecordFiles
from vizecg.records import FOLDS, Age, Record, Sex
from vizecg.statements import STATEMENTS
from vizecg.sums import check_sum

SEX: Final[Mapping[float, Sex]] = {0: "male", 1: "female"}

_COLUMNS: Final = (
    *("ecg_id", "patient_id", "age", "sex", "site", "device", "recording_date", "scp_codes", "strat_fold"),
    *FILENAME_COLUMN.values(),
)
_STATEMENT_COLUMNS: Final = ("diagnostic", "diagnostic_class")
_SUPERCLASS_OF: Final = {entry.code: entry.superclass for entry in STATEMENTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """What every row is read with."""

    path: Path
    known: frozenset[str]
    task: Task
    source: str
    filename_column: str
    sums: Mapping[str, str]


def read_table(
    folder: Path, *, sums: Mapping[str, str], task: Task, source: str, sampling_hz: int, limit: int | None
) -> list[Offer]:
    """Read the records in order of their ecg_id.

    Args:
        folder: in PTB-XL's layout.
        sums: what `sums.read_sums` read.
        task: whose classes the records get.
        source: URI every record keeps.
        sampling_hz: 100 or 500; decides which files are meant.
        limit: only so many, counted from the lowest ecg_id; None for all.

    Raises:
        InputError: a table is missing, damaged or without a needed column; a cell
            cannot be understood; an ecg_id comes twice; a patient is in two folds.
    """
    known = read_statements(folder, sums=sums)
    path = check_sum(folder, TABLE_NAME, sums=sums)
    table = _read_csv(path, columns=_COLUMNS)
    _check_rows(table, path=path)
    table = table.sort_values("ecg_id").head(len(table) if limit is None else limit)
    reader = _Reader(
        path=path, known=known, task=task, source=source, filename_column=FILENAME_COLUMN[sampling_hz], sums=sums
    )
    return [_offered(row, reader=reader) for row in table.to_dict("records")]


def read_statements(folder: Path, *, sums: Mapping[str, str]) -> frozenset[str]:
    """Read which statements there are, and see that the diagnostic ones mean what they mean here.

    Raises:
        InputError: as `read_table`, and when a diagnostic statement has another class than in `statements`.
    """
    path = check_sum(folder, STATEMENTS_NAME, sums=sums)
    table = _read_csv(path, columns=_STATEMENT_COLUMNS)
    codes = table.iloc[:, 0].astype(str)
    diagnostic = table["diagnostic"] == 1
    for code, name in zip(codes[diagnostic], table.loc[diagnostic, "diagnostic_class"], strict=True):
        if (expected := _SUPERCLASS_OF.get(code)) != name:
            meant = f"is of class {expected}" if expected else "is not a diagnostic statement of PTB-XL 1.0.3"
            raise InputError(f"{path} gives {code!r} the diagnostic_class {name!r}, but {code!r} {meant}")
    return frozenset(codes)


def _read_csv(path: Path, *, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table: pd.DataFrame = pd.read_csv(path, low_memory=False)
    except (OSError, ValueError) as error:  # pandas' own parser errors are ValueErrors
        raise InputError(f"{path} cannot be read as CSV: {error}") from None
    if missing := [name for name in columns if name not in table]:
        raise InputError(f"{path} lacks the column {missing[0]!r}; it has {list(table.columns)}")
    return table


def _check_rows(table: pd.DataFrame, *, path: Path) -> None:
    for name in ("ecg_id", "patient_id", "strat_fold"):
        numbers = pd.to_numeric(table[name], errors="coerce")
        if (bad := numbers.isna() | (numbers % 1 != 0) | (numbers < 0) | (numbers >= ID_END)).any():
            line = int(bad.to_numpy().argmax()) + 2
            raise InputError(
                f"{path} line {line}: {name} must be a whole number from 0 to {ID_END - 1}, "
                f"got {_shown(table[name][bad].iloc[0])}"
            )
        table[name] = numbers.astype("int64")
    if (again := table["ecg_id"].duplicated()).any():
        raise InputError(f"{path} lists ecg_id {table['ecg_id'][again].iloc[0]} more than once")
    if (outside := ~table["strat_fold"].isin(FOLDS)).any():
        row = table[outside].iloc[0]
        raise InputError(f"{path}: strat_fold of ecg_id {row['ecg_id']} is {row['strat_fold']}, allowed are 1 to 10")
    sides = table.groupby("patient_id")["strat_fold"].unique()
    if (split := sides[sides.map(len) > 1]).size:
        folds = sorted(int(fold) for fold in split.iloc[0])
        raise InputError(
            f"{path} has patient {split.index[0]} in folds {folds}: a patient must not be on two sides of the split"
        )


def _offered(row: Mapping[Any, Any], *, reader: _Reader) -> Offer:
    where = f"{reader.path}: ecg_id {row['ecg_id']}"
    cell = row[reader.filename_column]
    name = "" if pd.isna(cell) else str(cell)
    codes = _scp_codes(row["scp_codes"], where=where)
    if unknown := sorted(codes - reader.known):
        raise InputError(f"{where} has the statement {unknown[0]!r}, which {STATEMENTS_NAME} does not list")
    record = Record(
        ecg_id=row["ecg_id"],
        source=reader.source,
        name=name,
        patient_id=row["patient_id"],
        age=Age.of(_number(row["age"], where=f"{where} age")),
        sex=_sex(row["sex"], where=where),
        site=_text(row["site"]),
        device=_text(row["device"]),
        recorded_at=_moment(row["recording_date"], where=where),
        fold=row["strat_fold"],
        classes=reader.task.classes_of(codes),
    )
    return Offer(record=record, files=RecordFiles.of(name, sums=reader.sums))


def _scp_codes(cell: object, *, where: str) -> set[str]:
    try:
        codes = ast.literal_eval(str(cell))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        codes = None
    if not isinstance(codes, dict):
        raise InputError(f"{where} has scp_codes {str(cell)[:60]!r}, expected the form {{'NORM': 100.0, 'SR': 0.0}}")
    return {str(code) for code in codes}


def _sex(cell: object, *, where: str) -> Sex:
    number = _number(cell, where=f"{where} sex")
    if number is None:
        return "unknown"
    if number not in SEX:
        raise InputError(f"{where} has sex {_shown(cell)}, allowed are 0 (male), 1 (female) or nothing")
    return SEX[number]


def _moment(cell: object, *, where: str) -> datetime | None:
    if pd.isna(cell):  # type: ignore[call-overload]
        return None
    try:
        return datetime.fromisoformat(str(cell))
    except ValueError:
        raise InputError(f"{where} has recording_date {_shown(cell)}, expected the form 1984-11-09 09:17:34") from None


def _number(cell: object, *, where: str) -> float | None:
    if pd.isna(cell):  # type: ignore[call-overload]
        return None
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{where} must be a number, got {_shown(cell)}") from None


def _shown(cell: object) -> str:
    return "nothing" if pd.isna(cell) else repr(str(cell))  # type: ignore[call-overload]


def _text(cell: object) -> str:
    """Plain text of a cell: numbers without `.0`, one space between words."""
    if pd.isna(cell):  # type: ignore[call-overload]
        return "unknown"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return " ".join(str(cell).split()) or "unknown"
