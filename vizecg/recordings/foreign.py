"""A WFDB record of another database -> microvolts at the rate of the set, or the reason why not.

PTB-XL's own records are held to more (`reading.py`): here rate, length, format and
the presence of checksums differ from database to database, and what is stated is
held against the samples all the same.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import wfdb  # type: ignore[import-untyped]
from numpy.typing import NDArray

from vizecg.recordings.offer import Reading, Refusal
from vizecg.recordings.reading import (
    UNREADABLE,
    Refused,
    check_gains,
    lead_order,
    physical_checks,
    refuse,
    uv_of_units,
)
from vizecg.recordings.resampling import resample
from vizecg.recordings.stated import StatedHeader, read_stated
from vizecg.records import RECORD_LENGTH_S, Reason
from vizecg.signals import quality
from vizecg.sums import stays_inside

MIN_HZ: Final = 100.0
MAX_HZ: Final = 1000.0
BYTES_OF_FORMAT: Final = {"8": 1.0, "80": 1.0, "212": 1.5, "16": 2.0, "61": 2.0, "160": 2.0, "24": 3.0, "32": 4.0}
"""Bytes a sample of the formats that are read (WFDB, signal(5)): with them a header that promises more is known."""


def read_foreign(names: Sequence[str], *, folder: Path, sampling_hz: int) -> list[Reading | Refusal]:
    """Read a few records by their names below a folder, in their order: one task of a worker."""
    return [_read_or_refuse(name, folder=folder, sampling_hz=sampling_hz) for name in names]


def _read_or_refuse(name: str, *, folder: Path, sampling_hz: int) -> Reading | Refusal:
    try:
        signals_uv = _read(name, folder=folder, sampling_hz=sampling_hz)
    except Refused as refused:
        return Refusal(reason=refused.reason, detail=refused.detail)
    return Reading(signals_uv=signals_uv, flags=quality(signals_uv, sampling_hz=sampling_hz).flags)


def _read(name: str, *, folder: Path, sampling_hz: int) -> NDArray[np.int16]:
    stem = _locate(name, folder=folder)
    stated = _parsed(lambda: read_stated(stem.with_name(f"{stem.name}.hea")), name=name)
    rate_hz = _rate_hz(stated)
    _check_file_names(stated.file_names)
    header = _parsed(lambda: wfdb.rdheader(str(stem)), name=name)
    _check_header(header, folder=stem.parent)
    order = lead_order(header.sig_name)
    check_gains(header, stated=stated)
    uv_of = uv_of_units(stated, leads=header.sig_name)
    wanted = math.ceil(rate_hz * RECORD_LENGTH_S)
    if header.sig_len < wanted:
        refuse(
            Reason.WRONG_LENGTH,
            f"{header.sig_len} samples at {rate_hz:g} Hz, expected {wanted} ({RECORD_LENGTH_S} s) or more",
        )
    _check_sizes(header, folder=stem.parent)
    record = _parsed(lambda: wfdb.rdrecord(str(stem), physical=False), name=name)
    if len(record.d_signal) != header.sig_len:
        refuse(Reason.TRUNCATED, f"{len(record.d_signal)} samples are there, its header says {header.sig_len}")
    _check_sums(record)
    physical = _parsed(record.dac, name=name)
    microvolts = physical[:wanted].T[order] * uv_of[order][:, None]
    if (missing := np.isnan(microvolts).any(axis=1)).any():
        refuse(Reason.NOT_A_NUMBER, f"lead {header.sig_name[order[int(missing.argmax())]]} has samples without a value")
    resampled = resample(microvolts, from_hz=rate_hz, to_hz=sampling_hz)
    return physical_checks(resampled[:, : sampling_hz * RECORD_LENGTH_S])


def _locate(name: str, *, folder: Path) -> Path:
    if not stays_inside(name):
        refuse(Reason.OUTSIDE_FOLDER, f"the file {name!r} is not below the folder")
    if not (folder / f"{name}.hea").is_file():
        refuse(Reason.MISSING_FILE, f"{name}.hea is not there")
    return (folder / name).resolve()


def _rate_hz(stated: StatedHeader) -> float:
    if not stated.record_line:
        refuse(Reason.HEADER_UNREADABLE, "the header has no record line")
    rate_hz = stated.rate_hz
    if rate_hz is None or not MIN_HZ <= rate_hz <= MAX_HZ:
        refuse(Reason.WRONG_RATE, f"the header says {stated.rate!r}, expected {MIN_HZ:g} to {MAX_HZ:g} Hz")
    return rate_hz


def _check_file_names(file_names: Sequence[str]) -> None:
    for file_name in file_names:
        if not stays_inside(file_name) or "/" in file_name:
            refuse(Reason.OUTSIDE_FOLDER, f"the header names the file {file_name!r}, which does not lie beside it")


def _parsed(read: Any, *, name: str) -> Any:  # noqa: ANN401 (wfdb has no types)
    try:
        return read()
    except UNREADABLE as error:
        # What wfdb complains of may hold the path of this machine; what kind of error it is says enough.
        refuse(Reason.HEADER_UNREADABLE, f"{name} cannot be read as WFDB: {type(error).__name__}")


def _check_header(header: Any, *, folder: Path) -> None:  # noqa: ANN401
    if isinstance(header, wfdb.MultiRecord):
        refuse(Reason.HEADER_UNREADABLE, "the header names several segments, expected one")
    for field in ("file_name", "fmt", "adc_gain", "units", "sig_name"):
        values = getattr(header, field) or []
        if len(values) != header.n_sig or None in values:
            refuse(Reason.HEADER_UNREADABLE, f"the header promises {header.n_sig} leads and lacks {field} of some")
    _check_file_names(header.file_name)  # as wfdb reads them, which is what it opens
    for file_name in sorted(set(header.file_name)):
        if not (folder / file_name).is_file():
            refuse(Reason.MISSING_FILE, f"{file_name} is not there")
    if any(header.skew or ()) or set(header.samps_per_frame or {1}) != {1}:
        refuse(Reason.HEADER_UNREADABLE, "the header shifts leads against each other, expected one sample a frame")
    if not header.sig_len:
        refuse(Reason.HEADER_UNREADABLE, "the header does not say how many samples there are")


def _check_sizes(header: Any, *, folder: Path) -> None:  # noqa: ANN401
    """Wfdb makes room for what a header promises, however much that is."""
    if unknown := sorted(set(header.fmt) - BYTES_OF_FORMAT.keys()):
        refuse(Reason.HEADER_UNREADABLE, f"the header says format {unknown[0]}, known are {', '.join(BYTES_OF_FORMAT)}")
    needed: Counter[str] = Counter()
    for file_name, fmt in zip(header.file_name, header.fmt, strict=True):
        needed[file_name] += int(BYTES_OF_FORMAT[fmt] * header.sig_len)
    for file_name, promised in needed.items():
        if (size := (folder / file_name).stat().st_size) < promised:
            refuse(Reason.TRUNCATED, f"{file_name} has {size} bytes, its header needs {promised}")


def _check_sums(record: Any) -> None:  # noqa: ANN401
    stated = record.checksum or [None] * record.n_sig
    sums = record.d_signal.sum(axis=0, dtype=np.int64)
    for lead, got, said in zip(record.sig_name, sums, stated, strict=True):
        if said is not None and got % 65536 != said % 65536:
            refuse(Reason.HEADER_CHECKSUM, f"lead {lead} sums to {got % 65536}, its header says {said % 65536}")
