"""How large a millimetre is in a picture, and how far the page is turned, read from the printed squares.

The picture is cut into narrow bands; in each, the lines across the band are a
periodic profile. Adding the bands' power spectra finds the pitch however the
page is turned a little, because power forgets the phase; the phase, followed
from band to band, is how far the lines lean.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.intake.ink import percentile

A4_MM = (297.0, 210.0)
"""Long and short side of the paper that is assumed where no grid says otherwise."""

_COARSE_PER_MM = 1 / 5
_HARMONICS = (1, 2, 3, 4, 5)
# Lines of 5 mm show in the first and those of 1 mm in the fifth: a grid that has only one of them
# shall still not be taken for another scale at which a harmonic between them falls on its lines.
_HARMONIC_WEIGHTS = (1.5, 1.0, 1.0, 1.0, 1.5)

# A picture shows a whole page or most of one: between an A4 page on a wider ground, or one printed at three quarters
# of its size, and a half of it.
# The range is narrower than the factor 5 between fine and coarse squares, so neither is taken for the other.
_SCALE_RANGE = (0.65, 1.8)
_WIDE_RANGE = (0.55, 1.8)  # programs that draw a grid for each lead choose sheets larger than A4 too
_BAND_MM = 7.0
# Ink is darker than this share of the paper's brightness, a grid in its darkest channel is not.
_INK_BELOW = 0.6
# Scores, summed over both axes, on pages of PTB-XL in both styles: with a grid at 3 px/mm or more 28 and above, without
# one up to 25.6. A grid of two pixels to the square scores no more than that, but its axes agree to a thousandth.
_FAINT_GRID, _CLEAR_GRID = 17.0, 26.5
# On windows, pages without a grid score up to 11.7 and those with one 18.6 and more, in step across the page or not.
_WINDOW_MM, _CLEAR_IN_PARTS = 60.0, 14.5
_NEIGHBOURS = 129  # frequencies, of a picture's whole width
_SQUARE, _NEARLY_SQUARE = 0.0015, 0.03
_STRETCHED = 0.14  # what is left of a view from the side once the paper's edges are parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class GridReading:
    """What the squares say. Without a clear grid the scale is that of an A4 page that fills the picture."""

    px_per_mm: tuple[float, float]
    """Across and down."""

    rotation_deg: float
    """Anticlockwise turn of the page in the picture."""

    clear: bool
    clearness: float
    """How far the lines stand out of their surroundings in the spectrum: logarithms, summed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Axis:
    """Spectra of the bands across which the lines of one direction run."""

    spectra: NDArray[np.complex64]
    """(windows, bands, frequencies)."""

    power: NDArray[np.float32]
    """(frequencies,) mean over windows and bands."""

    relative: NDArray[np.float64]
    """`power` over the level of its neighbourhood."""

    length: int
    """Of the transform, in pixels: frequency k is k / length a pixel."""

    band_px: float


def extent_px_per_mm(height_px: int, width_px: int) -> float:
    """The scale, were the picture an A4 page from edge to edge."""
    return max(max(height_px, width_px) / A4_MM[0], min(height_px, width_px) / A4_MM[1])


def read_grid(dark_lines: NDArray[np.uint8], *, stretched: bool = False) -> GridReading:
    """Measure pitch and turn of the grid.

    Args:
        dark_lines: (height, width) in which the grid is darker than the paper;
            for a coloured grid its darkest channel.
        stretched: the squares may be longer one way than the other, as after a view from
            the side has been undone.
    """
    assumed = extent_px_per_mm(*dark_lines.shape)
    paper = percentile(np.ascontiguousarray(dark_lines[::8, ::8]), 50)
    # Not periodic, ink disturbs little once its depth is cut off.
    depth = 255 - int(_INK_BELOW * paper)
    softened = np.asarray(cv2.threshold(cv2.bitwise_not(dark_lines), depth, 0, cv2.THRESH_TRUNC)[1], dtype=np.uint8)
    across_down = (softened, np.asarray(cv2.transpose(softened), dtype=np.uint8))
    reading = _read(across_down, assumed=assumed, window_mm=None, stretched=stretched)
    if reading.clear and reading.clearness >= _CLEAR_GRID:
        return reading
    in_parts = _read(across_down, assumed=assumed, window_mm=_WINDOW_MM, stretched=stretched)
    return in_parts if in_parts.clear else reading


