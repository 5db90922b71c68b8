"""How somebody lays a page down, bends it, and points a lens at it."""

from dataclasses import dataclass, replace

import numpy as np

from vizecg.camera.geometry import Bend, Matrix, Scene, page_outline

MAX_ROTATION_DEG = 8.0
MAX_TILT_DEG = 24.0
MAX_CURL_SLOPE = 0.22
MAX_FOLD_SLOPE = 0.11
MAX_CROP_SHARE = 0.2
# How far the lens is, in long sides of the page: as near as a phone takes the whole page in, and an arm's length.
DISTANCE_LONG_SIDES = (1.2, 1.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tilt:
    """Where the lens is; straight above the middle of the page unless told."""

    angle_deg: float = 0.0
    axis_deg: float = 0.0
    distance_long_sides: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """How a page lies under the lens, and how the picture is cut around it."""

    frame_px: tuple[int, int]
    rotation_deg: float = 0.0
    """Anticlockwise, like `quarter_turns`."""

    quarter_turns: int = 0
    tilt: Tilt = Tilt()
    bends: tuple[Bend, ...] = ()
    fill: float | None = None
    """Share of the frame that the page takes where it is tightest, above 1 if it is cut; None: as large as it is."""

    left: float = 0.5
    """Of the room beside the page, or of what is cut off it: the share at its left."""

    top: float = 0.5


def place(page_px: tuple[int, int], pose: Pose) -> Scene:
    """Look at a page (width, height)."""
    middle = np.array([[1, 0, -(page_px[0] - 1) / 2], [0, 1, -(page_px[1] - 1) / 2], [0, 0, 1]])
    turn = _turn(pose)
    distance_px = pose.tilt.distance_long_sides * max(page_px)
    tilt = _tilt(pose.tilt)
    # Columns: where the plane's x, y and origin go in front of the lens.
    onto = np.column_stack([tilt[:, 0], tilt[:, 1], (0.0, 0.0, distance_px)])
    below = turn[:2, :2].T @ (-distance_px * tilt[2, :2])
    scene = Scene(
        page_px=page_px,
        frame_px=pose.frame_px,
        homography=np.diag([distance_px, distance_px, 1.0]) @ onto @ turn @ middle,
        bends=pose.bends,
        lens_px=(
            float(below[0] - middle[0, 2]),
            float(below[1] - middle[1, 2]),
            float(distance_px * tilt[2, 2]),
        ),
    )
    return _framed(scene, pose)


def _turn(pose: Pose) -> Matrix:
    angle_rad = np.deg2rad(pose.rotation_deg + 90.0 * pose.quarter_turns)
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _tilt(tilt: Tilt) -> Matrix:
    """Rodrigues' rotation about an axis in the plane of the table."""
    angle_rad, axis_rad = np.deg2rad(tilt.angle_deg), np.deg2rad(tilt.axis_deg)
    x, y = np.cos(axis_rad), np.sin(axis_rad)
    cross = np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross)


def _framed(scene: Scene, pose: Pose) -> Scene:
    """Bring what the lens sees to where the frame wants it."""
    frame = np.array(pose.frame_px, dtype=np.float64) - 1
    scale, corner = 1.0, frame / 2
    if pose.fill is not None:
        outline = scene.seen(page_outline(scene.page_px))
        start, extent = outline.min(axis=0), np.ptp(outline, axis=0)
        scale = float(pose.fill * np.min(frame / extent))
        corner = (frame - scale * extent) * (pose.left, pose.top) - scale * start
    fit = np.array([[scale, 0, corner[0]], [0, scale, corner[1]], [0, 0, 1]])
    homography = fit @ scene.homography
    return replace(scene, homography=homography / homography[2, 2])


def drawn_rotation_deg(strength: float, rng: np.random.Generator) -> float:
    """To either side, `MAX_ROTATION_DEG` at most."""
    return float(strength * MAX_ROTATION_DEG * rng.choice((-1.0, 1.0)))


def drawn_tilt(strength: float, rng: np.random.Generator) -> Tilt:
    """Away from straight above, `MAX_TILT_DEG` at most, in any direction."""
    return Tilt(
        angle_deg=strength * MAX_TILT_DEG,
        axis_deg=float(rng.uniform(0, 360)),
        distance_long_sides=float(rng.uniform(*DISTANCE_LONG_SIDES)),
    )


def drawn_curl(page_px: tuple[int, int], strength: float, rng: np.random.Generator) -> tuple[Bend, ...]:
    """One edge or corner lifts, or two that face each other."""
    first = rng.integers(4) * 90.0 + rng.choice((0.0, 45.0), p=(0.7, 0.3)) + rng.uniform(-10, 10)
    directions = [first, first + 180.0][: 1 + int(rng.random() < 0.5)]
    return tuple(
        _bend(page_px, direction, at=rng.uniform(-0.2, 0.5), slope=strength * MAX_CURL_SLOPE * rng.uniform(0.6, 1.0))
        for direction in directions
    )


def drawn_fold(page_px: tuple[int, int], strength: float, rng: np.random.Generator) -> tuple[Bend, ...]:
    """Folded in half, in quarters, or in three like a letter."""
    slope = strength * MAX_FOLD_SLOPE * rng.choice((-1.0, 1.0))
    along_long = 0.0 if page_px[0] >= page_px[1] else 90.0
    askew = rng.uniform(-1.0, 1.0)
    kind = rng.choice(3, p=(0.5, 0.3, 0.2))
    half = _bend(page_px, along_long + askew, at=rng.uniform(-0.04, 0.04), slope=slope, folded=True)
    if kind == 0:
        return (half,)
    if kind == 1:
        return (
            half,
            _bend(page_px, along_long + 90 + askew, at=rng.uniform(-0.04, 0.04), slope=-slope / 2, folded=True),
        )
    return tuple(
        _bend(page_px, along_long + askew, at=side / 3 + rng.uniform(-0.03, 0.03), slope=side * slope / 2, folded=True)
        for side in (-1, 1)
    )


def _bend(page_px: tuple[int, int], direction_deg: float, *, at: float, slope: float, folded: bool = False) -> Bend:
    """At a share of the way from the middle of the page to its end in that direction."""
    direction_rad = np.deg2rad(direction_deg)
    reach_px = (abs(np.cos(direction_rad)) * page_px[0] + abs(np.sin(direction_rad)) * page_px[1]) / 2
    return Bend(
        direction_rad=float(direction_rad),
        at_px=float(at * reach_px),
        slope=float(slope),
        reach_px=float(reach_px),
        folded=folded,
    )


def drawn_crop(strength: float, rng: np.random.Generator) -> tuple[float, float, float]:
    """Fill, left and top of a pose that cuts the page on one side or on two that face each other."""
    left, top = (float(rng.choice((0.0, 0.5, 1.0))) for _ in range(2))
    return 1 / (1 - strength * MAX_CROP_SHARE), left, top


def drawn_quarter_turns(rng: np.random.Generator) -> int:
    """1 to 3, anticlockwise."""
    return int(rng.integers(1, 4))
