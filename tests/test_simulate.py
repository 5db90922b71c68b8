import csv
import hashlib
import importlib
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import signal

from vizecg.errors import InputError
from vizecg.executors import open_executor
from vizecg.labels import TASKS
from vizecg.simulate import write_database
from vizecg.simulate.cohort import CLASS_MIX, CODES_OF_CLASS, case, folds, patient_of_each_record
from vizecg.simulate.disease import EFFECTS, fall_ill, quicken
from vizecg.simulate.heart import Heart, Wave, healthy_heart
from vizecg.simulate.noise import noise_level
from vizecg.simulate.recording import record
from vizecg.statements import STATEMENTS

I, II, III, AVR, AVL, AVF, V1, V2, V3, V4, V5, V6 = range(12)  # noqa: E741 (that is the lead's name)
PATIENTS = range(24)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "db"
    write_database(out, records=24, seed=3)
    return out


def rows_of(database, name="ptbxl_database.csv"):
    with (database / name).open(newline="") as opened:
        return list(csv.DictReader(opened))


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pure(*codes, patient=0, **options):
    """One patient at textbook severity, without noise."""
    return record(codes, patient=(patient, 1), visit=(patient, 2), **options)


def typical_beat(recording):
    """(12, 600) mV: the median beat from 0.5 s before R to 0.7 s after, level just before QRS at 0."""
    peaks = [round(r_s * 500) for r_s in recording.r_peaks_s if 0.5 < r_s < 9.3]
    beats = np.stack([recording.high_uv[:, peak - 250 : peak + 350] for peak in peaks]) / 1000
    beat = np.median(beats, axis=0)
    return beat - beat[:, 250 - 30 : 250 - 25].mean(axis=1, keepdims=True)


def qrs_ms(beat):
    """Onset to end of QRS by the spatial velocity of the potential, as readers' programs measure it."""
    speed = np.abs(np.gradient(beat, axis=1)).sum(axis=0)
    window = slice(250 - 45, 250 + 70)
    fast = np.flatnonzero(speed[window] > 0.09 * speed[window].max())
    return (fast[-1] - fast[0] + 1) * 2


def pr_ms(beat):
    """P onset to QRS onset, from the size of the potential over all leads."""
    size = np.sqrt((beat**2).mean(axis=0))
    p_peak = 85 + int(np.argmax(size[85 : 250 - 35]))  # 330 to 70 ms before R
    onset = p_peak - int(np.argmax(size[:p_peak][::-1] < 0.15 * size[p_peak]))
    speed = np.abs(np.gradient(beat, axis=1)).sum(axis=0)
    start = 250 - 25 + int(np.argmax(speed[250 - 25 : 250] > 0.09 * speed[200:320].max()))
    return (start - onset) * 2


def axis_degrees(beat):
    area = beat[:, 230:300].sum(axis=1)
    return np.rad2deg(np.arctan2(area[AVF] * 2 / np.sqrt(3), area[I]))


def sokolow_lyon_mv(beat):
    qrs = beat[:, 225:310]
    return -qrs[V1].min() + max(qrs[V5].max(), qrs[V6].max())


def q_mv(beat):
    """(12,) depth of Q: how far QRS goes down before it ever goes up; 0 where it starts upwards."""
    depths = []
    for lead in beat[:, 250 - 30 : 250 + 40]:
        up = np.flatnonzero(lead > 0.05)
        depths.append(max(-lead[: up[0] if up.size else None].min(initial=0), 0))
    return np.array(depths)


def t_mv(beat):
    """Height of T, below 0 where it is turned over."""
    t = beat[:, 250 + 80 : 250 + 210]
    return np.where(t.max(axis=1) > -t.min(axis=1), t.max(axis=1), t.min(axis=1))


def beats_of(*codes):
    return [typical_beat(pure(*codes, patient=patient)) for patient in PATIENTS]


# The folder


