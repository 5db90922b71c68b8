"""One WFDB record -> microvolts in the standard order, or the reason why not.

Every claim that the files make about themselves is checked before a sample is
believed: the listed SHA-256, the header's rate, length, units and leads, its
first sample and 16-bit sum of every lead, and the relations between limb leads.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import wfdb  # type: ignore[import-untyped]
from numpy.typing import NDArray

from vizecg.labels import LEADS
from vizecg.publish import sha256_of
from vizecg.recordings.offer import Reading, Refusal
from vizecg.recordings.stated import StatedHeader, read_stated
from vizecg.records import RECORD_LENGTH_S, UV_PER_MV, Reason
from vizecg.signals import MAX_LEAD_RESIDUAL_UV, lead_residual_uv, quality
from vizecg.sums import stays_inside

UNITS: Final = "mV"
UV_OF_UNIT: Final = {"mv": UV_PER_MV, "uv": 1, "\u03bcv": 1, "v": 1_000_000}
"""Units of other databases, case folded: that makes one of the two letters µ."""
FORMAT: Final = "16"
"""Two bytes a sample, little-endian: what PTB-XL uses."""
INVALID_SAMPLE: Final = -32768
"""Stands for `no value` in format 16 (WFDB Applications Guide, signal(5))."""

# What wfdb raises on a header that is not one: found by feeding it 1,200 damaged headers.
UNREADABLE: Final = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, OSError)
_LEAD_OF_NAME: Final = {lead.upper(): lead for lead in LEADS}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFiles:
    """A record to read; the sums are None where the folder lists none."""

    name: str
    header_sha256: str | None
    signal_sha256: str | None

    @classmethod
    def of(cls, name: str, *, sums: Mapping[str, str]) -> "RecordFiles":
        """Look its two files up in the folder's list of sums."""
        return cls(name=name, header_sha256=sums.get(f"{name}.hea"), signal_sha256=sums.get(f"{name}.dat"))


class Refused(Exception):
    """Why a record cannot be believed."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read_records(files: Sequence[RecordFiles], *, folder: Path, sampling_hz: int) -> list[Reading | Refusal]:
    """Read a few records, in their order: one task of a worker."""
    return [read_record(one, folder=folder, sampling_hz=sampling_hz) for one in files]


def read_record(files: RecordFiles, *, folder: Path, sampling_hz: int) -> Reading | Refusal:
    """Read and check one record of a folder in PTB-XL's layout; never raises for what is in the files."""
    try:
        signals_uv = _read(files, folder=folder, sampling_hz=sampling_hz)
    except Refused as refused:
        return Refusal(reason=refused.reason, detail=refused.detail)
    measured = quality(signals_uv, sampling_hz=sampling_hz)
    return Reading(signals_uv=signals_uv, flags=measured.flags)


def _read(files: RecordFiles, *, folder: Path, sampling_hz: int) -> NDArray[np.int16]:
    stem = _locate(files, folder=folder)
    header = _read_header(stem, name=files.name)
    _check_header(header, stem=stem)
    _check_time(header, sampling_hz=sampling_hz)
    check_gains(header, stated=read_stated(stem.with_suffix(".hea")))
    _check_units(header)
    order = lead_order(header.sig_name)
    digital = _read_samples(stem.with_suffix(".dat"), leads=header.n_sig, samples=header.sig_len)
    _check_against_header(digital, header=header)
    return physical_checks(_microvolts(digital, header=header)[order])


