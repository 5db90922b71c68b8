"""RecordSet: the artefact of ingest, signals and the table that describes them.

A folder of `signals.npy` (int16, one microvolt per unit), `records.parquet`
(one row per record, in the same order), `quarantine.csv` (what was left out,
and why) and `set.json` (rate, source, counts). Written and read here only.
"""

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from vizecg.errors import InputError
from vizecg.labels import CODES, LEADS
from vizecg.publish import publishing, to_json, verify
from vizecg.signals import QUALITY_FLAGS

RECORD_SET: Final = "record-set"
SCHEMA_VERSION: Final = 1

SIGNALS_FILE: Final = "signals.npy"
TABLE_FILE: Final = "records.parquet"
QUARANTINE_FILE: Final = "quarantine.csv"
SET_FILE: Final = "set.json"

TRAIN_FOLDS: Final = (1, 2, 3, 4, 5, 6, 7, 8)
VALIDATION_FOLD: Final = 9
TEST_FOLD: Final = 10
FOLDS: Final = (*TRAIN_FOLDS, VALIDATION_FOLD, TEST_FOLD)

UV_PER_MV: Final = 1000
AGE_HIDDEN_ABOVE: Final = 89
"""PTB-XL writes any age above this as 300, so that nobody is known by a great age."""

AGE_BANDS: Final = (*(f"{low}-{low + 9}" for low in range(0, 90, 10)), "90+", "unknown")