@pytest.fixture(scope="module")
def wfdb():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb 4.3.1 uses what pandas 3.1 deprecates, at import
        return importlib.import_module("wfdb")


def test_wfdb_reads_every_record_at_both_rates_with_its_checksums(database, wfdb):
    for row in rows_of(database):
        for name, hz, samples in ((row["filename_lr"], 100, 1000), (row["filename_hr"], 500, 5000)):
            got = wfdb.rdrecord(database / name, physical=False)
            assert (got.fs, got.sig_len, got.n_sig) == (hz, samples, 12)
            assert got.sig_name == ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]
            assert (set(got.fmt), set(got.units), set(got.adc_gain)) == ({"16"}, {"mV"}, {1000.0})
            assert got.init_value == got.d_signal[0].tolist()
            assert [int(total) % 65536 for total in got.checksum] == [
                int(total) % 65536 for total in got.calc_checksum()
            ]


def test_headers_are_written_as_in_ptb_xl(database):
    lines = (database / "records100/00000/00001_lr.hea").read_text().splitlines()
    assert lines[0] == "00001_lr 12 100 1000"
    assert lines[1].startswith("00001_lr.dat 16 1000.0(0)/mV 16 0 ")
    assert lines[4].endswith(" 0 AVR")


def test_limb_leads_obey_einthoven_and_goldberger_to_the_rounding(database):
    for path in sorted(database.rglob("*.dat")):
        lead = np.fromfile(path, "<i2").reshape(-1, 12).T.astype(float)
        assert np.array_equal(lead[III], lead[II] - lead[I])
        assert np.abs(lead[AVR] + (lead[I] + lead[II]) / 2).max() <= 0.5
        assert np.abs(lead[AVL] - (lead[I] - lead[III]) / 2).max() <= 0.5
        assert np.abs(lead[AVF] - (lead[II] + lead[III]) / 2).max() <= 0.5


def test_sha256sums_name_every_other_file_and_hold(database):
    listed = dict(reversed(line.split(" ", 1)) for line in (database / "SHA256SUMS.txt").read_text().splitlines())
    files = files_of(database)
    files.pop("SHA256SUMS.txt")
    assert listed == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_everything_says_that_it_is_simulated(database):
    assert "no medical meaning" in (database / "LICENSE.txt").read_text()
    assert all(row["report"].startswith("simulated: ") for row in rows_of(database))


@pytest.mark.real
def test_tables_have_the_columns_of_real_ptb_xl(database, real_ptbxl):
    for name in ("ptbxl_database.csv", "scp_statements.csv"):
        header = (real_ptbxl / name).read_text().splitlines()[0]
        assert (database / name).read_text().splitlines()[0] == header


@pytest.mark.real
def test_statements_mean_what_they_mean_in_real_ptb_xl(database, real_ptbxl):
    real = {row[""]: row for row in rows_of(real_ptbxl, "scp_statements.csv")}
    for row in rows_of(database, "scp_statements.csv"):
        for column in ("diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"):
            assert row[column] == real[row[""]][column], (row[""], column)


def test_every_code_that_a_record_can_carry_has_a_row():
    rows = {statement.code for statement in STATEMENTS}
    cases = [case(seed=0, ecg_id=number, patient_id=number) for number in range(1, 500)]
    assert {code for one in cases for code in one.codes} <= rows
    assert {code for choice in CODES_OF_CLASS.values() for codes, _ in choice for code in codes} <= rows
    assert set(EFFECTS) <= rows


# Determinism


def test_same_seed_gives_the_same_bytes_wherever_the_work_is_done(database, tmp_path):
    with ThreadPoolExecutor(3) as threads:
        write_database(tmp_path / "threads", records=24, seed=3, executor=threads)
    assert files_of(tmp_path / "threads") == files_of(database)


@pytest.mark.slow
def test_worker_processes_write_the_same_bytes(database, tmp_path):
    with open_executor("processes", workers=2) as processes:
        write_database(tmp_path / "processes", records=24, seed=3, executor=processes)
    assert files_of(tmp_path / "processes") == files_of(database)


