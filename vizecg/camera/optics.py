"""Lens, sensor and the machines that paper goes through."""

import math
from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped] # its wheel has no stubs

from vizecg.camera.light import View, flat_view, light_up
from vizecg.camera.picture import Field, Image, check_image, effect

MAX_BLUR_SHARE = 0.0008  # 1.8 px of 2200
MAX_MOTION_SHARE = 0.0036  # 8 px of 2200
MAX_NOISE_LEVELS = 12.5
# Of Group 3 fax machines at "standard" resolution (ITU-T T.4): 8 dots a millimetre across, 3.85 lines down.
FAX_DOTS_PER_MM = (8.0, 3.85)
_GRAIN_SIDE = 512
_GRAIN_SIGMA = 30.0
# Larger kernels go through a Fourier transform, which takes thirty times as long.
_KERNEL_SIDE = 11
_NO_BLUR_PX = 0.1
LATTICE_PX = 3


@effect
def defocus(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """A lens that is focused elsewhere: a blur of `MAX_BLUR_SHARE` of the longer side at most."""
    del rng, px_per_mm
    return blurred(image, defocus_px=defocus_px(image, strength), motion_px=(0.0, 0.0))


@effect
def motion(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """A hand that shakes: a straight smear of `MAX_MOTION_SHARE` of the longer side at most."""
    del px_per_mm
    return blurred(image, defocus_px=0.0, motion_px=motion_px(image, strength, rng))


def defocus_px(image: Image, strength: float) -> float:
    """Standard deviation of the blur."""
    return float(strength * MAX_BLUR_SHARE * max(image.shape[:2]))


def motion_px(image: Image, strength: float, rng: np.random.Generator) -> tuple[float, float]:
    """How far the smear goes across and down."""
    length_px, direction = strength * MAX_MOTION_SHARE * max(image.shape[:2]), rng.uniform(0, 2 * np.pi)
    return float(length_px * np.cos(direction)), float(length_px * np.sin(direction))


def blurred(image: Image, *, defocus_px: float, motion_px: tuple[float, float]) -> Image:
    """Blur by a lens, then by a hand."""
    soft = _out_of_focus(image, sigma_px=defocus_px) if defocus_px > _NO_BLUR_PX else image
    return _smeared(soft, motion_px) if np.hypot(*motion_px) > 1 else soft


def _out_of_focus(image: Image, *, sigma_px: float) -> Image:
    """Blur by a bell that is cut at 1.7 deviations, and wider for it: a third of the taps, and the same spread."""
    reach = math.ceil(1.7 * sigma_px)
    away_px = np.arange(-reach, reach + 1)
    narrow_px, wide_px = 0.1, 30.0 * (reach + 1)
    for _ in range(24):
        bell_px = math.sqrt(narrow_px * wide_px)
        weights = np.exp(-((away_px / bell_px) ** 2) / 2)
        is_wide = float(weights @ away_px**2) > sigma_px**2 * float(weights.sum())
        narrow_px, wide_px = (narrow_px, bell_px) if is_wide else (bell_px, wide_px)
    side = len(away_px)
    return np.asarray(cv2.GaussianBlur(image, (side, side), bell_px, borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)


def _smeared(image: Image, motion_px: tuple[float, float]) -> Image:
    """Average along a line: a kernel of few taps that are not 0, which is all that the filter looks at."""
    half = _KERNEL_SIDE // 2
    kernel = np.zeros((_KERNEL_SIDE, _KERNEL_SIDE), np.float32)
    taps = min(math.ceil(math.hypot(*motion_px)) + 1, _KERNEL_SIDE)
    for way in np.linspace(-0.5, 0.5, taps):
        x, y = (int(np.clip(round(half + way * side), 0, 2 * half)) for side in motion_px)
        kernel[y, x] += 1 / taps
    used = np.argwhere(kernel)
    reach = int(np.abs(used - half).max())
    kernel = kernel[half - reach : half + reach + 1, half - reach : half + reach + 1]
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)


@cache
def _grain() -> Image:
    """One tile of noise about 128, the same for every picture: a sensor's grain has no other trait than its size."""
    rng = np.random.default_rng(1)
    shape = (_GRAIN_SIDE, _GRAIN_SIDE, 3)
    # Mostly of brightness, and a little larger than a pixel, as the interpolation of the colour filter leaves it.
    raw = rng.standard_normal((*shape[:2], 1), dtype=np.float32) + 0.5 * rng.standard_normal(shape, dtype=np.float32)
    soft = cv2.GaussianBlur(raw, (3, 3), 0.55, borderType=cv2.BORDER_REFLECT_101)
    tile: Image = np.clip(np.rint(128 + soft * (_GRAIN_SIGMA / soft.std())), 0, 255).astype(np.uint8)
    tile.setflags(write=False)
    return tile


@cache
def _gray_grain() -> Image:
    return np.ascontiguousarray(_grain()[:, :, 0])


@effect
def noise(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """The sensor's noise: a standard deviation of `MAX_NOISE_LEVELS` of 255 at most."""
    del px_per_mm
    return _grained(image, sigma_levels=strength * MAX_NOISE_LEVELS, rng=rng)


def roughen(image: Image, *, sigma_levels: float, rng: np.random.Generator) -> Image:
    """Add the sensor's noise, mostly the same to each channel."""
    check_image(image)
    return _grained(image.copy(), sigma_levels=sigma_levels, rng=rng)


def _grained(image: Image, *, sigma_levels: float, rng: np.random.Generator) -> Image:
    """Add noise in place, tile by tile from a random place of the first."""
    height, width = image.shape[:2]
    tile = _grain() if image.ndim == 3 else _gray_grain()
    left, top = (int(place) for place in rng.integers(_GRAIN_SIDE, size=2))
    share = sigma_levels / _GRAIN_SIGMA
    # What is lighter and what is darker, each in whole levels: bytes that are added or taken away, many at once.
    lighter, darker = (cv2.addWeighted(tile, sign * share, tile, 0.0, -sign * 128 * share) for sign in (1, -1))
    for rows, tile_rows in _laid(height, first=-top):
        for columns, tile_columns in _laid(width, first=-left):
            part = image[rows, columns]
            cv2.add(part, lighter[tile_rows, tile_columns], dst=part)
            cv2.subtract(part, darker[tile_rows, tile_columns], dst=part)
    return image


def _laid(length: int, *, first: int) -> Iterator[tuple[slice, slice]]:
    """Lay tiles along a side of a picture, from a place before it on: where each is, and what of it is seen."""
    for begin in range(first, length, _GRAIN_SIDE):
        start, end = max(begin, 0), min(begin + _GRAIN_SIDE, length)
        yield slice(start, end), slice(start - begin, end - begin)


@effect
def photocopy(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """Gray and of high contrast, with specks and the dark edge of a lid that was not shut."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    middle, steepness = rng.uniform(110, 175), 0.02 + 0.09 * strength
    levels = 255 / (1 + np.exp(-steepness * (np.arange(256.0) - middle)))
    levels = (levels - levels[0]) / (levels[-1] - levels[0]) * 255
    # A weak copier leaves some of the page's own gray.
    mixed = (1 - strength) * np.arange(256) + strength * levels
    copied = cv2.LUT(gray, np.rint(mixed).astype(np.uint8))
    height, width = copied.shape
    count = int(strength * rng.uniform(20, 160))
    at = np.column_stack([rng.integers(0, width, count), rng.integers(0, height, count)])
    for place, size in zip(at.tolist(), rng.exponential(0.12, count).tolist(), strict=True):
        cv2.circle(copied, place, max(round(size * px_per_mm), 1), int(rng.integers(20, 90)), -1, cv2.LINE_AA)
    edge = round(strength * rng.uniform(0.2, 2.5) * px_per_mm)
    if edge:
        side = slice(0, edge) if rng.random() < 0.5 else slice(width - edge, width)
        copied[:, side] = np.minimum(copied[:, side], rng.integers(30, 80))
    return np.asarray(cv2.cvtColor(copied, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


@effect
def fax(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """Black or white, about 200 by 100 dots an inch; lines that were lost are the line before them, or white."""
    height, width = image.shape[:2]
    size = [max(round(side / px_per_mm * dots), 1) for side, dots in zip((width, height), FAX_DOTS_PER_MM, strict=True)]
    gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    # Ink that is finer than a dot is drawn darker by the machine's sharpening, or it would break.
    sharp = cv2.addWeighted(gray, 2.2, cv2.GaussianBlur(gray, (0, 0), 2.0), -1.2, 0)
    rough = _grained(np.asarray(sharp, dtype=np.uint8), sigma_levels=14 * strength, rng=rng)
    _, dots = cv2.threshold(rough, rng.uniform(125, 165), 255, cv2.THRESH_BINARY)
    lost = np.flatnonzero(rng.random(size[1]) < 0.02 * strength)
    for row in lost.tolist():
        last = min(row + int(rng.integers(1, 2 + round(4 * strength))), size[1])
        dots[row:last] = 255 if rng.random() < 0.3 else dots[max(row - 1, 0)]
    sent = cv2.resize(dots, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.cvtColor(sent, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


@effect
def streaks(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """Dust on a scanner's line of sensors: thin lines along the whole way of the carriage."""
    sheet = image if rng.random() < 0.5 else image.transpose(1, 0, 2)
    length = sheet.shape[1]
    for _ in range(1 + int(rng.integers(0, 1 + round(5 * strength)))):
        width_px = max(round(rng.uniform(0.08, 0.35) * px_per_mm), 1)
        start = int(rng.integers(0, max(length - width_px, 1)))
        colour = rng.integers(60, 256, 3) if rng.random() < 0.5 else np.full(3, rng.integers(90, 256))
        share = strength * rng.uniform(0.3, 1.0)
        line = sheet[:, start : start + width_px]
        line[:] = np.rint(line * (1 - share) + colour * share).astype(np.uint8)
    return image


def lattice(image: Image, *, strength: float) -> Image:
    """The dots of a monitor: red, green and blue side by side, with a dark line between rows."""
    depth = 0.45 * strength
    dots = np.full((LATTICE_PX, LATTICE_PX, 3), 1 - depth)
    for channel in range(3):
        dots[:, channel, channel] = 1.0
    dots[-1] *= 1 - 0.7 * depth
    # As bright on the whole as without the lattice, up to white.
    dots *= min(1 / dots.max(), 1.0)
    height, width = image.shape[:2]
    tile = np.rint(dots * 255).astype(np.uint8)
    block = np.tile(tile, (32, 32, 1))
    grid = np.tile(block, (-(-height // block.shape[0]), -(-width // block.shape[1]), 1))[:height, :width]
    return np.asarray(cv2.multiply(image, grid, scale=1 / 255), dtype=np.uint8)


def screen_gain(view: View, *, strength: float, rng: np.random.Generator) -> Field:
    """(rows, columns, 3) moire of a monitor's dots against the sensor's, the flicker's bands and a bluish white.

    Moire is the difference of two lattices: its phase is the monitor's phase at a
    node less the nearest whole number of the sensor's, so it bends as the picture does.
    """
    gain = np.ones((*view.nodes.shape[:2], 3), np.float32)
    rows, columns = (np.arange(count, dtype=np.float32) for count in view.nodes.shape[:2])
    for axis in range(2):
        phase = view.nodes[..., axis] / np.float32(LATTICE_PX)
        slope_x, slope_y = float(np.diff(phase, axis=1).mean()), float(np.diff(phase, axis=0).mean())
        # What is left at the middle of the picture depends on the sensor's own dots, which differ from phone to phone.
        left_x, left_y = rng.normal(0, 0.05, 2)
        phase = phase - np.float32(slope_x - left_x) * columns[None, :] - np.float32(slope_y - left_y) * rows[:, None]
        for channel in range(3):
            depth = np.float32(strength * (0.10, 0.06, 0.10)[channel] * rng.uniform(0.4, 1.0))
            gain[..., channel] += depth * np.sin(np.float32(2 * math.pi) * phase + np.float32(2.1 * channel))
    flicker = 0.05 * strength * np.sin(2 * np.pi * (view.down * rng.uniform(0.6, 2.0) + rng.random()))
    tint = 1 - strength * np.array([0.14, 0.05, 0.0]) * rng.uniform(0.5, 1.0)
    return np.asarray((gain + flicker[..., None]) * tint / (1 + 0.05 * strength), dtype=np.float32)


@effect
def screen(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """A monitor that shows the page, photographed straight on."""
    gain = screen_gain(flat_view(image, px_per_mm=px_per_mm), strength=strength, rng=rng)
    return light_up(lattice(image, strength=strength), gain)


def jpeg(image: Image, *, quality: int) -> bytes:
    """Encode as a baseline JPEG; quality is 1 to 100, as libjpeg counts it."""
    check_image(image)
    if not 1 <= quality <= 100:
        raise ValueError(f"JPEG quality must be 1 to 100, got {quality!r}")
    contiguous = np.ascontiguousarray(image)
    return bytes(simplejpeg.encode_jpeg(contiguous, quality=quality, colorspace="RGB", colorsubsampling="420"))


def png(image: Image) -> bytes:
    """Encode without loss, quickly rather than small."""
    check_image(image)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return encoded.tobytes()


def developed(data: bytes) -> Image:
    """Decode what `jpeg` encoded."""
    decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(decoded, dtype=np.uint8)
