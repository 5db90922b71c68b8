"""Three tables, one row per record, recording and page, with every question as a column.

What an expectation about one column cannot see (a patient in two folds, two
recordings with the same samples) is worked out here and stands in a column of
its own.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vizecg.labels import CODES
from vizecg.records import TEST_FOLD, TRAIN_FOLDS, UV_PER_MV, VALIDATION_FOLD
from vizecg.signals import QUALITY_FLAGS, quality

TableName = Literal["records", "signals", "pages"]
TABLES: Final[tuple[TableName, ...]] = ("records", "signals", "pages")
SPLITS: Final = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """What the expectations look at; every table has ecg_id, so that a fault can be found again."""

    records: pd.DataFrame
    signals: pd.DataFrame
    pages: pd.DataFrame

    def __getitem__(self, name: TableName) -> pd.DataFrame:
        return {"records": self.records, "signals": self.signals, "pages": self.pages}[name]


def tables_of(table: pd.DataFrame, *, signals_uv: NDArray[np.int16], sampling_hz: int, index: pd.DataFrame) -> Tables:
    """Lay out a record set and a page index; `signals_uv` is measured again, not believed."""
    return Tables(
        records=record_table(table),
        signals=signal_table(table, signals_uv=signals_uv, sampling_hz=sampling_hz),
        pages=page_table(index, table=table),
    )


def record_table(table: pd.DataFrame) -> pd.DataFrame:
    """Add folds_of_patient, labelled_agrees and split."""
    return table.assign(
        folds_of_patient=table.groupby("patient_id")["fold"].transform("nunique"),
        labelled_agrees=table[list(CODES)].any(axis=1) == table["labelled"],
        split=np.where(table["labelled"], table["fold"].map(_split_of_fold()), "unlabelled"),
    )


def signal_table(table: pd.DataFrame, *, signals_uv: NDArray[np.int16], sampling_hz: int) -> pd.DataFrame:
    """Measure every recording: peak_mv, liveliest_lead_mv, lead_residual_mv, flags, and a digest of its samples."""
    rows = [_measures(signals_uv[row], sampling_hz=sampling_hz) for row in range(len(signals_uv))]
    measured = pd.DataFrame(rows).assign(ecg_id=table["ecg_id"], fold=table["fold"])
    flags = list(QUALITY_FLAGS)
    return measured.assign(
        flags_agree=(measured[flags] == table[flags].reindex(measured.index)).all(axis=1),
        folds_of_samples=measured.groupby("samples_sha256")["fold"].transform("nunique"),
        copies_of_samples=measured.groupby("samples_sha256")["samples_sha256"].transform("size"),
    )


def page_table(index: pd.DataFrame, *, table: pd.DataFrame) -> pd.DataFrame:
    """Add ecg_id_agrees, standard_taken_in, has_findings and scale_error."""
    ecg_id_of_row = table["ecg_id"].reindex(index["row"]).to_numpy()
    return index.assign(
        ecg_id_agrees=index["ecg_id"].to_numpy() == ecg_id_of_row,
        standard_taken_in=index["is_ecg"] | (index["copy"] > 0),
        has_findings=index["findings"] != "",
        scale_error=(index["measured_px_per_mm"] / index["px_per_mm"] - 1).abs(),
    )


def _split_of_fold() -> Mapping[int, str]:
    train, validation, test = SPLITS
    return dict.fromkeys(TRAIN_FOLDS, train) | {VALIDATION_FOLD: validation, TEST_FOLD: test}


def _measures(signal_uv: NDArray[np.int16], *, sampling_hz: int) -> dict[str, object]:
    measured = quality(signal_uv, sampling_hz=sampling_hz)
    return {
        "peak_mv": float(np.abs(signal_uv.astype(np.int32)).max()) / UV_PER_MV,
        "liveliest_lead_mv": float(measured.range_uv.max()) / UV_PER_MV,
        "lead_residual_mv": measured.lead_residual_uv / UV_PER_MV,
        "samples_sha256": hashlib.sha256(np.ascontiguousarray(signal_uv, dtype="<i2").tobytes()).hexdigest(),
        **{flag: flag in measured.flags for flag in QUALITY_FLAGS},
    }