def test_a_record_is_the_same_in_a_small_set_and_in_a_large_one(database, tmp_path):
    write_database(tmp_path / "small", records=3, seed=3)
    small, large = files_of(tmp_path / "small"), files_of(database)
    records = [name for name in small if name.endswith((".dat", ".hea"))]
    assert len(records) == 12
    assert all(small[name] == large[name] for name in records)
    for few, many in zip(rows_of(tmp_path / "small"), rows_of(database), strict=False):
        assert few | {"strat_fold": ""} == many | {"strat_fold": ""}


def test_another_seed_gives_other_patients(database, tmp_path):
    write_database(tmp_path / "other", records=3, seed=4, both_rates=False)
    name = "records100/00000/00001_lr.dat"
    assert (tmp_path / "other" / name).read_bytes() != (database / name).read_bytes()


def test_one_rate_leaves_the_500_hz_folder_out_and_changes_nothing_else(database, tmp_path):
    write_database(tmp_path / "one", records=24, seed=3, both_rates=False)
    one = files_of(tmp_path / "one")
    assert not any(name.startswith("records500") for name in one)
    kept = {name: content for name, content in files_of(database).items() if not name.startswith("records500")}
    one.pop("SHA256SUMS.txt")
    kept.pop("SHA256SUMS.txt")
    assert one == kept


# Patients, classes, folds


@pytest.fixture(scope="module")
def thousand():
    patients = patient_of_each_record(records=1000, seed=7)
    return [case(seed=7, ecg_id=number, patient_id=int(patient)) for number, patient in enumerate(patients, start=1)]


def test_classes_are_as_frequent_as_in_ptb_xl(thousand):
    # Wagner et al. 2020: NORM 9514, MI 5469, STTC 5235, CD 4898, HYP 2649 of 21,799 records.
    ptbxl = {"NORM": 0.436, "MI": 0.251, "STTC": 0.240, "CD": 0.225, "HYP": 0.122}
    found = Counter(name for one in thousand for name in one.classes)
    for name, share in ptbxl.items():
        assert found[name] / 1000 == pytest.approx(share, abs=0.025), name
    assert 5 <= sum(not one.classes for one in thousand) <= 25
    assert sum(share for share, _ in CLASS_MIX) == pytest.approx(1)


def test_a_case_has_the_classes_that_its_statements_say(thousand):
    for one in thousand:
        assert set(TASKS["superdiagnostic"].classes_of(one.codes)) == set(one.classes)


def test_some_patients_come_again_and_bring_the_same_diagnoses(thousand):
    visits = Counter(one.patient_id for one in thousand)
    assert 0.08 < sum(count > 1 for count in visits.values()) / len(visits) < 0.25
    for patient in visits:
        assert len({one.classes for one in thousand if one.patient_id == patient}) == 1


@pytest.mark.parametrize("seed", [0, 7, 2026])
def test_folds_share_out_every_class_and_keep_patients_whole(seed):
    patients = patient_of_each_record(records=1000, seed=seed)
    cases = [case(seed=seed, ecg_id=n, patient_id=int(patient)) for n, patient in enumerate(patients, start=1)]
    fold_of = folds(cases, seed=seed)  # by patient, so none can be in two
    assert set(fold_of) == {one.patient_id for one in cases}
    sizes = Counter(fold_of[one.patient_id] for one in cases)
    assert sorted(sizes) == list(range(1, 11))
    assert max(sizes.values()) - min(sizes.values()) <= 6
    for fold in (9, 10):
        found = Counter(name for one in cases if fold_of[one.patient_id] == fold for name in one.classes)
        assert all(found[name] >= 12 for name in TASKS["superdiagnostic"].codes), (fold, found)


