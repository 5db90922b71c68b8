"""Take a picture: draw what happens, then let it happen in the order in which it does."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vizecg.camera import light, optics, paper, placing, surroundings
from vizecg.camera.geometry import Bend, Scene, page_corners, take
from vizecg.camera.picture import Effect, Field, Image, check_image, px_per_mm_of
from vizecg.camera.presets import DRAWN, EFFECTS_IN_ORDER, Preset, drawn_preset, preset_named

# What a phone's picture is cut to.
_LONG_TO_SHORT = 4 / 3
_ON_SHEET: dict[str, Effect] = {
    "fading": paper.fading,
    "photocopy": optics.photocopy,
    "fax": optics.fax,
    "stain": paper.stain,
    "note": paper.note,
}
_BENDING = {"rotation", "perspective", "quarter_turn", "curl", "fold", "crop"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """A picture of a page, before it is compressed."""

    preset: str
    """Its name; the one that was drawn, where one was."""

    image: NDArray[np.uint8]
    """(height, width, 3) RGB."""

    corners_px: NDArray[np.float64]
    """(4, 2) x, y in the picture of the page's top left, top right, bottom right and bottom left."""

    homography: NDArray[np.float64]
    """(3, 3) page pixel -> picture pixel, without what a curl or a fold bends."""

    quarter_turns: int
    """0 to 3, anticlockwise, that the page is turned in the picture."""

    effects: tuple[str, ...]
    """Names of what happened, in the order of `EFFECTS_IN_ORDER`."""

    jpeg_quality: int | None


@dataclass(frozen=True, slots=True)
class _Happening:
    """How strongly an effect happens, and where its chance comes from."""

    strength: float
    rng: np.random.Generator


