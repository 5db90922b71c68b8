"""One WFDB record by itself, of any rate and length: for drawing, where no table stands beside it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import wfdb  # type: ignore[import-untyped]
from numpy.typing import NDArray

from vizecg.errors import InputError
from vizecg.recordings.reading import UNREADABLE, Refused, check_units, lead_order
from vizecg.sums import stays_inside

ENDINGS: Final = (".hea", ".dat", ".mat")

MIN_SAMPLING_HZ: Final = 50
MAX_SAMPLING_HZ: Final = 10_000
_RATE: Final = re.compile(r"(?P<sampling_hz>\d+(\.\d*)?)(/.*)?")
"""Third field of the record line: rate, then perhaps counter frequency and base (WFDB, header(5))."""
_SAME_HZ: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class WfdbRecord:
    """`signal_mv` is (12, samples), leads in the order of `labels.LEADS`; NaN where a sample has no value."""

    signal_mv: NDArray[np.float64]
    sampling_hz: float


def read_wfdb(record: Path) -> WfdbRecord:
    """Read a record of twelve leads, and hold its samples against the header's checksums.

    Args:
        record: its path, with or without the ending.

    Raises:
        InputError: it is not there, cannot be read, is not what its header says, or has other leads or units.
    """
    stem = record.with_suffix("") if record.suffix in ENDINGS else record
    header = stem.with_name(f"{stem.name}.hea")
    if not header.is_file():
        raise InputError(f"{header} is not there; name a WFDB record, with or without .hea")
    sampling_hz = _check_header(header)
    try:
        read = wfdb.rdrecord(str(stem), physical=False)
    except UNREADABLE as error:
        raise InputError(f"{record} cannot be read as WFDB: {type(error).__name__}: {error}") from None
    if abs(read.fs - sampling_hz) > _SAME_HZ:
        raise InputError(f"{header} states {sampling_hz:g} samples per second, but wfdb reads {read.fs:g}")
    try:
        check_units(read)
        order = lead_order(read.sig_name)
    except Refused as refused:
        raise InputError(f"{record}: {refused.detail}") from None
    _check_sums(read, record=record)
    return WfdbRecord(signal_mv=np.ascontiguousarray(read.dac().T[order]), sampling_hz=sampling_hz)


def _check_header(header: Path) -> float:
    """Read the rate as it is written, for wfdb takes 250 Hz where it finds none; and see that no file lies elsewhere.

    Raises:
        InputError: there is no rate that an ECG can have, or the header names several segments or a file elsewhere.
    """
    try:
        text = header.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise InputError(f"{header} cannot be read: {error}") from None
    lines = [fields for line in text.splitlines() if (fields := line.split()) and not fields[0].startswith("#")]
    if not lines:
        raise InputError(f"{header} has no record line; is it complete?")
    record_line, *signal_lines = lines
    if "/" in record_line[0]:
        raise InputError(f"{header} names several segments, expected one")
    for fields in signal_lines:
        if not stays_inside(fields[0]):
            raise InputError(f"{header} names the file {fields[0]!r}, which is not below its folder")
    return _rate_hz(record_line[2] if len(record_line) > 2 else "nothing", header=header)


def _rate_hz(field: str, *, header: Path) -> float:
    found = _RATE.fullmatch(field)
    sampling_hz = float(found["sampling_hz"]) if found else 0.0
    if not MIN_SAMPLING_HZ <= sampling_hz <= MAX_SAMPLING_HZ:
        raise InputError(
            f"{header} states the sampling rate {field!r}; it must be a plain number of samples per second "
            f"from {MIN_SAMPLING_HZ} to {MAX_SAMPLING_HZ}"
        )
    return sampling_hz


def _check_sums(read: Any, *, record: Path) -> None:  # noqa: ANN401 (wfdb has no types)
    for lead, got, stated in zip(read.sig_name, read.d_signal.sum(axis=0, dtype=np.int64), read.checksum, strict=True):
        if stated is not None and got % 65536 != stated % 65536:
            raise InputError(f"{record}: the samples of lead {lead} do not have the checksum its header states")
