"""How far a page without a grid is turned: traces come back to their baselines, and those are level.

Ink is summed along lines that lean; the more of it falls into few sums, the better the lean is that of the rows.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_INKED: Final = 60
_LARGEST_DEG: Final = 9.0
_COARSE_DEG, _FINE_DEG = 0.5, 0.05
_FEWEST_PIXELS: Final = 500
# How much sharper rows are at their own lean than at any: 1.3 and more on pages of PTB-XL, 1.05 in noise.
_CLEARLY: Final = 1.15


def read_skew_deg(ink: NDArray[np.uint8]) -> float:
    """Anticlockwise turn of a page, -9 to 9 degrees, whichever way up; 0 where nothing is level.

    Args:
        ink: (height, width) coverage by ink, 0–255, some pixels a millimetre.
    """
    # A trace's upright strokes are most of its ink and say nothing of where it is level.
    level = cv2.morphologyEx(np.asarray(ink > _INKED, dtype=np.uint8), cv2.MORPH_OPEN, np.ones((1, 3), np.uint8))
    upright = cv2.morphologyEx(np.asarray(ink > _INKED, dtype=np.uint8), cv2.MORPH_OPEN, np.ones((3, 1), np.uint8))
    best_deg, best = 0.0, _CLEARLY
    # Rows of a page that lies on its side run down the picture; y grows downwards there, so the lean is the other way.
    for mask, sign in ((level, 1.0), (np.ascontiguousarray(upright.T), -1.0)):
        down, across = np.nonzero(mask)
        if down.size < _FEWEST_PIXELS:
            continue
        coarse_deg = np.arange(-_LARGEST_DEG, _LARGEST_DEG + _COARSE_DEG, _COARSE_DEG)
        sharpness = _sharpness(down, across, coarse_deg)
        clearness = float(sharpness.max() / np.median(sharpness))
        if clearness > best:
            near_deg = coarse_deg[int(np.argmax(sharpness))] + np.arange(-_COARSE_DEG, _COARSE_DEG, _FINE_DEG)
            best = clearness
            best_deg = sign * float(near_deg[int(np.argmax(_sharpness(down, across, near_deg)))])
    return best_deg


def _sharpness(down: NDArray[np.intp], across: NDArray[np.intp], turns_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """(turns,) how unevenly ink is spread over lines that fall to the left by each of the turns."""
    lines = []
    for lean in np.tan(np.deg2rad(turns_deg)).tolist():
        line = np.rint(down + lean * across).astype(np.intp)
        lines.append(np.bincount(line - line.min()))
    return np.array([float(np.square(line, dtype=np.float64).sum()) for line in lines])
