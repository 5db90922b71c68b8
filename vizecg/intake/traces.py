"""Is this a page of ECG traces? Curves, not letters, rules or surfaces, must run across the field, one above another.

Judged by shape alone and before any model: a model answers whatever it is shown.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.intake.ink import boxes_of, percentile

# A pixel is inked from this share of what dense ink has; a thin pen that is out of focus has little more.
_INKED, _DENSE_PERCENTILE = 0.4, 98.5
_LEAST_INK = (60, 110)
_FAINT = 0.5  # a rule is seen along all of its length, so from this share of that

# No stretch of a trace is straight for so long; axes, table rules, frames and grids are.
_RULE_ACROSS_MM = 60.0
_MOST_OF_HEIGHT, _NEARLY_ALL = 0.7, (0.01, 0.99)
_RULE_DOWN_MM, _RULE_GAP_MM, _RULE_ASIDE_MM = 60.0, 2.0, 0.3  # longer than QRS complexes of rows that touch
_TRACE_WIDTH_MM = 12.0  # most words are shorter
_TRACE_HEIGHT_MM = 1.2
# A trace is a function of time: it meets each column once. Joined letters do so twice or more, and
# so do traces of rows that touch, but no more often than rows fit into their height.
_MOST_RUNS_A_COLUMN = 1.45
_ROW_PITCH_MM = 12.0
# Letters fill a third or more of the box around their word; QRS complexes make a trace's box high and empty.
_WORD_WIDTH_MM = 45.0
_FULLEST_SHORT, _FULLEST_LONG = 0.22, 0.33
_SURFACE_MM = 2.6  # no pen is so wide, even out of focus

_MOST_SHORT_LABELS = 65_000
_MIN_CONTRAST = 40  # of 255, between ink and paper
_MAX_INK_SHARE = 0.22
_FEWEST_TRACES, _MOST_TRACES = 2, 26
_MIN_COLUMNS_SHARE = 0.45  # standard pages of PTB-XL reach .97, in all styles and photographed nearly all .69
# Share of the curves' ink in upright strokes: .11 and more on 1,300 pages in all styles, .01 in smooth charts.
_STEEP_MM = 2.0
_MIN_STEEP_SHARE = 0.1
# Strokes of one beat in two rows, and how the curve runs beside a stroke. On pages of PTB-XL in all styles, clean,
# photographed and scanned, beats come together .2 and more often than by chance, and the product with their share that
# returns is .32 and more on all standard pages; hardly any chart has both.
_FEWEST_STROKES, _STROKES_AT_MOST = 12, 150  # one beat in each lead
_SAME_BEAT_MM, _BETWEEN_ROWS_MM = 1.4, 2.0
_MOVED_SHARES = (0.13, 0.29, 0.41, 0.57, 0.71)
_BESIDE_MM = (12.0, 1.5, 1.0)  # from where to where beside a stroke, and how far over its ends
_SAME_LEVEL = 0.4
_LEAST_TOGETHER, _LEAST_BEATING = 0.2, 0.28
_MOST_SILENT_LEADS = 3
# A baseline: a curve that is level for so long; how far its height wanders; how much of the clearest row's a row has at
# least.
_RESTING_MM = 2.5
_BASELINE_MM = 1.0
_CLEAR_ROW = 0.1
_AT_EDGE_MM = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReading:
    """What was found across the field, and why it is no ECG if it is none."""

    contrast: int
    """Levels of 255 between paper and ink."""

    ink_share: float
    """Of the field's area."""

    trace_columns_share: float
    """Of the field's width: where at least two and not absurdly many curves lie above one another."""

    objection: str | None
    """None for a page of traces."""

    middle_px: tuple[float, float] | None
    """x and y of the chart's middle on the page; None where no curves are."""

    cut_off: bool
    """Curves reach the page's left or right edge."""


