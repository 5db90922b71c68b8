"""What each statement does to the waves of a heart.

Directions are where a wall of the heart faces (x left, y down, z back): a scar
turns the first 40 ms of QRS away from its wall, injury draws ST towards it,
ischaemia turns T away from it. Criteria are those of textbooks (Goldberger's
"Clinical Electrocardiography", Sokolow and Lyon 1949): at severity 1 a disease
meets them, below it fades into the normal.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from vizecg.simulate.heart import QRS_WAVES, T_WAVES, Heart, Vector, Wave, frontal, unit

Effect = Callable[[Heart, float, np.random.Generator], None]

WALLS: Mapping[str, Vector] = MappingProxyType(
    {
        "AMI": (0.30, 0.0, -0.95),
        "ASMI": (-0.05, 0.0, -1.0),
        "ALMI": (0.75, -0.15, -0.65),
        "IMI": (-0.10, 1.0, 0.05),
        "ILMI": (0.50, 0.85, 0.10),
        "LMI": (0.93, -0.35, 0.05),
    }
)
"""Infarction -> the direction its wall faces."""

ISCHAEMIC_WALLS: Mapping[str, Vector] = MappingProxyType(
    {
        "ISC_": (0.85, 0.35, 0.0),
        "ISCAL": (0.75, -0.10, -0.65),
        "ISCAS": (0.10, 0.0, -1.0),
        "ISCIN": (0.0, 1.0, 0.0),
        "ISCIL": (0.60, 0.80, 0.0),
        "ISCLA": (0.95, -0.25, 0.0),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Infarction:
    """A scar in one wall, of some age."""

    wall: Vector

    def __call__(self, heart: Heart, severity: float, rng: np.random.Generator) -> None:
        """Q waves and lost R towards the wall; then ST or T by how old the scar is."""
        size = float(np.linalg.norm(heart.waves["main"].mv))
        heart.waves[f"scar{len(heart.waves)}"] = Wave(
            at_s=-0.016, width_s=0.0145, mv=_times(unit(self.wall), -0.55 * severity * size**0.7)
        )
        heart.lose("septal", towards=self.wall, share=min(0.95 * severity, 1.0))
        heart.lose("main", towards=self.wall, share=min(0.45 * severity, 0.8))
        age = rng.choice(("recent", "healing", "old"), p=(0.12, 0.48, 0.40))
        if age == "recent":
            heart.push("st", towards=self.wall, mv=rng.uniform(0.12, 0.32) * severity)
            heart.push(*T_WAVES, towards=self.wall, mv=rng.uniform(0.0, 0.08) * severity)
        else:
            depth = rng.uniform(0.9, 1.7) if age == "healing" else rng.uniform(0.0, 0.7)
            heart.push("st", towards=self.wall, mv=rng.uniform(0.0, 0.05) * severity)
            _turn_t_away(heart, self.wall, depth * severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ischaemia:
    """Too little blood in one wall, or in all of the left ventricle."""

    wall: Vector

    def __call__(self, heart: Heart, severity: float, rng: np.random.Generator) -> None:
        """ST sinks and T turns over, away from the wall."""
        heart.push("st", towards=self.wall, mv=-rng.uniform(0.06, 0.15) * severity)
        _turn_t_away(heart, self.wall, rng.uniform(1.15, 1.8) * severity)


def _times(direction: Vector, by: float) -> Vector:
    x, y, z = direction
    return x * by, y * by, z * by


def _turn_t_away(heart: Heart, wall: Vector, depth: float) -> None:
    """1 makes T flat towards the wall, more turns it over; a T that did not point there still sinks a little."""
    heart.lose(*T_WAVES, towards=wall, share=depth)
    heart.push(*T_WAVES, towards=wall, mv=-0.035 * depth)


def _flat_t(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    heart.scale(*T_WAVES, by=1 - min(rng.uniform(0.75, 1.15) * severity, 1.3))
    heart.scale("st", by=0.3)


def _low_st(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    heart.push("st", towards=heart.waves["main"].mv, mv=-rng.uniform(0.07, 0.14) * severity)
    heart.scale(*T_WAVES, by=1 - min(rng.uniform(0.35, 0.7) * severity, 1.0))


def _digitalis(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """ST sags like a ladle, T is low, QT short."""
    sag = rng.uniform(0.13, 0.24) * severity
    heart.waves["sag"] = Wave(
        at_s=-0.185, width_s=0.055, mv=_times(unit(heart.waves["main"].mv), -sag), follows_qt=True
    )
    heart.scale(*T_WAVES, by=1 - 0.55 * severity)
    heart.qtc_s -= 0.025 * severity


def _long_qt(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    heart.qtc_s = max(heart.qtc_s, 0.44) + rng.uniform(0.05, 0.09) * severity
    for name in T_WAVES:
        heart.waves[name] = replace(heart.waves[name], width_s=heart.waves[name].width_s * (1 + 0.25 * severity))


def _left_bundle_branch_block(heart: Heart, _: float, rng: np.random.Generator) -> None:
    """The left ventricle is reached late, through muscle: no septal q, a broad notched R, T opposed."""
    size = 0.74 * float(np.linalg.norm(heart.waves["main"].mv))
    back = rng.uniform(0.85, 1.2)
    lift = rng.uniform(-0.25, 0.2)
    slow = rng.uniform(0.90, 1.06)
    heart.waves["septal"] = Wave(at_s=-0.018, width_s=0.013 * slow, mv=(0.42 * size, 0.10 * size, 0.25 * size))
    heart.waves["main"] = Wave(
        at_s=0.012, width_s=0.0195 * slow, mv=(0.62 * size, (0.15 + lift) * size, 0.85 * back * size)
    )
    heart.waves["basal"] = Wave(
        at_s=0.053 * slow, width_s=0.0190 * slow, mv=(0.78 * size, 0.6 * lift * size, 0.70 * back * size)
    )
    _oppose_t(heart, share=rng.uniform(0.22, 0.36))


def _right_bundle_branch_block(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """The right ventricle is reached last: a slow late force to the right and the front."""
    late = severity * rng.uniform(0.85, 1.2)
    heart.waves["late"] = Wave(
        at_s=rng.uniform(0.050, 0.062),
        width_s=rng.uniform(0.0165, 0.020),
        mv=(-0.56 * late, -0.06 * late, -0.72 * late),
    )
    heart.scale("basal", by=0.55)
    heart.push("st", *T_WAVES, towards=(0.3, 0.0, 1.0), mv=0.17 * severity)


def _incomplete_right_block(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    late = severity * rng.uniform(0.8, 1.25)
    heart.waves["late"] = Wave(at_s=0.037, width_s=0.0105, mv=(-0.30 * late, -0.08 * late, -0.46 * late))
    heart.scale("basal", by=0.8)


def _incomplete_left_block(heart: Heart, severity: float, _: np.random.Generator) -> None:
    heart.lose("septal", towards=(-1.0, 0.0, -0.6), share=1.0)
    heart.push("septal", towards=(1.0, 0.1, 0.5), mv=0.2 * severity)
    heart.widen(*QRS_WAVES, by=1.28)
    _oppose_t(heart, share=0.14 * severity)


def _slow_ventricles(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """Conduction slow everywhere: a broad, slurred, notched QRS of neither bundle's shape."""
    heart.widen(*QRS_WAVES, by=1 + 0.42 * severity)
    notch = _times(unit(heart.waves["main"].mv), rng.uniform(0.15, 0.35))
    heart.waves["notch"] = Wave(at_s=0.058, width_s=0.012, mv=notch)
    heart.scale("main", by=0.85)
    _oppose_t(heart, share=0.10 * severity)


