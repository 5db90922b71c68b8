"""A signal at another rate: band-limited, without delay, without a step at its ends."""

from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_LARGEST_FACTOR: Final = 1000
"""Rates that are no simple ratio are met to a thousandth: 10 ms in 10 s at most."""
_HALF_LENGTH: Final = 32
"""Of the filter, in samples of the lower rate: its transition is a tenth of the band."""
_KAISER_BETA: Final = 8.0
"""80 dB of what would be folded back is left out (Kaiser's formula: beta = 0.1102 (A - 8.7))."""
_CUT: Final = 0.92
"""Half amplitude, as a share of the lower of the two Nyquist frequencies; 46 Hz at 100 Hz."""


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
    from scipy.signal import firwin, resample_poly

    ratio = Fraction(to_hz / from_hz).limit_denominator(_LARGEST_FACTOR)
    if ratio == 1:
        return np.array(signal, dtype=np.float64)
    slower = max(ratio.numerator, ratio.denominator)
    window = firwin(2 * _HALF_LENGTH * slower + 1, _CUT / slower, window=("kaiser", _KAISER_BETA))
    # Turned about its last value at both ends, the signal and its slope go on: no step for the filter to ring at.
    up, down, ends = ratio.numerator, ratio.denominator, "antireflect"
    resampled = resample_poly(signal.astype(np.float64), up, down, axis=-1, window=window, padtype=ends)  # type: ignore[call-overload]
    return np.asarray(resampled)
