"""What every effect needs of its arguments: an RGB picture, a strength, and how large a millimetre is."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Field = NDArray[np.float32]

A4_LONG_SIDE_MM = 297.0


class Effect(Protocol):
    """A pure effect: a new image of the same shape; strength 0 gives the same picture."""

    def __call__(
        self, image: Image, *, strength: float, rng: np.random.Generator, px_per_mm: float | None = None
    ) -> Image:
        """Happen to an image; `px_per_mm` is guessed from A4 if None."""


def effect(change: Callable[[Image, float, np.random.Generator, float], Image]) -> Effect:
    """Make an effect of what changes its own copy of an image: (image, strength, rng, px_per_mm) -> image."""

    @wraps(change)
    def happen(image: Image, *, strength: float, rng: np.random.Generator, px_per_mm: float | None = None) -> Image:
        check(image, strength=strength)
        size = px_per_mm_of(image, px_per_mm=px_per_mm)
        return change(image.copy(), strength, rng, size) if strength else image.copy()

    return happen


def check_image(image: Image) -> None:
    """Hold that it is RGB.

    Raises:
        ValueError: it is not.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"image must be (height, width, 3) uint8, got {image.shape} {image.dtype}")


def check(image: Image, *, strength: float) -> None:
    """Hold that an effect can be applied.

    Raises:
        ValueError: the image is not RGB, or the strength is not 0 to 1.
    """
    check_image(image)
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be 0 to 1, got {strength!r}")


def px_per_mm_of(image: Image, *, px_per_mm: float | None = None) -> float:
    """How many pixels a millimetre of the page is: as told, or as if the page were A4.

    Raises:
        ValueError: what is told is not above 0.
    """
    if px_per_mm is None:
        return float(max(image.shape[:2]) / A4_LONG_SIDE_MM)
    if not (math.isfinite(px_per_mm) and px_per_mm > 0):
        raise ValueError(f"px_per_mm must be finite and above 0, got {px_per_mm!r}")
    return px_per_mm
