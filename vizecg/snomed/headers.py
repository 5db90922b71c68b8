"""What the headers of a folder say of its records: age, sex, findings.

The form is that of the PhysioNet/Computing in Cardiology Challenges 2020 and 2021:
comment lines such as `#Age: 74`, `#Sex: Male`, `#Dx: 59118001,426783006`.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

from vizecg.errors import InputError
from vizecg.identity import fold_of, id_of
from vizecg.label_map import LabelMap, parse_label_map, read_label_map
from vizecg.labels import Task
from vizecg.recordings.offer import Asked, Offer
from vizecg.recordings.stated import read_stated
from vizecg.records import Age, Record, Sex

SINUS_RHYTHM: Final = "426783006"
NORMAL: Final = "NORM"
"""The challenges have no code for a normal ECG: a record with sinus rhythm and nothing else is taken for one."""

_FIELD: Final = re.compile(r"(?P<name>[A-Za-z][A-Za-z _-]*?)\s*:\s*(?P<value>.*)")
_SEX: Final[dict[str, Sex]] = {"male": "male", "m": "male", "female": "female", "f": "female"}
_PATIENT_FIELDS: Final = ("patient", "patient id", "patient number", "subject", "subject id")
_MOST_NAMED: Final = 5


def list_records(folder: Path, *, asked: Asked) -> list[Offer]:
    """Read every header's comments, and say how many codes nobody mapped.

    Raises:
        InputError: the label map cannot be read, or two names have one number.
    """
    label_map = code_map() if asked.label_map is None else read_label_map(asked.label_map)
    names = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in _headers(folder))[: asked.limit]
    unknown: Counter[str] = Counter()
    offers = []
    for name in names:
        fields = _fields(folder / f"{name}.hea")
        findings = {code.strip() for code in fields.get("dx", "").split(",")} - {""}
        unknown.update(label_map.unknown(findings))
        classes = classes_of(findings, label_map=label_map, task=asked.task)
        offers.append(_offer(name, fields=fields, classes=classes, source=asked.source))
    _check_numbers(offers)
    if unknown:
        common = ", ".join(f"{code} ({number})" for code, number in unknown.most_common(_MOST_NAMED))
        print(f"{asked.source}: {len(unknown)} codes are in no label map and were passed over: {common}")
    return offers


def code_map() -> LabelMap:
    """What SNOMED CT codes mean in PTB-XL's terms; the code is empty where PTB-XL has no such statement.

    Holds every code of the challenges (dx_mapping_scored.csv and dx_mapping_unscored.csv of the
    PhysioNet/CinC Challenge 2021), by its meaning, and where that is wide, by the statement that the
    challenge itself wrote so for PTB-XL's records; and the codes for a normal ECG (DICOM CID 3677).
    """
    path = files("vizecg.snomed") / "codes.csv"
    return parse_label_map(path.read_text(encoding="utf-8"), where="vizecg/snomed/codes.csv")


def classes_of(findings: Collection[str], *, label_map: LabelMap, task: Task) -> tuple[str, ...]:
    """Classes of a record with these codes; a map without sinus rhythm makes nothing normal by it."""
    found = label_map.classes_of(findings, task=task)
    if set(findings) == {SINUS_RHYTHM} and label_map.code_of.get(SINUS_RHYTHM) == "SR":
        normal = {*found, *task.classes_of([NORMAL])}
        return tuple(code for code in task.codes if code in normal)
    return found


def _headers(folder: Path) -> Iterable[Path]:
    for path in folder.rglob("*.hea"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _fields(header: Path) -> dict[str, str]:
    """The comments of a header by their names in small letters; what is said twice is joined by a comma.

    One that cannot be read has none, and is set aside when its record is read.
    """
    try:
        comments = read_stated(header).comments
    except OSError:
        return {}
    fields: dict[str, str] = {}
    for comment in comments:
        if found := _FIELD.fullmatch(comment):
            name = re.sub(r"[ _-]+", " ", found["name"]).lower()
            fields[name] = ",".join(value for value in (fields.get(name), found["value"].strip()) if value)
    return fields


def _offer(name: str, *, fields: dict[str, str], classes: tuple[str, ...], source: str) -> Offer:
    stated = next((fields[key] for key in _PATIENT_FIELDS if fields.get(key)), None)
    patient = name if stated is None else f"patient {stated}"
    record = Record(
        ecg_id=id_of(name),
        source=source,
        name=name,
        patient_id=id_of(patient),
        age=Age.of(_years(fields.get("age", ""))),
        sex=_SEX.get(fields.get("sex", "").lower(), "unknown"),
        site="unknown",
        device="unknown",
        recorded_at=None,
        fold=fold_of(patient),
        classes=classes,
    )
    return Offer(record=record, files=name)


def _years(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # `NaN` is a number to Python, and not known to `Age.of`
        return None


def _check_numbers(offers: Sequence[Offer]) -> None:
    by_id: dict[int, str] = {}
    for offer in offers:
        record = offer.record
        if record.ecg_id in by_id:
            raise InputError(
                f"{record.source}: {by_id[record.ecg_id]} and {record.name} get the same number; rename one of them"
            )
        by_id[record.ecg_id] = record.name