def _read(
    across_down: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    *,
    assumed: float,
    window_mm: float | None,
    stretched: bool,
) -> GridReading:
    """Measure on whole lines of the picture, or on windows: a program may draw a grid for each lead, out of step."""
    axes = [_axis(lines, assumed_px_per_mm=assumed, window_mm=window_mm) for lines in across_down]
    faint, clearly = (_FAINT_GRID, _CLEAR_GRID) if window_mm is None else (_CLEAR_IN_PARTS, _CLEAR_IN_PARTS)
    scale_range = _SCALE_RANGE if window_mm is None else _WIDE_RANGE
    tried = assumed * np.geomspace(*scale_range, 2 * max(axis.power.size for axis in axes))
    standing_out = [_standing_out(axis, tried) for axis in axes]
    allowed = _STRETCHED if stretched else _NEARLY_SQUARE
    best = _best_in_common(standing_out, tried, allowed=allowed)
    scales = [
        _refined(axis, px_per_mm=float(tried[at]), harmonics=harmonics[:, at])
        for axis, harmonics, at in zip(axes, standing_out, best, strict=True)
    ]
    clearness = sum(float(_score(harmonics)[at]) for harmonics, at in zip(standing_out, best, strict=True))
    apart = abs(math.log(scales[0] / scales[1]))
    if clearness < faint or apart > (allowed if clearness >= clearly else _SQUARE):
        return GridReading(px_per_mm=(assumed, assumed), rotation_deg=0.0, clear=False, clearness=clearness)
    upright_lean, lying_lean = (_lean(axis, px_per_mm=scale) for axis, scale in zip(axes, scales, strict=True))
    # Turned anticlockwise, upright lines lean right on the way down and lying ones fall to the left.
    turn_rad = math.atan((upright_lean - lying_lean) / 2)
    return GridReading(
        # Squares that are turned measure longer along the picture's edges.
        px_per_mm=(scales[0] * math.cos(turn_rad), scales[1] * math.cos(turn_rad)),
        rotation_deg=math.degrees(turn_rad),
        clear=True,
        clearness=clearness,
    )


def _axis(softened: NDArray[np.uint8], *, assumed_px_per_mm: float, window_mm: float | None) -> _Axis:
    """Cut the picture into bands, one below the other, and transform each along its width, or each of its windows."""
    height, width = softened.shape
    bands = min(height, max(4, round(height / (_BAND_MM * assumed_px_per_mm))))
    band_px = height // bands
    top = (height - bands * band_px) // 2  # what is left over is less than a band
    profiles = np.empty((bands, width), np.float32)
    for number, profile in enumerate(profiles):
        start = top + number * band_px
        cv2.reduce(softened[start : start + band_px], 0, cv2.REDUCE_AVG, profile[None, :], cv2.CV_32F)
    smooth_px = max(3, round(6 * assumed_px_per_mm)) | 1
    profiles -= cv2.blur(profiles, (smooth_px, 1))
    window = width if window_mm is None else min(width, round(window_mm * assumed_px_per_mm))
    starts = np.linspace(0, width - window, max(1, round(2 * width / window) - 1)).astype(int)
    # (windows, bands, window)
    parts = np.stack([profiles[:, start : start + window] for start in starts.tolist()])
    length = cv2.getOptimalDFTSize(2 * window)
    spectra = _spectra(parts * np.hanning(window).astype(np.float32), length=length)
    power = np.mean(np.abs(spectra) ** 2, axis=(0, 1))
    neighbours = round(_NEIGHBOURS * window / width) | 1
    return _Axis(
        spectra=spectra,
        power=power,
        relative=_relative(power, neighbours=neighbours),
        length=length,
        band_px=float(band_px),
    )


