"""The same pages by other programs, as somebody who knows them would draw them."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vizecg.labels import LEADS
from vizecg.page import STANDARD, Style
from vizecg.page.layout import place_strips
from vizecg.page.scale import PaperScale

HZ = 500.0
LETTER = replace(STANDARD, name="standard-letter", paper_mm=(279.4, 215.9))
LETTER_PX_PER_MM = 200 / 25.4
# Pages have their paper's shape: a square sheet just wider than the chart.
SQUARE_MM = 266.0
SQUARE = replace(STANDARD, name="standard-square", paper_mm=(SQUARE_MM, SQUARE_MM))
POINTS_PER_MM = 72 / 25.4

Signal = np.ndarray


def strips(style: Style) -> Iterator[tuple[int, float, float, float, float]]:
    """Lead's row, first and last second, millimetres from the left and from the top, of each strip."""
    for placed in place_strips(style, scale=PaperScale(px_per_mm=1.0)):
        strip = placed.strip
        yield (
            LEADS.index(strip.lead),
            strip.start_s,
            strip.start_s + strip.duration_s,
            placed.left_px,
            placed.baseline_px,
        )


def traces_mm(signal_mv: Signal, style: Style, *, sampling_hz: float = HZ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Millimetres across and down of each strip's samples."""
    for lead, start_s, end_s, left_mm, baseline_mm in strips(style):
        first, end = round(start_s * sampling_hz), min(round(end_s * sampling_hz) + 1, signal_mv.shape[1])
        across = left_mm + np.arange(end - first) / sampling_hz * style.mm_per_s
        yield across, baseline_mm - signal_mv[lead, first:end] * style.mm_per_mv


def grid_mm(style: Style) -> Iterator[tuple[float, list[list[tuple[float, float]]]]]:
    """Width, and lines from end to end, of the fine grid and then of the coarse one."""
    grid = style.grid
    (left_mm, right_mm), (top_mm, foot_mm) = (
        _ends_mm(anchor_mm, side_mm, pitch_mm=grid.coarse_pitch_mm, margin_mm=grid.margin_mm)
        for anchor_mm, side_mm in zip((style.trace_left_mm, style.baseline_mm(0)), style.paper_mm, strict=True)
    )
    for pitch_mm, line_mm in (
        (grid.fine_pitch_mm, grid.fine_width_mm),
        (grid.coarse_pitch_mm, grid.coarse_width_mm),
    ):
        half_mm = line_mm / 2
        across = np.arange(left_mm, right_mm + pitch_mm / 2, pitch_mm).tolist()
        down = np.arange(top_mm, foot_mm + pitch_mm / 2, pitch_mm).tolist()
        upright = [[(x, top_mm - half_mm), (x, foot_mm + half_mm)] for x in across]
        yield line_mm, upright + [[(left_mm - half_mm, y), (right_mm + half_mm, y)] for y in down]


def _ends_mm(anchor_mm: float, side_mm: float, *, pitch_mm: float, margin_mm: float) -> tuple[float, float]:
    """First and last coarse line: through the anchor, and none in the margins."""
    before, after = ((room_mm - margin_mm) // pitch_mm for room_mm in (anchor_mm, side_mm - anchor_mm))
    return anchor_mm - before * pitch_mm, anchor_mm + after * pitch_mm


class MatplotlibPage:
    """A figure of a style's page; `again` changes its data and draws it once more."""

    def __init__(self, style: Style, *, size_px: tuple[int, int], scaled: float = 1.0) -> None:
        self.style = style
        px_per_mm = size_px[0] / style.paper_mm[0]
        figure = Figure(figsize=(size_px[0] / 100, size_px[1] / 100), dpi=100)
        self.canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, style.paper_mm[0]), ylim=(style.paper_mm[1], 0))
        axes.axis("off")
        points_per_mm = px_per_mm * 0.72 * scaled
        for number, (line_mm, lines) in enumerate(grid_mm(style)):
            strength = style.grid.fine_strength if number == 0 else 1.0
            colour = 1 - strength * (1 - np.array(style.grid.colour) / 255)
            # Unsnapped: moved to whole pixels, lines would not stand where they belong.
            axes.add_collection(LineCollection(lines, colors=[colour], linewidths=line_mm * points_per_mm, snap=False))
        self.lines = [
            axes.plot(
                [],
                [],
                color="black",
                linewidth=style.ink_width_mm * points_per_mm,
                solid_capstyle="round",
                solid_joinstyle="round",
            )[0]
            for _ in strips(style)
        ]
        for lead, _, _, left_mm, baseline_mm in strips(style):
            axes.text(left_mm + 1, baseline_mm - 8, LEADS[lead], fontsize=3.2 / 0.7 * points_per_mm)

    def again(self, signal_mv: Signal, *, sampling_hz: float = HZ) -> np.ndarray:
        """Gray of the page with other data."""
        for line, (across_mm, down_mm) in zip(
            self.lines, traces_mm(signal_mv, self.style, sampling_hz=sampling_hz), strict=True
        ):
            line.set_data(across_mm, down_mm)
        self.canvas.draw()
        return cv2.cvtColor(np.asarray(self.canvas.buffer_rgba()), cv2.COLOR_RGBA2GRAY)


