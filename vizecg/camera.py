"""What happens to paper on its way to a file: pure, (image, rng) -> image.

Presets are data: a range for each thing that happens, in units of the paper or
of the image's values, so that a preset means the same at every resolution.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Range = tuple[float, float]

NOTHING: Range = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How much of each distortion; every field is the range its strength is drawn from."""

    rotation_deg: Range = NOTHING
    """Anticlockwise, about the middle of the image."""

    shading: Range = NOTHING
    """Share of the light lost at the darkest place of an otherwise even lamp."""

    blur_share: Range = NOTHING
    """Standard deviation of the blur, in shares of the image's longer side."""

    noise_levels: Range = NOTHING
    """Standard deviation of the sensor's noise, of 255."""

    jpeg_quality: tuple[int, int] | None = None
    """Both ends included; None leaves the image uncompressed."""

    surround: tuple[int, int, int] = (236, 236, 233)
    """What lies around the paper: the lid of a scanner."""


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "clean": Preset(),
        "scan": Preset(
            rotation_deg=(-2.0, 2.0),
            shading=(0.0, 0.18),
            blur_share=(0.0, 0.0004),  # 0.9 px of 2200
            noise_levels=(0.5, 5.0),
            jpeg_quality=(55, 92),
        ),
    }
)


def preset_named(name: str) -> Preset:
    """Look a preset up.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown camera preset {name!r}; known: {sorted(PRESETS)}")
    return PRESETS[name]


def apply(image: Image, *, preset: str, rng: np.random.Generator) -> Image:
    """Take a picture of a page, as somebody who opens the file sees it.

    Args:
        image: (height, width, 3) RGB.
        preset: a name in `PRESETS`.
        rng: where all chance comes from; the same generator state gives the same picture.

    Returns:
        A new (height, width, 3) RGB image; `clean` gives a copy.
    """
    chosen = preset_named(preset)
    taken = _take(image, preset=chosen, rng=rng)
    if chosen.jpeg_quality is None:
        return taken
    quality = int(rng.integers(*chosen.jpeg_quality, endpoint=True))
    decoded = cv2.imdecode(np.frombuffer(_jpeg(taken, quality=quality), dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(decoded, dtype=np.uint8)


def photograph(image: Image, *, preset: str, rng: np.random.Generator) -> bytes:
    """Take the same picture as `apply` with the same `rng`, as the file it arrives in.

    Raises:
        ValueError: the preset makes no JPEG.
    """
    chosen = preset_named(preset)
    if chosen.jpeg_quality is None:
        raise ValueError(f"camera preset {preset!r} makes no JPEG; encode the page itself")
    taken = _take(image, preset=chosen, rng=rng)
    return _jpeg(taken, quality=int(rng.integers(*chosen.jpeg_quality, endpoint=True)))


def _jpeg(image: Image, *, quality: int) -> bytes:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()


def _take(image: Image, *, preset: Preset, rng: np.random.Generator) -> Image:
    """Rotate, shade, blur and roughen, in the order in which it happens to light."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (height, width, 3) uint8, got {image.shape} {image.dtype}")
    # Every strength is drawn whether its range is empty or not, so one range never moves another's draw.
    rotation_deg, shading, blur_share, noise_levels = (
        rng.uniform(*strength)
        for strength in (preset.rotation_deg, preset.shading, preset.blur_share, preset.noise_levels)
    )
    taken = image.copy()
    if rotation_deg:
        taken = rotate(taken, angle_deg=rotation_deg, surround=preset.surround)
    if shading:
        taken = shade(taken, loss=shading, rng=rng)
    if blur_share:
        sigma_px = blur_share * max(image.shape[:2])
        taken = np.asarray(cv2.GaussianBlur(taken, (0, 0), sigma_px), dtype=np.uint8) if sigma_px > 0.1 else taken
    if noise_levels:
        taken = roughen(taken, sigma_levels=noise_levels, rng=rng)
    return taken


def rotate(image: Image, *, angle_deg: float, surround: tuple[int, int, int]) -> Image:
    """Turn anticlockwise about the middle; the image keeps its size."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1.0)
    turned = cv2.warpAffine(
        image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=surround
    )
    return np.asarray(turned, dtype=np.uint8)


def shade(image: Image, *, loss: float, rng: np.random.Generator) -> Image:
    """Light the page unevenly: a smooth field between 1 - loss and 1 that falls to one side and to the edges."""
    height, width = image.shape[:2]
    across, down = np.meshgrid(np.linspace(-1, 1, 33), np.linspace(-1, 1, 33))
    direction = rng.uniform(0, 2 * np.pi)
    slope = across * np.cos(direction) + down * np.sin(direction)
    lamp_across, lamp_down = rng.uniform(-0.5, 0.5, size=2)
    distance = (across - lamp_across) ** 2 + (down - lamp_down) ** 2
    darkness = slope * rng.uniform(0, 1) + distance * rng.uniform(0, 0.5)
    darkness = (darkness - darkness.min()) / max(float(np.ptp(darkness)), 1e-9)
    light = (1 - loss * darkness).astype(np.float32)
    field = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    lit = cv2.multiply(image, cv2.merge([field, field, field]), dtype=cv2.CV_8U)
    return np.asarray(lit, dtype=np.uint8)


def roughen(image: Image, *, sigma_levels: float, rng: np.random.Generator) -> Image:
    """Add the sensor's noise, the same to each channel: a scanner's grain is mostly of brightness."""
    height, width = image.shape[:2]
    # Drawn once for a tile and laid out at a random offset for each row: one page needs millions of draws otherwise.
    grain = rng.standard_normal(1 << 16, dtype=np.float32) * np.float32(sigma_levels)
    offsets = rng.integers(0, grain.size - min(width, grain.size // 2), size=height)
    rows = np.lib.stride_tricks.sliding_window_view(np.rint(grain).astype(np.int16), min(width, grain.size // 2))
    noise = rows[offsets]
    if noise.shape[1] < width:
        noise = np.tile(noise, (1, -(-width // noise.shape[1])))[:, :width]
    noisy = cv2.add(image, cv2.merge([noise, noise, noise]), dtype=cv2.CV_8U)
    return np.asarray(noisy, dtype=np.uint8)
