"""The pen: a lead as a stroke of even width, with exact coverage of every pixel.

A trace is a function of time, so the stroke of a round pen is its graph dilated
by a disc: in each column it fills one interval, from the sliding minimum of
`sample - sqrt(r² - dx²)` to the sliding maximum of `sample + sqrt(r² - dx²)`.
The intervals are taken on several sub-columns a pixel; down the column their
coverage is exact.

Pixels are indices into a palette (`palette`) that mixes paper, grid and ink, so
that a page is one byte a pixel from the pen to the PNG. Indices below
`GRID_LEVELS` are bare paper and grid; above, ink over a coarser choice of grids.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

GRID_LEVELS = 64
INK_LEVELS = 24
_GRIDS_UNDER_INK = 8  # 64 + 24 × 8 = 256: what one byte can name

SINC_TAPS = 16
SINC_PHASES = 256


def palette(*, paper: tuple[int, int, int], grid: tuple[int, int, int], ink: tuple[int, int, int]) -> NDArray[np.uint8]:
    """(256, 3) colours: paper to grid in `GRID_LEVELS`, then each of `INK_LEVELS` over eight of those."""
    paper_rgb, grid_rgb, ink_rgb = (np.array(colour, dtype=np.float64) for colour in (paper, grid, ink))
    bare = np.linspace(0.0, 1.0, GRID_LEVELS)[:, None]
    under = np.linspace(0.0, 1.0, _GRIDS_UNDER_INK)[:, None]
    coverage = (np.arange(1, INK_LEVELS + 1) / INK_LEVELS)[:, None, None]
    inked = (paper_rgb + under * (grid_rgb - paper_rgb)) * (1 - coverage) + ink_rgb * coverage
    colours = np.concatenate([paper_rgb + bare * (grid_rgb - paper_rgb), inked.reshape(-1, 3)])
    return np.asarray(np.rint(colours), dtype=np.uint8)


def sinc_table() -> NDArray[np.float32]:
    """(SINC_PHASES + 1, SINC_TAPS) weights that read a band-limited signal between its samples.

    Kaiser-windowed sinc, beta 6: stop band below -60 dB; each row sums to 1, so
    a constant stays that constant.
    """
    half = SINC_TAPS // 2
    fraction = np.linspace(0.0, 1.0, SINC_PHASES + 1)[:, None]
    distance = np.arange(1 - half, half + 1)[None, :] - fraction
    window = np.i0(6.0 * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None))) / np.i0(6.0)
    weights = np.sinc(distance) * window
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def ink_over(index: NDArray[np.uint8], coverage: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Indices of `index` (bare paper and grid) with ink of the given coverage 0–1 on it: lettering."""
    inked = index.copy()
    touched = np.nonzero((coverage >= 0.5 / INK_LEVELS) & (index < GRID_LEVELS))
    level = np.rint(coverage[touched] * INK_LEVELS).astype(np.int64)
    under = np.rint(index[touched] * ((_GRIDS_UNDER_INK - 1) / (GRID_LEVELS - 1))).astype(np.int64)
    inked[touched] = np.where(level > 0, GRID_LEVELS + (level - 1) * _GRIDS_UNDER_INK + under, index[touched])
    return inked


