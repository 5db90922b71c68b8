"""What a data set looks like on the whole: the numbers that the next one is compared with.

A profile holds counts and the edges of tenths, nothing of any one record.
"""

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vizecg.records import AGE_BANDS, RecordSet
from vizecg.signals import QUALITY_FLAGS
from vizecg.validation.tables import Tables

PROFILE_SCHEMA_VERSION: Final = 1
TENTHS: Final = tuple(number / 10 for number in range(1, 10))

MEASURES: Final = {
    "peak_mv": ("signals", "largest voltage of a recording, mV"),
    "noise_uv": ("signals", "noise of a recording, µV"),
    "drift_mv": ("signals", "drift of a baseline, mV"),
    "ink_fraction": ("pages", "share of a page that is ink"),
    "mean": ("pages", "brightness of a page"),
}
"""Numbers whose distribution is kept: column -> its table, and what it is in plain words."""


def profile_of(tables: Tables, *, record_set: RecordSet) -> dict[str, Any]:
    """Sum up a data set, JSON-safe; equal data give equal profiles.

    Returns:
        `shares`: name -> [how many, of how many]; `tenths`: measure -> edges of its tenths and how
        many values lie between them; and what the set is: task, classes, sampling_hz, simulated, records.
    """
    records, pages = tables.records, tables.pages
    shares = {
        **{f"class {code}": _yes(records[code]) for code in record_set.codes},
        "labelled": _yes(records["labelled"]),
        "with a recording": _yes(records["has_signal"]),
        **{f"sex {value}": _yes(records["sex"] == value) for value in ("female", "male", "unknown")},
        **{f"age {band}": _yes(records["age_band"] == band) for band in AGE_BANDS},
        **{f"flag {flag}": _yes(records.loc[records["has_signal"], flag]) for flag in QUALITY_FLAGS},
        "page recognised": _yes(pages["is_ecg"]),
        "page with remarks": _yes(pages["has_findings"]),
    }
    return {
        "schema_version": PROFILE_SCHEMA_VERSION,
        "task": record_set.task,
        "classes": list(record_set.codes),
        "sampling_hz": record_set.sampling_hz,
        "simulated": record_set.simulated,
        "source": str(record_set.source["uri"]),
        "records": len(record_set),
        "shares": shares,
        "tenths": {name: _tenths(tables[table][name]) for name, (table, _) in MEASURES.items()},  # type: ignore[index]
    }


def count_between(values: "pd.Series[float]", *, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many values lie between the edges: (len(edges) + 1,); a value on an edge is below it."""
    there = values.dropna().to_numpy(dtype=np.float64)
    return np.bincount(np.searchsorted(edges, there, side="left"), minlength=len(edges) + 1)


def _yes(values: "pd.Series[bool]") -> list[int]:
    return [int(values.sum()), len(values)]


def _tenths(values: "pd.Series[float]") -> dict[str, Any]:
    there = values.dropna().to_numpy(dtype=np.float64)
    if not len(there):
        return {"edges": [], "counts": []}
    # Six digits: an edge must not differ by the last bit of another processor's arithmetic.
    edges = sorted({float(f"{edge:.6g}") for edge in np.quantile(there, TENTHS)})
    # Counted, not taken for tenths: of values that come often several tenths share an edge.
    return {"edges": edges, "counts": count_between(values, edges=np.array(edges)).tolist()}
