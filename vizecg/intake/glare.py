"""Where a lamp is reflected: paper as white as can be, on which neither the grid nor the ink is seen any more.

Whiteness alone tells nothing: the margin of a page is as white, and so is the lit side of a page under one lamp. So a
reflection is looked for where the page is printed, and there as a place without print.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.intake.ink import percentile

# What is seen of a page at 1 mm: its mean, and how much it changes from pixel to pixel, over 5 mm, in which a grid has
# a line.
_PRINT_MM: Final = 5
_PRINTED_PERCENTILE: Final = 75
_LOST: Final = 0.45
# A page that changes less from pixel to pixel has no grid, and what it lacks tells nothing.
_FAINTEST_GRID: Final = 5.0
# A sensor's noise cannot go beyond white, so the mean of what is burnt out is a little less.
_BURNT_OUT: Final = 247
_LIT_PAPER: Final = 243
# Traces still cross a weak reflection; flecks and strips are no reflection.
_CROSSED_MM, _SMALLEST_MM = 5, 9
# The chart: rows and columns of which so much is printed. A strong reflection makes gaps in it.
_PRINTED_SHARE: Final = 0.3
_GAP_MM: Final = 15
_RIM_MM: Final = 3
# The sheet's own edge is dark, and no print.
_EDGE_MM: Final = 6


def glare_share(page: NDArray[np.uint8], *, px_per_mm: float) -> float:
    """Share of the printed part of a page that a reflection has burnt out; 0 where there is no grid to hide.

    Args:
        page: (height, width), the channel that shows the grid.
        px_per_mm: its scale.
    """
    height, width = page.shape
    size_mm = (max(1, round(width / px_per_mm)), max(1, round(height / px_per_mm)))
    if min(size_mm) < _SMALLEST_MM or min(height, width) < 2 * _SMALLEST_MM:
        return 0.0
    # Half the pixels each way have half the noise, and by whole pixels it takes next to no time.
    half = cv2.resize(
        page[: height // 2 * 2, : width // 2 * 2], (width // 2, height // 2), interpolation=cv2.INTER_AREA
    )
    corner = half[:-1, :-1]
    change = cv2.add(cv2.absdiff(half[:-1, 1:], corner), cv2.absdiff(half[1:, :-1], corner))
    lightness = np.asarray(cv2.resize(half, size_mm, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    print_seen = cv2.blur(
        cv2.resize(change, size_mm, interpolation=cv2.INTER_AREA).astype(np.float32), (_PRINT_MM, _PRINT_MM)
    )
    printed = float(np.percentile(print_seen[::2, ::2], _PRINTED_PERCENTILE))
    if printed < _FAINTEST_GRID:
        return 0.0
    blank = np.asarray(print_seen < _LOST * printed, dtype=np.uint8)
    chart = _chart(blank)
    # Where all paper is white, as on a fax, white is no reflection.
    if not chart.any() or percentile(lightness, 50, where=chart) > _LIT_PAPER:
        return 0.0
    burnt = np.asarray((lightness >= _BURNT_OUT) & (blank > 0), dtype=np.uint8)
    whole = cv2.morphologyEx(burnt, cv2.MORPH_CLOSE, np.ones((_CROSSED_MM, _CROSSED_MM), np.uint8))
    spots = cv2.morphologyEx(
        cv2.bitwise_and(whole, chart), cv2.MORPH_OPEN, np.ones((_SMALLEST_MM, _SMALLEST_MM), np.uint8)
    )
    return cv2.countNonZero(spots) / cv2.countNonZero(chart)


def _chart(blank: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask of the rectangle that is printed, without its rim; empty where there is none."""
    rows, columns = (_longest_run(1 - blank.mean(axis=axis) > _PRINTED_SHARE) for axis in (1, 0))
    mask = np.zeros_like(blank)
    mask[rows, columns] = 1
    return mask


def _longest_run(printed: NDArray[np.bool_]) -> slice:
    """From where to where most follows without a gap, less the rim at both ends."""
    printed[:_EDGE_MM] = printed[-_EDGE_MM:] = False
    places = np.flatnonzero(printed)
    if not places.size:
        return slice(0, 0)
    runs = np.split(places, np.flatnonzero(np.diff(places) > _GAP_MM) + 1)
    longest = max(runs, key=lambda run: run[-1] - run[0])
    return slice(int(longest[0]) + _RIM_MM, max(int(longest[-1]) + 1 - _RIM_MM, 0))
