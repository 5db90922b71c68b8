"""Where everything stands on a page of a style at a resolution, and the sheet before any ink.

Sheets are cached: all pages of one style and resolution share paper, grid and lead names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vizecg.page.raster import GRID_LEVELS, ink_over, palette
from vizecg.page.scale import PaperScale
from vizecg.page.style import Grid, Strip, Style

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, y downwards."""

_NOTE_FROM_FOOT_MM = 6.0  # in the margin below the grid, and so outside the field that a model sees
_CACHED_SHEETS = 8  # a few styles at a page's and a model's resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedStrip:
    """A strip with the pixel at which its first sample and 0 mV stand."""

    strip: Strip
    left_px: float
    baseline_px: float
    width_px: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """Paper, grid and names, and where the ink goes. Read-only: pages copy `index`."""

    index: NDArray[np.uint8]
    palette: NDArray[np.uint8]
    scale: PaperScale
    strips: tuple[PlacedStrip, ...]
    boxes: Mapping[str, Box]


def place_strips(style: Style, *, scale: PaperScale) -> tuple[PlacedStrip, ...]:
    """Put each row's strips one after another from the trace's left edge."""
    placed = []
    for number, row in enumerate(style.rows):
        left_mm = style.trace_left_mm
        for strip in row:
            width_mm = strip.duration_s * style.mm_per_s
            placed.append(
                PlacedStrip(
                    strip=strip,
                    left_px=left_mm * scale.px_per_mm,
                    baseline_px=style.baseline_mm(number) * scale.px_per_mm,
                    width_px=width_mm * scale.px_per_mm,
                )
            )
            left_mm += width_mm
    return tuple(placed)


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


def _lines_mm(*, anchor_mm: float, paper_mm: float, pitch_mm: float, grid: Grid) -> NDArray[np.float64]:
    """Lines through `anchor_mm` at `pitch_mm`, from the first to the last coarse line within the margins."""
    fine_per_coarse = round(grid.coarse_pitch_mm / pitch_mm)
    before = int((anchor_mm - grid.margin_mm) // grid.coarse_pitch_mm) * fine_per_coarse
    after = int((paper_mm - grid.margin_mm - anchor_mm) // grid.coarse_pitch_mm) * fine_per_coarse
    return np.asarray(anchor_mm + np.arange(-before, after + 1) * pitch_mm, dtype=np.float64)


def _grid_levels(style: Style, *, shape: tuple[int, int], scale: PaperScale) -> NDArray[np.uint8]:
    """(height, width) strength of the grid in palette levels; coarse lines pass through the first trace's origin."""
    grid = style.grid
    axes = (
        (shape[0], style.baseline_mm(0), style.paper_mm[1]),
        (shape[1], style.trace_left_mm, style.paper_mm[0]),
    )
    strength = np.zeros(shape)
    for pitch_mm, width_mm, weight in (
        (grid.fine_pitch_mm, grid.fine_width_mm, grid.fine_strength),
        (grid.coarse_pitch_mm, grid.coarse_width_mm, 1.0),
    ):
        lines, spans = [], []
        for length_px, anchor_mm, paper_mm in axes:
            lines_mm = _lines_mm(anchor_mm=anchor_mm, paper_mm=paper_mm, pitch_mm=pitch_mm, grid=grid)
            middle_mm, span_mm = (lines_mm[0] + lines_mm[-1]) / 2, lines_mm[-1] - lines_mm[0] + width_mm
            lines.append(_bars(length_px, centres_mm=lines_mm, width_mm=width_mm, scale=scale))
            spans.append(_bars(length_px, centres_mm=[middle_mm], width_mm=span_mm, scale=scale))
        rows, columns = lines[0][:, None] * spans[1], spans[0][:, None] * lines[1]
        strength = np.maximum(strength, weight * (rows + columns - rows * columns))
    return np.rint(strength * (GRID_LEVELS - 1)).astype(np.uint8)


def _pulses(shape: tuple[int, int], *, style: Style, scale: PaperScale) -> NDArray[np.float64]:
    """(height, width) ink of the calibration pulses: up 1 mV, along, and down again."""
    pen_mm, pulse = style.ink_width_mm, style.pulse
    left_mm, width_mm, height_mm = style.chart_left_mm, pulse.width_mm, pulse.height_mv * style.mm_per_mv
    flanks = _bars(shape[1], centres_mm=[left_mm, left_mm + width_mm], width_mm=pen_mm, scale=scale)
    along = _bars(shape[1], centres_mm=[left_mm + width_mm / 2], width_mm=width_mm + pen_mm, scale=scale)
    baselines_mm = [style.baseline_mm(row) for row in range(len(style.rows))]
    tops = _bars(shape[0], centres_mm=[mm - height_mm for mm in baselines_mm], width_mm=pen_mm, scale=scale)
    rises = _bars(
        shape[0], centres_mm=[mm - height_mm / 2 for mm in baselines_mm], width_mm=height_mm + pen_mm, scale=scale
    )
    return np.maximum(rises[:, None] * flanks, tops[:, None] * along)


def _names(
    shape: tuple[int, int], strips: tuple[PlacedStrip, ...], *, style: Style, scale: PaperScale
) -> NDArray[np.float64]:
    """(height, width) ink of each strip's lead name, and of the page's two scales at its foot."""
    lettering = style.lettering
    # Capitals of Pillow's own typeface are 0.7 of its size.
    font = ImageFont.load_default(size=max(lettering.height_mm * scale.px_per_mm / 0.7, 1.0))
    canvas = Image.new("L", (shape[1], shape[0]))
    draw = ImageDraw.Draw(canvas)
    for placed in strips:
        anchor_px = (
            placed.left_px + lettering.right_mm * scale.px_per_mm,
            placed.baseline_px - lettering.above_mm * scale.px_per_mm,
        )
        draw.text(anchor_px, placed.strip.lead, fill=255, font=font, anchor="ls")
    note_px = (style.trace_left_mm * scale.px_per_mm, (style.paper_mm[1] - _NOTE_FROM_FOOT_MM) * scale.px_per_mm)
    draw.text(note_px, f"{style.mm_per_s:g} mm/s   {style.mm_per_mv:g} mm/mV", fill=255, font=font, anchor="ls")
    return np.asarray(canvas) / 255.0


@lru_cache(maxsize=_CACHED_SHEETS)
def sheet(style: Style, *, px_per_mm: float) -> Sheet:
    """Lay out a style at a resolution.

    Raises:
        ValueError: the resolution is not a finite number above 0.
    """
    scale = PaperScale(mm_per_s=style.mm_per_s, mm_per_mv=style.mm_per_mv, px_per_mm=px_per_mm)
    shape = (round(style.paper_mm[1] * px_per_mm), round(style.paper_mm[0] * px_per_mm))
    strips = place_strips(style, scale=scale)
    printed = np.maximum(_pulses(shape, style=style, scale=scale), _names(shape, strips, style=style, scale=scale))
    index = ink_over(_grid_levels(style, shape=shape, scale=scale), printed)
    index.setflags(write=False)
    half_row_px = style.row_pitch_mm / 2 * px_per_mm
    return Sheet(
        index=index,
        palette=palette(paper=style.paper_colour, grid=style.grid.colour, ink=style.ink_colour),
        scale=scale,
        strips=strips,
        boxes=MappingProxyType(
            {
                placed.strip.key: (
                    placed.left_px,
                    placed.baseline_px - half_row_px,
                    placed.left_px + placed.width_px,
                    placed.baseline_px + half_row_px,
                )
                for placed in strips
            }
        ),
    )
