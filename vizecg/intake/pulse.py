"""The calibration pulses: how tall a millivolt and how long a second is printed, and which way up the page is.

A pulse is one millivolt high and a fifth of a second wide, up, along and down again,
once beside every row (IEC 60601-2-25 asks for it). Nothing else on a page has two
upright sides with a flat roof, so one form is tried for each scale in use, and what
counts is that several stand above one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vizecg.intake.ink import percentile

PULSE_PX_PER_MM: Final = 2.0
"""The scale at which pulses are looked for: a pen is one pixel."""

_PULSE_S: Final = 0.2
# Height at 10, 5 and 20 mm/mV, and width at 25 and 50 mm/s.
_FORMS_MM: Final = tuple((height_mm, width_mm) for height_mm in (10.0, 20.0, 5.0) for width_mm in (5.0, 10.0))
_USUAL_FORM_MM: Final = (10.0, 5.0)
_AT_ENDS_SHARE: Final = 0.2  # of the chart's width, where rows begin and end
_LEAST_SCORE: Final = 0.55
_LEAST_CLEAR: Final = 0.7
_ONE_IS_ENOUGH: Final = 0.8
_SEVERAL, _VERY_CLEAR = 3, 0.85
_SAME_COLUMN_PX: Final = 2
_SCALES_TRIED: Final = (1.0, 0.97, 1.03, 0.94, 1.06, 0.91, 1.1, 0.87, 1.15, 0.83, 1.2, 0.79, 0.75)
_SURE_OF_SCALE: Final = 1.9
_CLEARLY_BETTER: Final = 1.12
# A thin pen between two pixels is half as dark in each, and paler than where strokes are dense: from so much of what
# the darkest ink has it is ink.
_PEN_SHARE, _PEN_PERCENTILE = 0.6, 98.5
_FULL_INK: Final = (40, 90)
_CLEAR_PX: Final = 3  # how far a stroke reaches once it is dilated


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseReading:
    """What the pulses say."""

    mm_per_mv: float
    """Of the limb leads."""

    chest_mm_per_mv: float | None
    """Where the pulse has a second step, as half gain for the chest has."""

    mm_per_s: float
    number: int
    """How many stand above one another."""

    score: float
    """Of the clearest ones, 0–1."""

    @property
    def weight(self) -> float:
        """How much they are to be believed: the sum of their scores."""
        return self.number * self.score

    @property
    def is_beyond_doubt(self) -> bool:
        """Several clear ones. A square of half their height may also be the top of a wide QRS."""
        return self.number >= _SEVERAL and self.score > _VERY_CLEAR and self.mm_per_mv >= _USUAL_FORM_MM[0]


def read_pulses(
    ink: NDArray[np.uint8], *, forms_mm: tuple[tuple[float, float], ...] = _FORMS_MM, millimetre: float = 1.0
) -> PulseReading | None:
    """Find the pulses of a page that is the right way up; None where none are clear.

    Args:
        ink: (height, width) coverage by ink, 0–255, at `PULSE_PX_PER_MM`.
        forms_mm: heights and widths to look for.
        millimetre: how many millimetres of the paper one of `ink` is, where its scale is but a guess.
    """
    return _at_either_end(_ends_of(ink), forms_mm=forms_mm, millimetre=millimetre)


Ends = tuple[NDArray[np.float32], NDArray[np.float32]]
"""(height, width) where rows begin and where they end: 1 where a pen has been or is next to it, 0 paper."""


def _ends_of(ink: NDArray[np.uint8]) -> Ends:
    full_ink = float(np.clip(_PEN_SHARE * percentile(ink, _PEN_PERCENTILE), *_FULL_INK))
    thick = np.asarray(cv2.dilate(ink, np.ones((3, 3), np.uint8)), dtype=np.uint8)
    width_px = max(24, round(_AT_ENDS_SHARE * ink.shape[1]))
    first, last = (
        np.minimum(end.astype(np.float32) / np.float32(full_ink), np.float32(1))
        for end in (thick[:, :width_px], thick[:, -width_px:])
    )
    return first, last


def _at_either_end(ends: Ends, *, forms_mm: tuple[tuple[float, float], ...], millimetre: float) -> PulseReading | None:
    best: PulseReading | None = None
    for form_mm in forms_mm:
        for end in ends:
            found = _in_column(end, form_mm, millimetre=millimetre)
            if found is not None and (best is None or found.weight > best.weight):
                best = found
            if best is not None and best.is_beyond_doubt:
                return best
    return best


def scale_by_pulses(ink: NDArray[np.uint8], *, quarter_turns: Sequence[int]) -> float | None:
    """By what to multiply a guessed scale so that the pulses are as large as pulses are; None where none are clear.

    Without a grid a pulse of 5 × 10 mm is the only thing on a page whose size is known. Its
    form, half as wide as high, is that of 25 mm/s and 10 mm/mV, which nearly all pages have.

    Args:
        ink: (height, width) as for `read_pulses`, at a scale that is but a guess, in any direction.
        quarter_turns: by how many, anticlockwise, it may have to be turned.
    """
    best_weight, best = _SURE_OF_SCALE, None
    ways = [_ends_of(np.ascontiguousarray(np.rot90(ink, turns))) for turns in quarter_turns]
    for factor in _SCALES_TRIED:
        for ends in ways:
            found = _at_either_end(ends, forms_mm=(_USUAL_FORM_MM,), millimetre=factor)
            # The guess comes first, and another must be clearly better.
            if found is not None and found.chest_mm_per_mv is None and found.weight > best_weight:
                best_weight, best = _CLEARLY_BETTER * found.weight, factor
                if found.is_beyond_doubt:
                    return factor
    return best


def _in_column(dark: NDArray[np.float32], form_mm: tuple[float, float], *, millimetre: float) -> PulseReading | None:
    height_px, width_px = (round(mm * millimetre * PULSE_PX_PER_MM) for mm in form_mm)
    score = _scores(dark, height_px=height_px, width_px=width_px)
    stack = None if score is None else _stacked(score, height_px=height_px)
    return None if stack is None else _read(stack, dark, form_mm=form_mm, width_px=width_px)


def _scores(dark: NDArray[np.float32], *, height_px: int, width_px: int) -> NDArray[np.float32] | None:
    """(rows, columns) how well a pulse stands there: its weakest side, less what stands inside and around.

    0 where that is too little, and None where it is so everywhere. What there is to be subtracted is looked at as
    long as enough is left, for a texture has tens of thousands of places to begin with.
    """
    # What is read goes `_CLEAR_PX` further than the pulse on every side.
    rows, columns = dark.shape[0] - height_px - 2 * _CLEAR_PX, dark.shape[1] - width_px - 2 * _CLEAR_PX
    if rows < 1 or columns < 1:
        return None
    inner = dark[:, _CLEAR_PX:]
    # Index (row, column) of each mean is the upper left corner of what it averages.
    top = slice(_CLEAR_PX, _CLEAR_PX + rows)
    sides = _mean(inner, height_px=height_px + 1, width_px=1)[top]
    weakest = np.minimum(sides[:, :columns], sides[:, width_px : width_px + columns])
    if weakest.max() <= _LEAST_SCORE:
        return None
    np.minimum(weakest, _mean(inner, height_px=1, width_px=width_px + 1)[top, :columns], out=weakest)
    if weakest.max() <= _LEAST_SCORE:
        return None
    inside = _mean(inner, height_px=height_px - _CLEAR_PX, width_px=width_px + 1 - 2 * _CLEAR_PX)
    inside = inside[2 * _CLEAR_PX : 2 * _CLEAR_PX + rows, _CLEAR_PX : _CLEAR_PX + columns]
    row, column = np.nonzero(weakest - inside > _LEAST_SCORE)
    less = inside[row, column]
    left, right = column + _CLEAR_PX, column + _CLEAR_PX + width_px
    # A roof and feet: nothing goes on above the corners or below the sides.
    for beyond in (row, row + height_px + 2 * _CLEAR_PX):
        less += 0.5 * np.minimum(dark[beyond, left], dark[beyond, right])
    # Free on one side: between two R waves of a page upside down the trace goes on on both.
    beside = row + _CLEAR_PX
    less += np.minimum(dark[beside, column], dark[beside, right + _CLEAR_PX])
    left_over = weakest[row, column] - less
    score = np.zeros_like(weakest)
    score[row, column] = np.where(left_over > _LEAST_SCORE, left_over, np.float32(0))
    return score


def _mean(dark: NDArray[np.float32], *, height_px: int, width_px: int) -> NDArray[np.float32]:
    size = (max(1, width_px), max(1, height_px))
    return np.asarray(cv2.boxFilter(dark, -1, size, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stack:
    """Pulses above one another."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    number: int
    score: float
    height_px: int