def physical_checks(microvolts: NDArray[np.float64]) -> NDArray[np.int16]:
    """Round (12, samples) to whole microvolts; raise `Refused` unless one heart can have made them at one time."""
    limits = np.iinfo(np.int16)
    rounded = np.rint(microvolts)
    if rounded.min() < limits.min or rounded.max() > limits.max:
        refuse(Reason.OUT_OF_RANGE, f"a sample is beyond ±{limits.max / UV_PER_MV:.1f} mV")
    residual_uv = lead_residual_uv(rounded)
    if residual_uv > MAX_LEAD_RESIDUAL_UV:
        refuse(
            Reason.LEAD_RELATION,
            f"limb leads contradict each other by {residual_uv / UV_PER_MV:.2f} mV, "
            f"allowed are {MAX_LEAD_RESIDUAL_UV / UV_PER_MV:.2f} mV (Einthoven, Goldberger)",
        )
    return np.ascontiguousarray(rounded.astype(np.int16))


def refuse(reason: Reason, detail: str) -> NoReturn:
    """Raise `Refused`."""
    raise Refused(reason, detail)


def _locate(files: RecordFiles, *, folder: Path) -> Path:
    if not stays_inside(files.name):
        refuse(Reason.OUTSIDE_FOLDER, f"the table names the file {files.name!r}, which is not below the folder")
    for ending, expected in ((".hea", files.header_sha256), (".dat", files.signal_sha256)):
        name = f"{files.name}{ending}"
        path = folder / name
        if not path.is_file():
            refuse(Reason.MISSING_FILE, f"{name} is not there")
        if expected is None:
            refuse(Reason.FILE_CHECKSUM, f"{name} is not in SHA256SUMS.txt")
        if (got := sha256_of(path)) != expected:
            refuse(Reason.FILE_CHECKSUM, f"{name} has SHA-256 {got[:12]}…, SHA256SUMS.txt says {expected[:12]}…")
    return (folder / files.name).resolve()


def _read_header(stem: Path, *, name: str) -> Any:  # noqa: ANN401 (wfdb has no types)
    try:
        return wfdb.rdheader(str(stem))
    except UNREADABLE as error:
        refuse(Reason.HEADER_UNREADABLE, f"{name}.hea cannot be read: {type(error).__name__}: {error}"[:200])


def _check_header(header: Any, *, stem: Path) -> None:  # noqa: ANN401
    if isinstance(header, wfdb.MultiRecord):
        refuse(Reason.HEADER_UNREADABLE, "the header names several segments, expected one")
    per_signal = ("file_name", "fmt", "adc_gain", "baseline", "units", "init_value", "checksum", "sig_name")
    for field in per_signal:
        values = getattr(header, field) or []
        if len(values) != header.n_sig or None in values:
            refuse(
                Reason.HEADER_UNREADABLE, f"the header promises {header.n_sig} leads and lacks {field} of some of them"
            )
    if others := sorted(set(header.file_name) - {f"{stem.name}.dat"}):
        refuse(Reason.HEADER_UNREADABLE, f"the header names the file {others[0]!r}, expected {stem.name}.dat")
    if formats := sorted(set(header.fmt) - {FORMAT}):
        refuse(Reason.HEADER_UNREADABLE, f"the header says format {formats[0]}, expected {FORMAT}")
    if any(header.byte_offset) or any(header.skew) or set(header.samps_per_frame) != {1}:
        refuse(Reason.HEADER_UNREADABLE, "the header shifts leads against each other, expected one sample a frame")


def _check_time(header: Any, *, sampling_hz: int) -> None:  # noqa: ANN401
    if header.fs != sampling_hz:
        refuse(Reason.WRONG_RATE, f"{header.fs} Hz, expected {sampling_hz} Hz")
    expected = sampling_hz * RECORD_LENGTH_S
    if header.sig_len != expected:
        refuse(Reason.WRONG_LENGTH, f"{header.sig_len} samples, expected {expected} ({RECORD_LENGTH_S} s)")


def check_gains(header: Any, *, stated: StatedHeader) -> None:  # noqa: ANN401
    """Raise `Refused` unless every lead states a gain, and wfdb reads the one that stands there."""
    gains = [gain.per_unit for gain in stated.gains]
    for lead, gain in zip(header.sig_name, gains, strict=False):
        if gain is None:
            refuse(Reason.WRONG_UNITS, f"lead {lead} has no gain, so its units mean nothing")
    if gains != list(header.adc_gain):
        refuse(Reason.HEADER_UNREADABLE, f"the header states the gains {gains[:3]}…, wfdb reads {header.adc_gain[:3]}…")