def _spectra(parts: NDArray[np.float32], *, length: int) -> NDArray[np.complex64]:
    """(windows, bands, length // 2 + 1) as `np.fft.rfft(parts, n=length)`, several times faster."""
    windows, bands, window = parts.shape
    padded = np.zeros((windows * bands, length), np.float32)
    padded[:, :window] = parts.reshape(windows * bands, window)
    both = np.asarray(cv2.dft(padded, flags=cv2.DFT_ROWS | cv2.DFT_COMPLEX_OUTPUT), dtype=np.float32)
    half = np.ascontiguousarray(both[:, : length // 2 + 1]).view(np.complex64)
    return half.reshape(windows, bands, length // 2 + 1)


def _relative(power: NDArray[np.floating], *, neighbours: int) -> NDArray[np.float64]:
    """Power over the level of its neighbourhood, which a line stands out from and broad structure does not."""
    level = cv2.blur(power.astype(np.float64)[None, :], (neighbours, 1), borderType=cv2.BORDER_REFLECT)[0]
    return np.asarray(power / np.maximum(level, 1e-9 + 1e-6 * float(power.max())), dtype=np.float64)


def _standing_out(axis: _Axis, tried: NDArray[np.float64]) -> NDArray[np.float64]:
    """(harmonics, tried) how far the harmonics of 5 mm stand out, were the scale each of those tried."""
    frequency = np.arange(axis.power.size) / axis.length
    return np.stack([np.interp(k * _COARSE_PER_MM / tried, frequency, axis.relative, right=0.0) for k in _HARMONICS])


def _score(harmonics: NDArray[np.float64]) -> NDArray[np.float64]:
    """(tried,) logarithms, so that many lines that stand out count for more than one that does so by far."""
    return np.asarray(np.asarray(_HARMONIC_WEIGHTS) @ np.log1p(harmonics), dtype=np.float64)


def _best_in_common(
    standing_out: list[NDArray[np.float64]], tried: NDArray[np.float64], *, allowed: float
) -> list[int]:
    """Where each axis scores best, near the scale that suits both best.

    Squares have one pitch; rows of traces, lines of text and heart beats have
    theirs on one axis only, and on it may well beat a grid.
    """
    scores = [_score(harmonics) for harmonics in standing_out]
    steps = math.log(tried[-1] / tried[0]) / (tried.size - 1)
    reach = max(1, round(allowed / 2 / steps))
    near = [_highest_near(score, reach=reach) for score in scores]
    common = int(np.argmax(near[0] + near[1]))
    first, end = max(0, common - reach), min(tried.size, common + reach + 1)
    return [first + int(np.argmax(score[first:end])) for score in scores]


def _highest_near(values: NDArray[np.float64], *, reach: int) -> NDArray[np.float64]:
    """Each place's highest value within `reach` on either side: windows of twice the length, again and again."""
    length, window = 1, 2 * reach + 1
    highest = np.pad(values, reach, constant_values=-np.inf)
    while 2 * length <= window:
        highest, length = np.maximum(highest[:-length], highest[length:]), 2 * length
    rest = window - length
    return np.maximum(highest[: highest.size - rest], highest[rest:])


def _refined(axis: _Axis, *, px_per_mm: float, harmonics: NDArray[np.float64]) -> float:
    """Measure the scale between the steps tried, by the highest harmonic that is clear: it moves most."""
    clear = harmonics >= 0.3 * harmonics.max()
    finest = max(k for k, is_clear in zip(_HARMONICS, clear, strict=True) if is_clear)
    peak = round(finest * _COARSE_PER_MM / px_per_mm * axis.length)
    first, end = max(peak - 2, 1), min(peak + 3, axis.power.size - 1)
    if end <= first:
        return px_per_mm
    peak = first + int(np.argmax(axis.power[first:end]))
    return float(finest * _COARSE_PER_MM * axis.length / (peak + _summit(axis.power[peak - 1 : peak + 2])))


def _summit(three: NDArray[np.floating]) -> float:
    """Where a parabola through three log powers is highest, from the middle one, within half a step."""
    left, middle, right = np.log(np.maximum(three, 1e-12))
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def _lean(axis: _Axis, *, px_per_mm: float) -> float:
    """How far lines across the axis move along it, for each pixel along the lines.

    Each harmonic's phase is followed from band to band: the finer see a lean
    better, the coarser see which turn of the phase it is.
    """
    lean, weights, weighted = 0.0, 0.0, 0.0
    for k in _HARMONICS:
        frequency = k * _COARSE_PER_MM / px_per_mm
        column = round(frequency * axis.length)
        if column >= axis.spectra.shape[2]:
            break
        step = np.sum(axis.spectra[:, 1:, column] * np.conj(axis.spectra[:, :-1, column]))
        # A shift of the profile by s turns its phase by -2π f s.
        turn = -np.angle(step * np.exp(2j * np.pi * frequency * lean * axis.band_px))
        weight = k * k * float(abs(step))
        weighted += weight * (lean + float(turn) / (2 * math.pi * frequency * axis.band_px))
        weights += weight
        lean = weighted / weights if weights > 0 else 0.0
    return lean
