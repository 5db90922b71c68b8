"""How often and how strongly each thing happens to paper, as data.

A strength is a share of the most that an effect does (1); what that most is stands
at the effect. An effect that a preset does not name never happens in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np

Setting = Literal["flat", "table", "screen"]

DRAWN = "drawn"
"""Named in place of a preset: another one for each picture."""

EFFECTS_IN_ORDER = (
    # on the sheet
    *("fading", "photocopy", "fax", "stain", "note", "crease", "screen"),
    # where the sheet lies
    *("rotation", "perspective", "quarter_turn", "curl", "fold", "crop"),
    # in front of it, the light, the lens and the sensor
    *("finger", "uneven_light", "hard_shadow", "glare", "white_balance", "defocus", "motion", "streaks", "noise"),
)


@dataclass(frozen=True, slots=True)
class Chance:
    """An effect happens with `probability`, as strongly as drawn evenly from `weakest` to `strongest`."""

    probability: float
    weakest: float
    strongest: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be 0 to 1, got {self.probability!r}")
        if not 0 <= self.weakest <= self.strongest <= 1:
            raise ValueError(
                f"strengths must rise within 0 to 1, got weakest {self.weakest!r}, strongest {self.strongest!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One way of taking a picture of a page."""

    effects: Mapping[str, Chance] = field(default_factory=lambda: MappingProxyType({}))
    """Name of an effect -> its chance."""

    setting: Setting = "flat"
    """What is around the page: a scanner's lid with the picture as large as the page, a table, or a dark bezel."""

    fill: tuple[float, float] = (1.0, 1.0)
    """Share of the frame that the page takes where it is tightest; on a table and on a screen."""

    jpeg_quality: tuple[int, int] | None = None
    """Both ends included; None leaves the image uncompressed."""

    weight: float = 0.0
    """How often it is drawn among the others, where a preset is to be drawn."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.effects) - set(EFFECTS_IN_ORDER))
        if unknown:
            raise ValueError(f"unknown camera effects {unknown}; known: {sorted(EFFECTS_IN_ORDER)}")
        if not 0 < self.fill[0] <= self.fill[1] <= 1:
            raise ValueError(f"fill must rise within 0 to 1, got {self.fill!r}")
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality[0] <= self.jpeg_quality[1] <= 100:
            raise ValueError(f"jpeg_quality must rise within 1 to 100, got {self.jpeg_quality!r}")


_SCAN = Preset(
    effects={
        "rotation": Chance(1.0, 0.0, 0.25),  # 2 degrees at most
        "uneven_light": Chance(1.0, 0.0, 0.36),
        "defocus": Chance(1.0, 0.0, 0.5),
        "noise": Chance(1.0, 0.04, 0.4),
        "streaks": Chance(0.12, 0.1, 0.6),
        "stain": Chance(0.06, 0.2, 0.7),
    },
    jpeg_quality=(55, 92),
    weight=0.3,
)

_FAX = Preset(
    effects={
        "photocopy": Chance(0.3, 0.2, 0.6),
        "fax": Chance(1.0, 0.1, 0.7),
        "rotation": Chance(1.0, 0.0, 0.15),
        "streaks": Chance(0.1, 0.1, 0.4),
    },
    jpeg_quality=(60, 95),
    weight=0.05,
)

_PHOTO = Preset(
    setting="table",
    fill=(0.70, 0.95),
    effects={
        "rotation": Chance(1.0, 0.0, 1.0),
        "perspective": Chance(1.0, 0.1, 0.8),
        "quarter_turn": Chance(0.15, 1.0, 1.0),
        "curl": Chance(0.8, 0.05, 0.6),
        "fold": Chance(0.3, 0.2, 0.7),
        "crease": Chance(0.2, 0.1, 0.4),
        "uneven_light": Chance(1.0, 0.1, 0.6),
        "hard_shadow": Chance(0.25, 0.1, 0.4),
        "white_balance": Chance(1.0, 0.0, 0.7),
        "defocus": Chance(1.0, 0.1, 0.5),
        "motion": Chance(0.3, 0.1, 0.4),
        "noise": Chance(1.0, 0.1, 0.4),
    },
    jpeg_quality=(60, 95),
    weight=0.4,
)

_SCREEN = Preset(
    setting="screen",
    fill=(0.85, 0.98),
    effects={
        "screen": Chance(1.0, 0.3, 0.9),
        "rotation": Chance(1.0, 0.0, 0.35),
        "perspective": Chance(1.0, 0.1, 0.5),
        "uneven_light": Chance(1.0, 0.1, 0.4),
        "glare": Chance(0.3, 0.1, 0.5),
        "defocus": Chance(1.0, 0.1, 0.4),
        "motion": Chance(0.15, 0.1, 0.3),
        "noise": Chance(1.0, 0.1, 0.4),
    },
    jpeg_quality=(60, 95),
    weight=0.05,
)

_WORST = Preset(
    setting="table",
    fill=(0.8, 0.97),
    effects={
        "fading": Chance(0.5, 0.3, 0.8),
        "photocopy": Chance(0.1, 0.3, 0.8),
        "stain": Chance(0.5, 0.4, 1.0),
        "note": Chance(0.6, 0.4, 1.0),
        "crease": Chance(0.5, 0.3, 1.0),
        "rotation": Chance(1.0, 0.2, 1.0),
        "perspective": Chance(1.0, 0.4, 1.0),
        "quarter_turn": Chance(0.15, 1.0, 1.0),
        "curl": Chance(0.9, 0.3, 1.0),
        "fold": Chance(0.6, 0.4, 1.0),
        "crop": Chance(0.4, 0.2, 0.8),
        "finger": Chance(0.5, 0.4, 1.0),
        "uneven_light": Chance(1.0, 0.4, 1.0),
        "hard_shadow": Chance(0.6, 0.4, 1.0),
        "glare": Chance(0.35, 0.4, 1.0),
        "white_balance": Chance(1.0, 0.3, 1.0),
        "defocus": Chance(1.0, 0.3, 1.0),
        "motion": Chance(0.5, 0.3, 1.0),
        "noise": Chance(1.0, 0.4, 1.0),
    },
    jpeg_quality=(35, 80),
    weight=0.05,
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {"clean": Preset(weight=0.15), "scan": _SCAN, "fax": _FAX, "photo": _PHOTO, "screen": _SCREEN, "worst": _WORST}
)


def preset_named(name: str) -> Preset:
    """Look a preset up.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown camera preset {name!r}; known: {sorted(PRESETS)}")
    return PRESETS[name]


def drawn_preset(rng: np.random.Generator) -> str:
    """Draw the name of a preset by its weight."""
    weights = np.array([preset.weight for preset in PRESETS.values()])
    return list(PRESETS)[int(np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(), side="right"))]
