"""From a heart to what a recorder stores: twelve leads of whole microvolts, at 500 and at 100 Hz."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from vizecg.simulate.disease import fall_ill, quicken
from vizecg.simulate.heart import DURATION_S, MARGIN_S, SAMPLING_HZ, Beating, Floats, beat, healthy_heart
from vizecg.simulate.noise import NoiseLevel, electrode_noise

LOW_SAMPLING_HZ = 100
_STEP = SAMPLING_HZ // LOW_SAMPLING_HZ
_MARGIN = round(MARGIN_S * SAMPLING_HZ)
_SAMPLES = round(DURATION_S * SAMPLING_HZ)

Microvolts = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One record, leads I II III aVR aVL aVF V1 to V6, one microvolt per unit."""

    high_uv: Microvolts
    """(12, 5000) at 500 Hz."""
    low_uv: Microvolts
    """(12, 1000) at 100 Hz, from the same potential."""
    r_peaks_s: Floats
    """(beats,) when the heart beat; no recorder knows this."""


def record(
    statements: Collection[str],
    *,
    rhythm: str = "SR",
    age_years: float = 60.0,
    severity: float = 1.0,
    noise: NoiseLevel | None = None,
    patient: tuple[int, ...],
    visit: tuple[int, ...],
) -> Recording:
    """Record one patient on one day.

    Args:
        statements: SCP codes; those in `disease.EFFECTS` shape the waves.
        rhythm: SR, SBRAD, STACH, SARRH or AFIB.
        age_years: turns the axis left.
        severity: 1 is the textbook's picture, 0 none.
        noise: none leaves the pure potential of the heart.
        patient: seed of the chest, the heart and how disease shows in them; the same on every visit.
        visit: seed of what differs from day to day: rhythm, breath, noise.
    """
    anatomy, illness = (np.random.default_rng([*patient, part]) for part in (0, 1))
    beating, electrodes = (np.random.default_rng([*visit, part]) for part in (0, 1))
    heart = healthy_heart(age_years=age_years, rng=anatomy)
    fall_ill(heart, statements=statements, severity=severity, rng=illness)
    quicken(heart, rhythm=rhythm, rng=beating)
    beats = beat(heart, rng=beating)
    leads_mv = beats.leads_mv
    if noise is not None:
        leads_mv = leads_mv + electrode_noise(samples=leads_mv.shape[1], level=noise, rng=electrodes)
    return _digitise(leads_mv, beats)


def _digitise(leads_mv: Floats, beats: Beating) -> Recording:
    low_mv = signal.upfirdn(_anti_alias(), leads_mv, down=_STEP, axis=1)
    # Output j of upfirdn looks back from input 5j; the filter's delay of half its length is taken off here.
    first = (_MARGIN + _half_length()) // _STEP
    low_mv = low_mv[:, first : first + _SAMPLES // _STEP]
    return Recording(
        high_uv=twelve_leads(leads_mv[:, _MARGIN : _MARGIN + _SAMPLES]),
        low_uv=twelve_leads(low_mv),
        r_peaks_s=beats.r_peaks_s,
    )


def _half_length() -> int:
    return 75


@cache
def _anti_alias() -> Floats:
    """Linear-phase low-pass: flat to 38 Hz, 60 dB down from 50 Hz, half of the lower rate."""
    taps: Floats = signal.firwin(2 * _half_length() + 1, 44.0, window=("kaiser", 5.65), fs=SAMPLING_HZ)
    return taps


def twelve_leads(leads_mv: Floats) -> Microvolts:
    """Round the eight independent leads to microvolts and derive the other four from the rounded.

    III = II - I is exact; Goldberger's leads divide by two and are off by at most half a microvolt.

    Args:
        leads_mv: (8, samples) I, II, V1 to V6.

    Returns:
        (12, samples) I II III aVR aVL aVF V1 to V6.
    """
    # Limb leads are differences of two others, so half of int16's reach keeps all twelve inside it.
    whole = np.clip(np.rint(leads_mv * 1000), -16000, 16000).astype(np.int16)
    one, two = whole[0], whole[1]
    augmented = [np.rint(lead).astype(np.int16) for lead in (-(one + two) / 2, one - two / 2, two - one / 2)]
    return np.vstack([one[None], two[None], (two - one)[None], *(lead[None] for lead in augmented), whole[2:]])
