"""A WFDB header as it is written, for what wfdb reads otherwise.

wfdb takes 250 Hz where no rate stands and a gain of 200 where 0 stands or none, and
drops letters beyond ASCII, so that `µV` becomes `V`. The form is that of WFDB, header(5).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_UNITS: Final = "mV"
"""Where a gain has none (header(5))."""

_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_RATE: Final = re.compile(r"(\d+(?:\.\d*)?)(?:/.*)?", re.ASCII)
"""Samples per second, then perhaps counter frequency and base."""
_GAIN: Final = re.compile(r"(-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?:\([+-]?\d+\))?(?:/(\S+))?", re.ASCII)
"""Units of the converter to one physical unit, then perhaps baseline and unit."""
_RATE_FIELD: Final = 2
_GAIN_FIELD: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Of one lead: `per_unit` steps of the converter make one of `units`; None where the header states none."""

    per_unit: float | None
    units: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedHeader:
    """The fields of the record line and of each signal line, and the comments without their `#`."""

    record_line: tuple[str, ...]
    signal_lines: tuple[tuple[str, ...], ...]
    comments: tuple[str, ...]

    @property
    def rate(self) -> str:
        """The rate as it is written; `nothing` where there is none."""
        return self.record_line[_RATE_FIELD] if len(self.record_line) > _RATE_FIELD else "nothing"

    @property
    def rate_hz(self) -> float | None:
        """The rate, where it is a plain number."""
        found = _RATE.fullmatch(self.rate)
        return float(found[1]) if found else None

    @property
    def file_names(self) -> tuple[str, ...]:
        """The file of each signal."""
        return tuple(fields[0] for fields in self.signal_lines)

    @property
    def gains(self) -> tuple[Gain, ...]:
        """The gain of each signal."""
        return tuple(_gain_of(fields) for fields in self.signal_lines)


def read_stated(header: Path) -> StatedHeader:
    """Read a header's lines; all is empty in one that is none.

    Raises:
        OSError: it cannot be read.
    """
    content = header.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # where µ is one byte; every byte is a letter of it
    lines = [line.strip() for line in _LINE_END.split(text)]
    fields = [tuple(line.split()) for line in lines if line and not line.startswith("#")]
    return StatedHeader(
        record_line=fields[0] if fields else (),
        signal_lines=tuple(fields[1:]),
        comments=tuple(line[1:].strip() for line in lines if line.startswith("#")),
    )


def _gain_of(fields: tuple[str, ...]) -> Gain:
    found = _GAIN.fullmatch(fields[_GAIN_FIELD]) if len(fields) > _GAIN_FIELD else None
    if not found:
        return Gain(per_unit=None, units=DEFAULT_UNITS)
    return Gain(per_unit=float(found[1]) or None, units=found[2] or DEFAULT_UNITS)
