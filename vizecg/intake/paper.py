"""Where the sheet of paper lies in a photograph, by its four edges.

First roughly: the middle of the picture is paper and its border is not, so a plane
between their colours parts the two. Then exactly: along each side of that shape the
step from table to paper is found at many places, and a line laid through them that
lets a finger, a shadow or a curled corner disagree.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.intake.files import Pixels
from vizecg.intake.ink import Channels, percentile

Corners = NDArray[np.float64]
"""(4, 2) x and y in pixels, clockwise from the corner that lies top left in the picture."""

# Edges are found to a fraction of a pixel, so a third of a millimetre a pixel is enough, and for a rough shape less.
_SEARCHED_PX, _ROUGH_PX = 520, 280
# Ink and grid are thinner than this share of the picture; the lightest within it is paper.
_LIGHTEST_WITHIN: Final = 0.016
_BORDER_SHARE: Final = 0.02
_MIDDLE_SHARE: Final = 0.5
# Paper and ground must differ by this many of their own standard deviations, else the picture is all paper.
_FEWEST_DEVIATIONS: Final = 2.2
_MIN_AREA_SHARE, _MIN_FILLED, _MIN_ANGLE_DEG = 0.2, 0.9, 55.0
_SEARCHED_SHARE: Final = 0.03
_PLACES: Final = 48
_FROM_CORNER: Final = 0.06
_MIN_STEP_LEVELS: Final = 6.0
_FEWEST_PLACES: Final = 0.45
_OFF_LINE_SHARE: Final = 0.006
_AT_FRAME_SHARE: Final = 0.012
_RIM, _MIDDLE = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paper:
    """A sheet that was found."""

    corners_px: Corners
    cut_off: bool
    """A side of it lies on the picture's own edge."""


def find_paper(image: Pixels, channels: Channels) -> Paper | None:
    """Find the sheet in a picture; None where the picture shows nothing but the sheet.

    Args:
        image: (height, width) gray or (height, width, 3) RGB.
        channels: the same, split.
    """
    factor = max(1, max(image.shape[:2]) // _SEARCHED_PX)
    gray = _ground_and_paper(_reduced(channels.lightest, by=factor))
    if gray.max() - gray.min() <= _MIN_STEP_LEVELS:
        return None  # a page as a program drew it: no edge steps so far anywhere
    for rough in _rough_corners(image):
        paper = _exactly(gray, (rough + 0.5) / factor - 0.5)
        if paper is not None:
            return replace(paper, corners_px=(paper.corners_px + 0.5) * factor - 0.5)
    return None


def _reduced(image: Pixels, *, by: int) -> Pixels:
    """Average blocks of pixels; what does not fill one is left out, at the right and below."""
    if by == 1:
        return image
    height, width = image.shape[0] // by, image.shape[1] // by
    whole = image[: height * by, : width * by]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _exactly(gray: NDArray[np.float32], rough: Corners) -> Paper | None:
    """Move each side of a rough shape to where the brightness steps."""
    size_px = math.hypot(*gray.shape)
    lines, at_frame = [], []
    for number in range(4):
        start, end = rough[number], rough[(number + 1) % 4]
        outside = _on_frame(start, end, gray.shape)
        line = _through(start, end) if outside else _edge(gray, start, end, size_px=size_px)
        if line is None:
            return None
        lines.append(line)
        at_frame.append(outside)
    corners = np.stack([_crossing(lines[number - 1], lines[number]) for number in range(4)])
    if sum(at_frame) > 2 or not _sensible(corners, shape=gray.shape):
        return None
    return Paper(corners_px=corners, cut_off=any(at_frame))


def _ground_and_paper(lightest: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(height, width) brightness without ink and grid, so that the only steps left are the sheet's edges."""
    reach = max(3, round(_LIGHTEST_WITHIN * max(lightest.shape) / 2)) | 1
    opened = cv2.morphologyEx(lightest, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    return np.asarray(cv2.GaussianBlur(opened.astype(np.float32), (0, 0), 1.2), dtype=np.float32)


def _rough_corners(image: Pixels) -> Iterator[Corners]:
    """Shapes that may be the sheet's: by colour, and where ground and paper have nearly one, by the edges between."""
    # Four pixels are read for one of the small picture: ink would need more, but ink is taken off.
    factor = max(1.0, max(image.shape[:2]) / _ROUGH_PX)
    size = (round(image.shape[1] / factor), round(image.shape[0] / factor))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    colours = np.repeat(small[:, :, None], 3, axis=2) if small.ndim == 2 else small
    reach = max(3, round(_LIGHTEST_WITHIN * _ROUGH_PX)) | 1
    without_ink = np.asarray(cv2.morphologyEx(colours, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8)), np.uint8)
    for mask_of in (_by_colour, _by_edges):
        mask = mask_of(without_ink)
        corners = None if mask is None else _quadrilateral(mask)
        if corners is not None:
            yield (corners + 0.5) * factor - 0.5


def _quadrilateral(mask: NDArray[np.uint8]) -> Corners | None:
    outlines = _outlines(mask)
    if not outlines:
        return None
    largest = max(outlines, key=cv2.contourArea)
    hull = cv2.convexHull(largest)
    area = cv2.contourArea(hull)
    if area < _MIN_AREA_SHARE * mask.size or cv2.contourArea(largest) < _MIN_FILLED * area:
        return None
    return _four_corners(hull)


def _by_edges(colours: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """(height, width) 1 where water that rises in the middle of the picture stands before it meets that of the rim."""
    height, width = colours.shape[:2]
    rim = max(2, round(_BORDER_SHARE / 2 * max(height, width)))
    basins = np.full((height, width), _RIM, np.int32)
    basins[rim:-rim, rim:-rim] = 0
    top, left = round(0.3 * height), round(0.3 * width)
    basins[top : height - top, left : width - left] = _MIDDLE
    cv2.watershed(colours, basins)
    mask = np.asarray(basins == _MIDDLE, dtype=np.uint8)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8)), dtype=np.uint8)


