"""What a page style is: which lead stands where, at which scale, on which paper, in which ink.

The styles themselves are rows of a table (`vizecg.page.catalogue`); nothing that draws
asks for a style by its name. All lengths are millimetres of the grid, which are those of
the paper unless the print is reduced.
"""

import math
from dataclasses import dataclass
from typing import Literal

from vizecg.labels import LEADS
from vizecg.page.scale import LARGE_SQUARE_MM, SMALL_SQUARE_MM

FIELD_WIDTH_MM = 256.0
"""Width of the field that the model sees: pulse, gap and ten seconds at 25 mm/s."""

FIELD_HEIGHT_MM = 192.0
"""Height of the field that the model sees: twelve rows of 15 mm, and room for what overshoots."""

# A grid that ends with the chart has room for R waves and names above it, and for S waves below it.
_GRID_ABOVE_CHART_MM = 20.0
_GRID_BELOW_CHART_MM = 15.0
_HEAD_MM = 6.5
_FOOT_MM = 6.0
_LETTERS_MM = 3.2
_CLEAR_MM = 1.5  # between letters and the grid's first or last line

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One lead's stretch of time. `key` names it on a page: a lead may be printed twice."""

    lead: str
    start_s: float
    duration_s: float
    key: str
    printed: str = ""
    """The name as printed; empty is the lead's own."""

    inverted: bool = False
    """-aVR of the Cabrera order."""

    def __post_init__(self) -> None:
        if self.lead not in LEADS:
            raise ValueError(f"Strip.lead must be one of {list(LEADS)}, got {self.lead!r}")
        if not (self.start_s >= 0 and self.duration_s > 0):
            raise ValueError(f"strip {self.key!r} must start at 0 s or later and last, got {self}")

    @property
    def name(self) -> str:
        """What stands beside the trace."""
        return self.printed or self.lead


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The printed squares. Fine marks are the same ink as coarse lines, at `fine_strength` of it."""

    colour: Rgb
    fine_strength: float
    fine_width_mm: float
    coarse_width_mm: float
    margin_mm: float
    """Paper kept free of lines at every edge, at least; the grid ends on a coarse line."""

    over: Literal["paper", "chart"] = "paper"
    """Whether the grid fills the paper's height, or ends above the first row and below the last."""

    fine: Literal["lines", "dots", "none"] = "lines"
    fine_pitch_mm: float = SMALL_SQUARE_MM
    coarse_pitch_mm: float = LARGE_SQUARE_MM


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The calibration mark of each row: 1 mV high and a fifth of a second wide; its gap is kept where it is not."""

    width_mm: float
    gap_mm: float
    height_mv: float = 1.0
    side: Literal["left", "right", "none"] = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lettering:
    """Size of names, and where a name stands from the start of its trace."""

    height_mm: float
    right_mm: float
    above_mm: float
    face: Literal["sans", "mono"] = "sans"


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One way of printing twelve leads."""

    name: str
    rows: tuple[tuple[Strip, ...], ...]
    row_pitch_mm: float
    lettering: Lettering
    paper_mm: tuple[float, float]
    """Width and height, in millimetres of the grid: larger than the sheet where the print is reduced."""

    mm_per_s: float
    mm_per_mv: float
    chest_mm_per_mv: float | None = None
    """Gain of V1 to V6, where it is another than that of the limb leads."""

    pulse: Pulse
    grid: Grid
    paper_colour: Rgb
    ink_colour: Rgb
    ink_width_mm: float
    separators: Literal["none", "bars", "gaps"] = "none"
    """Between the strips of a row: a short upright bar, or a gap in the line."""

    header: Literal["none", "line", "block"] = "none"
    """How much text machines print above the chart."""

    shift_mm: float = 0.0
    """How far the chart stands below the paper's middle."""

    reduction: float = 1.0
    """Millimetres of paper for one of the grid."""

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
        """Where the chart begins, from the paper's left edge: it is centred."""
        return (self.paper_mm[0] - self.chart_width_mm) / 2

    @property
    def trace_left_mm(self) -> float:
        """Where every row's traces begin, from the paper's left edge."""
        before_mm = 0.0 if self.pulse.side == "right" else self.pulse.width_mm + self.pulse.gap_mm
        return self.chart_left_mm + before_mm

    @property
    def pulse_left_mm(self) -> float:
        """Where every row's pulse begins, from the paper's left edge."""
        if self.pulse.side == "right":
            return self.trace_left_mm + self.trace_width_mm + self.pulse.gap_mm
        return self.chart_left_mm

    def baseline_mm(self, row: int) -> float:
        """Height of 0 mV of a row, from the paper's upper edge."""
        return self.paper_mm[1] / 2 + self.shift_mm + (row - (len(self.rows) - 1) / 2) * self.row_pitch_mm

    @property
    def grid_limits_mm(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Between what heights, and between what places across the paper, lines may be."""
        margin_mm = self.grid.margin_mm
        across_mm, down_mm = ((margin_mm, side_mm - margin_mm) for side_mm in self.paper_mm)
        if self.grid.over == "chart":
            top_mm = self.baseline_mm(0) - _GRID_ABOVE_CHART_MM
            bottom_mm = self.baseline_mm(len(self.rows) - 1) + _GRID_BELOW_CHART_MM
            down_mm = (max(down_mm[0], top_mm), min(down_mm[1], bottom_mm))
        return down_mm, across_mm

    @property
    def head_mm(self) -> float:
        """Top of the text above the chart: beside the paper's edge, or on the grid if its first line would cut it."""
        first_mm = coarse_span_mm(self.baseline_mm(0), self.grid_limits_mm[0], pitch_mm=self.grid.coarse_pitch_mm)[0]
        cut = _HEAD_MM - _CLEAR_MM < first_mm < _HEAD_MM + _LETTERS_MM
        return first_mm + _CLEAR_MM if cut else _HEAD_MM

    @property
    def foot_mm(self) -> float:
        """Line on which the text at the foot stands: below a grid that ends with the chart, else in the margin.

        It stands on the grid if the grid's last line would cut it.
        """
        last_mm = coarse_span_mm(self.baseline_mm(0), self.grid_limits_mm[0], pitch_mm=self.grid.coarse_pitch_mm)[1]
        foot_mm = self.paper_mm[1] - _FOOT_MM
        if self.grid.over == "chart":
            return min(last_mm + 2 * _CLEAR_MM + _LETTERS_MM, foot_mm)
        cut = foot_mm - _LETTERS_MM < last_mm < foot_mm + _CLEAR_MM
        return last_mm - _CLEAR_MM if cut else foot_mm

    def gain_mm_per_mv(self, lead: str) -> float:
        """How tall a millivolt of a lead is drawn."""
        if self.chest_mm_per_mv is not None and lead.startswith("V"):
            return self.chest_mm_per_mv
        return self.mm_per_mv


def coarse_span_mm(anchor_mm: float, limits_mm: tuple[float, float], *, pitch_mm: float) -> tuple[float, float]:
    """First and last place within limits that is a whole number of pitches from an anchor."""
    before, after = (anchor_mm - limits_mm[0]) // pitch_mm, (limits_mm[1] - anchor_mm) // pitch_mm
    return anchor_mm - before * pitch_mm, anchor_mm + after * pitch_mm
