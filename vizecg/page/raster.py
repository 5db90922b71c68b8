"""The pen: a lead as a stroke of even width, with exact coverage of every pixel.

A trace is a function of time, so the stroke of a round pen is its graph dilated
by a disc: at each place it fills one interval, from the sliding minimum of
`sample - sqrt(r² - dx²)` to the sliding maximum of `sample + sqrt(r² - dx²)`.
These two edges are taken at the samples, and at as many points between them as
a true edge needs; straight from point to point, they cover pixels exactly.

Pixels are indices into a palette (`palette`) that mixes paper, grid and ink, so
that a page is one byte a pixel from the pen to the PNG. Indices below
`GRID_LEVELS` are bare paper and grid; above, ink over a coarser choice of grids.

All that is compiled stands in this one file, long as it is: numba's cache notices a change
of the file that a function stands in, and of none that it calls into.
What works on one edge of one column is inlined: a call counts references to its arrays in
atomic steps, which took a seventh of the time.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

GRID_LEVELS = 64
INK_LEVELS = 24
_GRIDS_UNDER_INK = 8  # 64 + 24 × 8 = 256: what one byte can name

SINC_TAPS = 16
_EDGE_POINTS_PER_PX = 4
_STEPS_PER_RADIUS = 4
_LEAST_STEPS = 3
_LEAST_STEPS_OF_CLOSE_SAMPLES = 2  # four and more of them to a pixel: a third step moves no pixel by a shade that shows
_MOST_POINTS = 64
_BLOCK = 1024  # samples at a time, so that all stays in the processor's first cache

# Of each index: which of the eight grids is under the ink on it, and how much of the pixel ink leaves free.
_GRID_UNDER = np.concatenate(
    [
        np.rint(np.linspace(0, _GRIDS_UNDER_INK - 1, GRID_LEVELS)).astype(np.int64),
        np.tile(np.arange(_GRIDS_UNDER_INK), INK_LEVELS),
    ]
)
_BARE_SHARE = np.concatenate(
    [np.ones(GRID_LEVELS), 1 - np.repeat(np.arange(1, INK_LEVELS + 1), _GRIDS_UNDER_INK) / INK_LEVELS]
).astype(np.float32)


def palette(*, paper: tuple[int, int, int], grid: tuple[int, int, int], ink: tuple[int, int, int]) -> NDArray[np.uint8]:
    """(256, 3) colours: paper to grid in `GRID_LEVELS`, then each of `INK_LEVELS` over eight of those."""
    paper_rgb, grid_rgb, ink_rgb = (np.array(colour, dtype=np.float64) for colour in (paper, grid, ink))
    bare = np.linspace(0.0, 1.0, GRID_LEVELS)[:, None]
    under = np.linspace(0.0, 1.0, _GRIDS_UNDER_INK)[:, None]
    coverage = (np.arange(1, INK_LEVELS + 1) / INK_LEVELS)[:, None, None]
    inked = (paper_rgb + under * (grid_rgb - paper_rgb)) * (1 - coverage) + ink_rgb * coverage
    colours = np.concatenate([paper_rgb + bare * (grid_rgb - paper_rgb), inked.reshape(-1, 3)])
    return np.asarray(np.rint(colours), dtype=np.uint8)


def sinc_weights(steps: int) -> NDArray[np.float32]:
    """(steps, SINC_TAPS) weights that read a band-limited signal at each of so many places from sample to sample.

    Kaiser-windowed sinc, beta 6: stop band below -60 dB; each row sums to 1, so
    a constant stays that constant. The first place is the sample itself.
    """
    half = SINC_TAPS // 2
    fraction = np.arange(steps)[:, None] / steps
    distance = np.arange(1 - half, half + 1)[None, :] - fraction
    window = np.i0(6.0 * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None))) / np.i0(6.0)
    weights = np.sinc(distance) * window
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


_weights = cache(sinc_weights)


def ink_over(index: NDArray[np.uint8], coverage: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Indices of `index` (bare paper and grid) with ink of the given coverage 0–1 on it: lettering."""
    inked = index.copy()
    touched = np.nonzero((coverage >= 0.5 / INK_LEVELS) & (index < GRID_LEVELS))
    level = np.rint(coverage[touched] * INK_LEVELS).astype(np.int64)
    under = np.rint(index[touched] * ((_GRIDS_UNDER_INK - 1) / (GRID_LEVELS - 1))).astype(np.int64)
    inked[touched] = np.where(level > 0, GRID_LEVELS + (level - 1) * _GRIDS_UNDER_INK + under, index[touched])
    return inked


