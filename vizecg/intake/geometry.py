"""Plane geometry of pictures: 3 × 3 matrices between pixel coordinates, pixel centres on whole numbers."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Homography = NDArray[np.float64]
"""(3, 3), takes (x, y, 1) of one picture to those of another."""


def scaling(factor_x: float, factor_y: float) -> Homography:
    """A picture resized: edges, not centres, keep their place."""
    return np.array([[factor_x, 0, (factor_x - 1) / 2], [0, factor_y, (factor_y - 1) / 2], [0, 0, 1.0]])


def shifting(by_x: float, by_y: float) -> Homography:
    """A picture moved."""
    return np.array([[1.0, 0, by_x], [0, 1.0, by_y], [0, 0, 1.0]])


def rectifying(corners: NDArray[np.float64], *, longest_px: float) -> tuple[Homography, tuple[int, int]]:
    """What makes a quadrilateral an upright rectangle, as large as its sides or smaller; and its (width, height)."""
    top_left, top_right, bottom_right, bottom_left = corners
    width = (math.dist(top_left, top_right) + math.dist(bottom_left, bottom_right)) / 2
    height = (math.dist(top_left, bottom_left) + math.dist(top_right, bottom_right)) / 2
    factor = min(1.0, longest_px / max(width, height))
    size = (max(16, round(factor * width)), max(16, round(factor * height)))
    target = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], dtype=np.float32) - np.float32(0.5)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), target)
    return np.asarray(matrix, dtype=np.float64), size


def quarter_turning(turns: int, *, width: int, height: int) -> Homography:
    """What `np.rot90(picture, turns)`, anticlockwise, does to the coordinates of a picture of that size."""
    steps = {
        0: np.eye(3),
        1: np.array([[0, 1.0, 0], [-1.0, 0, width - 1], [0, 0, 1]]),
        2: np.array([[-1.0, 0, width - 1], [0, -1.0, height - 1], [0, 0, 1]]),
        3: np.array([[0, -1.0, height - 1], [1.0, 0, 0], [0, 0, 1]]),
    }
    return steps[turns % 4]


def inverse(matrix: Homography) -> Homography:
    """The way back."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def applied(matrix: Homography, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, 2) points taken along."""
    lifted = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(lifted[:, :2] / lifted[:, 2:], dtype=np.float64)


def local_scale(matrix: Homography, at: NDArray[np.floating]) -> float:
    """How much longer a short line becomes there, on the average of directions."""
    return math.sqrt(abs(float(np.linalg.det(_jacobian(matrix, at)))))


def local_turn_deg(matrix: Homography, at: NDArray[np.floating]) -> float:
    """How far what points right there is turned, anticlockwise with y downwards, from -180 to 180."""
    right = _jacobian(matrix, at)[:, 0]
    return math.degrees(math.atan2(-right[1], right[0]))


def _jacobian(matrix: Homography, at: NDArray[np.floating]) -> NDArray[np.float64]:
    step = 1.0
    here, right, below = applied(matrix, np.array([at, at + np.array([step, 0]), at + np.array([0, step])]))
    return np.column_stack([right - here, below - here]) / step


def warped(image: NDArray[np.uint8], matrix: Homography, *, size: tuple[int, int], fill: float) -> NDArray[np.uint8]:
    """(size[1], size[0]) picture whose every pixel is read where `matrix` takes it from."""
    straight = np.abs(matrix[2, :2]).max() < 1e-12
    flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_CONSTANT
    if straight:
        out = cv2.warpAffine(image, matrix[:2] / matrix[2, 2], size, flags=flags, borderMode=border, borderValue=fill)
    else:
        out = cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=border, borderValue=fill)
    return np.asarray(out, dtype=np.uint8)