class _Chance:
    """One generator for each name, from one draw: what one of them draws moves no other."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._root = int(rng.integers(1 << 63))

    def of(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self._root, zlib.crc32(name.encode())])


def shoot(image: Image, *, preset: str, rng: np.random.Generator, px_per_mm: float | None = None) -> Shot:
    """Take a picture of a page, all but its compression.

    Args:
        image: (height, width, 3) RGB; not changed.
        preset: a name in `PRESETS`, or `drawn` for one of them by its weight.
        rng: where all chance comes from, by one draw; the same generator state gives the same picture.
        px_per_mm: of the page; as if its long side were A4's if None.

    Raises:
        ValueError: the image is not RGB, the preset is unknown, or px_per_mm is not above 0.
    """
    check_image(image)
    size = px_per_mm_of(image, px_per_mm=px_per_mm)
    chance = _Chance(rng)
    name = drawn_preset(chance.of("preset")) if preset == DRAWN else preset
    chosen = preset_named(name)
    happening = _drawn(chosen, chance)
    pose = _pose(image, preset=chosen, happening=happening, chance=chance)
    sheet = _worn(image, pose=pose, happening=happening, px_per_mm=size)
    scene = placing.place((image.shape[1], image.shape[0]), pose)
    taken = _exposed(sheet, scene=scene, preset=chosen, happening=happening, chance=chance, px_per_mm=size)
    quality = chosen.jpeg_quality
    return Shot(
        preset=name,
        image=taken,
        corners_px=scene.seen(page_corners(scene.page_px)),
        homography=scene.homography,
        quarter_turns=pose.quarter_turns,
        effects=tuple(happening),
        jpeg_quality=None if quality is None else int(chance.of("jpeg").integers(*quality, endpoint=True)),
    )


def encode(shot: Shot) -> bytes:
    """Write a shot as the file it arrives in: JPEG, or PNG where its preset compresses nothing."""
    if shot.jpeg_quality is None:
        return optics.png(shot.image)
    return optics.jpeg(shot.image, quality=shot.jpeg_quality)


def apply(image: Image, *, preset: str, rng: np.random.Generator, px_per_mm: float | None = None) -> Image:
    """Take a picture of a page, as somebody who opens the file sees it.

    Args:
        image: (height, width, 3) RGB.
        preset: a name in `PRESETS`.
        rng: where all chance comes from; the same generator state gives the same picture.
        px_per_mm: of the page; as if its long side were A4's if None.

    Returns:
        A new (height, width, 3) RGB image; `clean` gives a copy. `photo`, `screen` and `worst` give another shape.
    """
    shot = shoot(image, preset=preset, rng=rng, px_per_mm=px_per_mm)
    return (
        shot.image
        if shot.jpeg_quality is None
        else optics.developed(optics.jpeg(shot.image, quality=shot.jpeg_quality))
    )


def photograph(image: Image, *, preset: str, rng: np.random.Generator, px_per_mm: float | None = None) -> bytes:
    """Take the same picture as `apply` with the same `rng`, as the file it arrives in.

    Raises:
        ValueError: the preset makes no JPEG.
    """
    if preset != DRAWN and preset_named(preset).jpeg_quality is None:
        raise ValueError(f"camera preset {preset!r} makes no JPEG; encode the page itself")
    return encode(shoot(image, preset=preset, rng=rng, px_per_mm=px_per_mm))


def _drawn(preset: Preset, chance: _Chance) -> dict[str, _Happening]:
    happening = {}
    for name in EFFECTS_IN_ORDER:
        if name in preset.effects:
            rng, odds = chance.of(name), preset.effects[name]
            happens, strength = rng.random() < odds.probability, rng.uniform(odds.weakest, odds.strongest)
            if happens and strength > 0:
                happening[name] = _Happening(float(strength), rng)
    return happening


def _pose(image: Image, *, preset: Preset, happening: dict[str, _Happening], chance: _Chance) -> placing.Pose:
    """Lay the page down, bend it, and frame it."""
    page_px = (image.shape[1], image.shape[0])
    bends: list[Bend] = []
    for name, draw in (("curl", placing.drawn_curl), ("fold", placing.drawn_fold)):
        if name in happening:
            bends += draw(page_px, happening[name].strength, happening[name].rng)
    turns, rotation_deg, tilt = 0, 0.0, placing.Tilt()
    if "quarter_turn" in happening:
        turns = placing.drawn_quarter_turns(happening["quarter_turn"].rng)
    if "rotation" in happening:
        rotation_deg = placing.drawn_rotation_deg(happening["rotation"].strength, happening["rotation"].rng)
    if "perspective" in happening:
        tilt = placing.drawn_tilt(happening["perspective"].strength, happening["perspective"].rng)
    turned_px = page_px if turns % 2 == 0 else page_px[::-1]
    framing = chance.of("framing")
    fill, left, top = framing.uniform(*preset.fill), *framing.uniform(0.1, 0.9, 2)
    if "crop" in happening:
        fill, left, top = placing.drawn_crop(happening["crop"].strength, happening["crop"].rng)
    still = preset.setting == "flat" and "crop" not in happening
    return placing.Pose(
        frame_px=turned_px if preset.setting == "flat" else _phone_frame(turned_px),
        rotation_deg=rotation_deg,
        quarter_turns=turns,
        tilt=tilt,
        bends=tuple(bends),
        fill=None if still else float(fill),
        left=float(left),
        top=float(top),
    )


def _phone_frame(page_px: tuple[int, int]) -> tuple[int, int]:
    long_px = max(page_px)
    short_px = round(long_px / _LONG_TO_SHORT)
    return (long_px, short_px) if page_px[0] >= page_px[1] else (short_px, long_px)


def _worn(image: Image, *, pose: placing.Pose, happening: dict[str, _Happening], px_per_mm: float) -> Image:
    """What happened to the sheet before it was laid down; the image itself where nothing did."""
    sheet = image
    for name, change in _ON_SHEET.items():
        if name in happening:
            found = happening[name]
            sheet = change(sheet, strength=found.strength, rng=found.rng, px_per_mm=px_per_mm)
    if "fold" in happening:
        found = happening["fold"]
        sheet = image.copy() if sheet is image else sheet
        folds = tuple(bend for bend in pose.bends if bend.folded)
        paper.worn_folds(sheet, bends=folds, strength=found.strength, rng=found.rng, px_per_mm=px_per_mm)
    if "screen" in happening:
        sheet = optics.lattice(sheet, strength=happening["screen"].strength)
    return sheet


def _exposed(
    sheet: Image, *, scene: Scene, preset: Preset, happening: dict[str, _Happening], chance: _Chance, px_per_mm: float
) -> Image:
    """What light, lens and sensor make of the sheet where it lies."""
    lamp_rad = light.lamp_of(chance.of("lamp"))
    view = light.view_of(scene, px_per_mm=px_per_mm)
    if preset.setting == "flat" and not _BENDING & set(happening):
        taken = sheet.copy()
    else:
        around = _around(
            preset, scene=scene, lamp_rad=lamp_rad, rng=chance.of("surroundings"), px_per_mm=view.px_per_mm
        )
        taken = take(sheet, nodes=view.nodes, around=around)
    if "finger" in happening:
        found = happening["finger"]
        corners_px = scene.seen(page_corners(scene.page_px))
        taken = surroundings.with_finger(
            taken, corners_px=corners_px, strength=found.strength, rng=found.rng, px_per_mm=view.px_per_mm
        )
    gain = _gain(view, scene=scene, happening=happening, lamp_rad=lamp_rad)
    taken = taken if gain is None else light.light_up(taken, gain)
    if "glare" in happening:
        found = happening["glare"]
        taken = light.add_veil(taken, light.glare_veil(view, strength=found.strength, rng=found.rng))
    return _sensed(taken, happening=happening, px_per_mm=view.px_per_mm)


def _around(preset: Preset, *, scene: Scene, lamp_rad: float, rng: np.random.Generator, px_per_mm: float) -> Image:
    if preset.setting != "table":
        colour_rgb = surroundings.LID_RGB if preset.setting == "flat" else surroundings.bezel_rgb(rng)
        return surroundings.plain(scene.frame_px, colour_rgb)
    top = surroundings.table(scene.frame_px, rng=rng)
    # A sheet that lies flat throws a line of shadow; how high its edges are is drawn, not followed.
    lift_px = rng.uniform(0.4, 2.5) * px_per_mm
    return surroundings.under_page(top, scene=scene, lamp_rad=lamp_rad, lift_px=lift_px)


def _gain(view: light.View, *, scene: Scene, happening: dict[str, _Happening], lamp_rad: float) -> Field | None:
    """All light that multiplies, as one field; None where there is nothing to multiply."""
    fields: list[Field] = []
    if scene.bends:
        fields.append(light.bend_gain(view, bends=scene.bends, lamp_rad=lamp_rad))
    if found := happening.get("crease"):
        fields.append(light.crease_gain(view, strength=found.strength, rng=found.rng, lamp_rad=lamp_rad))
    if found := happening.get("uneven_light"):
        fields.append(light.uneven_gain(view, loss=light.MAX_LOSS * found.strength, rng=found.rng))
    if found := happening.get("hard_shadow"):
        fields.append(light.shadow_gain(view, strength=found.strength, rng=found.rng))
    if found := happening.get("screen"):
        fields.append(optics.screen_gain(view, strength=found.strength, rng=found.rng))
    if found := happening.get("white_balance"):
        fields.append(light.balance(strength=found.strength, rng=found.rng)[None, None, :])
    gain: Field | None = None
    for field in fields:
        field = field[:, :, None] if field.ndim == 2 else field  # (rows, columns, 1 or 3)
        gain = field if gain is None else gain * field
    if gain is None:
        return None
    return light.for_each_channel(gain[:, :, 0]) if gain.shape[2] == 1 else gain


def _sensed(image: Image, *, happening: dict[str, _Happening], px_per_mm: float) -> Image:
    """Lens and sensor."""
    blur_px, smear_px = 0.0, (0.0, 0.0)
    if found := happening.get("defocus"):
        blur_px = optics.defocus_px(image, found.strength)
    if found := happening.get("motion"):
        smear_px = optics.motion_px(image, found.strength, found.rng)
    image = optics.blurred(image, defocus_px=blur_px, motion_px=smear_px)
    for name, change in (("streaks", optics.streaks), ("noise", optics.noise)):
        if found := happening.get(name):
            image = change(image, strength=found.strength, rng=found.rng, px_per_mm=px_per_mm)
    return image
