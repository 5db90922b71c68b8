"""Where everything stands on a page of a style at a resolution, and the sheet before any ink.

Sheets are cached: all pages of one style and resolution share paper, grid and lead names.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vizecg.labels import LEADS
from vizecg.page.lettering import font
from vizecg.page.raster import GRID_LEVELS, Traces, ink_over, palette
from vizecg.page.scale import PaperScale
from vizecg.page.style import Grid, Strip, Style, coarse_span_mm

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, y downwards."""

_BAR_MM = 7.0  # height of a separator
_LIFTED_MM = 1.5  # how long the pen is up where strips are parted by a gap
_CACHED_SHEETS = 32  # 120 MB of pages at 200 dpi, twice that where gray ones are asked for

# Coefficients of luma in JPEG and in every gray conversion (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedStrip:
    """A strip with the pixel at which its first sample and 0 mV stand."""

    strip: Strip
    left_px: float
    baseline_px: float
    width_px: float
    half_height_px: float
    """Half its row's pitch; ink may reach further."""

    mm_per_mv: float
    """Below 0 where the lead is printed upside down."""

    pen_down_px: float
    """How much of the width is drawn."""

    @property
    def box(self) -> Box:
        """The strip's time by its row's pitch."""
        return (
            self.left_px,
            self.baseline_px - self.half_height_px,
            self.left_px + self.width_px,
            self.baseline_px + self.half_height_px,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """Paper, grid and names, and where the ink goes. Read-only: pages copy `index`."""

    index: NDArray[np.uint8]
    palette: NDArray[np.uint8]
    scale: PaperScale
    strips: tuple[PlacedStrip, ...]
    traces: Traces
    """The strips, as the pen wants them."""

    @cached_property
    def shades(self) -> NDArray[np.uint8]:
        """(256,) luma of the palette."""
        return np.asarray(np.rint(self.palette @ _LUMA), dtype=np.uint8)

    @cached_property
    def gray(self) -> NDArray[np.uint8]:
        """(height, width) luma; made when it is first asked for."""
        return np.asarray(self.shades[self.index], dtype=np.uint8)


def place_strips(style: Style, *, scale: PaperScale) -> tuple[PlacedStrip, ...]:
    """Put each row's strips one after another from the trace's left edge."""
    placed = []
    for number, row in enumerate(style.rows):
        left_mm = style.trace_left_mm
        for strip in row:
            width_mm = strip.duration_s * style.mm_per_s
            lifted_mm = _LIFTED_MM if style.separators == "gaps" and strip is not row[-1] else 0.0
            gain = style.gain_mm_per_mv(strip.lead)
            placed.append(
                PlacedStrip(
                    strip=strip,
                    left_px=left_mm * scale.px_per_mm,
                    baseline_px=style.baseline_mm(number) * scale.px_per_mm,
                    width_px=width_mm * scale.px_per_mm,
                    half_height_px=style.row_pitch_mm / 2 * scale.px_per_mm,
                    mm_per_mv=-gain if strip.inverted else gain,
                    pen_down_px=(width_mm - lifted_mm) * scale.px_per_mm,
                )
            )
            left_mm += width_mm
    return tuple(placed)


def _traces(strips: tuple[PlacedStrip, ...], *, scale: PaperScale) -> Traces:
    return Traces(
        lead=np.array([LEADS.index(placed.strip.lead) for placed in strips]),
        start_s=np.array([placed.strip.start_s for placed in strips]),
        duration_s=np.array([placed.pen_down_px / scale.px_per_s for placed in strips]),
        left_px=np.array([placed.left_px for placed in strips]),
        baseline_px=np.array([placed.baseline_px for placed in strips]),
        px_per_mv=np.array([placed.mm_per_mv * scale.px_per_mm for placed in strips]),
    )


def _bars(length_px: int, *, centres_mm: Iterable[float], width_mm: float, scale: PaperScale) -> NDArray[np.float64]:
    """(length_px,) how much of each pixel along one axis the bars cover, exactly."""
    edges = np.arange(length_px + 1)
    covered = np.zeros(length_px)
    half_px = width_mm * scale.px_per_mm / 2
    for centre_mm in centres_mm:
        centre_px = centre_mm * scale.px_per_mm
        within = np.clip(edges, centre_px - half_px, centre_px + half_px)
        covered += within[1:] - within[:-1]
    return np.minimum(covered, 1.0)


def _lines_mm(*, anchor_mm: float, limits_mm: tuple[float, float], pitch_mm: float, grid: Grid) -> NDArray[np.float64]:
    """Lines through `anchor_mm` at `pitch_mm`, from the first to the last coarse line within limits."""
    fine_per_coarse = round(grid.coarse_pitch_mm / pitch_mm)
    first_mm, last_mm = coarse_span_mm(anchor_mm, limits_mm, pitch_mm=grid.coarse_pitch_mm)
    before = round((anchor_mm - first_mm) / grid.coarse_pitch_mm) * fine_per_coarse
    after = round((last_mm - anchor_mm) / grid.coarse_pitch_mm) * fine_per_coarse
    return np.asarray(anchor_mm + np.arange(-before, after + 1) * pitch_mm, dtype=np.float64)


def _grid_levels(style: Style, *, shape: tuple[int, int], scale: PaperScale) -> NDArray[np.uint8]:
    """(height, width) strength of the grid in palette levels; coarse lines pass through the first trace's origin."""
    grid = style.grid
    down_mm, across_mm = style.grid_limits_mm
    axes = ((shape[0], style.baseline_mm(0), down_mm), (shape[1], style.trace_left_mm, across_mm))
    strength = np.zeros(shape, dtype=np.float32)
    for pitch_mm, width_mm, weight, dots in (
        (grid.fine_pitch_mm, grid.fine_width_mm, grid.fine_strength, grid.fine == "dots"),
        (grid.coarse_pitch_mm, grid.coarse_width_mm, 1.0, False),
    ):
        if weight == 0 or width_mm == 0:
            continue
        lines, spans = [], []
        for length_px, anchor_mm, limits_mm in axes:
            lines_mm = _lines_mm(anchor_mm=anchor_mm, limits_mm=limits_mm, pitch_mm=pitch_mm, grid=grid)
            middle_mm, span_mm = (lines_mm[0] + lines_mm[-1]) / 2, lines_mm[-1] - lines_mm[0] + width_mm
            lines.append(_bars(length_px, centres_mm=lines_mm, width_mm=width_mm, scale=scale))
            spans.append(_bars(length_px, centres_mm=[middle_mm], width_mm=span_mm, scale=scale))
        rows, columns = lines[0][:, None] * spans[1], spans[0][:, None] * lines[1]
        marks = lines[0][:, None] * lines[1] if dots else rows + columns - rows * columns
        np.maximum(strength, np.float32(weight) * marks, out=strength, casting="same_kind")
    return np.rint(strength * (GRID_LEVELS - 1)).astype(np.uint8)


def _pulses(ink: NDArray[np.float32], *, style: Style, scale: PaperScale) -> None:
    """Add the calibration pulses: up 1 mV, along, and down again; in two steps where the chest has its own gain."""
    if style.pulse.side == "none":
        return
    pulse = style.pulse
    gains = [style.mm_per_mv] if style.chest_mm_per_mv is None else [style.mm_per_mv, style.chest_mm_per_mv]
    for row in range(len(style.rows)):
        baseline_mm, left_mm, before_mm = style.baseline_mm(row), style.pulse_left_mm, 0.0
        for gain in gains:
            height_mm, right_mm = gain * pulse.height_mv, left_mm + pulse.width_mm / len(gains)
            top_mm = baseline_mm - height_mm
            _upright(ink, at_mm=left_mm, between_mm=(baseline_mm - before_mm, top_mm), style=style, scale=scale)
            _block(ink, x_mm=(left_mm, right_mm), y_mm=(top_mm, top_mm), grown_mm=style.ink_width_mm / 2, scale=scale)
            left_mm, before_mm = right_mm, height_mm
        _upright(ink, at_mm=left_mm, between_mm=(baseline_mm - before_mm, baseline_mm), style=style, scale=scale)


def _separators(ink: NDArray[np.float32], *, style: Style, scale: PaperScale) -> None:
    """Add a short bar between the strips of a row."""
    if style.separators != "bars":
        return
    for number, row in enumerate(style.rows):
        left_mm, baseline_mm = style.trace_left_mm, style.baseline_mm(number)
        for strip in row[:-1]:
            left_mm += strip.duration_s * style.mm_per_s
            between_mm = (baseline_mm - _BAR_MM / 2, baseline_mm + _BAR_MM / 2)
            _upright(ink, at_mm=left_mm, between_mm=between_mm, style=style, scale=scale)


def _upright(
    ink: NDArray[np.float32], *, at_mm: float, between_mm: tuple[float, float], style: Style, scale: PaperScale
) -> None:
    span_mm = (min(between_mm), max(between_mm))
    _block(ink, x_mm=(at_mm, at_mm), y_mm=span_mm, grown_mm=style.ink_width_mm / 2, scale=scale)


def _block(
    ink: NDArray[np.float32],
    *,
    x_mm: tuple[float, float],
    y_mm: tuple[float, float],
    grown_mm: float,
    scale: PaperScale,
) -> None:
    """Cover a rectangle, grown by half a pen on all sides, exactly; ink that lies there stays."""
    across_px, down_px = (
        ((low - grown_mm) * scale.px_per_mm, (high + grown_mm) * scale.px_per_mm) for low, high in (x_mm, y_mm)
    )
    top, left = max(0, math.floor(down_px[0])), max(0, math.floor(across_px[0]))
    there = ink[top : math.ceil(down_px[1]), left : math.ceil(across_px[1])]
    down, across = (
        np.clip(np.minimum(edges + 1, high) - np.maximum(edges, low), 0, 1)
        for edges, (low, high) in (
            (np.arange(top, top + there.shape[0]), down_px),
            (np.arange(left, left + there.shape[1]), across_px),
        )
    )
    np.maximum(there, (down[:, None] * across).astype(np.float32), out=there)


def _names(
    shape: tuple[int, int], strips: tuple[PlacedStrip, ...], *, style: Style, scale: PaperScale
) -> NDArray[np.float32]:
    """(height, width) ink of each strip's lead name, and of the page's scales at its foot."""
    lettering = style.lettering
    face = font(lettering.face, lettering.height_mm * scale.px_per_mm)
    canvas = Image.new("L", (shape[1], shape[0]))
    draw = ImageDraw.Draw(canvas)
    for placed in strips:
        anchor_px = (
            placed.left_px + lettering.right_mm * scale.px_per_mm,
            placed.baseline_px - lettering.above_mm * scale.px_per_mm,
        )
        draw.text(anchor_px, placed.strip.name, fill=255, font=face, anchor="ls")
    left_mm = style.chart_left_mm if style.pulse.side == "right" else style.trace_left_mm
    note_px = (left_mm * scale.px_per_mm, style.foot_mm * scale.px_per_mm)
    draw.text(note_px, _scales(style), fill=255, font=face, anchor="ls")
    return np.asarray(canvas, dtype=np.float32) / np.float32(255)


def _scales(style: Style) -> str:
    if style.chest_mm_per_mv is None:
        return f"{style.mm_per_s:g} mm/s   {style.mm_per_mv:g} mm/mV"
    return f"{style.mm_per_s:g} mm/s   Limb: {style.mm_per_mv:g} mm/mV   Chest: {style.chest_mm_per_mv:g} mm/mV"


@lru_cache(maxsize=_CACHED_SHEETS)
def sheet(style: Style, *, px_per_mm: float) -> Sheet:
    """Lay out a style at a resolution.

    Raises:
        ValueError: the resolution is not a finite number above 0.
    """
    scale = PaperScale(mm_per_s=style.mm_per_s, mm_per_mv=style.mm_per_mv, px_per_mm=px_per_mm)
    shape = (round(style.paper_mm[1] * px_per_mm), round(style.paper_mm[0] * px_per_mm))
    strips = place_strips(style, scale=scale)
    printed = _names(shape, strips, style=style, scale=scale)
    _pulses(printed, style=style, scale=scale)
    _separators(printed, style=style, scale=scale)
    index = ink_over(_grid_levels(style, shape=shape, scale=scale), printed)
    index.setflags(write=False)
    return Sheet(
        index=index,
        palette=palette(paper=style.paper_colour, grid=style.grid.colour, ink=style.ink_colour),
        scale=scale,
        strips=strips,
        traces=_traces(strips, scale=scale),
    )