def _stacked(score: NDArray[np.float32], *, height_px: int) -> _Stack | None:
    """The column in which most pulses stand above one another."""
    if score.max() < _LEAST_CLEAR:
        return None
    near_px = height_px // 2 | 1
    near = np.ones((near_px, 2 * _SAME_COLUMN_PX + 1), np.uint8)
    summits = np.where((score > 0) & (score >= cv2.dilate(score, near)), score, np.float32(0))
    rows, columns = np.nonzero(summits)
    heights = summits[rows, columns]
    best = np.abs(columns - _highest_column(columns, heights)) <= _SAME_COLUMN_PX
    # A plateau is many summits and one pulse.
    number, mean = 1 + int((np.diff(rows[best]) > near_px // 2).sum()), float(heights[best].mean())
    if mean < _LEAST_CLEAR or (number < 2 and mean < _ONE_IS_ENOUGH):
        return None
    return _Stack(rows=rows[best], columns=columns[best], number=number, score=mean, height_px=height_px)


def _highest_column(columns: NDArray[np.intp], heights: NDArray[np.float32]) -> int:
    """Of the columns, the one with the most height in it and beside it; of several the one that is named first."""
    sums = np.pad(np.bincount(columns, weights=heights), _SAME_COLUMN_PX)
    near = sliding_window_view(sums, 2 * _SAME_COLUMN_PX + 1).sum(axis=1)
    return int(columns[int(np.argmax(near[columns]))])


def _read(stack: _Stack, dark: NDArray[np.float32], *, form_mm: tuple[float, float], width_px: int) -> PulseReading:
    left, right = (_goes_on_above(stack, dark, aside_px=aside_px) for aside_px in (0, width_px))
    height_mm, width_mm = form_mm
    in_steps = left and not right  # both: the pulse of the row above
    return PulseReading(
        mm_per_mv=2 * height_mm if in_steps else height_mm,
        chest_mm_per_mv=height_mm if in_steps else None,
        mm_per_s=width_mm / _PULSE_S,
        number=stack.number,
        score=stack.score,
    )


def _goes_on_above(stack: _Stack, dark: NDArray[np.float32], *, aside_px: int) -> bool:
    """Whether an upright stroke goes on above a corner, as far again: the taller step of two."""
    spans = [slice(max(0, row + _CLEAR_PX - stack.height_px + 1), row + _CLEAR_PX) for row in stack.rows.tolist()]
    columns = (stack.columns + _CLEAR_PX + aside_px).tolist()
    above = [dark[span, column].mean() for span, column in zip(spans, columns, strict=True)]
    return bool(np.median(above) > _LEAST_CLEAR)