def uv_of_units(stated: StatedHeader, *, leads: Sequence[str]) -> NDArray[np.float64]:
    """Microvolts in one unit of each of `leads`, (leads,); raises `Refused` for units that are no volts."""
    units = [gain.units for gain in stated.gains]
    for lead, unit in zip(leads, units, strict=True):
        if unit.casefold() not in UV_OF_UNIT:
            refuse(Reason.WRONG_UNITS, f"lead {lead} is in {unit!r}, expected mV or µV")
    return np.array([UV_OF_UNIT[unit.casefold()] for unit in units], dtype=np.float64)


def _check_units(header: Any) -> None:  # noqa: ANN401
    for lead, units in zip(header.sig_name, header.units, strict=True):
        if units != UNITS:
            refuse(Reason.WRONG_UNITS, f"lead {lead} is in {units!r}, expected {UNITS!r}")


def lead_order(names: Sequence[str]) -> list[int]:
    """Where in the file each of `labels.LEADS` stands; PTB-XL writes AVR for aVR. Raises `Refused` for other leads."""
    leads = [_LEAD_OF_NAME.get(name.strip().upper(), name) for name in names]
    if unknown := [name for name in leads if name not in LEADS]:
        refuse(Reason.UNKNOWN_LEAD, f"lead {unknown[0]!r} is not one of {', '.join(LEADS)}")
    if twice := [name for name, times in Counter(leads).items() if times > 1]:
        refuse(Reason.DUPLICATE_LEAD, f"lead {twice[0]} comes more than once")
    if missing := [name for name in LEADS if name not in leads]:
        refuse(Reason.MISSING_LEAD, f"lead {', '.join(missing)} is missing")
    return [leads.index(lead) for lead in LEADS]


def _read_samples(path: Path, *, leads: int, samples: int) -> NDArray[np.int16]:
    """(samples, leads) of format 16; wfdb would parse the header again for it, which is most of its time."""
    content = path.read_bytes()
    if len(content) != 2 * leads * samples:
        refuse(Reason.TRUNCATED, f"{path.name} has {len(content)} bytes, its header needs {2 * leads * samples}")
    return np.frombuffer(content, dtype="<i2").reshape(samples, leads)


def _check_against_header(digital: NDArray[np.int16], *, header: Any) -> None:  # noqa: ANN401
    leads = header.sig_name
    if (invalid := (digital == INVALID_SAMPLE).any(axis=0)).any():
        refuse(Reason.NOT_A_NUMBER, f"lead {leads[int(invalid.argmax())]} has samples without a value")
    sums = digital.sum(axis=0, dtype=np.int64) % 65536
    for lead, got, stated in zip(leads, sums, header.checksum, strict=True):
        if got != stated % 65536:
            refuse(Reason.HEADER_CHECKSUM, f"lead {lead} sums to {got}, its header says {stated}")
    for lead, got, stated in zip(leads, digital[0], header.init_value, strict=True):
        if got != stated:
            refuse(Reason.HEADER_CHECKSUM, f"lead {lead} begins with {got}, its header says {stated}")


def _microvolts(digital: NDArray[np.int16], *, header: Any) -> NDArray[np.float64]:  # noqa: ANN401
    gain = np.asarray(header.adc_gain, dtype=np.float64)
    if not (np.isfinite(gain).all() and (gain > 0).all()):
        refuse(Reason.WRONG_UNITS, "a lead's gain is not above 0, so its units mean nothing")
    microvolts = (digital - np.asarray(header.baseline, dtype=np.float64)) / gain * UV_PER_MV
    return np.ascontiguousarray(microvolts.T)