def _outlines(mask: NDArray[np.uint8]) -> list[NDArray[Any]]:
    return list(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0])


def _by_colour(without_ink: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """(height, width) 1 where the colour is the middle's rather than the border's; None where they are the same."""
    height, width, channels = without_ink.shape
    edge = max(2, round(_BORDER_SHARE * max(height, width)))
    rims = (without_ink[:edge], without_ink[-edge:], without_ink[:, :edge], without_ink[:, -edge:])
    top, left = (round(side * (1 - _MIDDLE_SHARE) / 2) for side in (height, width))
    ground = np.concatenate([rim.reshape(-1, channels) for rim in rims])
    paper = without_ink[top : height - top : 3, left : width - left : 3].reshape(-1, channels)
    # The median: a hand in the middle or a corner of paper at the border shall not count.
    centres = _median_colour(ground), _median_colour(paper)
    off = np.concatenate([ground - centres[0], paper - centres[1]])
    direction = np.linalg.solve(off.T @ off / len(off) + 4.0 * np.eye(channels), centres[1] - centres[0])
    apart = float(direction @ (centres[1] - centres[0]))
    if math.sqrt(max(apart, 0.0)) < _FEWEST_DEVIATIONS:
        return None
    along = cv2.transform(without_ink.astype(np.float32), direction[None, :].astype(np.float32))
    mask = np.asarray(along > apart / 2 + float(direction @ centres[0]), dtype=np.uint8)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)), dtype=np.uint8)


