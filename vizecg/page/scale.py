"""Geometry of ECG paper: seconds and millivolts to millimetres to pixels.

Paper has two scales, millimetres per second along the page and millimetres per
millivolt up it. Grid, page size and trace position all follow from those two
and the resolution, so nothing else is stored or configured.
"""

import math
from dataclasses import dataclass, fields

MM_PER_INCH = 25.4
SMALL_SQUARE_MM = 1.0
LARGE_SQUARE_MM = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperScale:
    """How large one second and one millivolt are drawn. Every field is finite and above 0."""

    mm_per_s: float = 25.0
    mm_per_mv: float = 10.0
    px_per_mm: float = 4.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"PaperScale.{field.name} must be finite and above 0, got {value!r}")

    @property
    def dots_per_inch(self) -> float:
        """The resolution as printers and scanners state it."""
        return self.px_per_mm * MM_PER_INCH

    @property
    def px_per_s(self) -> float:
        """Width of one second."""
        return self.mm_per_s * self.px_per_mm

    @property
    def px_per_mv(self) -> float:
        """Height of one millivolt."""
        return self.mm_per_mv * self.px_per_mm
