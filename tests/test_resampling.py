"""A resampled signal is the same signal: no wave smaller, none that was not there, nothing moved."""

import numpy as np
import pytest

from vizecg.recordings.resampling import resample

RATES_HZ = [250, 257, 360, 400, 500, 1000]
SECONDS = 10
MIDDLE = slice(100, -100)


def sine(frequency_hz, *, rate_hz, phase=0.4):
    return np.sin(2 * np.pi * frequency_hz * np.arange(SECONDS * rate_hz) / rate_hz + phase)[None]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("frequency_hz", [0.5, 5, 20, 35])
def test_what_the_new_rate_can_carry_stays_and_stays_in_place(rate_hz, frequency_hz):
    found = resample(sine(frequency_hz, rate_hz=rate_hz), from_hz=rate_hz, to_hz=100)
    assert found.shape == (1, SECONDS * 100)
    np.testing.assert_allclose(found[:, MIDDLE], sine(frequency_hz, rate_hz=100)[:, MIDDLE], atol=0.005)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("frequency_hz", [60, 70, 110])
def test_what_it_cannot_carry_is_left_out_and_not_folded_back(rate_hz, frequency_hz):
    found = resample(sine(frequency_hz, rate_hz=rate_hz), from_hz=rate_hz, to_hz=100)
    assert np.abs(found[:, MIDDLE]).max() < 0.01  # 40 dB


@pytest.mark.parametrize("rate_hz", [100, 250, 257])
def test_going_up_adds_nothing(rate_hz):
    found = resample(sine(20, rate_hz=rate_hz), from_hz=rate_hz, to_hz=500)
    assert found.shape == (1, SECONDS * 500)
    np.testing.assert_allclose(found[:, 500:-500], sine(20, rate_hz=500)[:, 500:-500], atol=0.005)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_resting_and_a_rising_line_have_no_step_at_their_ends(rate_hz):
    rising = np.linspace(-1, 1, SECONDS * rate_hz, endpoint=False)
    found = resample(np.stack([np.full_like(rising, 3.0), rising]), from_hz=rate_hz, to_hz=100)
    np.testing.assert_allclose(found[0], 3.0, atol=1e-4)
    np.testing.assert_allclose(found[1], np.linspace(-1, 1, SECONDS * 100, endpoint=False), atol=1e-4)


def test_the_same_rate_changes_nothing():
    signal = np.random.default_rng(1).normal(size=(12, 1000))
    np.testing.assert_array_equal(resample(signal, from_hz=100, to_hz=100), signal)


@pytest.mark.real
def test_real_records_at_500_hz_become_those_that_ptb_xl_publishes_at_100_hz(real_ptbxl):
    """PTB-XL's authors made them by a filter of their own, so they are alike and not equal."""
    from vizecg.recordings.single import read_wfdb

    fine = sorted((real_ptbxl / "records500").rglob("*.hea"))
    assert len(fine) == 48
    for path in fine:
        published = real_ptbxl / "records100" / path.parent.name / path.name.replace("_hr", "_lr")
        expected = read_wfdb(published).signal_mv
        found = resample(read_wfdb(path).signal_mv, from_hz=500, to_hz=100)
        for lead in range(12):
            if np.ptp(expected[lead]) > 0.1:
                assert np.corrcoef(found[lead, MIDDLE], expected[lead, MIDDLE])[0, 1] > 0.98, (path.name, lead)
        assert np.ptp(found, axis=1).max() > 0.9 * np.ptp(expected, axis=1).max()
