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
from vizecg.recordings.offer import Asked, Offer
from vizecg.records import Age, Record, Sex

SINUS_RHYTHM: Final = "426783006"
NORMAL: Final = "NORM"
"""The challenges have no code for a normal ECG: a record with sinus rhythm and nothing else is taken for one."""

_FIELD: Final = re.compile(r"#\s*(?P<name>[A-Za-z ]+?)\s*:\s*(?P<value>.*)")
_SEX: Final[dict[str, Sex]] = {"male": "male", "m": "male", "female": "female", "f": "female"}
_PATIENT_FIELDS: Final = ("patient", "patient id", "subject")
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
        findings = [code.strip() for code in fields.get("dx", "").split(",") if code.strip()]
        unknown.update(label_map.unknown(findings))
        offers.append(
            _offer(name, fields=fields, classes=classes_of(findings, label_map=label_map, asked=asked), asked=asked)
        )
    _check_numbers(offers)
    if unknown:
        common = ", ".join(f"{code} ({number})" for code, number in unknown.most_common(_MOST_NAMED))
        print(f"{asked.source}: {len(unknown)} codes are in no label map and were passed over: {common}")
    return offers


def code_map() -> LabelMap:
    """The SNOMED CT codes of the challenges, as far as PTB-XL has a statement or class for them."""
    path = files("vizecg.snomed") / "codes.csv"
    return parse_label_map(path.read_text(encoding="utf-8"), where="vizecg/snomed/codes.csv")


def classes_of(findings: Collection[str], *, label_map: LabelMap, asked: Asked) -> tuple[str, ...]:
    """Classes of a record with these codes."""
    found = label_map.classes_of(findings, task=asked.task)
    if set(findings) == {SINUS_RHYTHM}:
        normal = {*found, *asked.task.classes_of([NORMAL])}
        return tuple(code for code in asked.task.codes if code in normal)
    return found


def _headers(folder: Path) -> Iterable[Path]:
    for path in folder.rglob("*.hea"):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _fields(header: Path) -> dict[str, str]:
    """The comments of a header by their names in small letters; those of one that cannot be read are none."""
    lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    found = (_FIELD.fullmatch(line.strip()) for line in lines)
    return {match["name"].lower(): match["value"].strip() for match in found if match}


def _offer(name: str, *, fields: dict[str, str], classes: tuple[str, ...], asked: Asked) -> Offer:
    stated = next((fields[key] for key in _PATIENT_FIELDS if fields.get(key)), None)
    patient = name if stated is None else f"patient {stated}"
    record = Record(
        ecg_id=id_of(name),
        source=asked.source,
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
