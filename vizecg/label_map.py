"""Foreign labels to classes: what a hospital or another database calls a finding, in PTB-XL's terms.

A label map is a CSV with the columns `label` and `code`. A code is a statement or a
class of PTB-XL, of any task; an empty one says that the label means nothing here.
"""

import csv
import io
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vizecg.errors import InputError
from vizecg.labels import TASKS, Task
from vizecg.statements import STATEMENTS

COLUMNS: Final = ("label", "code")
CODES: Final = frozenset(entry.code for entry in STATEMENTS) | {code for task in TASKS.values() for code in task.codes}
"""Every statement and every class of every task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """What labels mean. `code_of` is None for a label that means nothing here."""

    code_of: Mapping[str, str | None]

    def classes_of(self, labels: Iterable[str], *, task: Task) -> tuple[str, ...]:
        """Class codes of a record with these labels, in the order of `task.codes`; unknown labels are passed over."""
        codes = {code for label in labels if (code := self.code_of.get(label)) is not None}
        found = {*task.classes_of(codes), *(code for code in codes if code in task.codes)}
        return tuple(code for code in task.codes if code in found)

    def unknown(self, labels: Collection[str]) -> list[str]:
        """Those of the labels that the map does not have, sorted."""
        return sorted(set(labels) - self.code_of.keys())


PLAIN: Final = LabelMap(code_of={code: code for code in sorted(CODES)})
"""For labels that are PTB-XL's own statements or classes."""


def read_label_map(path: Path) -> LabelMap:
    """Read a label map.

    Raises:
        InputError: it cannot be read, lacks a column, names a code that does not exist, or a label twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"the label map {path} is not there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the label map {path} cannot be read: {error}") from None
    return parse_label_map(text, where=str(path))


def parse_label_map(text: str, *, where: str) -> LabelMap:
    """Read the text of a label map.

    Raises:
        InputError: as `read_label_map`.
    """
    reader = csv.DictReader(io.StringIO(text))
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise InputError(f"{where} lacks the column {missing[0]!r}; a label map has the columns {', '.join(COLUMNS)}")
    code_of: dict[str, str | None] = {}
    for line, row in enumerate(reader, start=2):
        label, code = ((row[name] or "").strip() for name in COLUMNS)
        if not label:
            raise InputError(f"{where} line {line} has no label")
        if label in code_of:
            raise InputError(f"{where} line {line} maps {label!r} a second time")
        if code and code not in CODES:
            raise InputError(f"{where} line {line}: {code!r} is neither a statement nor a class of PTB-XL")
        code_of[label] = code or None
    if not code_of:
        raise InputError(f"{where} maps no label")
    return LabelMap(code_of=code_of)
