"""One record: what is known of it beside its signal, and why one may be left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

import numpy as np

from vizecg.signals import QUALITY_FLAGS

TRAIN_FOLDS: Final = (1, 2, 3, 4, 5, 6, 7, 8)
VALIDATION_FOLD: Final = 9
TEST_FOLD: Final = 10
FOLDS: Final = (*TRAIN_FOLDS, VALIDATION_FOLD, TEST_FOLD)

RECORD_LENGTH_S: Final = 10
"""Every record of a set is so long: what a page shows, and what PTB-XL holds."""

AGE_HIDDEN_ABOVE: Final = 89
"""PTB-XL writes any age above this as 300, so that nobody is known by a great age."""

AGE_BANDS: Final = (*(f"{low}-{low + 9}" for low in range(0, 90, 10)), "90+", "unknown")

Sex = Literal["male", "female", "unknown"]


class Reason(StrEnum):
    """Why a record is in quarantine: it cannot be read, or what it says is not true."""

    MISSING_FILE = "missing_file"
    OUTSIDE_FOLDER = "outside_folder"
    FILE_CHECKSUM = "file_checksum"
    HEADER_UNREADABLE = "header_unreadable"
    TRUNCATED = "truncated"
    HEADER_CHECKSUM = "header_checksum"
    WRONG_UNITS = "wrong_units"
    WRONG_RATE = "wrong_rate"
    WRONG_LENGTH = "wrong_length"
    DUPLICATE_LEAD = "duplicate_lead"
    UNKNOWN_LEAD = "unknown_lead"
    MISSING_LEAD = "missing_lead"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    LEAD_RELATION = "lead_relation"
    IMAGE_UNREADABLE = "image_unreadable"
    IMAGE_TOO_LARGE = "image_too_large"
    PAGE_MISSING = "page_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """What may be said of a patient's age: a number up to 89, above that a band alone."""

    years: int | None
    band: str

    @classmethod
    def of(cls, years: float | None) -> "Age":
        """Read PTB-XL's column: 300 stands for 90 and above, an empty cell for not known."""
        if years is None or not np.isfinite(years) or years < 0:
            return cls(years=None, band="unknown")
        if years > AGE_HIDDEN_ABOVE:
            return cls(years=None, band="90+")
        return cls(years=int(years), band=f"{int(years) // 10 * 10}-{int(years) // 10 * 10 + 9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of the table. A record without a class of the task is kept, and marked as not labelled.

    Attributes:
        ecg_id: unique in the set; what randomness is keyed by.
        source: URI of the source it came from.
        name: what it is called there: the path of its files without ending, or of its image.
        patient_id: unique in the set; nobody is on two sides of the split.
        fold: 1 to 10.
        classes: codes of the task.
        flags: of `signals.QUALITY_FLAGS`.
    """

    ecg_id: int
    source: str
    name: str
    patient_id: int
    age: Age
    sex: Sex
    site: str
    device: str
    recorded_at: datetime | None
    fold: int
    classes: tuple[str, ...]
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.fold not in FOLDS:
            raise ValueError(f"fold of record {self.ecg_id} is {self.fold}, allowed are 1 to 10")
        if unknown := set(self.flags) - set(QUALITY_FLAGS):
            raise ValueError(f"record {self.ecg_id} has unknown flags {sorted(unknown)}; known: {list(QUALITY_FLAGS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a record set came from; `digest` is the one that `data/source.json` pins.

    `parts` has an entry for each source of a set that joins several, and is empty for one.
    """

    uri: str
    simulated: bool
    digest: str
    parts: tuple["Provenance", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What happened to every record that was offered: `offered` = `published` + `quarantined`."""

    offered: int
    published: int
    quarantined: int
    unlabelled: int
    without_signal: int
    by_reason: Mapping[str, int]