def test_a_single_record_has_a_fold_too(tmp_path):
    write_database(tmp_path / "one", records=1, seed=0, both_rates=False)
    (row,) = rows_of(tmp_path / "one")
    assert 1 <= int(row["strat_fold"]) <= 10


def test_ages_above_89_are_hidden_as_in_ptb_xl(tmp_path):
    write_database(tmp_path / "db", records=150, seed=1, both_rates=False)
    ages = {float(row["age"]) for row in rows_of(tmp_path / "db")}
    assert 300 in ages
    assert not any(89 < age < 300 for age in ages)


def test_progress_counts_up_to_the_number_of_records(tmp_path):
    counted = []
    write_database(tmp_path / "db", records=43, seed=0, both_rates=False, progress=counted.append)
    assert counted == sorted(counted)
    assert counted[-1] == 43


# Two rates


def test_both_rates_show_the_same_beats_at_the_same_times():
    recording = pure("NORM", patient=5)
    steep = [np.abs(np.gradient(uv.astype(float), axis=1)).sum(axis=0) for uv in (recording.high_uv, recording.low_uv)]
    for r_s in recording.r_peaks_s[1:-1]:
        centres_s = []
        for speed, hz in zip(steep, (500, 100), strict=True):
            around = np.arange(round((r_s - 0.08) * hz), round((r_s + 0.1) * hz))
            centres_s.append(np.average(around / hz, weights=speed[around] ** 2))
        assert centres_s[0] == pytest.approx(centres_s[1], abs=0.003)


def test_100_hz_is_the_500_hz_signal_band_limited():
    recording = pure("CRBBB", patient=2, noise=noise_level(np.random.default_rng(0)))
    expected = signal.resample_poly(recording.high_uv.astype(float), 1, 5, axis=1, window=("kaiser", 8.0))
    inside = slice(30, -30)
    error = recording.low_uv[:, inside] - expected[:, inside]
    assert np.sqrt((error**2).mean()) < 0.03 * expected[:, inside].std()


def test_frequencies_that_100_hz_cannot_show_do_not_come_back_as_others(monkeypatch):
    def only_a_tone(*, samples, **_):  # 62 Hz would show as 38 Hz
        return np.tile(np.sin(2 * np.pi * 62 * np.arange(samples) / 500), (8, 1))

    quiet = pure("NORM", patient=1)
    monkeypatch.setattr("vizecg.simulate.recording.electrode_noise", only_a_tone)
    loud = pure("NORM", patient=1, noise=noise_level(np.random.default_rng(0)))
    assert np.abs(loud.high_uv[V3] - quiet.high_uv[V3]).max() > 900
    assert np.abs(loud.low_uv[V3] - quiet.low_uv[V3]).max() < 5


# What textbooks promise, on the pure wave at full severity


def share(values, condition):
    return np.mean([bool(condition(value)) for value in values])


def test_a_normal_ecg_is_within_normal_limits():
    beats = beats_of("NORM")
    assert all(60 <= qrs_ms(beat) <= 110 for beat in beats)
    assert 120 <= np.median([pr_ms(beat) for beat in beats]) <= 200
    assert all(-30 <= axis_degrees(beat) <= 100 for beat in beats)
    assert share(beats, lambda beat: sokolow_lyon_mv(beat) < 3.5) > 0.9
    for beat in beats:
        r = beat[:, 225:300].max(axis=1)
        assert r[V1] < r[V4]  # R grows across the chest
        assert beat[AVR, 225:300].min() < -0.15  # aVR sees the heart from behind
        assert (t_mv(beat)[[I, II, V4, V5, V6]] > 0).all()
        assert t_mv(beat)[AVR] < 0