TABLE_COLUMNS: Final = (
    *("ecg_id", "patient_id", "age_years", "age_band", "sex", "site", "device", "recorded_at", "fold"),
    *(*CODES, "labelled", *QUALITY_FLAGS),
)

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
    """One row of the table. A record without a class of the task is kept, and marked as not labelled."""

    ecg_id: int
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
        if unknown := set(self.classes) - set(CODES):
            raise ValueError(f"record {self.ecg_id} has unknown classes {sorted(unknown)}; known: {list(CODES)}")
        if unknown := set(self.flags) - set(QUALITY_FLAGS):
            raise ValueError(f"record {self.ecg_id} has unknown flags {sorted(unknown)}; known: {list(QUALITY_FLAGS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a record set came from; `digest` is the one that `data/source.json` pins."""

    uri: str
    simulated: bool
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What happened to every record that was offered: `offered` = `published` + `quarantined`."""

    offered: int
    published: int
    quarantined: int
    unlabelled: int
    by_reason: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordSet:
    """A verified record set. Row i of `table` describes `signals_uv[i]`.

    Attributes:
        table: RangeIndex; ecg_id, patient_id, age_years (nullable), age_band, sex,
            site, device, recorded_at, fold, one bool column per class of
            `labels.CODES`, labelled, one bool column per `signals.QUALITY_FLAGS`.
        signals_uv: (records, 12, samples), leads in `labels.LEADS` order,
            memory-mapped and read-only.
        source: `uri`, `simulated`, `digest`.
        counts: of the ingest that wrote it.
        digest: of its manifest, the one name of this content.
    """

    table: pd.DataFrame
    signals_uv: NDArray[np.int16]
    sampling_hz: int
    source: Mapping[str, Any]
    counts: Mapping[str, Any]
    digest: str

    def __len__(self) -> int:
        return len(self.table)

    @property
    def simulated(self) -> bool:
        """Whether anything measured on it has no medical meaning."""
        return bool(self.source["simulated"])

    def labels(self) -> NDArray[np.uint8]:
        """(records, 5) of 0 and 1, columns in `labels.CODES` order."""
        return self.table[list(CODES)].to_numpy(dtype=np.uint8)

    def signal_mv(self, row: int) -> NDArray[np.float32]:
        """(12, samples) of one record."""
        return np.asarray(self.signals_uv[row].astype(np.float32) / np.float32(UV_PER_MV))

    def rows(self, *, folds: Collection[int] = FOLDS, labelled: bool = True) -> NDArray[np.int64]:
        """Rows of these folds, ascending; with `labelled`, only those that have a class of the task."""
        wanted = self.table["fold"].isin(list(folds)).to_numpy()
        if labelled:
            wanted = wanted & self.table["labelled"].to_numpy()
        return np.flatnonzero(wanted)


class RecordSetWriter:
    """Takes records one at a time, in constant memory but for the table."""

    def __init__(self, folder: Path, *, sampling_hz: int, samples: int) -> None:
        self._folder = folder
        self._sampling_hz = sampling_hz
        self._samples = samples
        self._records: list[Record] = []
        self._quarantine: list[tuple[int, Reason, str]] = []
        self._signals = (folder / SIGNALS_FILE).open("wb")
        self._header_bytes = _write_npy_header(self._signals, records=0, samples=samples)

    def __enter__(self) -> "RecordSetWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._signals.close()

    def add(self, record: Record, *, signals_uv: NDArray[np.int16]) -> None:
        """Publish one record; `signals_uv` is (12, samples) in `labels.LEADS` order."""
        expected = (len(LEADS), self._samples)
        if signals_uv.shape != expected or signals_uv.dtype != np.int16:
            raise ValueError(f"signals_uv must be int16 {expected}, got {signals_uv.dtype} {signals_uv.shape}")
        self._records.append(record)
        self._signals.write(signals_uv.astype("<i2", copy=False).tobytes())

    def quarantine(self, ecg_id: int, *, reason: Reason, detail: str) -> None:
        """Leave one record out, and say why."""
        self._quarantine.append((ecg_id, reason, detail))

    @property
    def counts(self) -> Counts:
        """Of what has been added so far."""
        reasons = [reason.value for _, reason, _ in self._quarantine]
        return Counts(
            offered=len(self._records) + len(reasons),
            published=len(self._records),
            quarantined=len(reasons),
            unlabelled=sum(not record.classes for record in self._records),
            by_reason={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        )

    def finish(self, *, source: Provenance) -> None:
        """Write the table and what describes the set; nothing can be added afterwards."""
        self._signals.seek(0)
        written = _write_npy_header(self._signals, records=len(self._records), samples=self._samples)
        if written != self._header_bytes:
            raise RuntimeError(f"header of {SIGNALS_FILE} grew from {self._header_bytes} to {written} bytes")
        self._signals.close()
        _write_table(self._folder / TABLE_FILE, records=self._records)
        _write_quarantine(self._folder / QUARANTINE_FILE, rows=self._quarantine)
        counts = self.counts
        content = {
            "schema_version": SCHEMA_VERSION,
            "sampling_hz": self._sampling_hz,
            "samples": self._samples,
            "leads": list(LEADS),
            "classes": list(CODES),
            "source": {"uri": source.uri, "simulated": source.simulated, "digest": source.digest},
            "counts": {
                "in": counts.offered,
                "published": counts.published,
                "quarantined": counts.quarantined,
                "unlabelled": counts.unlabelled,
                "by_reason": dict(counts.by_reason),
            },
        }
        (self._folder / SET_FILE).write_text(to_json(content), encoding="utf-8")


@contextmanager
def writing_record_set(
    folder: Path, *, sampling_hz: int, samples: int, source: Provenance
) -> Iterator[RecordSetWriter]:
    """Publish a record set as `folder` when the block ends well; when it raises, `folder` is what it was.

    Raises:
        Conflict: another process is writing the same folder.
    """
    with (
        publishing(folder, kind=RECORD_SET, schema_version=SCHEMA_VERSION) as staging,
        RecordSetWriter(staging, sampling_hz=sampling_hz, samples=samples) as writer,
    ):
        yield writer
        writer.finish(source=source)


def read_record_set(folder: Path) -> RecordSet:
    """Verify and open a record set.

    Raises:
        InputError: it is missing, unfinished, damaged or of another version.
    """
    manifest = verify(folder, kind=RECORD_SET, schema_version=SCHEMA_VERSION)
    content = json.loads((folder / SET_FILE).read_text(encoding="utf-8"))
    if content["classes"] != list(CODES) or content["leads"] != list(LEADS):
        raise InputError(f"{folder} has other classes or leads than this version of vizecg; run ingest again")
    return RecordSet(
        table=_read_table(folder / TABLE_FILE),
        signals_uv=np.load(folder / SIGNALS_FILE, mmap_mode="r", allow_pickle=False),
        sampling_hz=content["sampling_hz"],
        source=content["source"],
        counts=content["counts"],
        digest=manifest.digest,
    )


def read_quarantine(folder: Path) -> pd.DataFrame:
    """Columns ecg_id, reason, detail: what the ingest that wrote `folder` left out."""
    return pd.read_csv(folder / QUARANTINE_FILE, dtype={"reason": str, "detail": str}, keep_default_na=False)


def _write_npy_header(opened: IO[bytes], *, records: int, samples: int) -> int:
    # numpy pads the header so that the first axis can grow in place; that lets the number of records come last.
    shape = (records, len(LEADS), samples)
    np.lib.format.write_array_header_1_0(opened, {"descr": "<i2", "fortran_order": False, "shape": shape})
    return opened.tell()


def _schema() -> pa.Schema:
    text = ("age_band", "sex", "site", "device")
    return pa.schema(
        [
            pa.field("ecg_id", pa.int64(), nullable=False),
            pa.field("patient_id", pa.int64(), nullable=False),
            pa.field("age_years", pa.int64()),
            *(pa.field(name, pa.string(), nullable=False) for name in text),
            pa.field("recorded_at", pa.timestamp("us")),
            pa.field("fold", pa.int64(), nullable=False),
            *(pa.field(name, pa.bool_(), nullable=False) for name in (*CODES, "labelled", *QUALITY_FLAGS)),
        ]
    )


def _write_table(path: Path, *, records: Collection[Record]) -> None:
    rows = [
        {
            "ecg_id": record.ecg_id,
            "patient_id": record.patient_id,
            "age_years": record.age.years,
            "age_band": record.age.band,
            "sex": record.sex,
            "site": record.site,
            "device": record.device,
            "recorded_at": record.recorded_at,
            "fold": record.fold,
            "labelled": bool(record.classes),
            **{code: code in record.classes for code in CODES},
            **{flag: flag in record.flags for flag in QUALITY_FLAGS},
        }
        for record in records
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), path, compression="zstd", version="2.6")


def _read_table(path: Path) -> pd.DataFrame:
    table: pd.DataFrame = pq.read_table(path).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    plain = [name for name in ("ecg_id", "patient_id", "fold") if name in table]
    return table.astype(dict.fromkeys(plain, "int64"))


def _write_quarantine(path: Path, *, rows: Collection[tuple[int, Reason, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(("ecg_id", "reason", "detail"))
        writer.writerows((ecg_id, reason.value, detail) for ecg_id, reason, detail in rows)
