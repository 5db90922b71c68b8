"""Where the sheet lies and how the camera sees it: one map from picture to page for all that bends.

A sheet lies on the plane of the table; what a curl or a fold lifts off that plane is
seen displaced away from the point below the lens, by height over distance. So the
whole is a homography of the plane after a small displacement on the page, and one
remap of the page makes the picture.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.camera.nodes import node_places, see
from vizecg.camera.picture import Field, Image

Matrix = NDArray[np.float64]
# Of the picture's nodes in single precision, of a few points in double.
Points = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bend:
    """A ridge, valley or lift of the sheet: its height depends on the way along one direction only.

    Lengths are in pixels of the page, from its middle; heights are above the table.
    """

    direction_rad: float
    at_px: float
    """Where the fold runs, or where the lift begins."""

    slope: float
    """Of a fold: either side's. Of a curl: at the end of the sheet."""

    reach_px: float
    """How far the sheet goes along the direction, from its middle."""

    folded: bool

    def along_px(self, x_px: Points, y_px: Points, size_px: tuple[int, int]) -> Points:
        """(...) x and y on the page -> (...) way along the direction from where the bend is."""
        across, down = math.cos(self.direction_rad), math.sin(self.direction_rad)
        start = across * (size_px[0] - 1) / 2 + down * (size_px[1] - 1) / 2 + self.at_px
        return np.asarray(x_px * across + y_px * down - start)

    def height_px(self, along_px: Points) -> Points:
        """Height over the table; negative where a ridge's sides would be under its top, which shifts nothing else."""
        if self.folded:
            # Paper does not fold to a knife's edge: the bend is as wide as 1 % of the sheet.
            return np.asarray(np.sqrt(along_px**2 + (0.01 * self.reach_px) ** 2) * self.slope)
        lifted = np.maximum(along_px, 0)
        return np.asarray(lifted**2 * (self.slope / (2 * max(self.reach_px - self.at_px, 1.0))))

    def slopes(self, along_px: Points) -> Points:
        """Derivative of the height along the direction."""
        if self.folded:
            return along_px / np.sqrt(along_px**2 + (0.01 * self.reach_px) ** 2) * self.slope
        return np.maximum(along_px, 0) * (self.slope / max(self.reach_px - self.at_px, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A page, how it is bent, and where in the picture it is seen."""

    page_px: tuple[int, int]
    """Width, height."""

    frame_px: tuple[int, int]
    homography: Matrix
    """(3, 3) page pixel -> picture pixel, of the flat page."""

    bends: tuple[Bend, ...] = ()
    lens_px: tuple[float, float, float] = (0.0, 0.0, 1e9)
    """x, y and height over the table of the lens, in pixels of the page."""

    @property
    def scale(self) -> float:
        """How large a pixel of the page is in the picture, about."""
        corners = through(self.homography, page_corners(self.page_px))
        return float(np.sqrt(abs(_area(corners)) / max((self.page_px[0] - 1) * (self.page_px[1] - 1), 1)))

    def displacement_px(self, x_px: Points, y_px: Points) -> tuple[Points, Points]:
        """(...) x and y of points of the page -> how much further right and down on the table they seem to lie."""
        heights = np.zeros(x_px.shape, x_px.dtype)
        for bend in self.bends:
            heights += bend.height_px(bend.along_px(x_px, y_px, self.page_px))
        share = heights / (self.lens_px[2] - heights)
        return (x_px - self.lens_px[0]) * share, (y_px - self.lens_px[1]) * share

    def seen(self, points_px: Points) -> Matrix:
        """(..., 2) points of the page -> (..., 2) pixels of the picture, bends and all."""
        points: Matrix = np.asarray(points_px, dtype=np.float64)
        return through(
            self.homography, points + np.stack(self.displacement_px(points[..., 0], points[..., 1]), axis=-1)
        )

    def nodes(self) -> NDArray[np.float32]:
        """(rows, columns, 2) points of the page seen at every `NODE_STEP_PX`th pixel, one node beyond each edge."""
        width, height = self.frame_px
        x_px, y_px = node_places(width), node_places(height)
        inverse = np.linalg.inv(self.homography)
        flat = [inverse[row, 0] * x_px[None, :] + (inverse[row, 1] * y_px + inverse[row, 2])[:, None] for row in (0, 1)]
        depth = inverse[2, 0] * x_px[None, :] + (inverse[2, 1] * y_px + inverse[2, 2])[:, None]
        # x and y apart: a processor works on many neighbours at once, and not on every other one.
        on_table: tuple[Field, Field] = ((flat[0] / depth).astype(np.float32), (flat[1] / depth).astype(np.float32))
        x, y = on_table
        # The displacement is small and smooth, so walking back by it converges by a tenth a step.
        for _ in range(3 if self.bends else 0):
            right, down = self.displacement_px(x, y)
            x, y = on_table[0] - right, on_table[1] - down
        return np.stack([x, y], axis=-1)


def look_up(source: Image | Field, places: Field, *, out: Image | Field) -> None:
    """Write into `out` what `source` has at places, (rows, columns, 2) x, y; what lies beside it leaves it as it is.

    OpenCV takes x and y together if there is no second map, which its stubs do not know.
    """
    cv2.remap(
        source,
        places,
        None,  # type: ignore[call-overload]
        cv2.INTER_LINEAR,
        dst=out,
        borderMode=cv2.BORDER_TRANSPARENT,
    )


def take(sheet: Image, *, nodes: NDArray[np.float32], around: Image) -> Image:
    """See the sheet through its map.

    Args:
        sheet: (height, width, 3) RGB.
        nodes: as from `Scene.nodes`.
        around: (height, width, 3) what is seen beside the sheet; drawn over and returned.
    """
    see(sheet, nodes, out=around)
    return around


def page_corners(page_px: tuple[int, int]) -> Matrix:
    """(4, 2) x, y of the page's corner pixels: top left, top right, bottom right, bottom left."""
    right, bottom = page_px[0] - 1.0, page_px[1] - 1.0
    return np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]])


def page_outline(page_px: tuple[int, int]) -> Matrix:
    """(68, 2) points along the page's edge, once around from its top left corner."""
    corners = page_corners(page_px)
    ways = np.linspace(0, 1, 17, endpoint=False)[:, None]
    return np.concatenate(
        [start + ways * (end - start) for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    )


def through(homography: Matrix, points: Matrix) -> Matrix:
    """Take (..., 2) points through a (3, 3) homography."""
    seen = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(seen[..., :2] / seen[..., 2:])


def _area(polygon: Matrix) -> float:
    x, y = polygon.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
