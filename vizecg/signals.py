"""Signal quality: what a twelve-lead recording says about how well it was made.

A record whose leads contradict each other is not a recording of one heart and
is left out (`lead_residual_uv`). One that is merely poor is kept and flagged:
a model meets such paper every day. Every measure is plain arithmetic on
microvolts, one number per lead, so that a limit can be argued about.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vizecg.labels import LEADS

QUALITY_FLAGS: Final = (
    "flat_lead",
    "clipped",
    "noisy",
    "burst_noise",
    "mains_hum",
    "drifting",
    "implausible_amplitude",
    "arm_reversal_suspected",
)

SMALL_SQUARE_UV: Final = 100
"""0.1 mV, one millimetre on paper: the smallest difference a reader sees."""

MAX_LEAD_RESIDUAL_UV: Final = SMALL_SQUARE_UV
FLAT_RANGE_UV: Final = SMALL_SQUARE_UV
"""A living heart moves every lead by more; an electrode that fell off, or shorted, does not."""
CLIPPED_PLATEAU_S: Final = 0.05
"""No wave of the heart stands still at its extreme for so long at the height below; a saturated amplifier does."""
CLIPPED_HEIGHT_UV: Final = 500
NOISY_UV: Final = 25
"""One deviation of a quarter of a small square: the line becomes a band one square wide, and a P wave is lost in it."""
BURST_UV: Final = 30
"""By so much half a second is noisier than the record is on the whole: a band wider than a small square, suddenly."""
BURST_RATIO: Final = 3.0
HUM_UV: Final = 25
"""Amplitude; from crest to trough half a small square, a fuzzy line to the eye."""
HUM_RATIO: Final = 4.0
"""So many times what lies beside it in the spectrum: a line, and not the broad noise of muscles."""
MAINS_HZ: Final = (50.0, 60.0)
TALLEST_UV: Final = 8000
"""Hypertrophy makes QRS complexes of 5 or 6 mV at most; beyond are artefacts and wrong units."""
LOWEST_RANGE_UV: Final = 300
"""Of the liveliest lead: less than three small squares in all twelve is no heart, or another unit."""
DRIFT_RANGE_UV: Final = 1000
"""The baseline wanders by ten millimetres, the height of the calibration pulse: into the row above."""
REVERSED_CORRELATION: Final = -0.6

_TO_SIGMA: Final = 1.4826 / np.sqrt(6)
"""From the median of absolute second differences to a standard deviation, for normal noise."""
_NOISE_HZ: Final = 100
_PART_S: Final = 0.5
_I: Final = LEADS.index("I")
_V6: Final = LEADS.index("V6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Measures of one record. Every array is (12,), in `labels.LEADS` order."""

    range_uv: NDArray[np.float64]
    plateau_s: NDArray[np.float64]
    noise_uv: NDArray[np.float64]
    burst_uv: NDArray[np.float64]
    hum_uv: NDArray[np.float64]
    hum_ratio: NDArray[np.float64]
    drift_uv: NDArray[np.float64]
    height_uv: NDArray[np.float64]
    lead_i_v6_correlation: float
    lead_residual_uv: float

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of `QUALITY_FLAGS` that apply, in that order."""
        humming = (self.hum_uv > HUM_UV) & (self.hum_ratio > HUM_RATIO)
        bursting = (self.burst_uv - self.noise_uv > BURST_UV) & (self.burst_uv > BURST_RATIO * self.noise_uv)
        applies = (
            bool((self.range_uv < FLAT_RANGE_UV).any()),
            bool((self.plateau_s >= CLIPPED_PLATEAU_S).any()),
            bool(((self.noise_uv > NOISY_UV) & ~humming).any()),  # a line of the mains is no noise of muscles
            bool(bursting.any()),
            bool(humming.any()),
            bool((self.drift_uv > DRIFT_RANGE_UV).any()),
            bool(self.height_uv.max() > TALLEST_UV or self.range_uv.max() < LOWEST_RANGE_UV),
            self.lead_i_v6_correlation < REVERSED_CORRELATION,
        )
        return tuple(flag for flag, yes in zip(QUALITY_FLAGS, applies, strict=True) if yes)


def quality(signals_uv: NDArray[np.int16], *, sampling_hz: int) -> Quality:
    """Measure one record, (12, samples)."""
    signals = signals_uv.astype(np.float64)
    local_uv = local_noise_uv(signals, sampling_hz=sampling_hz)
    hum_uv, hum_ratio = mains_hum(signals, sampling_hz=sampling_hz)
    return Quality(
        range_uv=np.ptp(signals, axis=1),
        plateau_s=plateau_s(signals, sampling_hz=sampling_hz),
        noise_uv=np.median(local_uv, axis=1),
        burst_uv=local_uv.max(axis=1),
        hum_uv=hum_uv,
        hum_ratio=hum_ratio,
        drift_uv=drift_uv(signals, sampling_hz=sampling_hz),
        height_uv=np.abs(signals - np.median(signals, axis=1, keepdims=True)).max(axis=1),
        lead_i_v6_correlation=lead_i_v6_correlation(signals),
        lead_residual_uv=lead_residual_uv(signals),
    )


def lead_residual_uv(signals_uv: NDArray[np.float64]) -> float:
    """Tell by how much the limb leads contradict each other at the worst sample.

    Six limb leads are differences of three electrodes, so four of them follow
    from I and II: III = II - I (Einthoven), aVR = -(I + II)/2, aVL = (I - III)/2,
    aVF = (II + III)/2 (Goldberger). What remains beyond rounding was not
    recorded from one heart at one time.
    """
    i, ii, iii, avr, avl, avf = signals_uv[:6]
    residuals = (i - ii + iii, avr + (i + ii) / 2, avl - (i - iii) / 2, avf - (ii + iii) / 2)
    return float(max(np.abs(residual).max() for residual in residuals))


def plateau_s(signals_uv: NDArray[np.float64], *, sampling_hz: int) -> NDArray[np.float64]:
    """Longest stretch each lead stays exactly at its own maximum or minimum, where that is far from its middle.

    An amplifier or converter at the end of its range repeats its last value;
    a wave turns around. The resting line also repeats a value, and may be a
    lead's lowest: hence the height.
    """
    longest = np.zeros(len(signals_uv))
    for lead, signal in enumerate(signals_uv):
        middle = np.median(signal)
        extremes = (signal.max(), signal.min())
        for extreme in (value for value in extremes if abs(value - middle) >= CLIPPED_HEIGHT_UV):
            edges = np.flatnonzero(np.diff(np.r_[False, signal == extreme, False].astype(np.int8)))
            longest[lead] = max(longest[lead], (edges[1::2] - edges[::2]).max())
    return longest / sampling_hz


def local_noise_uv(signals_uv: NDArray[np.float64], *, sampling_hz: int) -> NDArray[np.float64]:
    """Estimate the standard deviation of what changes from sample to sample, in each half second: (leads, parts).

    The second difference of a smooth wave is small and that of white noise of
    deviation s has deviation s·√6. The median over a part looks between the QRS
    complexes, which fill less than a fifth of it. The median of the parts is the
    noise of the record (muscles, a poor electrode); one part far above it is a
    burst: somebody moved, or a plug was touched. Above 100 Hz the signal is taken
    apart into as many of 100 Hz as it holds, so that the number means the same at
    every rate: the noise that a page can show.
    """
    stride = max(1, round(sampling_hz / _NOISE_HZ))
    spread = signals_uv[:, : signals_uv.shape[1] // stride * stride]
    by_phase = spread.reshape(len(spread), -1, stride).transpose(0, 2, 1)
    second_difference = np.abs(np.diff(by_phase, n=2, axis=2))
    width = max(2, round(_PART_S * sampling_hz / stride))
    parts = max(1, second_difference.shape[2] // width)
    cut = second_difference[:, :, : parts * width].reshape(len(spread), second_difference.shape[1], parts, -1)
    return np.asarray(np.median(cut.transpose(0, 2, 1, 3).reshape(len(spread), parts, -1), axis=2) * _TO_SIGMA)


def mains_hum(signals_uv: NDArray[np.float64], *, sampling_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the strongest line of the mains in each lead: its amplitude in µV, and how far it stands out.

    Mains induce a sine of 50 or 60 Hz, the same from the first second to the last, so
    it is one line of the spectrum, where muscle noise is broad. A rate of 100 Hz
    carries neither: 60 Hz, where nothing filtered it, lies at 40 Hz then, and of 50 Hz
    is seen as much as its phase lets through. Higher rates show both as they are.
    """
    samples = signals_uv.shape[1]
    window = np.hanning(samples)
    spectrum = np.abs(np.fft.rfft((signals_uv - signals_uv.mean(axis=1, keepdims=True)) * window, axis=1))
    amplitude_uv = 2 * spectrum / window.sum()
    bins_per_hz = samples / sampling_hz
    found_uv, stands_out = np.zeros(len(signals_uv)), np.zeros(len(signals_uv))
    for line_hz in {abs(mains - round(mains / sampling_hz) * sampling_hz) for mains in MAINS_HZ}:
        middle = round(line_hz * bins_per_hz)
        near = amplitude_uv[:, max(0, middle - 2) : middle + 3].max(axis=1)
        beside = np.r_[
            max(0, middle - round(3 * bins_per_hz)) : max(0, middle - round(bins_per_hz)),
            middle + round(bins_per_hz) : middle + round(3 * bins_per_hz),
        ]
        around = np.median(amplitude_uv[:, beside[beside < amplitude_uv.shape[1]]], axis=1)
        ratio = near / np.maximum(around, 1e-9)
        better = np.where(ratio > HUM_RATIO, near, 0) > found_uv
        found_uv, stands_out = np.where(better, near, found_uv), np.where(better, ratio, stands_out)
    return found_uv, stands_out


def drift_uv(signals_uv: NDArray[np.float64], *, sampling_hz: int) -> NDArray[np.float64]:
    """Range of each lead's running mean over one second: breathing, sweat, a pulled cable.

    A second holds about one whole beat, whose mean hardly varies, so what is
    left is the baseline under it.
    """
    width = sampling_hz
    sums = np.cumsum(np.pad(signals_uv, ((0, 0), (1, 0))), axis=1)
    return np.asarray(np.ptp((sums[:, width:] - sums[:, :-width]) / width, axis=1))


def lead_i_v6_correlation(signals_uv: NDArray[np.float64]) -> float:
    """Correlate lead I with V6.

    Both look at the heart from the left and so rise and fall together.
    Exchanging the arm electrodes turns lead I over and leaves V6 alone;
    Einthoven's relation still holds then. A dextrocardia also turns lead I
    over, but V6 with it.
    """
    steep = np.diff(signals_uv[[_I, _V6]], axis=1)  # takes the baseline out
    deviation = steep - steep.mean(axis=1, keepdims=True)
    power = np.sqrt((deviation**2).sum(axis=1))
    if not power.all():
        return 0.0
    return float((deviation[0] * deviation[1]).sum() / power.prod())
