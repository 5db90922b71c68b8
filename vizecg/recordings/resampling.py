"""A signal at another rate: band-limited, without delay, without a step at its ends."""

from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_LARGEST_FACTOR: Final = 10_000
"""Rates that are no simple ratio are met to a ten-thousandth of it: 1 ms in 10 s."""
_HALF_LENGTH: Final = 32
"""Of the filter, in samples of the lower rate. With beta it makes the transition 16 % of the band wide (Kaiser)."""
_KAISER_BETA: Final = 8.0
"""80 dB of what would be folded back is left out (Kaiser's formula: beta = 0.1102 (A - 8.7))."""
_CUT: Final = 0.92
"""Half amplitude, as a share of the lower of the two Nyquist frequencies: 46 Hz at 100 Hz, whole up to 42 Hz."""


def resample(signal: NDArray[np.floating[Any]], *, from_hz: float, to_hz: float) -> NDArray[np.float64]:
    """Resample (leads, samples) along its last axis by a polyphase filter.

    Args:
        signal: any unit; no NaN.
        from_hz: rate it has.
        to_hz: rate it is to have.

    Returns:
        (leads, samples · to_hz / from_hz, rounded up) in the same unit. What a rate of `to_hz` cannot
        carry is filtered out; going up adds nothing.
    """
    from scipy.signal import resample_poly

    ratio = Fraction(to_hz / from_hz).limit_denominator(_LARGEST_FACTOR)
    if ratio == 1:
        return np.array(signal, dtype=np.float64)
    up, down = ratio.numerator, ratio.denominator
    window = _lowpass(max(up, down))
    ends = "antireflect"  # turned about its last value, the signal and its slope go on: no step to ring at
    resampled = resample_poly(signal.astype(np.float64), up, down, axis=-1, window=window, padtype=ends)  # type: ignore[call-overload]
    return np.asarray(resampled)


@lru_cache(maxsize=8)
def _lowpass(factor: int) -> NDArray[np.float64]:
    """The filter at the rate that both rates divide; `factor` of its samples are one of the lower rate."""
    from scipy.signal import firwin

    taps = firwin(2 * _HALF_LENGTH * factor + 1, _CUT / factor, window=("kaiser", _KAISER_BETA))
    taps.setflags(write=False)  # shared by every call
    return np.asarray(taps)
