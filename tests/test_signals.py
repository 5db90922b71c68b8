"""Each measure of signal quality answers to its own fault, and to no other."""

import numpy as np
import pytest

from vizecg.labels import LEADS
from vizecg.signals import QUALITY_FLAGS, drift_uv, lead_residual_uv, noise_uv, plateau_s, quality

HZ = 100


def heart(*, sampling_hz=HZ, seconds=10):
    """A regular beat, as upright in I, II and V3-V6 as a normal one: P, QRS and T are Gaussian bumps.

    Limb leads follow from I and II by Einthoven and Goldberger.
    """
    phase_s = np.arange(seconds * sampling_hz) / sampling_hz % 0.8
    beat = sum(
        height_uv * np.exp(-(((phase_s - at_s) / width_s) ** 2))
        for height_uv, at_s, width_s in ((120, 0.15, 0.025), (-80, 0.27, 0.012), (1000, 0.30, 0.014), (250, 0.52, 0.05))
    )
    i, ii = 0.7 * beat, beat
    chest = [gain * beat for gain in (-0.6, 0.4, 0.9, 1.3, 1.2, 0.9)]
    return np.array([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2, *chest])


def flags(signals_uv):
    return quality(np.rint(signals_uv).astype(np.int16), sampling_hz=HZ).flags


def flat(signals_uv):
    signals_uv[LEADS.index("V2")] = 3.0
    return signals_uv


def clipped(signals_uv):
    v4 = LEADS.index("V4")
    slow = 2500 * np.sin(2 * np.pi * 1.2 * np.arange(signals_uv.shape[1]) / HZ)
    signals_uv[v4] = np.clip(signals_uv[v4] + slow, -1500, 1500)
    return signals_uv


def noisy(signals_uv):
    signals_uv[LEADS.index("V1")] += np.random.default_rng(1).normal(0, 60, signals_uv.shape[1])
    return signals_uv


def drifting(signals_uv):
    signals_uv[LEADS.index("V5")] += 900 * np.sin(2 * np.pi * 0.15 * np.arange(signals_uv.shape[1]) / HZ)
    return signals_uv


def arms_exchanged(signals_uv):
    """Right and left arm swapped: I turns over, II and III change places, so do aVR and aVL."""
    i, ii, iii, avr, avl, avf = signals_uv[:6]
    return np.array([-i, iii, ii, avl, avr, avf, *signals_uv[6:]])


FAULTS = dict(zip(QUALITY_FLAGS, (flat, clipped, noisy, drifting, arms_exchanged), strict=True))


def test_a_clean_record_has_no_flag():
    assert flags(heart()) == ()


@pytest.mark.parametrize("flag", QUALITY_FLAGS)
def test_each_fault_raises_its_own_flag_and_no_other(flag):
    assert flags(FAULTS[flag](heart())) == (flag,)


def test_a_heart_on_the_right_side_is_no_electrode_fault():
    dextrocardia = heart() * np.array([-1, 0.3, 1, 1, 1, 1, 1, 1, 0.8, 0.3, -0.3, -0.5])[:, None]
    assert "arm_reversal_suspected" not in flags(dextrocardia)


def test_leads_of_one_heart_leave_no_residual_and_exchanged_arms_none_either():
    assert lead_residual_uv(heart()) == pytest.approx(0, abs=1e-9)
    assert lead_residual_uv(arms_exchanged(heart())) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("lead", LEADS[:6])
def test_one_wrong_sample_in_any_limb_lead_shows_in_full(lead):
    signals_uv = heart()
    signals_uv[LEADS.index(lead), 321] += 2600
    # I and II stand in Goldberger's sums with half their weight, in Einthoven's with all of it.
    assert lead_residual_uv(signals_uv) == pytest.approx(2600)


def test_chest_leads_are_free_of_the_limb_leads():
    signals_uv = heart()
    signals_uv[6:] = 0
    assert lead_residual_uv(signals_uv) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("deviation_uv", [10.0, 40.0, 100.0])
def test_white_noise_is_measured_by_its_standard_deviation(deviation_uv):
    noise = np.random.default_rng(3).normal(0, deviation_uv, (12, 5000))
    assert noise_uv(noise) == pytest.approx(np.full(12, deviation_uv), rel=0.1)


@pytest.mark.parametrize("sampling_hz", [100, 500])
def test_drift_is_measured_in_microvolts_at_any_rate(sampling_hz):
    ramp = np.tile(np.linspace(0, 900, 10 * sampling_hz), (12, 1))  # 10 s; the running mean loses 0.5 s at each end
    assert drift_uv(ramp, sampling_hz=sampling_hz) == pytest.approx(np.full(12, 810), rel=0.01)


def test_a_plateau_is_measured_in_seconds_and_a_resting_line_is_none():
    signal = np.zeros((1, 1000))
    signal[0, 100:107] = 1500  # 7 samples of 10 ms at the ceiling; at rest it lies at its minimum for seconds
    assert plateau_s(signal, sampling_hz=HZ) == pytest.approx([0.07])
