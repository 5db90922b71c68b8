"""Each measure of signal quality answers to its own fault, and to no other."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from vizecg.labels import LEADS
from vizecg.signals import QUALITY_FLAGS, drift_uv, lead_residual_uv, local_noise_uv, plateau_s, quality

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


def flags(signals_uv, *, sampling_hz=HZ):
    return quality(np.rint(signals_uv).astype(np.int16), sampling_hz=sampling_hz).flags


def seconds(signals_uv, sampling_hz):
    return np.arange(signals_uv.shape[1]) / sampling_hz


def flat(signals_uv, _hz):
    """An electrode fell off: its lead rests."""
    signals_uv[LEADS.index("V2")] = 3.0


def clipped(signals_uv, hz):
    """A converter at the end of its range."""
    v4 = LEADS.index("V4")
    signals_uv[v4] = np.clip(signals_uv[v4] + 2500 * np.sin(2 * np.pi * 1.2 * seconds(signals_uv, hz)), -1500, 1500)


def noisy(signals_uv, _hz):
    """A trembling muscle under an electrode, from the first second to the last."""
    signals_uv[LEADS.index("V1")] += np.random.default_rng(1).normal(0, 60, signals_uv.shape[1])


def burst(signals_uv, hz):
    """The patient moves for a second."""
    moving = np.floor(seconds(signals_uv, hz)) == 6
    signals_uv[LEADS.index("V3")] += moving * np.random.default_rng(2).normal(0, 150, signals_uv.shape[1])


def hum(signals_uv, hz):
    """Mains of 60 Hz that nothing has filtered; at 100 Hz they lie folded at 40 Hz."""
    signals_uv[LEADS.index("V6")] += 90 * np.sin(2 * np.pi * 60 * seconds(signals_uv, hz) + 0.3)


def drifting(signals_uv, hz):
    """A cable that is pulled, slowly."""
    signals_uv[LEADS.index("V5")] += 900 * np.sin(2 * np.pi * 0.15 * seconds(signals_uv, hz))


def too_tall(signals_uv, hz):
    """An artefact: one complex of 12 mV."""
    signals_uv[LEADS.index("V2")] += 12_000 * np.exp(-(((seconds(signals_uv, hz) - 4.1) / 0.02) ** 2))


def arms_exchanged(signals_uv, _hz):
    """Right and left arm swapped: I turns over, II and III change places, so do aVR and aVL.

    Wilson's terminal is the mean of all three limbs, so the chest leads stay.
    """
    i, ii, iii, avr, avl = signals_uv[:5].copy()
    signals_uv[:5] = -i, iii, ii, avl, avr


FAULTS = {
    "flat_lead": flat,
    "clipped": clipped,
    "noisy": noisy,
    "burst_noise": burst,
    "mains_hum": hum,
    "drifting": drifting,
    "implausible_amplitude": too_tall,
    "arm_reversal_suspected": arms_exchanged,
}


def test_every_flag_has_a_fault():
    assert tuple(FAULTS) == QUALITY_FLAGS


@pytest.mark.parametrize("sampling_hz", [100, 250, 500, 1000])
def test_a_clean_record_has_no_flag(sampling_hz):
    assert flags(heart(sampling_hz=sampling_hz), sampling_hz=sampling_hz) == ()


@pytest.mark.parametrize("sampling_hz", [100, 250, 500, 1000])
@pytest.mark.parametrize("flag", QUALITY_FLAGS)
def test_each_fault_raises_its_own_flag_and_no_other(flag, sampling_hz):
    signals_uv = heart(sampling_hz=sampling_hz)
    FAULTS[flag](signals_uv, sampling_hz)
    assert flags(signals_uv, sampling_hz=sampling_hz) == (flag,)


@pytest.mark.parametrize("mains_hz", [50, 60])
def test_hum_of_either_mains_is_measured_by_its_amplitude(mains_hz):
    signals_uv = heart(sampling_hz=500)
    signals_uv[3] += 40 * np.sin(2 * np.pi * mains_hz * np.arange(5000) / 500)
    found = quality(np.rint(signals_uv).astype(np.int16), sampling_hz=500)
    assert found.hum_uv[3] == pytest.approx(40, rel=0.03)
    assert found.flags == ("mains_hum",)


def test_ten_millimetres_of_still_line_are_no_heart():
    assert "implausible_amplitude" in flags(0.1 * heart())


@pytest.mark.parametrize("sampling_hz", [100, 500])
@pytest.mark.parametrize("flag", QUALITY_FLAGS)
@pytest.mark.real
def test_a_fault_is_found_in_real_records(real_ptbxl, flag, sampling_hz):
    """Twenty sound records, each damaged: every one is flagged, and was not before."""
    folder, ending = (real_ptbxl / f"records{sampling_hz}", {100: "_lr", 500: "_hr"}[sampling_hz])
    sound = []
    for path in sorted(folder.rglob(f"*{ending}.dat")):
        signals_uv = np.fromfile(path, "<i2").reshape(-1, 12).T.astype(np.float64)
        if not flags(signals_uv, sampling_hz=sampling_hz):
            sound.append(signals_uv)
        if len(sound) == 20:
            break
    assert len(sound) == 20
    found = 0
    for signals_uv in sound:
        FAULTS[flag](signals_uv, sampling_hz)
        found += flag in flags(signals_uv, sampling_hz=sampling_hz)
    # A heart that lies across has little in lead I, and exchanged arms then turn over little.
    assert found >= (15 if flag == "arm_reversal_suspected" else 20), found


@pytest.mark.real
def test_few_real_records_are_flagged_and_rightly(real_ptbxl):
    """PTB-XL's technicians noted static noise, bursts and drift: what they noted scores higher here."""
    table = pd.read_csv(real_ptbxl / "ptbxl_database.csv")
    table = table[table["strat_fold"] <= 9]
    signals = [np.fromfile(real_ptbxl / f"{name}.dat", "<i2").reshape(-1, 12).T for name in table["filename_lr"]]
    found = [quality(one, sampling_hz=100) for one in signals]
    shares = {flag: np.mean([flag in one.flags for one in found]) for flag in QUALITY_FLAGS}
    assert all(share < 0.06 for flag, share in shares.items() if flag != "drifting"), shares
    assert shares["drifting"] < 0.25
    for column, measure in (
        ("static_noise", [one.noise_uv.max() for one in found]),
        ("burst_noise", [(one.burst_uv - one.noise_uv).max() for one in found]),
        ("baseline_drift", [one.drift_uv.max() for one in found]),
    ):
        assert roc_auc_score(table[column].notna(), measure) > 0.7, column


