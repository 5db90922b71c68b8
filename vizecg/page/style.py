"""Page styles as data: which lead stands where, at which scale, on which paper, in which ink.

Adding a hospital's way of printing is adding a row to `STYLES`; nothing that
draws asks for a style by its name. All lengths are millimetres of paper.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vizecg.labels import LEADS
from vizecg.page.scale import LARGE_SQUARE_MM, SMALL_SQUARE_MM

A4_LANDSCAPE_MM = (297.0, 210.0)

FIELD_WIDTH_MM = 256.0
"""Width of the field that the model sees: pulse, gap and ten seconds at 25 mm/s."""

FIELD_HEIGHT_MM = 144.0
"""Height of the field that the model sees, centred on the chart as its width is."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One lead's stretch of time. `key` names it on a page: a lead may be printed twice."""

    lead: str
    start_s: float
    duration_s: float
    key: str

    def __post_init__(self) -> None:
        if self.lead not in LEADS:
            raise ValueError(f"Strip.lead must be one of {list(LEADS)}, got {self.lead!r}")
        if not (self.start_s >= 0 and self.duration_s > 0):
            raise ValueError(f"strip {self.key!r} must start at 0 s or later and last, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The printed squares. Fine lines are the same ink as coarse ones, at `fine_strength` of it."""

    colour: Rgb
    fine_strength: float
    fine_width_mm: float
    coarse_width_mm: float
    margin_mm: float
    """Paper kept free of lines at every edge, at least; the grid ends on a coarse line."""

    fine_pitch_mm: float = SMALL_SQUARE_MM
    coarse_pitch_mm: float = LARGE_SQUARE_MM


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The calibration mark at the left of each row: 1 mV high, and a gap before the trace."""

    width_mm: float
    gap_mm: float
    height_mv: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lettering:
    """Size of names, and where a name stands from the start of its trace."""

    height_mm: float
    right_mm: float
    above_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One way of printing twelve leads."""

    name: str
    rows: tuple[tuple[Strip, ...], ...]
    row_pitch_mm: float
    lettering: Lettering
    paper_mm: tuple[float, float]
    mm_per_s: float
    mm_per_mv: float
    pulse: Pulse
    grid: Grid
    paper_colour: Rgb
    ink_colour: Rgb
    ink_width_mm: float

    def __post_init__(self) -> None:
        keys = [strip.key for row in self.rows for strip in row]
        if len(set(keys)) != len(keys):
            raise ValueError(f"style {self.name!r} prints a strip twice under one key: {keys}")
        if self.chart_width_mm > self.paper_mm[0] or self.row_pitch_mm * len(self.rows) > self.paper_mm[1]:
            raise ValueError(
                f"style {self.name!r} needs {self.chart_width_mm:g} × {self.row_pitch_mm * len(self.rows):g} mm, "
                f"its paper has {self.paper_mm[0]:g} × {self.paper_mm[1]:g} mm"
            )

    @property
    def trace_width_mm(self) -> float:
        """Length of the longest row's traces."""
        return max(math.fsum(strip.duration_s for strip in row) for row in self.rows) * self.mm_per_s

    @property
    def chart_width_mm(self) -> float:
        """Pulse, gap and traces."""
        return self.pulse.width_mm + self.pulse.gap_mm + self.trace_width_mm

    @property
    def chart_left_mm(self) -> float:
        """Where the pulses begin, from the paper's left edge: the chart is centred."""
        return (self.paper_mm[0] - self.chart_width_mm) / 2

    @property
    def trace_left_mm(self) -> float:
        """Where every row's traces begin, from the paper's left edge."""
        return self.chart_left_mm + self.pulse.width_mm + self.pulse.gap_mm

    def baseline_mm(self, row: int) -> float:
        """Height of 0 mV of a row, from the paper's upper edge: the rows are centred."""
        return self.paper_mm[1] / 2 + (row - (len(self.rows) - 1) / 2) * self.row_pitch_mm


def _columns(*columns: tuple[str, ...], seconds_each: float) -> tuple[tuple[Strip, ...], ...]:
    """Rows of a page whose columns follow one another in time, as machines print them."""
    return tuple(
        tuple(
            Strip(lead=lead, start_s=column * seconds_each, duration_s=seconds_each, key=lead)
            for column, lead in enumerate(row)
        )
        for row in zip(*columns, strict=True)
    )


_PINK = Grid(colour=(245, 160, 160), fine_strength=0.45, fine_width_mm=0.12, coarse_width_mm=0.25, margin_mm=12.0)
_BLACK: Rgb = (0, 0, 0)
_WHITE: Rgb = (255, 255, 255)

_STANDARD = Style(
    name="standard",
    rows=(
        *_columns(("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"), seconds_each=2.5),
        (Strip(lead="II", start_s=0.0, duration_s=10.0, key="II rhythm"),),
    ),
    row_pitch_mm=32.0,
    lettering=Lettering(height_mm=3.2, right_mm=1.0, above_mm=8.0),
    paper_mm=A4_LANDSCAPE_MM,
    mm_per_s=25.0,
    mm_per_mv=10.0,
    pulse=Pulse(width_mm=5.0, gap_mm=1.0),
    grid=_PINK,
    paper_colour=_WHITE,
    ink_colour=_BLACK,
    ink_width_mm=0.35,
)

_STANDARD_12X1 = Style(
    name="standard-12x1",
    rows=_columns(LEADS, seconds_each=10.0),
    row_pitch_mm=12.0,
    # Rows this close leave no room above the traces: names stand left of the pulses.
    lettering=Lettering(height_mm=2.6, right_mm=-14.5, above_mm=-0.5),
    paper_mm=A4_LANDSCAPE_MM,
    mm_per_s=25.0,
    mm_per_mv=5.0,
    pulse=Pulse(width_mm=5.0, gap_mm=1.0),
    grid=_PINK,
    paper_colour=_WHITE,
    ink_colour=_BLACK,
    ink_width_mm=0.35,
)

STYLES: Mapping[str, Style] = MappingProxyType({style.name: style for style in (_STANDARD, _STANDARD_12X1)})
STANDARD = STYLES["standard"]


def style_named(name: str) -> Style:
    """Look a style up.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in STYLES:
        raise ValueError(f"unknown page style {name!r}; known: {sorted(STYLES)}")
    return STYLES[name]
