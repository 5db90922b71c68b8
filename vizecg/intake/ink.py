"""A picture of paper -> how much ink lies where: the light evened out, the grid cut off."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.intake.files import Pixels

# The light is taken from cells of 1 mm; the brightest within 9 mm is paper, whatever is drawn there.
_PAPER_WITHIN_MM: Final = 9
_SURFACE_MM: Final = 3.0
_INK_PERCENTILE: Final = 99.7
_GRID_PERCENTILE: Final = 99.0
_NEAR_INK_MM: Final = 1.2
_EDGE_PERCENTILE: Final = 99.7
_SPLIT_ROWS: Final = 48
_COUNTED_WHOLE: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Channels:
    """A picture in its lightest and darkest channel.

    Every printed grid but a black one is bright in some channel (pink and orange
    in red, blue in blue), so the lightest shows ink and the darkest shows the grid.
    """

    lightest: NDArray[np.uint8]
    darkest: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ink:
    """What is drawn, and how it is lit."""

    drawn: NDArray[np.uint8]
    """(height, width) coverage by ink, 0–255, without the grid."""

    darkness: NDArray[np.uint8]
    """(height, width) the same with the grid, not stretched."""

    contrast: int
    """Levels of 255 between paper and ink."""

    light: float
    """Brightness of the paper, 0–1, in the middle of its range."""

    evenness: float
    """Its darkest place over its brightest."""

    edge_mm: float
    """How far it is from paper to ink at a sharp edge."""


def split(image: Pixels) -> Channels:
    """Take the lightest and darkest channel; of a gray picture both are itself."""
    if image.ndim == 2:
        return Channels(lightest=image, darkest=image)
    lightest, darkest = np.empty(image.shape[:2], np.uint8), np.empty(image.shape[:2], np.uint8)
    # Some rows at a time, so that the three planes between stay in the processor's cache.
    for top in range(0, image.shape[0], _SPLIT_ROWS):
        red, green, blue = cv2.split(image[top : top + _SPLIT_ROWS])
        light, dark = lightest[top : top + _SPLIT_ROWS], darkest[top : top + _SPLIT_ROWS]
        cv2.max(cv2.max(red, green, light), blue, light)
        cv2.min(cv2.min(red, green, dark), blue, dark)
    return Channels(lightest=lightest, darkest=darkest)


def read_ink(page: NDArray[np.uint8], *, px_per_mm: float) -> Ink:
    """Separate ink from paper and grid.

    The grid's darkness is measured on this very picture, away from ink: in a
    coloured upload hardly any is left, in a gray one it is most of the paper.

    Args:
        page: (height, width), the lightest channel.
        px_per_mm: its scale.
    """
    height, width = page.shape
    size_mm = (max(1, round(width / px_per_mm)), max(1, round(height / px_per_mm)))
    cells = np.asarray(cv2.resize(page, size_mm, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    brightest = cv2.dilate(cells, np.ones((_PAPER_WITHIN_MM, _PAPER_WITHIN_MM), np.uint8))
    # Floats are blurred several times faster than bytes, which OpenCV rounds the same on every machine.
    even = cv2.GaussianBlur(brightest.astype(np.float32), (0, 0), _PAPER_WITHIN_MM / 2)
    paper = np.rint(even).astype(np.uint8)
    lit = cv2.divide(page, cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR), scale=255)
    darkness = _without_surfaces(255 - np.asarray(lit, dtype=np.uint8), px_per_mm=px_per_mm)
    contrast = percentile(darkness, _INK_PERCENTILE)
    near_px = round(_NEAR_INK_MM * px_per_mm) | 1
    near_ink = cv2.dilate(np.asarray(darkness > contrast // 2, dtype=np.uint8), np.ones((near_px, near_px), np.uint8))
    grid = percentile(darkness, _GRID_PERCENTILE, where=np.asarray(near_ink == 0, dtype=np.uint8))
    levels = np.clip((np.arange(256) - grid) * (255 / max(contrast - grid, 1)), 0, 255)
    low, middle, high = (percentile(paper, percent) for percent in (3, 50, 97))
    return Ink(
        drawn=np.asarray(cv2.LUT(darkness, np.rint(levels).astype(np.uint8)), dtype=np.uint8),
        darkness=darkness,
        contrast=contrast,
        light=middle / 255,
        evenness=low / max(high, 1),
        edge_mm=_edge_mm(darkness, contrast=contrast, px_per_mm=px_per_mm),
    )


def _without_surfaces(darkness: NDArray[np.uint8], *, px_per_mm: float) -> NDArray[np.uint8]:
    """Leave what a pen may have drawn: a finger, the table or a copier's lid is wider, and darker than any ink."""
    side_px = round(_SURFACE_MM * px_per_mm) | 1
    surfaces = cv2.morphologyEx(darkness, cv2.MORPH_OPEN, np.ones((side_px, side_px), np.uint8))
    return np.asarray(cv2.subtract(darkness, surfaces), dtype=np.uint8)


def _edge_mm(darkness: NDArray[np.uint8], *, contrast: int, px_per_mm: float) -> float:
    """Contrast over the steepest common slope. The slope is taken down the page: traces are flatter than upright."""
    step = np.asarray(cv2.absdiff(darkness[1:], darkness[:-1]), dtype=np.uint8)
    return contrast / max(percentile(step, _EDGE_PERCENTILE), 1) / px_per_mm


def percentile(values: NDArray[np.uint8], percent: float, *, where: NDArray[np.uint8] | None = None) -> int:
    """Smallest level that `percent` of the values (those where the mask is set) do not exceed; 0 where none are.

    Of a large picture every third row is counted.
    """
    if values.size > _COUNTED_WHOLE:
        values, where = values[::3], None if where is None else where[::3]
    counts = np.cumsum(cv2.calcHist([values], [0], where, [256], [0, 256]))
    return int(np.searchsorted(counts, counts[-1] * percent / 100)) if counts[-1] > 0 else 0


def boxes_of(mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(components, 4) left, top, width and height of what is connected; where little is set it costs little."""
    outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = np.flatnonzero(tree[0, :, 3] < 0).tolist() if outlines else []  # the others surround holes
    return np.array([cv2.boundingRect(outlines[number]) for number in outer], dtype=np.int32).reshape(-1, 4)
