"""What paper goes through on its way to a file: folds, coffee, a table, a lamp, a lens, a machine.

`shoot` takes a picture of a page by a preset, `apply` shows it as the file looks and
`photograph` writes the file. Each effect is a pure function too, by its name in `EFFECTS`
and `PLACINGS`: strength 0 gives the same picture, 1 the most that it does.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vizecg.camera.geometric import PlacingEffect, crop, curl, fold, perspective, quarter_turn, rotate, rotation
from vizecg.camera.geometry import Scene
from vizecg.camera.light import crease, glare, hard_shadow, shade, uneven_light, white_balance
from vizecg.camera.optics import (
    defocus,
    developed,
    fax,
    jpeg,
    motion,
    noise,
    photocopy,
    png,
    roughen,
    screen,
    streaks,
)
from vizecg.camera.paper import fading, note, stain
from vizecg.camera.picture import Effect
from vizecg.camera.presets import DRAWN, EFFECTS_IN_ORDER, PRESETS, Chance, Preset, drawn_preset, preset_named
from vizecg.camera.shooting import Shot, apply, encode, photograph, shoot
from vizecg.camera.surroundings import finger

EFFECTS: Mapping[str, Effect] = MappingProxyType(
    {
        "fading": fading,
        "photocopy": photocopy,
        "fax": fax,
        "stain": stain,
        "note": note,
        "crease": crease,
        "screen": screen,
        "finger": finger,
        "uneven_light": uneven_light,
        "hard_shadow": hard_shadow,
        "glare": glare,
        "white_balance": white_balance,
        "defocus": defocus,
        "motion": motion,
        "streaks": streaks,
        "noise": noise,
    }
)
PLACINGS: Mapping[str, PlacingEffect] = MappingProxyType(
    {
        "rotation": rotation,
        "perspective": perspective,
        "quarter_turn": quarter_turn,
        "curl": curl,
        "fold": fold,
        "crop": crop,
    }
)

__all__ = [
    "DRAWN",
    "EFFECTS",
    "EFFECTS_IN_ORDER",
    "PLACINGS",
    "PRESETS",
    "Chance",
    "Effect",
    "PlacingEffect",
    "Preset",
    "Scene",
    "Shot",
    "apply",
    "crease",
    "crop",
    "curl",
    "defocus",
    "developed",
    "drawn_preset",
    "encode",
    "fading",
    "fax",
    "finger",
    "fold",
    "glare",
    "hard_shadow",
    "jpeg",
    "motion",
    "noise",
    "note",
    "perspective",
    "photocopy",
    "photograph",
    "png",
    "preset_named",
    "quarter_turn",
    "rotate",
    "rotation",
    "roughen",
    "screen",
    "shade",
    "shoot",
    "stain",
    "streaks",
    "uneven_light",
    "white_balance",
]
