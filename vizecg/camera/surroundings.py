"""What is beside the page and before it: the table it lies on, a monitor's bezel, a finger."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.camera.geometry import Scene, page_outline
from vizecg.camera.picture import Field, Image, effect

TABLES = ("wood", "cloth", "dark", "light")
LID_RGB = (236, 236, 233)
# A table is looked past, not at: a third of the resolution is enough, and a ninth of the work.
_SHRINK = 3
_WOODS_RGB = (((92, 58, 34), (150, 104, 66)), ((140, 106, 72), (196, 160, 118)), ((52, 36, 28), (96, 68, 50)))
_CLOTHS_RGB = ((58, 82, 74), (44, 62, 96), (120, 116, 106), (176, 170, 158), (96, 44, 48))
# How long a finger is, and how much further the hand behind it reaches to each side.
_FINGER_HALF_WIDTHS = 6.5
_HAND_HALF_WIDTHS = 2.6
_SKINS_RGB = ((236, 190, 164), (220, 168, 136), (188, 132, 100), (136, 90, 66), (92, 60, 46))


def table(frame_px: tuple[int, int], *, rng: np.random.Generator) -> Image:
    """A table top of wood, cloth, or plain dark or light gray, (height, width, 3) at a third of the frame's size."""
    size = (-(-frame_px[0] // _SHRINK), -(-frame_px[1] // _SHRINK))
    kind = TABLES[int(rng.choice(4, p=(0.4, 0.2, 0.2, 0.2)))]
    if kind == "wood":
        return _wood(size, rng)
    if kind == "cloth":
        return _cloth(size, rng)
    level = rng.uniform(28, 62) if kind == "dark" else rng.uniform(168, 205)
    return _plain(size, np.clip(level + rng.normal(0, 4, 3), 0, 255), rng)


def _clouds(size: tuple[int, int], *, cells: tuple[int, int], rng: np.random.Generator) -> Field:
    """(height, width) smooth chance between 0 and 1, of about that many lumps across and down."""
    coarse = rng.random((cells[1] + 2, cells[0] + 2), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _graded(share: Field, dark: NDArray[np.floating], light: NDArray[np.floating]) -> Image:
    """(height, width) of 0 to 1 -> (height, width, 3) between two colours."""
    ways = np.linspace(0, 1, 256)[:, None]
    colours = np.rint(dark * (1 - ways) + light * ways).astype(np.uint8).reshape(256, 1, 3)
    return np.asarray(cv2.applyColorMap(cv2.convertScaleAbs(share, alpha=255), colours), dtype=np.uint8)


def _wood(size: tuple[int, int], rng: np.random.Generator) -> Image:
    across = rng.random() < 0.7
    laid = size if across else size[::-1]
    # Years are wide and wavy, pores thin and long.
    way = np.linspace(0, rng.uniform(8, 16), laid[1], dtype=np.float32)[:, None]
    years = way + np.float32(rng.uniform(1.5, 3.0)) * _clouds(laid, cells=(3, 4), rng=rng)
    rings = np.abs(years - np.floor(years) - np.float32(0.5)) * 2
    pores = _clouds(laid, cells=(10, laid[1] // 3), rng=rng)
    share = np.float32(0.45) * rings + np.float32(0.35) * pores + np.float32(0.2) * _clouds(laid, cells=(2, 6), rng=rng)
    dark, light = (np.array(colour, dtype=np.float64) for colour in _WOODS_RGB[int(rng.integers(len(_WOODS_RGB)))])
    board = _graded(share, dark, light)
    return board if across else np.ascontiguousarray(board.transpose(1, 0, 2))


def _cloth(size: tuple[int, int], rng: np.random.Generator) -> Image:
    colour = np.array(_CLOTHS_RGB[int(rng.integers(len(_CLOTHS_RGB)))], dtype=np.float64)
    period = int(rng.integers(3, 6))
    warp = rng.random((size[1], -(-size[0] // period)), dtype=np.float32).repeat(period, axis=1)[:, : size[0]]
    weft = rng.random((-(-size[1] // period), size[0]), dtype=np.float32).repeat(period, axis=0)[: size[1]]
    drape = _clouds(size, cells=(3, 2), rng=rng)
    share = np.float32(0.3) * warp + np.float32(0.3) * weft + np.float32(0.4) * drape
    return _graded(share, colour * 0.72, np.minimum(colour * 1.22, 255))


def _plain(size: tuple[int, int], colour: NDArray[np.floating], rng: np.random.Generator) -> Image:
    share = np.float32(0.6) * _clouds(size, cells=(3, 2), rng=rng) + np.float32(0.4) * _clouds(
        size, cells=(size[0] // 2, size[1] // 2), rng=rng
    )
    return _graded(share, np.maximum(colour - 9, 0), np.minimum(colour + 9, 255))


def under_page(top: Image, *, scene: Scene, lamp_rad: float, lift_px: float) -> Image:
    """The table at the frame's size, with the shadow that the page throws on it away from the lamp."""
    height, width = top.shape[:2]
    step = 4
    mask = np.zeros((-(-height // step), -(-width // step)), np.uint8)
    away = lift_px * np.array([-np.cos(lamp_rad), -np.sin(lamp_rad)])
    outline = (scene.seen(page_outline(scene.page_px)) + away) / (_SHRINK * step)
    cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 150, cv2.LINE_AA, 4)
    soft = cv2.bitwise_not(cv2.GaussianBlur(mask, (0, 0), max(lift_px / (_SHRINK * step), 0.6)))
    shade = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    shaded = cv2.multiply(top, cv2.merge([shade, shade, shade]), scale=1 / 255)
    return np.asarray(cv2.resize(shaded, scene.frame_px, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def bezel_rgb(rng: np.random.Generator) -> tuple[int, int, int]:
    """What is around a page on a monitor: nearly black, or a viewer's dark gray."""
    level = int(rng.integers(10, 60))
    return level, level, level + 4


def plain(frame_px: tuple[int, int], colour_rgb: tuple[int, int, int]) -> Image:
    """(height, width, 3) of one colour."""
    row = np.tile(np.array(colour_rgb, np.uint8), (frame_px[0], 1))
    return np.repeat(row[None], frame_px[1], axis=0)


@effect
def finger(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """A thumb that holds the page down: up to 40 mm over its edge."""
    height, width = image.shape[:2]
    size = (float(width - 1), float(height - 1))
    corners = np.array([[0.0, 0.0], [size[0], 0.0], [size[0], size[1]], [0.0, size[1]]])
    return with_finger(image, corners_px=corners, strength=strength, rng=rng, px_per_mm=px_per_mm)


def with_finger(
    image: Image, *, corners_px: NDArray[np.float64], strength: float, rng: np.random.Generator, px_per_mm: float
) -> Image:
    """Lay a thumb over one edge of a page in the picture; `image` is changed and returned."""
    side, way = int(rng.integers(4)), rng.uniform(0.15, 0.85)
    start, end = corners_px[side], corners_px[(side + 1) % 4]
    middle = corners_px.mean(axis=0)
    foot = start + way * (end - start)
    edge = (end - start) / max(float(np.hypot(*(end - start))), 1e-9)
    inward = np.array([-edge[1], edge[0]])
    inward = inward if inward @ (middle - foot) > 0 else -inward
    turn = rng.uniform(-0.45, 0.45)
    inward = inward @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    half_px = rng.uniform(8.5, 11.5) * px_per_mm
    tip = foot + inward * (12 + 28 * strength * rng.uniform(0.5, 1.0)) * px_per_mm
    skin = np.array(_SKINS_RGB[int(rng.integers(len(_SKINS_RGB)))], dtype=np.float32)
    return _thumb(image, tip=tip, inward=inward, half_px=half_px, skin=skin, nail=rng.random() < 0.75, rng=rng)


def _thumb(
    image: Image,
    *,
    tip: NDArray[np.float64],
    inward: NDArray[np.float64],
    half_px: float,
    skin: Field,
    nail: bool,
    rng: np.random.Generator,
) -> Image:
    height, width = image.shape[:2]
    # From the tip to where the thumb has left the picture.
    room = np.where(inward > 0, tip, np.array([width, height]) - tip) / np.maximum(np.abs(inward), 1e-6)
    root = tip - inward * (max(float(room.min()), 0.0) + 2 * half_px)
    has_hand = float(np.hypot(*(tip - root))) > _FINGER_HALF_WIDTHS * half_px
    reach = (1.6 + 1.75 * _HAND_HALF_WIDTHS * has_hand) * half_px
    low = np.clip(np.floor(np.minimum(tip, root) - reach), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(np.maximum(tip, root) + reach), 0, (width, height)).astype(int)
    where = image[low[1] : high[1], low[0] : high[0]]
    if where.size == 0:
        return image
    # A third of the resolution: skin has no edge as sharp as ink, and a thumb near the lens is out of focus.
    step = 3
    x = (np.arange(low[0], high[0] + step, step, dtype=np.float32) - np.float32(tip[0]))[None, :]
    y = (np.arange(low[1], high[1] + step, step, dtype=np.float32) - np.float32(tip[1]))[:, None]
    # In half widths: 0 at the tip, and 0 along the middle.
    ahead, aside = (float(part / half_px) for part in inward)
    out = np.asarray(-x * ahead - y * aside, dtype=np.float32)
    over = np.asarray(y * ahead - x * aside, dtype=np.float32)
    colour, cover, shadow = _flesh(out, over, skin=skin, nail=nail, light=float(rng.uniform(-0.25, 0.25)))
    size = (where.shape[1], where.shape[0])
    layers = [cv2.resize(layer, size, interpolation=cv2.INTER_LINEAR) for layer in (colour, cover, shadow)]
    opaque = cv2.merge([layers[1]] * 3)
    lit = where * cv2.merge([layers[2]] * 3)
    where[:] = np.clip(lit + (layers[0] - lit) * opaque, 0, 255).astype(np.uint8)
    return image


def _flesh(out: Field, over: Field, *, skin: Field, nail: bool, light: float) -> tuple[Field, Field, Field]:
    """Colour, cover and what its shadow leaves of the light, at places in half widths from the tip."""
    # As wide as an ellipse at the tip, narrower behind the nail, wider again at the joint.
    tip = np.sqrt(np.clip(1 - ((1.25 - np.clip(out, 0, 1.25)) / 1.25) ** 2, 0, 1))
    wide = tip * (1 - 0.06 * np.exp(-(((out - 2.6) / 0.7) ** 2)) + 0.05 * np.clip(out - 2, 0, 3))
    # Behind it is the hand, closed, and wider to one side: no finger goes on to where the picture ends.
    closed = np.sqrt(1 - (1 - np.clip((out - _FINGER_HALF_WIDTHS) / 2.5, 0, 1)) ** 2) * _HAND_HALF_WIDTHS
    wide = wide + closed
    over = over - np.float32(np.copysign(0.75, light)) * closed
    aside = over / np.maximum(wide, 0.05)
    cover = 1 / (1 + np.exp(np.clip((np.abs(over) - wide) * 22, -30, 30)))
    cover = np.where(out < 0, np.float32(0), cover)
    round_off = np.sqrt(np.clip(1 - 0.85 * aside**2, 0.03, 1))
    bright = 0.55 + 0.45 * round_off + light * aside
    wrinkle = sum(0.07 * np.exp(-(((out - at - 0.15 * aside**2) / 0.05) ** 2)) for at in (3.0, 3.2, 3.45))
    colour = skin[None, None, :] * np.clip(bright - wrinkle, 0.2, 1.15)[..., None]
    # Blood shows at the tip.
    colour = colour * (1 - np.exp(-((out / 1.2) ** 2))[..., None] * np.array([0.0, 0.10, 0.09], np.float32))
    if nail:
        plate = 1 / (1 + np.exp(np.clip(((over / 0.66) ** 2 + ((out - 1.02) / 0.82) ** 2 - 1) * 14, -30, 30)))
        shine = 0.25 * np.exp(-(((over + 0.25) / 0.12) ** 2 + ((out - 0.95) / 0.45) ** 2))
        plate_colour = (skin * np.array([1.0, 0.93, 0.92], np.float32) + 14)[None, None, :] * (
            0.9 + 0.1 * round_off + shine
        )[..., None]
        rim = 0.22 * np.exp(-((((over / 0.66) ** 2 + ((out - 1.02) / 0.82) ** 2 - 1) / 0.12) ** 2))
        colour = (colour + (plate_colour - colour) * plate[..., None]) * (1 - rim)[..., None]
    near = np.clip(np.abs(over) - wide, 0, 2) + np.clip(-out, 0, 2)
    shadow = 1 - 0.4 * np.exp(-((near / 0.28) ** 2))
    return (
        np.asarray(colour, dtype=np.float32),
        np.asarray(cover, dtype=np.float32),
        np.asarray(shadow, dtype=np.float32),
    )
