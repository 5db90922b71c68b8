"""What happens to the sheet itself: ink that fades, coffee, a pen, worn folds.

Marks are blended only where they are: a mark takes a thousandth of the page, and the
page is megabytes.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.camera.geometry import Bend
from vizecg.camera.picture import Field, Image, effect

MAX_FADED = 0.85
COFFEE_RGB = (0.72, 0.53, 0.34)
INKS_RGB = ((28, 42, 120), (25, 25, 30), (170, 30, 38), (30, 78, 150))
# A quarter of the page's pixels is enough for a stain's edge, and a sixteenth of the work.
STAIN_SHRINK = 4
_BAND_PX = 64


@effect
def fading(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """Thermal ink gets paler, in bands across the way of the paper; at most `MAX_FADED` of it is lost."""
    width_mm = image.shape[1] / px_per_mm
    places = np.linspace(0, 1, 64)
    bands = sum(
        rng.uniform(0.3, 1.0) * np.sin(2 * np.pi * (places * width_mm / rng.uniform(25, 160) + rng.random()))
        for _ in range(4)
    )
    bands = (bands - bands.min()) / np.ptp(bands)
    kept = 1 - MAX_FADED * strength * (0.45 + 0.55 * bands)
    row = np.rint(255 * kept).astype(np.uint8).reshape(1, -1, 1).repeat(3, axis=2)
    field = cv2.resize(row, (image.shape[1], _BAND_PX), interpolation=cv2.INTER_LINEAR)
    # In the inverted image ink is what is there and paper is nothing, so a product pales ink alone.
    for first in range(0, image.shape[0], _BAND_PX):
        band = image[first : first + _BAND_PX]
        cv2.bitwise_not(band, dst=band)
        cv2.multiply(band, field[: len(band)], dst=band, scale=1 / 255)
        cv2.bitwise_not(band, dst=band)
    return image


@effect
def stain(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """One to three marks of coffee: rings of a cup, blots, drops."""
    for _ in range(1 + int(rng.integers(0, 1 + round(2 * strength)))):
        ring = rng.random() < 0.5
        radius_mm = rng.uniform(32, 42) if ring else rng.uniform(3, 14)
        middle_px = rng.uniform(0, 1, 2) * (image.shape[1], image.shape[0])
        reach_px = 1.35 * radius_mm * px_per_mm
        side = max(round(2 * reach_px / STAIN_SHRINK), 4)
        dye = _ring(side, strength, rng) if ring else _blot(side, strength, rng)
        _soak(image, dye, corner=middle_px - reach_px)
    return image


def _polar(side: int, *, uneven: float, rng: np.random.Generator) -> tuple[Field, Field]:
    """Distance from the middle in radii of a mark that is not quite round, and angle; (side, side) each."""
    axis = np.linspace(-1.35, 1.35, side, dtype=np.float32)
    distance = np.hypot(axis[None, :], axis[:, None])
    angle: Field = np.asarray(np.arctan2(axis[:, None], axis[None, :]), dtype=np.float32)
    round_about = np.ones_like(angle)
    for waves in range(2, 7):
        round_about += np.float32(rng.normal(0, uneven / waves)) * np.sin(
            waves * angle + np.float32(rng.uniform(0, 6.3))
        )
    return np.asarray(distance / round_about, dtype=np.float32), angle


def _ring(side: int, strength: float, rng: np.random.Generator) -> Field:
    distance, angle = _polar(side, uneven=0.02, rng=rng)
    distance = 1 + (distance - 1) / (1 + 4 * np.abs(distance - 1)) * 1.4
    thickness = 0.018 + 0.03 * rng.random() * (1 + np.sin(angle + np.float32(rng.uniform(0, 6.3))))
    # Coffee stays where the cup was set down hardest, so a ring is rarely whole.
    wet = np.clip(0.65 + 0.6 * np.sin(angle + np.float32(rng.uniform(0, 6.3))) + rng.uniform(-0.2, 0.4), 0.05, 1)
    rim = np.exp(-(((distance - 1) / thickness) ** 2)) + 0.5 * np.exp(-(((distance - 0.955) / (2 * thickness)) ** 2))
    inside = 0.05 * (distance < 1)
    return np.asarray(strength * (0.9 * wet * rim + inside), dtype=np.float32)


def _blot(side: int, strength: float, rng: np.random.Generator) -> Field:
    distance, _ = _polar(side, uneven=0.07, rng=rng)
    # What dries carries its dye to the edge and leaves the middle pale.
    inside = 1 / (1 + np.exp((distance - 1) * 60))
    rim = np.exp(-(((distance - 0.97) / 0.03) ** 2))
    cloud = cv2.resize(rng.random((6, 6), dtype=np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(strength * inside * (0.08 + 0.3 * cloud + 0.7 * rim), dtype=np.float32)


def _soak(image: Image, dye: Field, *, corner: NDArray[np.floating]) -> None:
    """Colour the image in place by a dye's density, `STAIN_SHRINK` times coarser than the image."""
    passed = np.stack([np.exp(np.log(share) * np.clip(dye, 0, 1.2)) for share in COFFEE_RGB], axis=-1)
    left, top = (int(value) for value in np.floor(corner))
    size = (dye.shape[1] * STAIN_SHRINK, dye.shape[0] * STAIN_SHRINK)
    start_x, start_y = max(left, 0), max(top, 0)
    end_x, end_y = min(left + size[0], image.shape[1]), min(top + size[1], image.shape[0])
    if start_x >= end_x or start_y >= end_y:
        return
    field = cv2.resize(passed.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    where = image[start_y:end_y, start_x:end_x]
    part = field[start_y - top : end_y - top, start_x - left : end_x - left]
    where[:] = cv2.multiply(where, part, dtype=cv2.CV_8U)


@effect
def note(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """A few words by hand that nobody can read, sometimes with a circle around something; up to four lines."""
    ink = INKS_RGB[int(rng.integers(len(INKS_RGB)))]
    thickness_px = max(round(px_per_mm * rng.uniform(0.35, 0.6)), 1)
    height_mm = rng.uniform(2.2, 4.5)
    lines = 1 + int(rng.integers(0, 1 + round(3 * strength)))
    strokes = []
    for line in range(lines):
        reach_mm = 0.0
        for _ in range(int(rng.integers(1, 4))):
            word = _word(int(rng.integers(2, 9)), height_mm=height_mm, rng=rng)
            strokes.append(word + np.array([reach_mm, line * height_mm * 2.4]))
            reach_mm = float(strokes[-1][:, 0].max()) + height_mm * 0.9
    if rng.random() < 0.4 * strength:
        strokes.append(_circle(rng))
    turn = rng.normal(0, 0.06)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    at_px = rng.uniform(0.05, 0.75, 2) * (image.shape[1], image.shape[0])
    _write(image, [stroke @ spin * px_per_mm + at_px for stroke in strokes], ink=ink, thickness_px=thickness_px)
    return image


def _word(letters: int, *, height_mm: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(points, 2) millimetres: loops that go on to the right, some up to where an l or down to where a g goes."""
    ways = np.linspace(0, letters, letters * 14)
    tall = np.interp(ways, np.arange(letters + 1) + 0.25, rng.choice((0.5, 0.6, 0.7, 1.5, -1.2), letters + 1))
    lean = np.interp(ways, np.arange(letters + 1), rng.uniform(0.15, 0.5, letters + 1))
    phase = 2 * np.pi * ways + 0.5 * np.sin(2 * np.pi * ways / 3.1 + rng.uniform(0, 6))
    up = np.sin(phase) * np.abs(tall) * 0.5 + 0.5 * np.abs(tall) * np.sign(tall) + 0.1 * np.sin(phase * 2.3)
    across = ways * 0.62 + lean * np.cos(phase) * 0.55 + 0.35 * up
    return np.column_stack([across, -up]) * height_mm


def _circle(rng: np.random.Generator) -> NDArray[np.float64]:
    ways = np.linspace(0, 2 * np.pi * rng.uniform(1.02, 1.15), 60) + rng.uniform(0, 6)
    size_mm = rng.uniform(8, 18) * (1 + 0.05 * ways)
    middle_mm = rng.uniform(-15, 40, 2)
    return np.column_stack([np.cos(ways) * size_mm * 1.4, np.sin(ways) * size_mm]) + middle_mm


def _write(image: Image, strokes: list[NDArray[np.float64]], *, ink: tuple[int, int, int], thickness_px: int) -> None:
    """Draw lines in place, as ink that what is printed shows through."""
    points = np.concatenate(strokes)
    edge = thickness_px + 2
    left, top = (int(value) for value in np.clip(points.min(axis=0) - edge, 0, None))
    right, bottom = (int(value) for value in np.ceil(points.max(axis=0) + edge))
    where = image[top:bottom, left:right]
    if where.size == 0:
        return
    layer = np.full_like(where, 255)
    fixed = [np.rint((stroke - (left, top)) * 16).astype(np.int32) for stroke in strokes]
    cv2.polylines(layer, fixed, isClosed=False, color=ink, thickness=thickness_px, lineType=cv2.LINE_AA, shift=4)
    where[:] = cv2.min(where, layer)


def worn_folds(
    image: Image, *, bends: tuple[Bend, ...], strength: float, rng: np.random.Generator, px_per_mm: float
) -> None:
    """Mark in place the lines along which a sheet was folded: a light worn core with a dark side."""
    for bend in bends:
        upright = abs(np.cos(bend.direction_rad)) > abs(np.sin(bend.direction_rad))
        # A line that runs down the page is blended in a strip about it; one that runs across, in the strip turned.
        sheet = image if upright else image.transpose(1, 0, 2)
        cosine, sine = np.cos(bend.direction_rad), np.sin(bend.direction_rad)
        along, over = (cosine, sine) if upright else (sine, cosine)
        down = np.arange(sheet.shape[0]) - (sheet.shape[0] - 1) / 2
        line_px = (bend.at_px - down * over) / along + (sheet.shape[1] - 1) / 2
        reach_px = 2.5 * px_per_mm
        left = int(np.clip(line_px.min() - reach_px, 0, sheet.shape[1] - 1))
        right = int(np.clip(line_px.max() + reach_px, left + 1, sheet.shape[1]))
        away_mm = ((np.arange(left, right)[None, :] - line_px[:, None]) / px_per_mm).astype(np.float32)
        wear = cv2.resize(rng.random((len(down) // 24 + 2, 1), dtype=np.float32), (1, len(down)))
        side = np.float32(np.sign(bend.slope) * rng.choice((-1.0, 1.0)))
        shade = 1 - np.float32(0.22 * strength) * np.exp(-(((away_mm - 0.25 * side) / 0.35) ** 2))
        worn = np.float32(0.75 * strength) * wear * np.exp(-((away_mm / 0.22) ** 2))
        strip = sheet[:, left:right].astype(np.float32)
        strip += (np.float32(246) - strip) * worn[:, :, None]
        sheet[:, left:right] = np.clip(strip * shade[:, :, None], 0, 255).astype(np.uint8)
