"""Record -> page: ink on a sheet."""

from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped] # its wheel has no stubs
from numpy.typing import NDArray

from vizecg.labels import LEADS
from vizecg.page.catalogue import STANDARD
from vizecg.page.layout import Box, PlacedStrip, Sheet, sheet
from vizecg.page.lettering import PrintedText, print_text
from vizecg.page.raster import draw_traces, recolour
from vizecg.page.style import Style


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """A drawn page: one byte a pixel into `palette`, and where to find what on it."""

    index: NDArray[np.uint8]
    """Read-only, for `inked` tells which of it was drawn."""

    inked: NDArray[np.bool_]
    """(height,) on which rows anything was drawn; all others are the sheet's."""

    sheet: Sheet
    """What it is drawn on."""

    px_per_mm: float
    """Pixels for a millimetre of the grid."""

    reduction: float
    """Millimetres of paper for one of the grid."""

    mm_per_s: float
    mm_per_mv: float
    """Of the limb leads, where the chest has its own: see `strips`."""

    @property
    def palette(self) -> NDArray[np.uint8]:
        """(256, 3) RGB."""
        return self.sheet.palette

    @property
    def strips(self) -> tuple[PlacedStrip, ...]:
        """Every strip, and where it stands."""
        return self.sheet.strips

    @property
    def boxes(self) -> dict[str, Box]:
        """Strip key -> left, top, right, bottom in pixels: the strip's time by its row's pitch; ink may leave it."""
        return {placed.strip.key: placed.box for placed in self.strips}

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """(height, width, 3)."""
        colours = np.ascontiguousarray(self.palette.reshape(256, 1, 3))
        # OpenCV's colour maps need no particular channel order when they are handed over.
        return np.asarray(cv2.applyColorMap(self.index, colours), dtype=np.uint8)

    @property
    def gray(self) -> NDArray[np.uint8]:
        """(height, width) luma."""
        drawn = self.sheet.gray.copy()
        recolour(drawn, self.index, self.sheet.index, self.sheet.shades, self.inked)
        return drawn


def draw_page(
    signal_mv: NDArray[np.floating],
    *,
    sampling_hz: float,
    style: Style = STANDARD,
    px_per_mm: float,
    text: PrintedText | None = None,
) -> Page:
    """Print a record.

    Args:
        signal_mv: (12, samples) potentials, leads in the order of `vizecg.labels.LEADS`.
            NaN breaks the line; a strip that asks for more time than there is ends early.
        sampling_hz: samples per second.
        style: how to print it.
        px_per_mm: resolution of the page, in millimetres of its grid.
        text: what to print around the chart.

    Raises:
        ValueError: signal_mv is not (12, samples), or a rate is not finite and above 0.
    """
    if signal_mv.ndim != 2 or signal_mv.shape[0] != len(LEADS) or signal_mv.shape[1] < 2:
        raise ValueError(f"signal_mv must be (12, samples), got shape {signal_mv.shape}")
    if not (np.isfinite(sampling_hz) and sampling_hz > 0):
        raise ValueError(f"sampling_hz must be finite and above 0, got {sampling_hz!r}")
    blank = sheet(style, px_per_mm=px_per_mm)
    index, inked = blank.index.copy(), np.zeros(len(blank.index), dtype=np.bool_)
    if text is not None:
        print_text(index, text, style=style, px_per_mm=px_per_mm, inked=inked)
    draw_traces(
        index,
        signal_mv,
        blank.traces,
        sampling_hz=sampling_hz,
        px_per_s=blank.scale.px_per_s,
        radius_px=style.ink_width_mm / 2 * px_per_mm,
        inked=inked,
    )
    index.setflags(write=False)
    return Page(
        index=index,
        inked=inked,
        sheet=blank,
        px_per_mm=px_per_mm,
        reduction=style.reduction,
        mm_per_s=style.mm_per_s,
        mm_per_mv=style.mm_per_mv,
    )


def encode_jpeg(page: Page, *, quality: int) -> bytes:
    """Write a baseline JPEG with halved chroma, as phones and scanners do."""
    return bytes(simplejpeg.encode_jpeg(page.rgb, quality=quality, colorspace="RGB", colorsubsampling="420"))
