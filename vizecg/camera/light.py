"""Light, as fields that are smooth enough to be known at every eighth pixel and multiplied in at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vizecg.camera.geometry import Bend, Scene, look_up
from vizecg.camera.nodes import NODE_STEP_PX, lighten, multiply, node_places
from vizecg.camera.picture import Field, Image, check_image, effect

MAX_LOSS = 0.5
MAX_SHADOW = 0.6
LAMP_GAIN = 0.9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """What light falls on: nodes of the picture, and which point of the page each shows."""

    frame_px: tuple[int, int]
    page_px: tuple[int, int]
    nodes: Field
    """(rows, columns, 2) x, y on the page."""

    px_per_mm: float
    """Of the picture."""

    @property
    def across(self) -> Field:
        """(1, columns) from -1 at the left edge of the picture to 1 at the right."""
        return (2 * node_places(self.frame_px[0]) / self.frame_px[0] - 1).astype(np.float32)[None, :]

    @property
    def down(self) -> Field:
        """(rows, 1) from -1 at the top to 1 at the bottom."""
        return (2 * node_places(self.frame_px[1]) / self.frame_px[1] - 1).astype(np.float32)[:, None]


def view_of(scene: Scene, *, px_per_mm: float) -> View:
    """Prepare a scene for light; `px_per_mm` is the page's."""
    return View(frame_px=scene.frame_px, page_px=scene.page_px, nodes=scene.nodes(), px_per_mm=px_per_mm * scene.scale)


def flat_view(image: Image, *, px_per_mm: float) -> View:
    """A picture that is the page as it is."""
    size = (image.shape[1], image.shape[0])
    return view_of(Scene(page_px=size, frame_px=size, homography=np.eye(3)), px_per_mm=px_per_mm)


def light_up(image: Image, gain: Field) -> Image:
    """Multiply a picture in place by a gain at its nodes, (rows, columns, 3)."""
    multiply(image, gain)
    return image


def bend_gain(view: View, *, bends: Sequence[Bend], lamp_rad: float) -> Field:
    """(rows, columns) flanks that face the lamp are lighter than the table, the others darker."""
    gain = np.ones(view.nodes.shape[:2], np.float32)
    for bend in bends:
        slopes = bend.slopes(bend.along_px(view.nodes[..., 0], view.nodes[..., 1], view.page_px))
        gain -= slopes * np.float32(LAMP_GAIN * np.cos(bend.direction_rad - lamp_rad))
    x_px, y_px = view.nodes[..., 0], view.nodes[..., 1]
    # One node beyond the edge, so that all of the page and hardly any of the table is shaded.
    beyond = NODE_STEP_PX / 2
    on_page = (
        (x_px > -beyond) & (x_px < view.page_px[0] + beyond) & (y_px > -beyond) & (y_px < view.page_px[1] + beyond)
    )
    return np.where(on_page, np.clip(gain, 0.4, 1.3), np.float32(1))


def crease_gain(view: View, *, strength: float, rng: np.random.Generator, lamp_rad: float) -> Field:
    """Short sharp creases of paper that was carried in a pocket: each light on one side, dark on the other."""
    # Drawn on the page, coarsely, and looked up where each node of the picture lies on it.
    step = NODE_STEP_PX / 2
    size = [int(side / step) + 1 for side in view.page_px]
    sheet = np.full((size[1], size[0]), 128, np.uint8)
    for _ in range(2 + round(10 * strength)):
        middle, direction = rng.uniform(0, 1, 2) * size, rng.uniform(0, np.pi)
        half = rng.uniform(0.04, 0.22) * max(size) * np.array([np.cos(direction), np.sin(direction)])
        bow = rng.normal(0, 0.06) * half[::-1]
        aside = np.array([-np.sin(direction), np.cos(direction)])
        contrast = 30 * strength * rng.uniform(0.4, 1.0) * np.sin(direction - lamp_rad)
        path = np.array([middle - half, middle + bow, middle + half])
        for side in (-1, 1):
            line = np.rint((path + side * 0.9 * aside) * 16).astype(np.int32)
            cv2.polylines(
                sheet, [line], isClosed=False, color=128 + side * contrast, thickness=2, lineType=cv2.LINE_AA, shift=4
            )
    soft: Field = np.asarray(cv2.GaussianBlur(sheet, (0, 0), 0.8) / np.float32(128), dtype=np.float32)
    gain = np.ones(view.nodes.shape[:2], np.float32)
    look_up(soft, view.nodes / np.float32(step), out=gain)
    return gain


def uneven_gain(view: View, *, loss: float, rng: np.random.Generator) -> Field:
    """Between 1 - loss and 1: falls to one side and to the edges, smoothly."""
    direction = rng.uniform(0, 2 * np.pi)
    lamp_across, lamp_down = rng.uniform(-0.5, 0.5, size=2)
    slope = view.across * np.float32(np.cos(direction)) + view.down * np.float32(np.sin(direction))
    distance = (view.across - np.float32(lamp_across)) ** 2 + (view.down - np.float32(lamp_down)) ** 2
    darkness = slope * np.float32(rng.uniform(0, 1)) + distance * np.float32(rng.uniform(0, 0.5))
    darkness = (darkness - darkness.min()) / max(float(np.ptp(darkness)), 1e-9)
    return np.asarray(1 - np.float32(loss) * darkness, dtype=np.float32)


