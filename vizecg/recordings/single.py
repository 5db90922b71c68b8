"""One WFDB record by itself, of any rate and length: for drawing, where no table stands beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import wfdb  # type: ignore[import-untyped]
from numpy.typing import NDArray

from vizecg.errors import InputError
from vizecg.recordings.reading import UNREADABLE, Refused, check_gains, lead_order, uv_of_units
from vizecg.recordings.stated import StatedHeader, read_stated
from vizecg.records import UV_PER_MV
from vizecg.sums import stays_inside

ENDINGS: Final = (".hea", ".dat", ".mat")

MIN_SAMPLING_HZ: Final = 50
MAX_SAMPLING_HZ: Final = 10_000
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
    stated = _read_stated(header)
    sampling_hz = _rate_hz(stated, header=header)
    try:
        read = wfdb.rdrecord(str(stem), physical=False)
    except UNREADABLE as error:
        raise InputError(f"{record} cannot be read as WFDB: {type(error).__name__}: {error}") from None
    if abs(read.fs - sampling_hz) > _SAME_HZ:
        raise InputError(f"{header} states {sampling_hz:g} samples per second, but wfdb reads {read.fs:g}")
    try:
        check_gains(read, stated=stated)
        uv_of = uv_of_units(stated, leads=read.sig_name)
        order = lead_order(read.sig_name)
    except Refused as refused:
        raise InputError(f"{record}: {refused.detail}") from None
    _check_sums(read, record=record)
    signal_mv = (read.dac() * (uv_of / UV_PER_MV)).T[order]
    return WfdbRecord(signal_mv=np.ascontiguousarray(signal_mv), sampling_hz=sampling_hz)


def _read_stated(header: Path) -> StatedHeader:
    """Read what the header states, and see that no file lies elsewhere."""
    try:
        stated = read_stated(header)
    except OSError as error:
        raise InputError(f"{header} cannot be read: {error}") from None
    if not stated.record_line:
        raise InputError(f"{header} has no record line; is it complete?")
    if "/" in stated.record_line[0]:
        raise InputError(f"{header} names several segments, expected one")
    for name in stated.file_names:
        if not stays_inside(name):
            raise InputError(f"{header} names the file {name!r}, which is not below its folder")
    return stated


def _rate_hz(stated: StatedHeader, *, header: Path) -> float:
    """The rate as it is written, for wfdb takes 250 Hz where it finds none."""
    rate_hz = stated.rate_hz
    if rate_hz is None or not MIN_SAMPLING_HZ <= rate_hz <= MAX_SAMPLING_HZ:
        raise InputError(
            f"{header} states the sampling rate {stated.rate!r}; it must be a plain number of samples per second "
            f"from {MIN_SAMPLING_HZ} to {MAX_SAMPLING_HZ}"
        )
    return rate_hz


def _check_sums(read: Any, *, record: Path) -> None:  # noqa: ANN401 (wfdb has no types)
    for lead, got, stated in zip(read.sig_name, read.d_signal.sum(axis=0, dtype=np.int64), read.checksum, strict=True):
        if stated is not None and got % 65536 != stated % 65536:
            raise InputError(f"{record}: the samples of lead {lead} do not have the checksum its header states")