def _median_colour(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(channels,) of (pixels, channels)."""
    return np.array([percentile(np.ascontiguousarray(channel), 50) for channel in colours.T], dtype=np.float32)


def _four_corners(hull: NDArray[Any]) -> Corners | None:
    """The hull's best quadrilateral, clockwise from top left."""
    length = cv2.arcLength(hull, closed=True)
    for share in np.linspace(0.01, 0.12, 23):
        fitted = cv2.approxPolyDP(hull, share * length, closed=True)[:, 0]
        if len(fitted) <= 4:
            break
    if len(fitted) != 4:
        fitted = cv2.boxPoints(cv2.minAreaRect(hull))
    return _clockwise(np.asarray(fitted, dtype=np.float64))


def _clockwise(corners: Corners) -> Corners:
    middle = corners.mean(axis=0)
    angles = np.arctan2(corners[:, 1] - middle[1], corners[:, 0] - middle[0])
    ordered = corners[np.argsort(angles)]
    return np.asarray(np.roll(ordered, -int(np.argmin(ordered.sum(axis=1))), axis=0), dtype=np.float64)


def _on_frame(start: NDArray[np.float64], end: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    height, width = shape[:2]
    near = _AT_FRAME_SHARE * max(height, width)
    return any(
        abs(start[axis] - edge) < near and abs(end[axis] - edge) < near
        for axis, edges in ((0, (0, width - 1)), (1, (0, height - 1)))
        for edge in edges
    )


def _edge(
    gray: NDArray[np.float32], start: NDArray[np.float64], end: NDArray[np.float64], *, size_px: float
) -> NDArray[np.float64] | None:
    """A line (a, b, c), a x + b y = c, through the steps from ground to paper beside a rough side."""
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9)
    inwards = np.array([-along[1], along[0]])  # clockwise, y downwards: paper lies to the right
    reach = max(6, round(_SEARCHED_SHARE * size_px))
    shares = np.linspace(_FROM_CORNER, 1 - _FROM_CORNER, _PLACES)[:, None, None]
    offsets = np.arange(-reach, reach + 1)
    places = start + shares * (end - start) + offsets[None, :, None] * inwards
    profiles = cv2.remap(
        gray, places[..., 0].astype(np.float32), places[..., 1].astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    steps = cv2.blur(profiles[:, 2:] - profiles[:, :-2], (3, 1), borderType=cv2.BORDER_REPLICATE)
    best = np.argmax(steps, axis=1)
    rows = np.arange(_PLACES)
    clear = (steps[rows, best] > _MIN_STEP_LEVELS) & (best > 0) & (best < steps.shape[1] - 1)
    if clear.mean() < _FEWEST_PLACES:
        return None
    left, middle, right = (steps[rows, np.clip(best + shift, 0, steps.shape[1] - 1)] for shift in (-1, 0, 1))
    bend = np.minimum(left - 2 * middle + right, -1e-6)
    found = best + 1 + np.clip(0.5 * (left - right) / bend, -0.5, 0.5) - reach
    return _robust_line(shares[clear, 0, 0], found[clear], start=start, end=end, inwards=inwards, size_px=size_px)


def _robust_line(
    shares: NDArray[np.float64],
    offsets: NDArray[np.float64],
    *,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    inwards: NDArray[np.float64],
    size_px: float,
) -> NDArray[np.float64] | None:
    """Line through most of the steps: every other pair far enough apart proposes one, the best is fitted again."""
    near = _OFF_LINE_SHARE * size_px / 2
    first, second = (places[::2] for places in np.triu_indices(len(shares), k=max(4, len(shares) // 3)))
    if not len(first):
        return None
    slope = (offsets[second] - offsets[first]) / (shares[second] - shares[first])
    level = offsets[first] - slope * shares[first]
    off = np.abs(level[:, None] + slope[:, None] * shares[None, :] - offsets[None, :])
    best = int(np.argmin(np.minimum(off, 2 * near).sum(axis=1)))
    inliers = off[best] < 2 * near
    if inliers.mean() < _FEWEST_PLACES:
        return None
    level_fit, slope_fit = _straight(shares[inliers], offsets[inliers])
    return _through(start + level_fit * inwards, end + (level_fit + slope_fit) * inwards)


def _straight(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Level at 0 and slope of the least-squares line."""
    from_mean = x - x.mean()
    slope = float(from_mean @ y / max(float(from_mean @ from_mean), 1e-12))
    return float(y.mean()) - slope * float(x.mean()), slope


def _through(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9)
    normal = np.array([-along[1], along[0]])
    return np.array([*normal, normal @ start])


def _crossing(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    system = np.stack([one[:2], other[:2]])
    if abs(np.linalg.det(system)) < 1e-6:
        return np.array([np.nan, np.nan])
    return np.asarray(np.linalg.solve(system, np.array([one[2], other[2]])), dtype=np.float64)


def _sensible(corners: Corners, *, shape: tuple[int, ...]) -> bool:
    """A sheet seen by somebody who wants to show it: large, convex, no angle far from a right one."""
    if not np.isfinite(corners).all():
        return False
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(sides, axis=1)
    before = -np.roll(sides, 1, axis=0)
    cosines = np.sum(sides * before, axis=1) / np.maximum(lengths * np.roll(lengths, 1), 1e-9)
    across = sides[:, 0] * np.roll(sides, -1, axis=0)[:, 1] - sides[:, 1] * np.roll(sides, -1, axis=0)[:, 0]
    area = 0.5 * abs(
        float(np.sum(corners[:, 0] * np.roll(corners[:, 1], -1) - np.roll(corners[:, 0], -1) * corners[:, 1]))
    )
    return bool(
        (across > 0).all()
        and np.abs(cosines).max() < math.cos(math.radians(_MIN_ANGLE_DEG))
        and area > _MIN_AREA_SHARE * shape[0] * shape[1]
    )