class Traces(NamedTuple):
    """Where each strip of a page goes, (strips,) each."""

    lead: NDArray[np.int64]
    """Row of the signal."""

    start_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    """How long the pen is down."""

    left_px: NDArray[np.float64]
    baseline_px: NDArray[np.float64]
    px_per_mv: NDArray[np.float64]
    """Below 0 where the lead is printed upside down."""


def draw_traces(
    index: NDArray[np.uint8],
    signal_mv: NDArray[np.floating],
    traces: Traces,
    *,
    sampling_hz: float,
    px_per_s: float,
    radius_px: float,
    inked: NDArray[np.bool_],
) -> None:
    """Draw strips on a page, in place.

    Args:
        index: (height, width) page.
        signal_mv: (leads, samples) potentials; NaN breaks the line around that sample.
        traces: which of it goes where.
        sampling_hz: samples per second.
        px_per_s: width of one second.
        radius_px: half the pen's width.
        inked: (height,) rows; becomes True where the pen has been.
    """
    sample_px = px_per_s / sampling_hz
    # Edges are needed at few points, but the trace that the pen follows at more: it swings between its samples.
    per_sample = min(_MOST_POINTS, math.ceil(sample_px * _EDGE_POINTS_PER_PX))
    least = _LEAST_STEPS_OF_CLOSE_SAMPLES if per_sample == 1 else _LEAST_STEPS
    finer = math.ceil(max(least, sample_px * _STEPS_PER_RADIUS / radius_px) / per_sample)
    weights = _weights(per_sample * finer)
    _draw_traces(index, signal_mv, traces, float(sampling_hz), sample_px, float(radius_px), weights, finer, inked)


