"""labels.csv: one row a page, with who was recorded and what was found."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from vizecg.errors import InputError
from vizecg.identity import fold_of, id_of
from vizecg.label_map import PLAIN, LabelMap, read_label_map
from vizecg.paper import LABEL_MAP_NAME
from vizecg.recordings.offer import Asked, Offer
from vizecg.records import FOLDS, Age, Record, Sex

REQUIRED: Final = ("file", "patient_id", "labels")
OPTIONAL: Final = ("page", "age", "sex", "site", "device", "recorded_at", "fold")
SEPARATOR: Final = ";"
"""Between the labels of a page."""

_SEX: Final[Mapping[str, Sex]] = {
    **{"": "unknown", "unknown": "unknown", "m": "male", "male": "male", "f": "female", "female": "female"}
}
_OLDEST_YEARS: Final = 130
_HIDDEN_YEARS: Final = 300
"""As PTB-XL has it, for hospitals that hide a great age the same way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """A page: its file below the folder, and which page of it, from 1; None where the table does not say."""

    file: str
    page: int | None

    @property
    def name(self) -> str:
        """What the record is called."""
        return self.file if self.page is None else f"{self.file}#{self.page}"


def label_map_of(folder: Path, *, chosen: Path | None) -> LabelMap:
    """The map that was chosen, or the one beside the images, or none: labels are PTB-XL's own codes then.

    Raises:
        InputError: it cannot be read.
    """
    if chosen is not None:
        return read_label_map(chosen)
    return read_label_map(folder / LABEL_MAP_NAME) if (folder / LABEL_MAP_NAME).is_file() else PLAIN


def read_labels(path: Path, *, label_map: LabelMap, asked: Asked) -> list[Offer]:
    """Read the table.

    Raises:
        InputError: it cannot be read or lacks a column; a cell cannot be understood; a label is in
            no map; a page comes twice; a patient is on two sides.
    """
    rows = _rows(path)
    offers, first_seen, fold_of_patient = [], dict[str, int](), dict[int, int]()
    for line, row in enumerate(rows, start=2):
        where = f"{path} line {line}"
        offer = _offer(row, where=where, label_map=label_map, asked=asked)
        if (earlier := first_seen.setdefault(offer.record.name, line)) != line:
            raise InputError(f"{where} names {offer.record.name} again, after line {earlier}")
        record = offer.record
        if (fold := fold_of_patient.setdefault(record.patient_id, record.fold)) != record.fold:
            raise InputError(
                f"{where} puts a patient into fold {record.fold} who is in fold {fold} before: "
                "a patient must not be on two sides of the split"
            )
        offers.append(offer)
    return offers


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(io.StringIO(text), strict=True)
        names = reader.fieldnames or ()
        if missing := [name for name in REQUIRED if name not in names]:
            raise InputError(f"{path} lacks the column {missing[0]!r}; it needs {', '.join(REQUIRED)}")
        if unknown := [name for name in names if name not in (*REQUIRED, *OPTIONAL)]:
            raise InputError(
                f"{path} has the column {unknown[0]!r}; allowed are {', '.join((*REQUIRED, *OPTIONAL))}: "
                "what is not needed must not travel with the images"
            )
        rows = [{name: (value or "").strip() for name, value in row.items() if name is not None} for row in reader]
    except FileNotFoundError:
        raise InputError(f"{path} is not there") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from None
    if not rows:
        raise InputError(f"{path} lists no page")
    given = [bool(row.get("fold")) for row in rows]
    if any(given) and not all(given):
        raise InputError(f"{path} gives a fold to some pages and not to line {given.index(False) + 2}; all or none")
    return rows


def _offer(row: Mapping[str, str], *, where: str, label_map: LabelMap, asked: Asked) -> Offer:
    for name in ("file", "patient_id"):
        if not row[name]:
            raise InputError(f"{where} has no {name}")
    labels = [label.strip() for label in row["labels"].split(SEPARATOR) if label.strip()]
    if unknown := label_map.unknown(labels):
        raise InputError(f"{where} has the label {unknown[0]!r}, which is in no label map")
    files = PageFile(file=row["file"], page=_page(row.get("page", ""), where=where))
    record = Record(
        ecg_id=id_of(files.name),
        source=asked.source,
        name=files.name,
        # What a hospital calls a patient stays with the hospital: the set has a number made of it.
        patient_id=id_of(f"patient {row['patient_id']}"),
        age=Age.of(_years(row.get("age", ""), where=where)),
        sex=_sex(row.get("sex", ""), where=where),
        site=row.get("site") or "unknown",
        device=row.get("device") or "unknown",
        recorded_at=_moment(row.get("recorded_at", ""), where=where),
        fold=_fold(row, where=where),
        classes=label_map.classes_of(labels, task=asked.task),
    )
    return Offer(record=record, files=files)


def _page(cell: str, *, where: str) -> int | None:
    if not cell:
        return None
    if not (cell.isdecimal() and int(cell) >= 1):
        raise InputError(f"{where} has page {cell!r}, expected a whole number from 1, or nothing")
    return int(cell)


def _years(cell: str, *, where: str) -> float | None:
    if not cell:
        return None
    try:
        years = float(cell)
    except ValueError:
        years = -1.0
    if not (0 <= years <= _OLDEST_YEARS or years == _HIDDEN_YEARS):
        raise InputError(f"{where} has age {cell!r}, expected years from 0 to {_OLDEST_YEARS}, or nothing")
    return years


def _sex(cell: str, *, where: str) -> Sex:
    if cell.lower() not in _SEX:
        raise InputError(f"{where} has sex {cell!r}, allowed are male, female, unknown or nothing")
    return _SEX[cell.lower()]


def _moment(cell: str, *, where: str) -> datetime | None:
    if not cell:
        return None
    try:
        return datetime.fromisoformat(cell).replace(tzinfo=None)
    except ValueError:
        raise InputError(f"{where} has recorded_at {cell!r}, expected the form 2024-11-09 09:17:34") from None


def _fold(row: Mapping[str, str], *, where: str) -> int:
    cell = row.get("fold", "")
    if not cell:
        return fold_of(row["patient_id"])
    if not (cell.isdecimal() and int(cell) in FOLDS):
        raise InputError(f"{where} has fold {cell!r}, allowed are 1 to 10")
    return int(cell)
