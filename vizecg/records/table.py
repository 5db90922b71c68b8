"""The table of a record set as parquet: a column for every fact, with one fixed type."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from vizecg.records.record import Record
from vizecg.signals import QUALITY_FLAGS

_PLAIN_FIELDS: Final = (
    pa.field("ecg_id", pa.int64(), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("name", pa.string(), nullable=False),
    pa.field("patient_id", pa.int64(), nullable=False),
    pa.field("age_years", pa.int64()),
    *(pa.field(name, pa.string(), nullable=False) for name in ("age_band", "sex", "site", "device")),
    pa.field("recorded_at", pa.timestamp("us")),
    pa.field("fold", pa.int64(), nullable=False),
    pa.field("has_signal", pa.bool_(), nullable=False),
    pa.field("upload_start", pa.int64(), nullable=False),
    pa.field("upload_bytes", pa.int64(), nullable=False),
)
PLAIN_COLUMNS: Final[tuple[str, ...]] = tuple(field.name for field in _PLAIN_FIELDS)
_NEVER_NULL: Final = tuple(f.name for f in _PLAIN_FIELDS if f.type == pa.int64() and not f.nullable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A published record and where its page image lies in `uploads.bin`; 0 bytes when it has none."""

    record: Record
    has_signal: bool
    upload_start: int
    upload_bytes: int


def table_columns(codes: Sequence[str]) -> tuple[str, ...]:
    """Columns of the table of a task with these class codes, in their order."""
    return (*PLAIN_COLUMNS, *codes, "labelled", *QUALITY_FLAGS)


def write_table(path: Path, *, rows: Collection[Row], codes: Sequence[str]) -> None:
    """Write the rows in the order given; equal rows are equal bytes."""
    yes_or_no = [pa.field(name, pa.bool_(), nullable=False) for name in (*codes, "labelled", *QUALITY_FLAGS)]
    schema = pa.schema([*_PLAIN_FIELDS, *yes_or_no])
    table = pa.Table.from_pylist([_cells(row, codes=codes) for row in rows], schema=schema)
    pq.write_table(table, path, compression="zstd", version="2.6")


def read_table(path: Path) -> pd.DataFrame:
    """Read it back; `age_years` is the only whole number that may be missing."""
    table: pd.DataFrame = pq.read_table(path).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return table.astype(dict.fromkeys(_NEVER_NULL, "int64"))


def _cells(row: Row, *, codes: Sequence[str]) -> dict[str, Any]:
    record = row.record
    return {
        "ecg_id": record.ecg_id,
        "source": record.source,
        "name": record.name,
        "patient_id": record.patient_id,
        "age_years": record.age.years,
        "age_band": record.age.band,
        "sex": record.sex,
        "site": record.site,
        "device": record.device,
        "recorded_at": record.recorded_at,
        "fold": record.fold,
        "has_signal": row.has_signal,
        "upload_start": row.upload_start,
        "upload_bytes": row.upload_bytes,
        "labelled": bool(record.classes),
        **{code: code in record.classes for code in codes},
        **{flag: flag in record.flags for flag in QUALITY_FLAGS},
    }