def shadow_gain(view: View, *, strength: float, rng: np.random.Generator) -> Field:
    """The shadow of a phone and of the hand that holds it, from one edge of the picture; slightly bluish."""
    rows, columns = view.nodes.shape[0], view.nodes.shape[1]
    mask = np.zeros((rows, columns), np.uint8)
    mm = view.px_per_mm / NODE_STEP_PX
    foot, inward = _from_edge((columns, rows), rng)
    aside = np.array([-inward[1], inward[0]])
    # Shadows are larger than what throws them: the lamp is nearer than the sun.
    tip, half = foot + inward * rng.uniform(40, 130) * mm, aside * rng.uniform(45, 65) * mm
    behind = foot - inward * 80 * mm
    phone = np.array([tip + half, tip - half, behind - half * 0.9, behind + half * 0.9])
    arm = np.array([tip + half * 0.2, tip + half * 1.6 - inward * 25 * mm, behind + half * 2.4, behind])
    for polygon in (phone, arm) if rng.random() < 0.6 else (phone,):
        points = np.rint(_rounded(polygon) * 16).astype(np.int32)
        cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.5, 3.0) * mm + 0.4)).astype(np.float32) / 255
    dark = np.float32(MAX_SHADOW * strength) * soft
    return np.asarray(cv2.merge([1 - dark, 1 - dark * np.float32(0.97), 1 - dark * np.float32(0.9)]), dtype=np.float32)


def _from_edge(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A point on one of the four edges of a frame, and a unit vector from there more or less inwards."""
    side, way, turn = int(rng.integers(4)), rng.uniform(0.2, 0.8), rng.uniform(-0.5, 0.5)
    foot = np.array([(0.0, way), (1.0, way), (way, 0.0), (way, 1.0)][side]) * size
    straight = np.arctan2(*[(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0)][side])
    return foot, np.array([np.cos(straight + turn), np.sin(straight + turn)])


def _rounded(polygon: np.ndarray) -> np.ndarray:
    """Cut the corners twice (Chaikin 1974)."""
    for _ in range(3):
        after = np.roll(polygon, -1, axis=0)
        polygon = np.stack([0.8 * polygon + 0.2 * after, 0.2 * polygon + 0.8 * after], axis=1).reshape(-1, 2)
    return polygon


def balance(*, strength: float, rng: np.random.Generator) -> Field:
    """(3,) gains of red, green and blue: from a bulb's yellow to an open sky's blue, with some green or pink."""
    warm, green = rng.uniform(-0.6, 1.0), rng.normal(0, 0.25)
    gains = 1 + strength * np.array([0.10 * warm, 0.04 * green, -0.22 * warm])
    return np.asarray(gains / gains.max(), dtype=np.float32)


def glare_veil(view: View, *, strength: float, rng: np.random.Generator) -> Field:
    """(rows, columns) share of white that a lamp's reflection adds, 0 to 1."""
    at_x, at_y = rng.uniform(-0.7, 0.7, 2)
    turn, size = rng.uniform(0, np.pi), rng.uniform(0.12, 0.3)
    x, y = (
        view.across - np.float32(at_x),
        (view.down - np.float32(at_y)) * np.float32(view.frame_px[1] / view.frame_px[0]),
    )
    along = (x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))) / np.float32(size * rng.uniform(1, 2.2))
    over = (y * np.float32(np.cos(turn)) - x * np.float32(np.sin(turn))) / np.float32(size)
    far = along**2 + over**2
    return np.asarray(
        np.float32(strength) * (0.75 * np.exp(-(far**1.5) * 2) + 0.35 * np.exp(-far / 2)), dtype=np.float32
    )


def add_veil(image: Image, veil: Field) -> Image:
    """Add white to a picture in place, by its share at the nodes; what is white stays so."""
    lighten(image, for_each_channel(veil * np.float32(255)))
    return image


def for_each_channel(gain: Field) -> Field:
    """(rows, columns) -> (rows, columns, 3)."""
    return np.asarray(cv2.merge([gain, gain, gain]), dtype=np.float32)


@effect
def uneven_light(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """One lamp to one side: `MAX_LOSS` of the light is lost at the darkest place at most."""
    gain = uneven_gain(flat_view(image, px_per_mm=px_per_mm), loss=MAX_LOSS * strength, rng=rng)
    return light_up(image, for_each_channel(gain))


@effect
def hard_shadow(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """The shadow of a phone and a hand: `MAX_SHADOW` of the light is lost in it at most."""
    return light_up(image, shadow_gain(flat_view(image, px_per_mm=px_per_mm), strength=strength, rng=rng))


@effect
def crease(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """Short creases all over the sheet."""
    view, lamp_rad = flat_view(image, px_per_mm=px_per_mm), lamp_of(rng)
    return light_up(image, for_each_channel(crease_gain(view, strength=strength, rng=rng, lamp_rad=lamp_rad)))


@effect
def white_balance(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """White that the sensor takes for yellowish or bluish."""
    view = flat_view(image, px_per_mm=px_per_mm)
    gains = balance(strength=strength, rng=rng)
    return light_up(image, np.broadcast_to(gains, (*view.nodes.shape[:2], 3)).copy())


@effect
def glare(image: Image, strength: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    """The reflection of a lamp, in which ink is lost when the strength is 1."""
    return add_veil(image, glare_veil(flat_view(image, px_per_mm=px_per_mm), strength=strength, rng=rng))


def shade(image: Image, *, loss: float, rng: np.random.Generator) -> Image:
    """Light the page unevenly: a smooth field between 1 - loss and 1 that falls to one side and to the edges."""
    check_image(image)
    gain = uneven_gain(flat_view(image, px_per_mm=1.0), loss=loss, rng=rng)
    return light_up(image.copy(), for_each_channel(gain))


def lamp_of(rng: np.random.Generator) -> float:
    """Direction on the page that light comes from, in radians: a lamp is rarely straight above."""
    return float(rng.uniform(0, 2 * np.pi))