@pytest.mark.real
def test_normal_amplitudes_are_those_of_real_normal_ecgs(real_ptbxl):
    rows = [row for row in rows_of(real_ptbxl) if "'NORM'" in row["scp_codes"]][:150]
    real = [np.fromfile(real_ptbxl / f"{row['filename_lr']}.dat", "<i2").reshape(-1, 12).T for row in rows]
    made = [pure("NORM", patient=patient).low_uv for patient in range(60)]

    def swing_mv(records):  # of QRS and T, whatever the baseline does
        drift = signal.butter(2, 0.7, "high", fs=100, output="sos")
        flat = [signal.sosfiltfilt(drift, record.astype(float), axis=1) for record in records]
        return np.median(
            [np.percentile(lead, 99.5, axis=1) - np.percentile(lead, 0.5, axis=1) for lead in flat], axis=0
        )

    ratio = swing_mv(made) / swing_mv(real)
    assert ((ratio > 0.65) & (ratio < 1.5)).all(), ratio


@pytest.mark.parametrize("code", ["CLBBB", "CRBBB"])
def test_a_complete_bundle_branch_block_lasts_120_ms(code):
    assert all(120 <= qrs_ms(beat) <= 200 for beat in beats_of(code))


def test_right_bundle_branch_block_has_a_second_r_in_v1_and_a_broad_s_in_i_and_v6():
    for beat in beats_of("CRBBB"):
        late = slice(250 + 15, 250 + 45)  # 30 to 90 ms after the first R
        assert beat[V1, late].max() > 0.2
        assert beat[V1, late].max() > beat[V1, 225:250].max()
        assert beat[V6, late].min() < -0.1
        assert beat[I, late].min() < -0.05


def test_left_bundle_branch_block_is_broad_upwards_in_i_and_v6_and_down_in_v1_with_t_opposed():
    for beat in beats_of("CLBBB"):
        assert q_mv(beat)[[I, V6]].max() < 0.05  # the septum is reached from the right: no q
        assert beat[V6, 225:300].max() > 3 * -beat[V6, 225:300].min()
        assert beat[V1, 225:300].min() < -0.3
        assert beat[V1, 225:280].max() < 0.15
    beats = beats_of("CLBBB")
    assert share(beats, lambda beat: t_mv(beat)[V6] < 0 < t_mv(beat)[V1]) > 0.9


def test_an_incomplete_right_block_stays_below_120_ms_with_r_prime():
    beats = beats_of("IRBBB")
    assert all(qrs_ms(beat) < 120 for beat in beats)
    assert share(beats, lambda beat: beat[V1, 262:285].max() > 0.05) > 0.8


def test_slow_conduction_broadens_qrs():
    assert np.median([qrs_ms(beat) for beat in beats_of("IVCD")]) >= 110


def test_first_degree_av_block_has_pr_above_200_ms():
    assert all(pr_ms(beat) > 200 for beat in beats_of("1AVB"))


def test_left_anterior_block_turns_the_axis_beyond_minus_45_degrees():
    for beat in beats_of("LAFB"):
        assert -90 < axis_degrees(beat) < -45
        assert qrs_ms(beat) < 120
        assert beat[III, 225:250].max() > 0.03  # small r before the deep S


def test_left_posterior_block_turns_the_axis_to_the_right():
    assert np.median([axis_degrees(beat) for beat in beats_of("LPFB")]) > 100


def test_left_ventricular_hypertrophy_meets_sokolow_and_lyon():
    assert share(beats_of("LVH"), lambda beat: sokolow_lyon_mv(beat) > 3.5) > 0.8


def test_strain_turns_t_over_where_r_is_tall():
    beats = beats_of("LVH", "ISC_")
    assert share(beats, lambda beat: t_mv(beat)[V6] < 0) > 0.8
    assert share(beats, lambda beat: t_mv(beat)[V5] < 0) > 0.8


def test_right_ventricular_hypertrophy_has_a_tall_r_in_v1_and_a_right_axis():
    for beat in beats_of("RVH"):
        qrs = beat[:, 225:300]
        assert qrs[V1].max() > -qrs[V1].min()
        assert axis_degrees(beat) > 90