def test_a_heart_on_the_right_side_is_no_electrode_fault():
    dextrocardia = heart() * np.array([-1, 0.3, 1, 1, 1, 1, 1, 1, 0.8, 0.3, -0.3, -0.5])[:, None]
    assert "arm_reversal_suspected" not in flags(dextrocardia)


def test_leads_of_one_heart_leave_no_residual_and_exchanged_arms_none_either():
    assert lead_residual_uv(heart()) == pytest.approx(0, abs=1e-9)
    exchanged = heart()
    arms_exchanged(exchanged, HZ)
    assert lead_residual_uv(exchanged) == pytest.approx(0, abs=1e-9)


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


@pytest.mark.parametrize("sampling_hz", [100, 250, 500])
@pytest.mark.parametrize("deviation_uv", [10.0, 40.0, 100.0])
def test_white_noise_is_measured_by_its_standard_deviation_at_any_rate(deviation_uv, sampling_hz):
    noise = np.random.default_rng(3).normal(0, deviation_uv, (12, 10 * sampling_hz))
    found = np.median(local_noise_uv(noise, sampling_hz=sampling_hz), axis=1)
    assert found == pytest.approx(np.full(12, deviation_uv), rel=0.15)


@pytest.mark.parametrize("sampling_hz", [100, 500])
def test_drift_is_measured_in_microvolts_at_any_rate(sampling_hz):
    ramp = np.tile(np.linspace(0, 900, 10 * sampling_hz), (12, 1))  # 10 s; the running mean loses 0.5 s at each end
    assert drift_uv(ramp, sampling_hz=sampling_hz) == pytest.approx(np.full(12, 810), rel=0.01)


def test_a_plateau_is_measured_in_seconds_and_a_resting_line_is_none():
    signal = np.zeros((1, 1000))
    signal[0, 100:107] = 1500  # 7 samples of 10 ms at the ceiling; at rest it lies at its minimum for seconds
    assert plateau_s(signal, sampling_hz=HZ) == pytest.approx([0.07])
