"""Reading a record set: verified, its signals and images left on disk until asked for."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vizecg.errors import InputError
from vizecg.labels import LEADS, LabelClass
from vizecg.publish import verify
from vizecg.records.record import FOLDS
from vizecg.records.table import read_table
from vizecg.records.writing import (
    QUARANTINE_FILE,
    RECORD_SET,
    SCHEMA_VERSION,
    SET_FILE,
    SIGNALS_FILE,
    TABLE_FILE,
    UPLOADS_FILE,
    UV_PER_MV,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordSet:
    """A verified record set. Row i of `table` describes `signals_uv[i]`.

    Attributes:
        table: RangeIndex; ecg_id, source, name, patient_id, age_years (nullable), age_band,
            sex, site, device, recorded_at, fold, has_signal, upload_start, upload_bytes,
            one bool column per class code, labelled, one bool column per `signals.QUALITY_FLAGS`.
        signals_uv: (records, 12, samples), leads in `labels.LEADS` order,
            memory-mapped and read-only; zero where `has_signal` is not.
        task: name of the task that the classes belong to.
        classes: in the order of every label vector.
        source: `uri`, `simulated`, `digest`, and `parts`, one for each source that was joined.
        counts: of the ingest that wrote it.
        digest: of its manifest, the one name of this content.
    """

    folder: Path
    table: pd.DataFrame
    signals_uv: NDArray[np.int16]
    sampling_hz: int
    task: str
    classes: tuple[LabelClass, ...]
    source: Mapping[str, Any]
    counts: Mapping[str, Any]
    digest: str

    def __len__(self) -> int:
        return len(self.table)

    @property
    def codes(self) -> tuple[str, ...]:
        """Class codes, in the order of every label vector."""
        return tuple(entry.code for entry in self.classes)

    @property
    def simulated(self) -> bool:
        """Whether anything measured on it has no medical meaning."""
        return bool(self.source["simulated"])

    @property
    def has_signal(self) -> NDArray[np.bool_]:
        """(records,) False for a record that came on paper alone."""
        return self.table["has_signal"].to_numpy(dtype=bool)

    def labels(self) -> NDArray[np.uint8]:
        """(records, classes) of 0 and 1, columns in the order of `codes`."""
        return self.table[list(self.codes)].to_numpy(dtype=np.uint8)

    def signal_mv(self, row: int) -> NDArray[np.float32]:
        """(12, samples) of one record.

        Raises:
            ValueError: the record came on paper alone.
        """
        if not self.table["has_signal"].iloc[row]:
            raise ValueError(f"record {self.table['ecg_id'].iloc[row]} has no signal")
        return np.asarray(self.signals_uv[row].astype(np.float32) / np.float32(UV_PER_MV))

    def upload(self, row: int) -> bytes | None:
        """The page image a record came with, PNG or JPEG; None for one that has none."""
        start, size = (int(self.table[name].iloc[row]) for name in ("upload_start", "upload_bytes"))
        if not size:
            return None
        with (self.folder / UPLOADS_FILE).open("rb") as opened:
            opened.seek(start)
            return opened.read(size)

    def rows(self, *, folds: Collection[int] = FOLDS, labelled: bool = True) -> NDArray[np.int64]:
        """Rows of these folds, ascending; with `labelled`, only those that have a class of the task."""
        wanted = self.table["fold"].isin(list(folds)).to_numpy()
        if labelled:
            wanted = wanted & self.table["labelled"].to_numpy()
        return np.flatnonzero(wanted)


def read_record_set(folder: Path) -> RecordSet:
    """Verify and open a record set.

    Raises:
        InputError: it is missing, unfinished, damaged or of another version.
    """
    manifest = verify(folder, kind=RECORD_SET, schema_version=SCHEMA_VERSION)
    content = json.loads((folder / SET_FILE).read_text(encoding="utf-8"))
    if content["leads"] != list(LEADS):
        raise InputError(f"{folder} has other leads than this version of vizecg; run ingest again")
    return RecordSet(
        folder=folder,
        table=read_table(folder / TABLE_FILE),
        signals_uv=np.load(folder / SIGNALS_FILE, mmap_mode="r", allow_pickle=False),
        sampling_hz=content["sampling_hz"],
        task=content["task"],
        classes=tuple(LabelClass(**entry) for entry in content["classes"]),
        source=content["source"],
        counts=content["counts"],
        digest=manifest.digest,
    )


def read_quarantine(folder: Path) -> pd.DataFrame:
    """Columns ecg_id, source, reason, detail: what the ingest that wrote `folder` left out."""
    return pd.read_csv(folder / QUARANTINE_FILE, dtype={"reason": str, "detail": str}, keep_default_na=False)