@pytest.mark.parametrize(
    ("code", "leads"),
    [
        pytest.param("IMI", (II, III, AVF), id="inferior"),
        pytest.param("ASMI", (V1, V2, V3), id="anteroseptal"),
        pytest.param("AMI", (V2, V3, V4), id="anterior"),
        pytest.param("ALMI", (I, AVL, V3, V4), id="anterolateral"),
        pytest.param("LMI", (I, AVL, V6), id="lateral"),
        pytest.param("ILMI", (II, III, AVF, V6), id="inferolateral"),
    ],
)
def test_an_infarction_leaves_q_waves_where_its_wall_is_seen(code, leads):
    scarred, healthy = (np.array([q_mv(beat) for beat in beats_of(name)]) for name in (code, "NORM"))
    for lead in leads:
        assert np.mean(scarred[:, lead] > 0.1) > 0.8, lead
        assert np.median(scarred[:, lead]) > np.median(healthy[:, lead]) + 0.1


def test_an_inferior_infarction_leaves_the_chest_leads_alone():
    depths = np.array([q_mv(beat) for beat in beats_of("IMI")])
    assert np.mean(depths[:, [V2, V3, V4]] > 0.1) < 0.1


@pytest.mark.parametrize(
    ("code", "leads"),
    [("ISCAL", (V3, V4, I)), ("ISCIN", (II, III, AVF)), ("ISCLA", (I, AVL, V6)), ("ISCAS", (V2, V3))],
)
def test_ischaemia_turns_t_over_where_its_wall_is_seen(code, leads):
    heights = np.array([t_mv(beat) for beat in beats_of(code)])
    assert (np.median(heights[:, leads], axis=0) < -0.03).all()


def test_t_is_flat_where_the_statement_says_so():
    flat, healthy = (np.median([np.abs(t_mv(beat)[V5]) for beat in beats_of(code)]) for code in ("NDT", "NORM"))
    assert flat < 0.4 * healthy


@pytest.mark.parametrize("code", ["NST_", "ISC_", "DIG"])
def test_st_sinks_in_v5(code):
    st = [np.median(beat[V5, 250 + 40 : 250 + 60]) for beat in beats_of(code)]  # 80 to 120 ms after R
    assert np.median(st) < -0.05


def test_long_qt_is_long_by_fridericia():
    def t_end_ms(beat):  # by the tangent of the steepest fall of T in V5
        t = beat[V5, 250 + 60 :]
        steepest = int(np.argmin(np.gradient(t)[: int(np.argmax(t)) + 60]))
        return (60 + steepest - t[steepest] / np.gradient(t)[steepest]) * 2 + 40

    for code, low, high in (("NORM", 350, 450), ("LNGQT", 460, 600)):
        qtc = []
        for patient in PATIENTS:
            recording = pure(code, patient=patient)
            rr_s = np.diff(recording.r_peaks_s).mean()
            qtc.append(t_end_ms(typical_beat(recording)) / np.cbrt(rr_s))
        assert low < np.median(qtc) < high


def test_pre_excitation_has_a_short_pr():
    heart = healthy_heart(age_years=40, rng=np.random.default_rng(0))
    fall_ill(heart, statements=["WPW"], severity=1, rng=np.random.default_rng(0))
    assert heart.pr_s < 0.14
    assert "delta" in heart.waves


@pytest.mark.parametrize(
    ("code", "lead", "sign"), [("LAO/LAE", V1, -1), ("RAO/RAE", II, 1)], ids=["left-deep-in-v1", "right-tall-in-ii"]
)
def test_a_large_atrium_shows_in_p(code, lead, sign):
    p = np.array([(sign * beat[lead, 250 - 100 : 250 - 35]).max() for beat in beats_of(code)])
    healthy = np.array([(sign * beat[lead, 250 - 100 : 250 - 35]).max() for beat in beats_of("NORM")])
    assert np.median(p) > np.median(healthy) + 0.04


# Rhythm