def _left_anterior_block(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """First down, then far up and left: axis beyond -45°, rS in II, III, aVF, qR in aVL."""
    x, y, z = heart.waves["main"].mv
    axis = float(np.clip(rng.normal(-42 - 20 * severity, 6), -78, -38))
    x_up, y_up = frontal(axis_degrees=axis, mv=float(np.hypot(x, y)) * 0.68)
    heart.waves["main"] = Wave(at_s=0.004, width_s=0.0120, mv=(0.55 * x_up + 0.45 * max(x, 0.4), y_up, z))
    heart.waves["septal"] = replace(heart.waves["septal"], mv=(-0.14, 0.36, -0.22))
    heart.push("basal", towards=(-0.1, -1.0, 0.0), mv=0.18 * severity)
    heart.widen("basal", by=1.1)


def _left_posterior_block(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """First up and left, then down and right: axis beyond 100°."""
    x, y, z = heart.waves["main"].mv
    x_down, y_down = frontal(axis_degrees=float(rng.normal(100 + 14 * severity, 5)), mv=float(np.hypot(x, y)) * 0.8)
    heart.waves["main"] = Wave(at_s=0.004, width_s=0.0115, mv=(x_down + 0.15, y_down, 0.3 * z))
    heart.waves["septal"] = replace(heart.waves["septal"], mv=(0.20, -0.30, -0.28))


def _slow_av_node(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    heart.pr_s = 0.198 + rng.uniform(0.018, 0.075) * severity


def _extra_pathway(heart: Heart, severity: float, _: np.random.Generator) -> None:
    """Short PR and a slurred start of QRS (delta wave), T opposed."""
    heart.pr_s = 0.13  # of which the delta wave takes 25 ms
    heart.waves["delta"] = Wave(at_s=-0.031, width_s=0.0165, mv=_times(unit(heart.waves["main"].mv), 0.34 * severity))
    heart.scale("septal", by=0.1)
    _oppose_t(heart, share=0.2)


def _oppose_t(heart: Heart, *, share: float) -> None:
    """Late depolarised muscle recovers late: ST and T point away from QRS."""
    area = np.sum([np.multiply(heart.waves[name].mv, heart.waves[name].width_s / 0.0105) for name in QRS_WAVES], axis=0)
    away = _times(unit((float(area[0]), float(area[1]), float(area[2]))), -1.0)
    mv = share * float(np.linalg.norm(area)) * 0.5
    for name in T_WAVES:
        x, y, z = _times(heart.waves[name].mv, 1 - min(2.4 * share, 1.0))
        heart.waves[name] = replace(heart.waves[name], mv=(x, y, z))
    heart.push(*T_WAVES, towards=away, mv=0.55 * mv)
    heart.push("st", towards=away, mv=0.30 * mv)


def _thick_left_ventricle(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """More muscle, more voltage, to the left and the back."""
    size = float(np.linalg.norm(heart.waves["main"].mv))
    # A thin-voltaged person with a thick ventricle still shows it: growth lifts small hearts more.
    grown = (1 + rng.uniform(0.70, 1.05) * severity) * max(1.0, 1.15 / max(size, 0.4)) ** (0.8 * min(severity, 1.0))
    heart.scale("main", "basal", by=grown)
    heart.push("main", towards=(0.35, 0.0, 1.0), mv=0.22 * severity)
    heart.widen(*QRS_WAVES, by=1.06)


def _septal_hypertrophy(heart: Heart, severity: float, _: np.random.Generator) -> None:
    heart.scale("septal", by=1 + 1.5 * severity)
    heart.scale("main", by=1 + 0.4 * severity)


def _thick_right_ventricle(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """Right axis, tall R in V1, deep S in V6, T opposed in V1 to V3."""
    x_down, y_down = frontal(axis_degrees=float(rng.normal(118, 8)), mv=0.95)
    heart.waves["main"] = replace(heart.waves["main"], mv=(x_down, y_down, -0.80 * severity))
    heart.waves["basal"] = replace(heart.waves["basal"], mv=(-0.62 * severity, -0.1, -0.1))
    heart.push("st", *T_WAVES, towards=(0.2, -0.2, 1.0), mv=0.16 * severity)


def _large_left_atrium(heart: Heart, severity: float, _: np.random.Generator) -> None:
    """P broad and notched in II, its end deep in V1."""
    heart.waves["p_right"] = replace(heart.waves["p_right"], at_s=-0.022)
    heart.waves["p_left"] = replace(heart.waves["p_left"], at_s=0.034, width_s=0.022)
    heart.push("p_left", towards=(0.45, 0.25, 0.85), mv=0.095 * severity)
    heart.pr_s = max(heart.pr_s, 0.165)


def _large_right_atrium(heart: Heart, severity: float, _: np.random.Generator) -> None:
    """P tall and pointed in II: 0.25 mV and more."""
    heart.push("p_right", towards=(0.0, 1.0, -0.35), mv=0.17 * severity)


EFFECTS: Mapping[str, Effect] = MappingProxyType(
    {
        # In the order they act: size of the chambers, scars, conduction (which sets T), then ST and T.
        "LVH": _thick_left_ventricle,
        "SEHYP": _septal_hypertrophy,
        "RVH": _thick_right_ventricle,
        "LAO/LAE": _large_left_atrium,
        "RAO/RAE": _large_right_atrium,
        "LAFB": _left_anterior_block,
        "LPFB": _left_posterior_block,
        **{code: Infarction(wall=wall) for code, wall in WALLS.items()},
        "CLBBB": _left_bundle_branch_block,
        "CRBBB": _right_bundle_branch_block,
        "IRBBB": _incomplete_right_block,
        "ILBBB": _incomplete_left_block,
        "IVCD": _slow_ventricles,
        "1AVB": _slow_av_node,
        "WPW": _extra_pathway,
        "NDT": _flat_t,
        "NST_": _low_st,
        **{code: Ischaemia(wall=wall) for code, wall in ISCHAEMIC_WALLS.items()},
        "DIG": _digitalis,
        "LNGQT": _long_qt,
    }
)


def fall_ill(heart: Heart, *, statements: Iterable[str], severity: float, rng: np.random.Generator) -> None:
    """Change a healthy heart in place by its diagnostic statements; others (NORM, rhythm, form) change nothing.

    Args:
        heart: changed in place.
        statements: SCP codes.
        severity: 1 is the textbook's picture, 0 none; each disease varies around it.
        rng: draws how each disease shows.
    """
    present = set(statements)
    for code, effect in EFFECTS.items():
        if code in present:
            effect(heart, severity, rng)
    # T must end before the next P begins: QT is bounded by the beat it belongs to.
    heart.qtc_s = min(heart.qtc_s, 0.58)


def quicken(heart: Heart, *, rhythm: str, rng: np.random.Generator) -> None:
    """Give a heart its rhythm and the rate that goes with its name."""
    if rhythm == "SBRAD":
        heart.rhythm, heart.beats_per_minute = "SBRAD", float(rng.uniform(44, 58.5))
    elif rhythm == "STACH":
        heart.rhythm, heart.beats_per_minute = "STACH", float(rng.uniform(101, 128))
        heart.pr_s = min(heart.pr_s, 0.15) if heart.pr_s <= 0.2 else heart.pr_s
    elif rhythm == "AFIB":
        heart.rhythm, heart.beats_per_minute = "AFIB", float(np.clip(rng.normal(86, 18), 55, 135))
    elif rhythm == "SARRH":
        heart.rhythm = "SARRH"
    elif rhythm != "SR":
        raise ValueError(f"unknown rhythm {rhythm!r}; known: ['AFIB', 'SARRH', 'SBRAD', 'SR', 'STACH']")