@njit(nogil=True, cache=True)
def _draw_traces(
    index: NDArray[np.uint8],
    signal_mv: NDArray[np.floating],
    traces: Traces,
    sampling_hz: float,
    sample_px: float,
    radius_px: float,
    weights: NDArray[np.float32],
    finer: int,
    inked: NDArray[np.bool_],
) -> None:
    steps, strips = weights.shape[0], traces.lead.size
    step_px, last = sample_px / steps, (signal_mv.shape[1] - 1) * steps
    # Steps are counted from the record's first sample.
    starts = traces.start_s * (sampling_hz * steps)
    firsts = (starts + 0.5).astype(np.int64)
    ends = np.minimum((starts + traces.duration_s * (sampling_hz * steps) + 0.5).astype(np.int64), last)
    # The pen comes from as many samples before and after; one more, since it reaches a part of a step further.
    margin = int(radius_px / sample_px) + 2
    # All strips work in the same memory, which stays in the processor's cache.
    most = max(int((ends - firsts).max()), 0) // steps + 3
    known = np.empty(most + SINC_TAPS, dtype=np.float32)
    heights = np.empty((steps, most + 4 * margin), dtype=np.float32)
    tops = np.empty((most + 2 * margin) * (steps // finer), dtype=np.float32)
    bottoms = np.empty_like(tops)
    change = np.zeros(index.shape[0] + 2, dtype=np.float32)
    for strip in range(strips):
        first, end = firsts[strip], ends[strip]
        if end <= first:
            continue
        samples = end // steps + 1 - first // steps
        lead_mv = signal_mv[traces.lead[strip]]
        _trace(heights, known, lead_mv, first, end, weights, margin, traces.baseline_px[strip], traces.px_per_mv[strip])
        points = (samples + 2 * margin) * (steps // finer)
        top, bottom = tops[:points], bottoms[:points]
        _edges(top, bottom, heights, radius_px / step_px, step_px, margin, finer)
        _keep_within(top, bottom, np.float32(index.shape[0]))
        left_px = traces.left_px[strip] + ((first // steps - margin) * steps - starts[strip]) * step_px
        _cover_runs(index, top, bottom, left_px, step_px * finer, change, inked)


@njit(nogil=True, cache=True)
def _cover_runs(
    index: NDArray[np.uint8],
    top: NDArray[np.float32],
    bottom: NDArray[np.float32],
    left_px: float,
    step_px: float,
    change: NDArray[np.float32],
    inked: NDArray[np.bool_],
) -> None:
    """Ink what is between two edges wherever the pen is down; arguments as of `_cover`."""
    point = 0
    while point < top.size:
        begin = point
        while point < top.size and top[point] <= bottom[point]:
            point += 1
        if point - begin > 1:
            highest, lowest = _cover(
                index, top[begin:point], bottom[begin:point], left_px + begin * step_px, step_px, change
            )
            inked[highest : lowest + 1] = True
        point += 1


@njit(nogil=True, cache=True)
def _trace(
    heights: NDArray[np.float32],
    known: NDArray[np.float32],
    lead_mv: NDArray[np.floating],
    first: int,
    end: int,
    weights: NDArray[np.float32],
    margin: int,
    baseline_px: float,
    px_per_mv: float,
) -> None:
    """Write the height of the trace, y downwards, at each sample and at each step after it.

    Args:
        heights: (steps, 2 × margin + samples + 2 × margin or more) to write to. Steps before `first`,
            behind `end` and beside a missing sample become NaN.
        known: (samples + SINC_TAPS or more,) to work in.
        lead_mv: the record.
        first: step of the record with which the trace begins.
        end: step with which it ends.
        weights: as from `sinc_weights`.
        margin: samples that the pen reaches.
        baseline_px: height of 0 mV.
        px_per_mv: height of 1 mV.
    """
    steps, half = weights.shape[0], SINC_TAPS // 2
    first_sample, count = first // steps, end // steps + 1 - first // steps
    missing = False
    for number in range(count + SINC_TAPS):
        read = min(max(first_sample + number - half + 1, 0), lead_mv.size - 1)
        known[number] = baseline_px - lead_mv[read] * px_per_mv
        missing = missing or np.isnan(known[number])
    samples = known[half - 1 : half - 1 + count].copy() if missing else known[half - 1 : half - 1 + count]
    # A step beside a missing sample, which is bridged for the filter's sake.
    beside = samples + known[half : half + count] if missing else samples
    if missing:
        _bridge(known[: count + SINC_TAPS])
    for step in range(steps):
        heights[step, : 2 * margin], heights[step, 2 * margin + count : 4 * margin + count] = np.nan, np.nan
        out = heights[step, 2 * margin : 2 * margin + count]
        if step == 0:
            out[:] = samples
        else:
            _filter(out, known, weights[step])
        if missing and step:
            out += np.float32(0) * beside
        if first_sample * steps + step < first:
            out[0] = np.nan
        if (first_sample + count - 1) * steps + step > end:
            out[count - 1] = np.nan


@njit(nogil=True, cache=True)
def _filter(out: NDArray[np.float32], samples: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
    out[:] = 0
    for tap in range(0, SINC_TAPS, 4):
        # Slices, not offsets: these become vector instructions.
        one, two = samples[tap : tap + out.size], samples[tap + 1 : tap + 1 + out.size]
        three, four = samples[tap + 2 : tap + 2 + out.size], samples[tap + 3 : tap + 3 + out.size]
        weight, second, third, fourth = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
        for number in range(out.size):
            out[number] += (weight * one[number] + second * two[number]) + (
                third * three[number] + fourth * four[number]
            )


@njit(nogil=True, cache=True)
def _bridge(samples: NDArray[np.float32]) -> None:
    """Replace what is missing by a straight line, for the filter's sake."""
    before = -1
    for number in range(samples.size + 1):
        if number < samples.size and np.isnan(samples[number]):
            continue
        for gap in range(before + 1, number):
            if before >= 0 and number < samples.size:
                share = np.float32((gap - before) / (number - before))
                samples[gap] = samples[before] + (samples[number] - samples[before]) * share
            elif before >= 0:
                samples[gap] = samples[before]
            elif number < samples.size:
                samples[gap] = samples[number]
        before = number


@njit(nogil=True, cache=True)
def _edges(
    top: NDArray[np.float32],
    bottom: NDArray[np.float32],
    heights: NDArray[np.float32],
    radius: float,
    step_px: float,
    margin: int,
    finer: int,
) -> None:
    """Write both edges of the stroke at every `finer`th step, from `margin` samples before the trace to as many behind.

    Args:
        top: (points,) upper edge, to write to; infinite where the pen is not down.
        bottom: (points,) lower edge, to write to; negative infinity there.
        heights: as from `_trace`.
        radius: of the pen, in steps.
        step_px: length of a step.
        margin: as in `_trace`.
        finer: steps from one point of the edges to the next.
    """
    points, reach = heights.shape[0] // finer, int(radius)
    samples = top.size // points
    far = np.float32(radius - reach)
    near = np.float32(1) - far
    before, behind = np.empty(_BLOCK, dtype=np.float32), np.empty(_BLOCK, dtype=np.float32)
    # Upper and lower edge of a block; never the same array on both sides, or the compiler stores one by one.
    narrow, wide = np.empty(2 * _BLOCK, dtype=np.float32), np.empty(2 * _BLOCK, dtype=np.float32)
    for first in range(0, samples, _BLOCK):
        count, middle = min(_BLOCK, samples - first), first + margin
        for point in range(points):
            narrow[:_BLOCK], narrow[_BLOCK:] = np.inf, -np.inf
            step = point * finer
            for away in range(reach + 1):
                lift = np.float32(math.sqrt(radius * radius - away * away) * step_px)
                one, other = _at(heights, middle, count, step - away), _at(heights, middle, count, step + away)
                _widen(wide, narrow, one, other, lift)
                narrow, wide = wide, narrow
            # Just as far away as the pen reaches, or steep strokes are thinner by half a step a side.
            one, other = _at(heights, middle, count, step - reach), _at(heights, middle, count, step - reach - 1)
            _mix(before, one, near, other, far)
            one, other = _at(heights, middle, count, step + reach), _at(heights, middle, count, step + reach + 1)
            _mix(behind, one, near, other, far)
            _widen(wide, narrow, before[:count], behind[:count], np.float32(0))
            for number in range(count):
                top[(first + number) * points + point] = wide[number]
                bottom[(first + number) * points + point] = wide[_BLOCK + number]


@njit(nogil=True, cache=True)
def _at(heights: NDArray[np.float32], sample: int, count: int, step: int) -> NDArray[np.float32]:
    """So many heights, each so many steps away from a sample."""
    start = sample + step // heights.shape[0]
    return heights[step % heights.shape[0], start : start + count]


@njit(nogil=True, cache=True)
def _mix(
    out: NDArray[np.float32], one: NDArray[np.float32], near: np.float32, other: NDArray[np.float32], far: np.float32
) -> None:
    for number in range(one.size):
        out[number] = one[number] * near + other[number] * far


@njit(nogil=True, cache=True)
def _widen(
    wide: NDArray[np.float32],
    narrow: NDArray[np.float32],
    before: NDArray[np.float32],
    behind: NDArray[np.float32],
    lift: np.float32,
) -> None:
    """Let both edges, upper ones and then lower ones, reach a lift beyond two traces; what is NaN changes nothing."""
    for number in range(before.size):
        one, other = before[number], behind[number]
        high, low = narrow[number], narrow[_BLOCK + number]
        high = one - lift if one - lift < high else high
        low = one + lift if one + lift > low else low
        wide[number] = other - lift if other - lift < high else high
        wide[_BLOCK + number] = other + lift if other + lift > low else low


@njit(nogil=True, cache=True)
def _keep_within(top: NDArray[np.float32], bottom: NDArray[np.float32], page_px: np.float32) -> None:
    """Cut edges at the page's; where the pen is up, the upper edge is then below the lower one."""
    for point in range(top.size):
        top[point] = min(max(top[point], np.float32(0)), page_px)
        bottom[point] = min(max(bottom[point], np.float32(0)), page_px)


@njit(nogil=True, cache=True)
def _cover(
    index: NDArray[np.uint8],
    top: NDArray[np.float32],
    bottom: NDArray[np.float32],
    left_px: float,
    step_px: float,
    change: NDArray[np.float32],
) -> tuple[int, int]:
    """Ink what is between two edges, given at points `step_px` apart and straight from one to the next.

    Args:
        index: (height, width) page.
        top: (points,) upper edge, 0 to height.
        bottom: (points,) lower edge, not above the upper one.
        left_px: where the first point stands.
        step_px: from one point to the next.
        change: (height + 2,) zeros, and zeros again afterwards: how much more of each row
            of a pixel column is covered than of the row above. An edge within one row is two
            additions, however tall the stroke, and one running sum a column gives the coverage.

    Returns:
        The first row and the last one that ink may be on.
    """
    height, width = index.shape
    last, per_px = float(top.size - 1), 1 / step_px
    begin, finish = max(int(left_px), 0), min(int(left_px + last * step_px) + 1, width)
    # Places are counted in points; a column ends where the next one starts.
    start = min(max((begin - left_px) * per_px, 0.0), last)
    top_start, bottom_start = _between(top, start), _between(bottom, start)
    share = np.float32(step_px)
    first_row, last_row = height, -1
    for column in range(begin, finish):
        end = min((column + 1 - left_px) * per_px, last)
        top_end, bottom_end = _between(top, end), _between(bottom, end)
        highest, _ = _add_edge(change, top, start, end, top_start, top_end, share)
        _, lowest = _add_edge(change, bottom, start, end, bottom_start, bottom_end, -share)
        start, top_start, bottom_start = end, top_end, bottom_end
        # Rounding may leave some of an edge to the row below its lowest one.
        lowest = min(lowest + 1, height - 1)
        first_row, last_row = min(first_row, highest), max(last_row, lowest)
        running = np.float32(0)
        for row in range(highest, lowest + 1):
            # Unsigned, for a signed index may count from the end, and compiled code asks every time whether it does.
            down, across = np.uint64(row), np.uint64(column)
            running += change[down]
            change[down] = 0
            index[down, across] = _inked(index[down, across], running)
        change[height], change[height + 1] = 0, 0
    return first_row, last_row


@njit(nogil=True, cache=True, inline="always")
def _add_edge(
    change: NDArray[np.float32],
    edge: NDArray[np.float32],
    start: float,
    end: float,
    at_start: np.float32,
    at_end: np.float32,
    share: np.float32,
) -> tuple[int, int]:
    """Cover what is below an edge from one place along it to another; returns its highest and its lowest row.

    Args:
        change: as in `_cover`.
        edge: (points,) heights.
        start: counted in points.
        end: likewise.
        at_start: height there.
        at_end: height there.
        share: of the pixel column, from one point to the next; below 0 uncovers.
    """
    first, last = int(start) + 1, int(end)  # the points between start and end
    before, width = at_start, np.float32(first - start)
    row = int(before)
    highest, lowest = row, row
    length, twice = np.float32(0), np.float32(0)  # what of this row the edge has passed, and twice the area above that
    for point in range(first, last + 1):
        here = edge[point]
        if int(here) == row:
            length += width
            twice += width * (before + here)
        else:
            _add_row(change, row, share * length, share * twice / 2)
            _add_slope(change, before, here, share * width)
            row, length, twice = int(here), np.float32(0), np.float32(0)
            highest, lowest = min(highest, row), max(lowest, row)
        before, width = here, np.float32(1)
    width = np.float32(end - max(float(last), start))
    if int(at_end) == row:
        length += width
        twice += width * (before + at_end)
    else:
        _add_slope(change, before, at_end, share * width)
        highest, lowest = min(highest, int(at_end)), max(lowest, int(at_end))
    _add_row(change, row, share * length, share * twice / 2)
    return highest, lowest


@njit(nogil=True, cache=True, inline="always")
def _add_row(change: NDArray[np.float32], row: int, share: np.float32, area: np.float32) -> None:
    """Cover what is below an edge that stays in a row, from the area between the page's upper side and the edge."""
    above = area - row * share
    change[row] += share - above
    change[row + 1] += above


@njit(nogil=True, cache=True)
def _between(edge: NDArray[np.float32], place: float) -> np.float32:
    before = min(int(place), edge.size - 2)
    there: np.float32 = edge[before] + (edge[before + 1] - edge[before]) * np.float32(place - before)
    return there


@njit(nogil=True, cache=True, inline="always")
def _add_slope(change: NDArray[np.float32], one: np.float32, other: np.float32, share: np.float32) -> None:
    """Cover what is below a straight edge that crosses rows, across a share of the column."""
    high, low = min(one, other), max(one, other)
    row, last = int(high), int(low)
    half = share / (low - high) / 2
    # Of each row what is below the edge: within the first one a triangle, then a whole row's width more each.
    above, covered = np.float32(0), np.float32(0)
    while row < last:
        below = np.float32(row + 1) - high
        area = half * below * below
        change[row] += area - above - covered
        above, covered = area, area - above
        row += 1
    left = low - np.float32(last)
    area = share - half * left * left
    change[last] += area - covered
    change[last + 1] += share - area


@njit(nogil=True, cache=True)
def _inked(old: int, coverage: np.float32) -> int:
    """Index of a pixel after so much of it was covered."""
    level = int((1 - _BARE_SHARE[old] * (1 - coverage)) * np.float32(INK_LEVELS) + np.float32(0.5))
    inked = GRID_LEVELS + (min(level, INK_LEVELS) - 1) * _GRIDS_UNDER_INK + _GRID_UNDER[old]
    return inked if level > 0 else old


@njit(nogil=True, cache=True)
def recolour(
    out: NDArray[np.uint8],
    index: NDArray[np.uint8],
    blank: NDArray[np.uint8],
    shades: NDArray[np.uint8],
    inked: NDArray[np.bool_],
) -> None:
    """Give what was drawn its shade, in place.

    Args:
        out: (height, width) shades of `blank`.
        index: (height, width) of a page.
        blank: (height, width) of the page before anything was drawn on it.
        shades: (256,) of the palette.
        inked: (height,) rows on which anything was.
    """
    # Most of an inked row too is as it was, which eight pixels at once tell.
    eights = index.shape[1] // 8
    for row in np.flatnonzero(inked):
        line, written = index[row], out[row]
        drawn, bare = line[: 8 * eights].view(np.uint64), blank[row, : 8 * eights].view(np.uint64)
        for eight in range(eights):
            if drawn[eight] != bare[eight]:
                for pixel in range(8 * eight, 8 * eight + 8):
                    written[pixel] = shades[line[pixel]]
        for pixel in range(8 * eights, line.size):
            written[pixel] = shades[line[pixel]]
