"""Tables with a row per record, class, recording, page and compared quantity, and every question as a column.

What an expectation about one column cannot see (a patient in two folds, two
recordings with the same samples) is worked out here and stands in a column of
its own.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vizecg.pages import ON_PAPER
from vizecg.records import TEST_FOLD, TRAIN_FOLDS, UV_PER_MV, VALIDATION_FOLD
from vizecg.signals import QUALITY_FLAGS, quality

TableName = Literal["records", "classes", "signals", "pages", "baseline"]
TABLES: Final[tuple[TableName, ...]] = ("records", "classes", "signals", "pages", "baseline")
NAMED_BY: Final[dict[TableName, str]] = {
    **dict.fromkeys(("records", "signals", "pages"), "ecg_id"),
    "classes": "code",
    "baseline": "quantity",
}
"""The column by which a row of each table is found again."""
SPLITS: Final = ("train", "validation", "test")
_FRAMED: Final = ("photo", "screen", "worst")
"""Camera presets that frame a page anew, so that a millimetre is another number of pixels afterwards."""
ADDED_COLUMNS: Final = ("folds_of_patient", "labelled_agrees", "something_to_see", "split")
"""To those of the record set's own table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """What the expectations look at."""

    records: pd.DataFrame
    classes: pd.DataFrame
    signals: pd.DataFrame
    pages: pd.DataFrame
    baseline: pd.DataFrame

    def __getitem__(self, name: TableName) -> pd.DataFrame:
        tables: dict[TableName, pd.DataFrame] = {
            "records": self.records,
            "classes": self.classes,
            "signals": self.signals,
            "pages": self.pages,
            "baseline": self.baseline,
        }
        return tables[name]


def record_table(table: pd.DataFrame, *, codes: Sequence[str]) -> pd.DataFrame:
    """Add `ADDED_COLUMNS`."""
    return table.assign(
        folds_of_patient=table.groupby("patient_id")["fold"].transform("nunique"),
        labelled_agrees=table[list(codes)].any(axis=1) == table["labelled"],
        something_to_see=table["has_signal"] | (table["upload_bytes"] > 0),
        split=np.where(table["labelled"], table["fold"].map(_split_of_fold()), "unlabelled"),
    )


def class_table(table: pd.DataFrame, *, codes: Sequence[str]) -> pd.DataFrame:
    """One row a class: code, positives, validation_positives, test_positives."""
    positives = table[list(codes)]
    return pd.DataFrame(
        {
            "code": list(codes),
            "positives": positives.sum().to_numpy(),
            "validation_positives": positives[table["fold"] == VALIDATION_FOLD].sum().to_numpy(),
            "test_positives": positives[table["fold"] == TEST_FOLD].sum().to_numpy(),
        }
    )


def signal_table(
    table: pd.DataFrame,
    *,
    signals_uv: NDArray[np.int16],
    sampling_hz: int,
    upload: Callable[[int], bytes | None],
) -> pd.DataFrame:
    """Measure every recording again, one at a time: peaks, noise, drift, lead relations, flags, a digest.

    Measures of a record on paper are missing, and its digest is that of its page image.
    """
    on_paper = ~table["has_signal"].to_numpy(dtype=bool)
    rows = [
        _on_paper(upload(row)) if row < len(on_paper) and on_paper[row] else _measures(signals_uv[row], sampling_hz)
        for row in range(len(signals_uv))
    ]
    measured = pd.DataFrame(rows).assign(ecg_id=table["ecg_id"], fold=table["fold"])
    flags = list(QUALITY_FLAGS)
    return measured.assign(
        flags_agree=(measured[flags] == table[flags].reindex(measured.index)).all(axis=1),
        folds_of_samples=measured.groupby("content_sha256")["fold"].transform("nunique"),
        copies_of_samples=measured.groupby("content_sha256")["content_sha256"].transform("size"),
    )


def page_table(index: pd.DataFrame, *, table: pd.DataFrame) -> pd.DataFrame:
    """Add ecg_id_agrees, standard_taken_in, has_findings and scale_error.

    What a page of paper says is taken as it is: its scale is not known beforehand, and one that is no ECG may be blank.
    Nor is that of a photograph, which is as large on the picture as somebody stood near.
    """
    ecg_id_of_row = table["ecg_id"].reindex(index["row"]).to_numpy()
    of_paper = index["style"] == ON_PAPER
    photographed = index["camera"].isin(_FRAMED)
    return index.assign(
        ecg_id_agrees=index["ecg_id"].to_numpy() == ecg_id_of_row,
        standard_taken_in=index["is_ecg"] | (index["copy"] > 0) | of_paper,
        ink_fraction=index["ink_fraction"].where(index["is_ecg"] | ~of_paper),
        has_findings=index["findings"] != "",
        scale_error=(index["measured_px_per_mm"] / index["px_per_mm"] - 1).abs().where(~photographed),
    )


def _split_of_fold() -> Mapping[int, str]:
    train, validation, test = SPLITS
    return dict.fromkeys(TRAIN_FOLDS, train) | {VALIDATION_FOLD: validation, TEST_FOLD: test}


def _measures(signal_uv: NDArray[np.int16], sampling_hz: int) -> dict[str, object]:
    measured = quality(signal_uv, sampling_hz=sampling_hz)
    return {
        "peak_mv": float(np.abs(signal_uv.astype(np.int32)).max()) / UV_PER_MV,
        "liveliest_lead_mv": float(measured.range_uv.max()) / UV_PER_MV,
        "lead_residual_mv": measured.lead_residual_uv / UV_PER_MV,
        "noise_uv": float(np.median(measured.noise_uv)),
        "drift_mv": float(np.median(measured.drift_uv)) / UV_PER_MV,
        "content_sha256": hashlib.sha256(np.ascontiguousarray(signal_uv, dtype="<i2").tobytes()).hexdigest(),
        **{flag: flag in measured.flags for flag in QUALITY_FLAGS},
    }


def _on_paper(upload: bytes | None) -> dict[str, object]:
    missing = dict.fromkeys(("peak_mv", "liveliest_lead_mv", "lead_residual_mv", "noise_uv", "drift_mv"), np.nan)
    return {
        **missing,
        "content_sha256": hashlib.sha256(upload or b"").hexdigest(),
        **dict.fromkeys(QUALITY_FLAGS, False),
    }
