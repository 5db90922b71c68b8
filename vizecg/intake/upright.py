"""Which way up a page is: by the direction of its traces, its calibration pulses and the form of a beat.

Traces run across the page, so ink lies in rows: that tells quarter turns. Pulses open
downwards, and a T wave follows its QRS: those tell the page from itself upside down.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.intake.pulse import PULSE_PX_PER_MM, PulseReading, read_pulses

# Around each QRS, in millimetres: where a T wave is at 25 and at 50 mm/s, and where it is not.
_STEEP_MM: Final = 3.0
_LONG_MM: Final = 15.0
_INKED: Final = 60
_BEATS_AT_MOST: Final = 160
_PATCH_MM: Final = (24.0, 8.0)  # half width and half height
# Four pulses weigh 4 and are hardly ever seen where none are; the form of beats is worth 1.5 on an ordinary page.
_PULSES_DECIDE: Final = 3.0
_BEATS_WEIGHT: Final = 12.0
_USUAL: Final = 0.8  # people seldom send pages upside down
# A page on which ink runs neither way clearly is looked at both ways.
_EVENNESS_WEIGHT: Final = 2.0
_MOST_OF_INK: Final = (0.1, 0.9)
_SURE_OF_AXIS: Final = 2.5
_AXIS_WEIGHT: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Uprightness:
    """How to turn a page, and what its pulses say once it is turned."""

    quarter_turns: int
    """Anticlockwise, to be done to the picture."""

    pulses: PulseReading | None


def find_upright(ink: NDArray[np.uint8]) -> Uprightness:
    """Find how a page must be turned.

    Args:
        ink: (height, width) coverage by ink, 0–255, at `PULSE_PX_PER_MM`, in any of the four directions.
    """
    across = _rows_run_across(ink)
    ways = (0, 1) if across >= 0 else (1, 0)
    best = _either_way_up(ink, lying=ways[0])
    if abs(across) < _SURE_OF_AXIS and _weight(best.pulses) < _PULSES_DECIDE:
        other = _either_way_up(ink, lying=ways[1])
        if _weight(other.pulses) > _weight(best.pulses) + _AXIS_WEIGHT * abs(across):
            return other
    return best


def _either_way_up(ink: NDArray[np.uint8], *, lying: int) -> Uprightness:
    level = np.ascontiguousarray(np.rot90(ink, lying))
    over = np.ascontiguousarray(level[::-1, ::-1])
    pulses = read_pulses(level)
    if pulses is not None and pulses.is_beyond_doubt:
        return Uprightness(quarter_turns=lying, pulses=pulses)
    pulses_over = read_pulses(over)
    votes = _weight(pulses) - _weight(pulses_over) + (0 if lying else _USUAL)
    if abs(votes) < _PULSES_DECIDE:
        votes += _BEATS_WEIGHT * beat_direction(level, over)
    upside_down = votes < 0
    return Uprightness(quarter_turns=lying + 2 * upside_down, pulses=pulses_over if upside_down else pulses)


def _weight(pulses: PulseReading | None) -> float:
    return 0.0 if pulses is None else pulses.weight


def possible_turns(ink: NDArray[np.uint8]) -> tuple[int, ...]:
    """Quarter turns, anticlockwise, that may make a page upright: two, or four where it is not clear how rows run."""
    across = _rows_run_across(ink)
    if abs(across) < _SURE_OF_AXIS:
        return (0, 1, 2, 3)
    return (0, 2) if across > 0 else (1, 3)


def _rows_run_across(ink: NDArray[np.uint8]) -> float:
    """Above 0 where rows of traces run across the picture, below where they run down it; the more, the surer."""
    inked = np.asarray(ink > _INKED, dtype=np.uint8)
    return _run_across(inked) + _EVENNESS_WEIGHT * _meet_evenly(inked)


def _run_across(inked: NDArray[np.uint8]) -> float:
    """Above 0 where what is connected is wider than high: a trace runs on for seconds, however tall its QRS.

    The logarithm of width over height, weighted by the length of the outline.
    """
    closed = np.asarray(cv2.morphologyEx(inked, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), dtype=np.uint8)
    outlines = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    long_px = _LONG_MM * PULSE_PX_PER_MM
    # No outline is shorter than what it is about is long; a texture has thousands of specks.
    found = [(len(outline), *cv2.boundingRect(outline)[2:]) for outline in outlines if len(outline) >= long_px]
    length, width, height = np.array(found, dtype=np.float64).reshape(-1, 3).T
    long = np.maximum(width, height) > long_px
    return float(length[long] @ np.log(width[long] / height[long]) / max(length[long].sum(), 1.0))


def _meet_evenly(inked: NDArray[np.uint8]) -> float:
    """Above 0 where lines down the page meet ink more evenly than lines across: each meets every row once.

    A line across meets nothing between rows, and every beat where it cuts through them. The
    logarithm of one coefficient of variation over the other.
    """
    down, across = _unevenness(inked), _unevenness(np.ascontiguousarray(inked.T))
    return float(np.log(across / down))


def _unevenness(inked: NDArray[np.uint8]) -> float:
    """Coefficient of variation of how often columns meet ink, where most of it is."""
    starts = cv2.reduce(cv2.subtract(inked[1:], inked[:-1]), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
    along = np.cumsum(cv2.reduce(inked, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0])
    left, right = np.searchsorted(along, along[-1] * np.array(_MOST_OF_INK)).tolist()
    met = cv2.blur(starts[:, left : right + 1], (3, 1))
    return float(max(met.std(), 0.01) / max(met.mean(), 0.1))


def beat_patches(ink: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(beats, height, width) the surroundings of steep strokes at 1 px/mm, each stroke in the middle."""
    stroke_px = round(_STEEP_MM * PULSE_PX_PER_MM)
    inked = np.asarray(ink > _INKED, dtype=np.uint8)
    steep = cv2.morphologyEx(inked, cv2.MORPH_OPEN, np.ones((stroke_px, 1), np.uint8))
    _, _, boxes, middles = cv2.connectedComponentsWithStats(steep)
    tall = np.flatnonzero(boxes[:, cv2.CC_STAT_HEIGHT] < 60)
    chosen = tall[tall > 0][:: max(1, len(tall) // _BEATS_AT_MOST)]
    half_width, half_height = (round(mm) for mm in _PATCH_MM)
    small = cv2.resize(ink, None, fx=1 / PULSE_PX_PER_MM, fy=1 / PULSE_PX_PER_MM, interpolation=cv2.INTER_AREA)
    padded = np.pad(small, ((half_height, half_height), (half_width, half_width))).astype(np.float32) / 255
    patches = []
    last = np.array(small.shape[::-1]) - 1
    for x, y in np.clip(np.rint((middles[chosen] + 0.5) / PULSE_PX_PER_MM - 0.5), 0, last).astype(int):
        patches.append(padded[y : y + 2 * half_height + 1, x : x + 2 * half_width + 1])
    if not patches:
        return np.zeros((0, 2 * half_height + 1, 2 * half_width + 1), np.float32)
    return np.stack(patches)


def lopsidedness(level: NDArray[np.uint8], over: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(height, width) mean surroundings of a page's beats less those of the same page upside down, of norm 1.

    Both are looked at, for no rounding may favour one: turning the page turns the sign, exactly.
    """
    means = [patches.mean(axis=0) if len(patches) else 0.0 for patches in (beat_patches(level), beat_patches(over))]
    difference = np.asarray(means[0] - means[1], dtype=np.float32)
    return np.asarray(difference / max(float(np.linalg.norm(difference)), 1e-9), dtype=np.float32)


def beat_direction(level: NDArray[np.uint8], over: NDArray[np.uint8]) -> float:
    """Above 0 where the page is the right way up, below where it is upside down, by the form of its beats.

    Args:
        level: (height, width) as for `find_upright`, traces running across.
        over: the same upside down.

    Returns:
        Likeness, -1 to 1, to the beats of pages that are upright.
    """
    return float(np.sum(_upright_beat() * lopsidedness(level, over)))


@cache
def _upright_beat() -> NDArray[np.float32]:
    """(height, width) weights at 1 px/mm, of norm 1: `benchmarks/upright_beat.py` made them from simulated pages."""
    rows = (files("vizecg.intake") / "upright_beat.csv").read_text(encoding="utf-8").splitlines()
    weights = np.array([[int(value) for value in row.split(",")] for row in rows], dtype=np.float32)
    return np.asarray(weights / np.linalg.norm(weights), dtype=np.float32)
