"""A resampled signal is the same signal: no wave smaller, none that was not there, nothing moved."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vizecg.recordings.resampling import resample
from vizecg.recordings.single import read_wfdb

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


@given(rate_hz=st.floats(100, 1000), to_hz=st.sampled_from([100, 500]))
@settings(max_examples=20, deadline=None)
def test_ten_seconds_at_any_rate_are_ten_seconds_of_the_set(rate_hz, to_hz):
    ten_seconds = np.ones((1, math.ceil(rate_hz * SECONDS)))
    found = resample(ten_seconds, from_hz=rate_hz, to_hz=to_hz)
    assert SECONDS * to_hz <= found.shape[1] <= SECONDS * to_hz + math.ceil(to_hz / rate_hz)
    np.testing.assert_allclose(found, 1, atol=1e-4)


@pytest.mark.real
def test_real_records_at_500_hz_become_those_that_ptb_xl_publishes_at_100_hz(real_ptbxl):
    """PTB-XL's authors made them by a filter of their own: the same waves, and as tall, within their band.

    Theirs come 1.25 ms early (half a sample at the 400 Hz that the recorders had), so the
    comparison is of shapes and heights; where the moment matters, sines tell (above).
    """
    fine = sorted((real_ptbxl / "records500").rglob("*.hea"))
    assert len(fine) == 48
    for path in fine:
        published = real_ptbxl / "records100" / path.parent.name / path.name.replace("_hr", "_lr")
        expected = read_wfdb(published).signal_mv[:, MIDDLE]
        found = resample(read_wfdb(path).signal_mv, from_hz=500, to_hz=100)[:, MIDDLE]
        alive = np.ptp(expected, axis=1) > 0.1
        correlation = [np.corrcoef(*pair)[0, 1] for pair in zip(found[alive], expected[alive], strict=True)]
        assert min(correlation) > 0.985, path.name
        spectra = [np.abs(np.fft.rfft(signal[alive])[:, 16:200]) for signal in (found, expected)]  # 2 to 25 Hz
        np.testing.assert_allclose(*[np.linalg.norm(one, axis=1) for one in spectra], rtol=0.005)


@pytest.mark.real
def test_real_qrs_complexes_stay_as_tall_as_100_hz_lets_them(real_ptbxl):
    for path in sorted((real_ptbxl / "records500").rglob("*.hea")):
        fine = read_wfdb(path).signal_mv
        kept = np.ptp(resample(fine, from_hz=500, to_hz=100), axis=1) / np.ptp(fine, axis=1)
        assert kept.max() > 0.95, path.name
        assert np.median(kept) > 0.8, path.name