def stroke(
    index: NDArray[np.uint8],
    samples_px: NDArray[np.float32],
    *,
    samples_per_px: float,
    first_sample_px: float,
    span_px: tuple[float, float],
    radius_px: float,
    table: NDArray[np.float32],
) -> None:
    """Draw one trace on a page, in place.

    Args:
        index: (height, width) page.
        samples_px: (samples,) height of the trace, y downwards; NaN breaks the
            line around that sample.
        samples_per_px: samples in the width of one pixel.
        first_sample_px: where sample 0 stands.
        span_px: from where to where the pen is down; samples beyond it only feed the filter.
        radius_px: half the pen's width.
        table: `sinc_table()`, which reads between samples.
    """
    # A pixel needs 8 sub-columns for a true edge, the pen 16 for a true width, and no sample
    # may fall between two of them, or an R peak loses its tip.
    per_px = max(8, min(64, math.ceil(max(samples_per_px, 8 / radius_px))))
    first_px = max(0, math.floor(span_px[0] - radius_px))
    end_px = min(index.shape[1], math.ceil(span_px[1] + radius_px))
    if end_px <= first_px:
        return
    missing = np.isnan(samples_px)
    if samples_px.size < 2 or missing.all():
        return
    if missing.any():  # bridged for the filter's sake, and broken again by `missing`
        known = np.flatnonzero(~missing)
        samples_px = np.interp(np.arange(samples_px.size), known, samples_px[known]).astype(np.float32)
    _stroke(
        index,
        np.pad(samples_px, (SINC_TAPS // 2 - 1, SINC_TAPS // 2), mode="edge"),
        missing,
        table,
        float(samples_per_px),
        float(first_sample_px),
        float(span_px[0]),
        float(span_px[1]),
        float(radius_px),
        per_px,
        first_px,
        end_px,
    )


@njit(nogil=True, cache=True)
def _stroke(
    index: NDArray[np.uint8],
    samples: NDArray[np.float32],
    missing: NDArray[np.bool_],
    table: NDArray[np.float32],
    samples_per_px: float,
    first_sample_px: float,
    left_px: float,
    right_px: float,
    radius_px: float,
    per_px: int,
    first_px: int,
    end_px: int,
) -> None:
    reach = int(radius_px * per_px)
    columns = (end_px - first_px) * per_px
    padded = columns + 2 * reach
    # Heights on sub-column centres; bare ones are +inf for the minimum and -inf for the maximum.
    above = np.full(padded, np.float32(np.inf))
    below = np.full(padded, np.float32(-np.inf))
    last = missing.size - 1
    phases = table.shape[0] - 1
    for column in range(padded):
        centre_px = first_px + (column - reach + 0.5) / per_px
        position = (centre_px - first_sample_px) * samples_per_px
        if centre_px < left_px or centre_px > right_px or position < 0 or position > last:
            continue
        base = min(int(position), last - 1)
        fraction = position - base
        if missing[base] or (fraction > 0 and missing[base + 1]):
            continue
        weights = table[int(fraction * phases + 0.5)]
        # Two sums side by side hide the latency of one.
        read = samples[base : base + SINC_TAPS]
        even, odd = np.float32(0), np.float32(0)
        for pair in range(SINC_TAPS // 2):
            even += weights[2 * pair] * read[2 * pair]
            odd += weights[2 * pair + 1] * read[2 * pair + 1]
        above[column] = even + odd
        below[column] = even + odd
    top = np.full(columns, np.float32(np.inf))
    bottom = np.full(columns, np.float32(-np.inf))
    for shift in range(-reach, reach + 1):
        lift = np.float32(math.sqrt(max(radius_px * radius_px - (shift / per_px) ** 2, 0.0)))
        # Slices and conditional expressions, not offsets and min(): these become vector instructions.
        shifted_above = above[reach + shift : reach + shift + columns]
        shifted_below = below[reach + shift : reach + shift + columns]
        for column in range(columns):
            upper = shifted_above[column] - lift
            top[column] = upper if upper < top[column] else top[column]
            lower = shifted_below[column] + lift
            bottom[column] = lower if lower > bottom[column] else bottom[column]
    _cover(index, top, bottom, per_px, first_px)


@njit(nogil=True, cache=True)
def _cover(
    index: NDArray[np.uint8],
    top: NDArray[np.float32],
    bottom: NDArray[np.float32],
    per_px: int,
    first_px: int,
) -> None:
    """Turn each pixel column's intervals into ink.

    `change` holds, for each row, how much coverage differs from the row above:
    an interval costs four additions however tall it is, and one running sum a
    column gives the coverage.
    """
    height = index.shape[0]
    change = np.zeros(height + 2, dtype=np.float32)
    for pixel in range(top.size // per_px):
        lowest, highest = height, -1
        for column in range(pixel * per_px, (pixel + 1) * per_px):
            upper = max(top[column], np.float32(0))
            lower = min(bottom[column], np.float32(height))
            if not lower > upper:
                continue
            first, last = int(upper), int(lower)
            # Rows below an edge at y are covered by row + 1 - y of themselves, and then fully.
            change[first] += first + 1 - upper
            change[first + 1] += upper - first
            change[last] -= last + 1 - lower
            change[last + 1] -= lower - last
            lowest, highest = min(lowest, first), max(highest, last)
        running = np.float32(0)
        for row in range(lowest, highest + 2):
            running += change[row]
            change[row] = 0
            if row < height:
                coverage = running / per_px
                old = int(index[row, first_px + pixel])
                under = old
                if old >= GRID_LEVELS:
                    under = (old - GRID_LEVELS) % _GRIDS_UNDER_INK
                    before = ((old - GRID_LEVELS) // _GRIDS_UNDER_INK + 1) / INK_LEVELS
                    coverage = 1 - (1 - before) * (1 - coverage)
                else:
                    under = int(old * ((_GRIDS_UNDER_INK - 1) / (GRID_LEVELS - 1)) + 0.5)
                level = int(coverage * INK_LEVELS + 0.5)
                if level > 0:
                    inked = GRID_LEVELS + (min(level, INK_LEVELS) - 1) * _GRIDS_UNDER_INK + under
                    index[row, first_px + pixel] = inked