def read_traces(
    ink: NDArray[np.uint8], *, contrast: int, px_per_mm: float, field_mm: tuple[float, float]
) -> TraceReading:
    """Find the chart on an upright page, and judge whether it is one.

    Args:
        ink: (height, width) coverage by ink, 0–255, grid and paper removed.
        contrast: levels between paper and ink before they were stretched to 0–255.
        px_per_mm: scale of `ink`.
        field_mm: width and height of what is judged, about the chart's middle.
    """
    if contrast < _MIN_CONTRAST:
        return _without_curves("nothing is drawn on the paper", contrast=contrast, ink_share=0.0)
    least = _least_ink(ink)
    inked = np.asarray(ink > least, dtype=np.uint8)
    ink_share = cv2.countNonZero(inked) / inked.size
    if ink_share > _MAX_INK_SHARE:
        too_dark = f"{ink_share:.0%} of it is dark, more than lines on paper are"
        return _without_curves(too_dark, contrast=contrast, ink_share=ink_share)
    rules = _rules(np.asarray(ink > round(_FAINT * least), dtype=np.uint8), px_per_mm=px_per_mm)
    found = _curves(inked, rules=rules, px_per_mm=px_per_mm)
    curves = found.curves
    starts = cv2.reduce(cv2.subtract(curves[1:], curves[:-1]), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    ranked = (starts >= _FEWEST_TRACES) & (starts <= _MOST_TRACES)
    if not ranked.any():
        return _without_curves("no curves run across it", contrast=contrast, ink_share=ink_share)
    columns = np.flatnonzero(ranked)
    middle_px = _middle_of_chart(inked & ~rules, found.rows, px_per_mm=px_per_mm)
    half_px = field_mm[0] / 2 * px_per_mm
    share = float(ranked[max(0, round(middle_px[0] - half_px)) : round(middle_px[0] + half_px)].sum() / (2 * half_px))
    objection = _objection(curves & inked, covered=share, px_per_mm=px_per_mm)
    edge_px = _AT_EDGE_MM * px_per_mm
    return TraceReading(
        contrast=contrast,
        ink_share=ink_share,
        trace_columns_share=share,
        objection=objection,
        middle_px=middle_px,
        cut_off=bool(columns[0] < edge_px or columns[-1] > ink.shape[1] - 1 - edge_px),
    )


def _objection(curves: NDArray[np.uint8], *, covered: float, px_per_mm: float) -> str | None:
    """Why curves are no leads of a heart, if they are not."""
    if covered < _MIN_COLUMNS_SHARE:
        return f"curves that could be leads, one above another, cover {covered:.0%} of its width"
    strokes = _upright_runs(curves, length_px=round(_STEEP_MM * px_per_mm))
    if cv2.countNonZero(strokes) < _MIN_STEEP_SHARE * cv2.countNonZero(curves) or not strokes.any():
        return "its curves have no steep strokes, which QRS complexes are"
    boxes = _tallest(boxes_of(strokes))
    together = _together(boxes, width_px=curves.shape[1], px_per_mm=px_per_mm)
    if together < _LEAST_TOGETHER:
        return "its curves do not beat together, as the leads of one heart do"
    if together * _returning(curves, boxes, px_per_mm=px_per_mm) < _LEAST_BEATING:
        return "its curves do not come back to their level after a steep stroke, as they do after a beat"
    return None


def _tallest(boxes: NDArray[np.int32]) -> NDArray[np.int32]:
    return boxes[np.argsort(-boxes[:, cv2.CC_STAT_HEIGHT], kind="stable")[:_STROKES_AT_MOST]]


def _together(boxes: NDArray[np.int32], *, width_px: int, px_per_mm: float) -> float:
    """How much more often a steep stroke has another above or below it than chance would have it: 1 at most.

    All rows of a column show the same seconds, so a beat is a stroke in each. Chance is
    measured on the same strokes, moved along the page by several shares of its width.
    """
    left, top, width, height = (boxes[:, column].astype(np.float64) for column in range(4))
    middle, foot = left + width / 2, top + height
    between_px = np.maximum(top[:, None], top) - np.minimum(foot[:, None], foot)
    other_row = between_px > _BETWEEN_ROWS_MM * px_per_mm

    def met(moved_px: float) -> float:
        aside_px = np.abs((middle[:, None] + moved_px) % width_px - middle)
        partners = (aside_px < _SAME_BEAT_MM * px_per_mm) & other_row
        return float(np.average(partners.any(axis=1), weights=height))

    if len(boxes) < _FEWEST_STROKES:
        return 0.0
    by_chance = float(np.mean([met(share * width_px) for share in _MOVED_SHARES]))
    return met(0.0) - by_chance


def _returning(curves: NDArray[np.uint8], boxes: NDArray[np.int32], *, px_per_mm: float) -> float:
    """Share of steep strokes on both sides of which the curve is at the same level, weighted by height."""
    far_px, near_px, over_px = (round(mm * px_per_mm) for mm in _BESIDE_MM)
    padded = np.pad(curves, ((0, 0), (far_px, far_px)))
    heights, returned = boxes[:, cv2.CC_STAT_HEIGHT].tolist(), []
    for left, top, width, height in boxes.tolist():
        rows = slice(max(0, top - over_px), top + height + over_px)
        before = padded[rows, left : left + far_px - near_px]
        after = padded[rows, left + far_px + width + near_px : left + 2 * far_px + width]
        returned.append(abs(_middle_row(before) - _middle_row(after)) < _SAME_LEVEL * height)
    return float(np.average(returned, weights=heights))


def _middle_row(mask: NDArray[np.uint8]) -> float:
    """Median row of what is set; infinite where nothing is, so that it is no other's level."""
    if not mask.size:
        return math.inf
    sums = cv2.reduce(mask, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).cumsum()
    total = int(sums[-1])
    return float(sums.searchsorted((total + 1) // 2)) if total else math.inf


def _least_ink(ink: NDArray[np.uint8]) -> int:
    return int(np.clip(_INKED * percentile(ink, _DENSE_PERCENTILE), *_LEAST_INK))


def _without_curves(objection: str, *, contrast: int, ink_share: float) -> TraceReading:
    return TraceReading(
        contrast=contrast,
        ink_share=ink_share,
        trace_columns_share=0.0,
        objection=objection,
        middle_px=None,
        cut_off=False,
    )


def _middle_of_chart(inked: NDArray[np.uint8], rows: NDArray[np.uint8], *, px_per_mm: float) -> tuple[float, float]:
    """X and y half way between the outermost baselines, and between the outermost ink in two rows or more.

    Down the page, rows are where ink runs level: a trace comes back to its baseline after every wave,
    so neither a tall wave nor the next recording of the same heart moves them. Across, all ink counts
    and not the curves alone: a pulse is no curve, and touches one or not by the width of a pen.
    """
    thick = np.asarray(cv2.dilate(rows, np.ones((3, 1), np.uint8)), dtype=np.uint8)
    level = _level_runs(thick, length_px=round(_RESTING_MM * px_per_mm))
    profile = cv2.reduce(level, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
    smooth = cv2.GaussianBlur(profile, (1, 0), sigmaX=1, sigmaY=_BASELINE_MM * px_per_mm)[:, 0]
    near = np.ones((round(_ROW_PITCH_MM / 2 * px_per_mm) | 1, 1), np.uint8)
    summits = np.flatnonzero((smooth > 0) & (smooth >= cv2.dilate(smooth[:, None], near)[:, 0]))
    baselines = (
        summits[smooth[summits] > _CLEAR_ROW * smooth.max()] if summits.size else np.array([0, inked.shape[0] - 1])
    )
    top, foot = int(baselines[0]), int(baselines[-1])
    chart = inked[max(top - 1, 0) : foot + 2]  # two rows at least, also where the only baseline is the last row
    strokes = cv2.reduce(cv2.subtract(chart[1:], chart[:-1]), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    columns = np.flatnonzero(strokes >= _FEWEST_TRACES)
    across = (columns[0] + columns[-1]) / 2 if columns.size else (inked.shape[1] - 1) / 2
    return float(across), (top + foot) / 2


def _rules(faint: NDArray[np.uint8], *, px_per_mm: float) -> NDArray[np.uint8]:
    """(height, width) 0 or 1: straight lines along and down the page that are longer than any stretch of a trace."""
    # Along the page no play is given: a lead of low voltage is level to a third of a millimetre.
    across = _level_runs(faint, length_px=round(_RULE_ACROSS_MM * px_per_mm))
    # Down the page, the QRS complexes of six chest leads may touch; a table's rules and a grid's go all the way.
    ink = np.cumsum(cv2.reduce(faint, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0])
    top, foot = np.searchsorted(ink, ink[-1] * np.array(_NEARLY_ALL))
    length_px = max(round(_RULE_DOWN_MM * px_per_mm), round(_MOST_OF_HEIGHT * float(foot - top)))
    return across | _lines_down(faint, length_px=length_px, px_per_mm=px_per_mm)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Curves:
    """Connected strokes that are neither rules nor letters nor surfaces; (height, width) 0 or 1 each."""

    curves: NDArray[np.uint8]
    rows: NDArray[np.uint8]
    """With what is longer than any word besides: rows that touch, and leads without waves."""


def _curves(inked: NDArray[np.uint8], *, rules: NDArray[np.uint8], px_per_mm: float) -> _Curves:
    strokes = np.asarray(cv2.subtract(inked, cv2.dilate(rules, np.ones((3, 3), np.uint8))), dtype=np.uint8)
    strokes = np.asarray(cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), dtype=np.uint8)
    surface_px = max(2, round(_SURFACE_MM * px_per_mm))
    surfaces = _opened(strokes, width_px=surface_px, height_px=surface_px)
    starts = cv2.subtract(strokes[1:], strokes[:-1])  # subtraction stops at 0: 1 where ink begins below paper
    labels, boxes = _components(strokes)
    filled = np.bincount(labels[surfaces.view(np.bool_)], minlength=len(boxes))
    runs = np.bincount(labels[1:][starts.view(np.bool_)], minlength=len(boxes))
    width_px, height_px, area = boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT], boxes[:, cv2.CC_STAT_AREA]
    touching_rows = 1 + height_px / (_ROW_PITCH_MM * px_per_mm)
    most_runs = np.where(touching_rows < 2, _MOST_RUNS_A_COLUMN, 1.2 * touching_rows)
    fullest = np.where(width_px < _WORD_WIDTH_MM * px_per_mm, _FULLEST_SHORT, _FULLEST_LONG)
    kept = (
        (width_px >= _TRACE_WIDTH_MM * px_per_mm)
        & (height_px >= _TRACE_HEIGHT_MM * px_per_mm)
        & (filled < 0.25 * area)
        & (runs <= most_runs * width_px)
        & (area <= fullest * width_px * height_px)
    )
    either = kept | ((width_px >= _WORD_WIDTH_MM * px_per_mm) & (runs <= most_runs * width_px))
    drawn = np.flatnonzero(strokes.view(np.bool_))
    label_of_drawn = labels.ravel()[drawn]
    curves, rows = np.zeros_like(strokes), np.zeros_like(strokes)
    curves.ravel()[drawn] = kept[label_of_drawn]
    rows.ravel()[drawn] = either[label_of_drawn]
    level = inked & _level_runs(rules, length_px=round(_RULE_ACROSS_MM * px_per_mm))
    levels = np.asarray(level.view(np.bool_).any(axis=1))
    if np.count_nonzero(levels[1:] > levels[:-1]) <= _MOST_SILENT_LEADS:  # a grid has more
        rows |= level
    return _Curves(curves=curves, rows=rows)


def _components(mask: NDArray[np.uint8]) -> tuple[NDArray[np.integer[Any]], NDArray[np.int32]]:
    """Labels of what is connected, 0 the background, and their boxes; in short numbers, where they are enough."""
    starts = cv2.countNonZero(cv2.subtract(mask[1:], mask[:-1])) + cv2.countNonZero(mask[:1])
    kind = cv2.CV_16U if starts < _MOST_SHORT_LABELS else cv2.CV_32S
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=kind)
    return np.asarray(labels), np.asarray(boxes, dtype=np.int32)


def _lines_down(inked: NDArray[np.uint8], *, length_px: int, px_per_mm: float) -> NDArray[np.uint8]:
    """Lines down the page that are a little askew, or dashed as a faint rule is once it is copied."""
    gap = np.ones((round(_RULE_GAP_MM * px_per_mm), 1), np.uint8)
    thick = cv2.dilate(inked, np.ones((1, 2 * round(_RULE_ASIDE_MM * px_per_mm) + 1), np.uint8))
    joined = np.asarray(cv2.morphologyEx(thick, cv2.MORPH_CLOSE, gap), dtype=np.uint8)
    return inked & _upright_runs(joined, length_px=length_px)


def _upright_runs(mask: NDArray[np.uint8], *, length_px: int) -> NDArray[np.uint8]:
    """(height, width) 0 or 1: where at least so many pixels above one another are set.

    An opening by a line. What is known of runs of n pixels gives runs of up to 2 n, so it
    takes steps that grow as the logarithm of the length.
    """
    height, width = mask.shape
    if length_px > height:
        return np.zeros_like(mask)
    begins, known = mask, 1
    while known < length_px:
        if not cv2.countNonZero(begins):
            return np.zeros_like(mask)
        step = min(known, length_px - known)
        begins = begins[:-step] & begins[step:]
        known += step
    within, known = begins, 1
    while known < length_px:
        step = min(known, length_px - known)
        grown = np.zeros((len(within) + step, width), np.uint8)
        grown[: len(within)] = within
        grown[step:] |= within
        within = grown
        known += step
    return within


def _level_runs(mask: NDArray[np.uint8], *, length_px: int) -> NDArray[np.uint8]:
    """As `_upright_runs`, along the rows."""
    return np.asarray(
        cv2.transpose(_upright_runs(np.asarray(cv2.transpose(mask), np.uint8), length_px=length_px)), np.uint8
    )


def _opened(mask: NDArray[np.uint8], *, width_px: int, height_px: int) -> NDArray[np.uint8]:
    # A constant border of 0: a rule that runs out of the picture still counts its length inside only.
    kernel = np.ones((height_px, width_px), np.uint8)
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(opened, dtype=np.uint8)
