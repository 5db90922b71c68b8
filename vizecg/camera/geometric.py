"""The effects that move things, by themselves: each gives the picture and where the page is seen in it.

Every one of them returns a new image and its `Scene`, which has the homography and, for
what bends, the place of every point. Strength 0 gives the same picture.
"""

from typing import Protocol

import numpy as np

from vizecg.camera.geometry import Scene, take
from vizecg.camera.light import bend_gain, for_each_channel, lamp_of, light_up, view_of
from vizecg.camera.paper import worn_folds
from vizecg.camera.picture import Image, check, check_image, px_per_mm_of
from vizecg.camera.placing import (
    Pose,
    drawn_crop,
    drawn_curl,
    drawn_fold,
    drawn_quarter_turns,
    drawn_rotation_deg,
    drawn_tilt,
    place,
)
from vizecg.camera.surroundings import LID_RGB, plain

Placed = tuple[Image, Scene]


class PlacingEffect(Protocol):
    """A pure effect that moves things: a new image, and where the page is seen in it."""

    def __call__(
        self, image: Image, *, strength: float, rng: np.random.Generator, px_per_mm: float | None = None
    ) -> Placed:
        """Happen to an image; `px_per_mm` is guessed from A4 if None."""


def rotate(image: Image, *, angle_deg: float, surround: tuple[int, int, int] = LID_RGB) -> Image:
    """Turn anticlockwise about the middle; the image keeps its size."""
    check_image(image)
    size = _size(image)
    scene = place(size, Pose(frame_px=size, rotation_deg=angle_deg))
    return take(image, nodes=scene.nodes(), around=plain(size, surround))


def rotation(image: Image, *, strength: float, rng: np.random.Generator, px_per_mm: float | None = None) -> Placed:
    """Lie askew, `MAX_ROTATION_DEG` at most."""
    check(image, strength=strength)
    px_per_mm_of(image, px_per_mm=px_per_mm)
    return _placed(image, Pose(frame_px=_size(image), rotation_deg=drawn_rotation_deg(strength, rng)), strength)


def perspective(image: Image, *, strength: float, rng: np.random.Generator, px_per_mm: float | None = None) -> Placed:
    """Be looked at askew, `MAX_TILT_DEG` at most."""
    check(image, strength=strength)
    px_per_mm_of(image, px_per_mm=px_per_mm)
    return _placed(image, Pose(frame_px=_size(image), tilt=drawn_tilt(strength, rng), fill=1.0), strength)


def quarter_turn(image: Image, *, strength: float, rng: np.random.Generator, px_per_mm: float | None = None) -> Placed:
    """Lie on its side or upside down; any strength turns it."""
    check(image, strength=strength)
    px_per_mm_of(image, px_per_mm=px_per_mm)
    width, height = _size(image)
    turns = drawn_quarter_turns(rng)
    pose = Pose(frame_px=(height, width) if turns % 2 else (width, height), quarter_turns=turns)
    return _placed(image, pose, strength)


def crop(image: Image, *, strength: float, rng: np.random.Generator, px_per_mm: float | None = None) -> Placed:
    """Come so near that up to `MAX_CROP_SHARE` of the sides is left out; the picture keeps its size."""
    check(image, strength=strength)
    px_per_mm_of(image, px_per_mm=px_per_mm)
    fill, left, top = drawn_crop(strength, rng)
    return _placed(image, Pose(frame_px=_size(image), fill=fill, left=left, top=top), strength)


def curl(image: Image, *, strength: float, rng: np.random.Generator, px_per_mm: float | None = None) -> Placed:
    """Lift off the table at an edge or a corner, with the light that this takes and gives."""
    check(image, strength=strength)
    px_per_mm_of(image, px_per_mm=px_per_mm)
    bends = drawn_curl(_size(image), strength, rng)
    return _placed(image, Pose(frame_px=_size(image), bends=bends, fill=1.0), strength, lamp_rad=lamp_of(rng))


def fold(image: Image, *, strength: float, rng: np.random.Generator, px_per_mm: float | None = None) -> Placed:
    """Have been folded and opened again: flaps that do not lie flat, and worn lines between them."""
    check(image, strength=strength)
    px_per_mm_of(image, px_per_mm=px_per_mm)
    bends = drawn_fold(_size(image), strength, rng)
    worn = image.copy()
    worn_folds(worn, bends=bends, strength=strength, rng=rng, px_per_mm=px_per_mm_of(image, px_per_mm=px_per_mm))
    return _placed(worn, Pose(frame_px=_size(image), bends=bends, fill=1.0), strength, lamp_rad=lamp_of(rng))


def _size(image: Image) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def _placed(image: Image, pose: Pose, strength: float, *, lamp_rad: float = 0.0) -> Placed:
    size = _size(image)
    if not strength:
        return image.copy(), Scene(page_px=size, frame_px=size, homography=np.eye(3))
    scene = place(size, pose)
    view = view_of(scene, px_per_mm=1.0)
    seen = take(image, nodes=view.nodes, around=plain(pose.frame_px, LID_RGB))
    if pose.bends:
        seen = light_up(seen, for_each_channel(bend_gain(view, bends=pose.bends, lamp_rad=lamp_rad)))
    return seen, scene
