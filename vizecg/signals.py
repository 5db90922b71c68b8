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

QUALITY_FLAGS: Final = ("flat_lead", "clipped", "noisy", "drifting", "arm_reversal_suspected")

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
DRIFT_RANGE_UV: Final = 1000
"""The baseline wanders by ten millimetres, the height of the calibration pulse: into the row above."""
REVERSED_CORRELATION: Final = -0.6

_MAD_TO_SIGMA: Final = 1.4826
_I: Final = LEADS.index("I")
_V6: Final = LEADS.index("V6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Measures of one record. Every array is (12,), in `labels.LEADS` order."""

    range_uv: NDArray[np.float64]
    plateau_s: NDArray[np.float64]
    noise_uv: NDArray[np.float64]
    drift_uv: NDArray[np.float64]
    lead_i_v6_correlation: float
    lead_residual_uv: float

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of `QUALITY_FLAGS` that apply, in that order."""
        applies = (
            bool((self.range_uv < FLAT_RANGE_UV).any()),
            bool((self.plateau_s >= CLIPPED_PLATEAU_S).any()),
            bool((self.noise_uv > NOISY_UV).any()),
            bool((self.drift_uv > DRIFT_RANGE_UV).any()),
            self.lead_i_v6_correlation < REVERSED_CORRELATION,
        )
        return tuple(flag for flag, yes in zip(QUALITY_FLAGS, applies, strict=True) if yes)


def quality(signals_uv: NDArray[np.int16], *, sampling_hz: int) -> Quality:
    """Measure one record, (12, samples)."""
    signals = signals_uv.astype(np.float64)
    return Quality(
        range_uv=np.ptp(signals, axis=1),
        plateau_s=plateau_s(signals, sampling_hz=sampling_hz),
        noise_uv=noise_uv(signals),
        drift_uv=drift_uv(signals, sampling_hz=sampling_hz),
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


def noise_uv(signals_uv: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate each lead's standard deviation of what changes from sample to sample.

    The second difference of a smooth wave is small and that of white noise of
    deviation s has deviation s·√6. The median over time looks between the QRS
    complexes, which fill less than a fifth of it.
    """
    second_difference = np.abs(np.diff(signals_uv, n=2, axis=1))
    return np.asarray(np.median(second_difference, axis=1) * (_MAD_TO_SIGMA / np.sqrt(6)))


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