def rates_per_minute(rhythm):
    return [60 / np.diff(pure("NORM", patient=patient, rhythm=rhythm).r_peaks_s).mean() for patient in PATIENTS]


@pytest.mark.parametrize(
    ("rhythm", "low", "high"), [("SBRAD", 40, 62), ("SR", 56, 104), ("STACH", 98, 140), ("SARRH", 50, 110)]
)
def test_a_rhythm_has_the_rate_of_its_name(rhythm, low, high):
    assert all(low <= rate <= high for rate in rates_per_minute(rhythm))


def test_atrial_fibrillation_is_irregular_and_has_no_p():
    fibrillating = [pure("NDT", patient=patient, rhythm="AFIB") for patient in PATIENTS]
    sinus = [pure("NDT", patient=patient) for patient in PATIENTS]

    def irregularity(recordings):
        return [np.std(np.diff(one.r_peaks_s)) / np.mean(np.diff(one.r_peaks_s)) for one in recordings]

    def p_mv(recordings):  # what survives averaging in II before QRS
        return [np.ptp(typical_beat(one)[II, 250 - 90 : 250 - 30]) for one in recordings]

    assert min(irregularity(fibrillating)) > 0.08
    assert max(irregularity(sinus)) < 0.12
    assert np.median(p_mv(fibrillating)) < 0.6 * np.median(p_mv(sinus))


def test_a_faster_heart_shortens_qt_but_not_qrs():
    slow, fast = (typical_beat(pure("NORM", patient=4, rhythm=rhythm)) for rhythm in ("SBRAD", "STACH"))
    assert abs(qrs_ms(slow) - qrs_ms(fast)) <= 4
    t_peaks = [np.argmax(beat[V5, 250 + 60 : 250 + 210]) for beat in (slow, fast)]
    assert t_peaks[1] < t_peaks[0] - 15


def test_severity_0_is_healthy_and_1_is_not():
    healthy, none, full = (
        typical_beat(pure(code, patient=3, severity=severity))
        for code, severity in (("NORM", 1), ("IMI", 0), ("IMI", 1))
    )
    assert np.abs(none - healthy).max() < 0.02
    assert np.abs(full - healthy).max() > 0.3


# Refusals


@pytest.mark.parametrize("records", [0, -3, 100_000])
def test_a_number_of_records_that_cannot_be_is_refused(tmp_path, records):
    with pytest.raises(InputError, match=rf"^records must be from 1 to 99999, got {records}$"):
        write_database(tmp_path / "db", records=records, seed=0)
    assert not (tmp_path / "db").exists()


def test_a_negative_seed_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^seed must be 0 or above, got -1$"):
        write_database(tmp_path / "db", records=1, seed=-1)


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty; name a folder that does not exist yet, or empty this one$"):
        write_database(tmp_path, records=1, seed=0)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "db").write_text("")
    with pytest.raises(InputError, match=r"is a file; name a folder that does not exist yet$"):
        write_database(tmp_path / "db", records=1, seed=0)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "db").mkdir()
    write_database(tmp_path / "db", records=1, seed=0, both_rates=False)
    assert (tmp_path / "db" / "SHA256SUMS.txt").exists()


def test_an_interrupted_run_leaves_nothing_half_written(tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_database(tmp_path / "db", records=30, seed=0, both_rates=False, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == [".db.lock"]


def test_a_wave_without_width_is_refused():
    with pytest.raises(ValueError, match=r"Wave\.width_s must be above 0, got 0"):
        Wave(at_s=0, width_s=0, mv=(0, 0, 0))


def test_an_unknown_rhythm_is_refused():
    heart = Heart(pr_s=0.15, qtc_s=0.4, beats_per_minute=70)
    with pytest.raises(ValueError, match=r"unknown rhythm 'VFIB'; known: \['AFIB', 'SARRH', 'SBRAD', 'SR', 'STACH'\]"):
        quicken(heart, rhythm="VFIB", rng=np.random.default_rng(0))