def matplotlib_png(signal_mv: Signal) -> bytes:
    """A page of letter paper at 200 dpi from nothing to PNG."""
    page = MatplotlibPage(LETTER, size_px=(2200, 1700))
    for line, (across_mm, down_mm) in zip(page.lines, traces_mm(signal_mv, LETTER), strict=True):
        line.set_data(across_mm, down_mm)
    file = io.BytesIO()
    page.canvas.print_png(file)
    return file.getvalue()


def ecg_plot_png(signal_mv: Signal) -> bytes:
    """ecg_plot's twelve leads and rhythm strip, by its own figure, as a PNG 2200 pixels wide."""
    import ecg_plot

    chart = ecg_plot.plot(
        signal_mv,
        sample_rate=HZ,
        lead_names=list(LEADS),
        layout="12lead",
        time_mode="sequential",
        rhythm_lead="II",
    )
    figure, _ = chart.to_matplotlib()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=2200 / figure.get_size_inches()[0])
    return file.getvalue()


def cairo_gray(style: Style, *, size_px: tuple[int, int]) -> Callable[..., np.ndarray]:
    """A function that draws a page with pycairo, grid and all, and returns its gray."""
    import cairo

    colour = np.array(style.grid.colour) / 255

    def draw(signal_mv: Signal, *, sampling_hz: float = HZ) -> np.ndarray:
        surface = cairo.ImageSurface(cairo.FORMAT_RGB24, *size_px)
        context = cairo.Context(surface)
        context.set_line_join(cairo.LINE_JOIN_ROUND)
        context.set_antialias(cairo.ANTIALIAS_BEST)
        context.scale(size_px[0] / style.paper_mm[0], size_px[1] / style.paper_mm[1])
        context.set_source_rgb(1, 1, 1)
        context.paint()
        for number, (line_mm, lines) in enumerate(grid_mm(style)):
            strength = style.grid.fine_strength if number == 0 else 1.0
            context.set_source_rgb(*(1 - strength * (1 - colour)))
            _stroke(context, lines, width=line_mm)
        context.set_source_rgb(0, 0, 0)
        context.set_line_cap(cairo.LINE_CAP_ROUND)
        _stroke(
            context,
            (zip(x.tolist(), y.tolist(), strict=True) for x, y in traces_mm(signal_mv, style, sampling_hz=sampling_hz)),
            width=style.ink_width_mm,
        )
        context.set_font_size(3.2 / 0.7)
        for lead, _, _, left_mm, baseline_mm in strips(style):
            context.move_to(left_mm + 1, baseline_mm - 8)
            context.show_text(LEADS[lead])
        surface.flush()
        bgrx = np.frombuffer(surface.get_data(), np.uint8).reshape(size_px[1], size_px[0], 4)
        return cv2.cvtColor(bgrx, cv2.COLOR_BGRA2GRAY)

    return draw


def _stroke(context: Any, lines: Any, *, width: float) -> None:
    context.set_line_width(width)
    for line in lines:
        points = iter(line)
        context.move_to(*next(points))
        for point in points:
            context.line_to(*point)
    context.stroke()
