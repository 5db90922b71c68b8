"""A folder of WFDB records with SNOMED CT codes is read as it was written, or record by record says why not."""

import shutil
from collections import Counter

import numpy as np
import pytest
import scipy.io
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vizecg.errors import InputError
from vizecg.labels import LEADS, TASKS
from vizecg.layouts import layout_of
from vizecg.recordings.foreign import read_foreign
from vizecg.recordings.offer import Asked, Reading, Refusal
from vizecg.records import Reason

SECONDS = 12


def wave_mv(*, rate_hz, seconds=SECONDS, beats_hz=1.2):
    """(12, samples) that keep Einthoven's and Goldberger's relations; smooth, so that any rate carries it."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = (time_s * beats_hz) % 1
    i = 0.9 * np.exp(-(((phase - 0.4) / 0.03) ** 2)) + 0.2 * np.exp(-(((phase - 0.7) / 0.08) ** 2))
    ii = 1.1 * np.exp(-(((phase - 0.41) / 0.03) ** 2)) + 0.3 * np.exp(-(((phase - 0.7) / 0.08) ** 2))
    limb = [i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2]
    chest = [share * i - (1 - share) * ii for share in np.linspace(0.1, 0.9, 6)]
    return np.stack(limb + chest)


def write_dat(folder, name, *, rate_hz=500, comments=(), signal_mv=None, leads=LEADS, unit="mV", fmt="16"):
    signal = wave_mv(rate_hz=rate_hz) if signal_mv is None else signal_mv
    scale = {"mV": 1, "uV": 1000}[unit]
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        name,
        fs=rate_hz,
        units=[unit] * len(leads),
        sig_name=list(leads),
        p_signal=signal.T * scale,
        fmt=[fmt] * len(leads),
        adc_gain=[1000 / scale] * len(leads),
        baseline=[0] * len(leads),
        comments=list(comments),
        write_dir=str(folder),
    )


def write_mat(folder, name, *, rate_hz=500, comments=()):
    """As the challenges publish it: a MATLAB v4 matrix of int16, 24 bytes behind the beginning of the file."""
    digital = np.rint(wave_mv(rate_hz=rate_hz) * 1000).astype(np.int16)
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / f"{name}.mat", {"val": digital}, format="4")
    lines = [f"{name} 12 {rate_hz} {digital.shape[1]}"]
    for lead, row in zip(LEADS, digital, strict=True):
        checksum = int(
            np.int16(row.sum(dtype=np.int64) & 0xFFFF if row.sum() % 65536 < 32768 else row.sum() % 65536 - 65536)
        )
        lines.append(f"{name}.mat 16+24 1000/mV 16 0 {row[0]} {checksum} 0 {lead}")
    (folder / f"{name}.hea").write_text("\n".join([*lines, *(f"#{line}" for line in comments)]) + "\n")


def asked(*, task="superdiagnostic", sampling_hz=100, limit=None, label_map=None):
    return Asked(source="folder:test", task=TASKS[task], sampling_hz=sampling_hz, limit=limit, label_map=label_map)


def offers(folder, **changes):
    return {offer.record.name: offer.record for offer in layout_of(folder, asked=asked(**changes)).offers()}


def read(folder, name, *, sampling_hz=100):
    (result,) = read_foreign([name], folder=folder, sampling_hz=sampling_hz)
    return result


# What the headers say


def test_a_header_says_who_was_recorded_and_what_was_found(tmp_path):
    write_dat(tmp_path / "g1", "A0001", comments=["Age: 74", "Sex: Female", "Dx: 164889003,59118001", "Rx: Unknown"])
    write_mat(tmp_path / "g2", "A0002", comments=[" Age: 92", " Sex: M", " Dx: 164873001"])
    write_dat(tmp_path, "A0003", comments=["Age: NaN", "Sex: NaN", "Dx: 39732003"])
    found = offers(tmp_path)
    assert list(found) == ["A0003", "g1/A0001", "g2/A0002"]
    first = found["g1/A0001"]
    assert (first.age.years, first.sex, first.classes) == (74, "female", ("CD",))
    second = found["g2/A0002"]
    assert (second.age.band, second.age.years, second.sex, second.classes) == ("90+", None, "male", ("HYP",))
    third = found["A0003"]
    assert (third.age.band, third.sex, third.classes) == ("unknown", "unknown", ())
    assert len({record.patient_id for record in found.values()}) == 3


@pytest.mark.parametrize(
    ("codes", "task", "classes"),
    [
        ("426783006", "superdiagnostic", ("NORM",)),  # sinus rhythm and nothing else
        ("426783006,427084000", "superdiagnostic", ()),
        ("426783006,164865005", "superdiagnostic", ("MI",)),
        ("426783006", "rhythm", ("SR",)),
        ("164889003,270492004,54329005", "superdiagnostic", ("MI", "CD")),
        ("54329005", "subdiagnostic", ("AMI",)),
        ("164865005", "subdiagnostic", ()),
        ("713427006", "all", ("CRBBB",)),
    ],
)
def test_codes_become_classes(tmp_path, codes, task, classes):
    write_dat(tmp_path, "A0001", comments=[f"Dx: {codes}"])
    assert offers(tmp_path, task=task)["A0001"].classes == classes


def test_a_hospital_may_bring_its_own_map(tmp_path):
    write_dat(tmp_path / "records", "A0001", comments=["Dx: 99,42"])
    (tmp_path / "map.csv").write_text("label,code\n42,HYP\n99,\n")
    found = offers(tmp_path / "records", label_map=tmp_path / "map.csv")
    assert found["A0001"].classes == ("HYP",)


def test_codes_nobody_mapped_are_counted(tmp_path, capsys):
    for name, code in (("A1", "111"), ("A2", "111,222"), ("A3", "426783006")):
        write_dat(tmp_path, name, comments=[f"Dx: {code}"])
    offers(tmp_path)
    assert capsys.readouterr().out == (
        "folder:test: 2 codes are in no label map and were passed over: 111 (2), 222 (1)\n"
    )


def test_a_patient_who_is_named_stays_one_and_on_one_side(tmp_path):
    for number in range(6):
        write_dat(tmp_path, f"A{number}", comments=["Patient: 17" if number < 5 else "Patient: 18"])
    found = list(offers(tmp_path).values())
    assert len({record.patient_id for record in found[:5]}) == len({record.fold for record in found[:5]}) == 1
    assert found[5].patient_id != found[0].patient_id


def test_a_limit_takes_the_first_by_name(tmp_path):
    for name in ("B", "A", "C"):
        write_dat(tmp_path, name)
    assert list(offers(tmp_path, limit=2)) == ["A", "B"]


# What the files hold


@pytest.mark.parametrize("rate_hz", [100, 250, 257, 360, 500, 1000])
@pytest.mark.parametrize("sampling_hz", [100, 500])
def test_any_rate_becomes_that_of_the_set(tmp_path, rate_hz, sampling_hz):
    write_dat(tmp_path, "A", rate_hz=rate_hz)
    found = read(tmp_path, "A", sampling_hz=sampling_hz)
    assert isinstance(found, Reading), found
    assert found.signals_uv.shape == (12, 10 * sampling_hz)
    expected = wave_mv(rate_hz=sampling_hz)[:, : 10 * sampling_hz] * 1000
    inner = slice(sampling_hz // 2, -sampling_hz // 2)
    np.testing.assert_allclose(found.signals_uv[:, inner], expected[:, inner], atol=12)


def test_a_mat_file_of_the_challenges_holds_the_same(tmp_path):
    write_mat(tmp_path, "A")
    write_dat(tmp_path, "B")
    np.testing.assert_array_equal(read(tmp_path, "A").signals_uv, read(tmp_path, "B").signals_uv)


@pytest.mark.parametrize("fmt", ["80", "212", "16", "24", "32"])
def test_other_formats_and_microvolts_are_read(tmp_path, fmt):
    signal = np.rint(wave_mv(rate_hz=500) * 100) / 100  # ten microvolts: format 80 has eight bits
    if fmt == "80":
        wfdb.wrsamp(
            "A",
            fs=500,
            units=["mV"] * 12,
            sig_name=list(LEADS),
            p_signal=signal.T,
            fmt=["80"] * 12,
            adc_gain=[100] * 12,
            baseline=[0] * 12,
            write_dir=str(tmp_path),
        )
    else:
        write_dat(tmp_path, "A", signal_mv=signal, fmt=fmt, unit="uV" if fmt != "212" else "mV")
    found = read(tmp_path, "A")
    assert isinstance(found, Reading), found
    expected = wave_mv(rate_hz=100)[:, :1000] * 1000
    np.testing.assert_allclose(found.signals_uv[:, 50:-50], expected[:, 50:-50], atol=20)


def test_leads_in_another_order_are_put_in_order(tmp_path):
    order = np.random.default_rng(3).permutation(12)
    write_dat(tmp_path, "A", signal_mv=wave_mv(rate_hz=500)[order], leads=[LEADS[k] for k in order])
    write_dat(tmp_path, "B")
    np.testing.assert_array_equal(read(tmp_path, "A").signals_uv, read(tmp_path, "B").signals_uv)


def header_with(old, new):
    def change(folder):
        path = folder / "A.hea"
        text = path.read_text()
        assert old in text, text
        path.write_text(text.replace(old, new))

    return change


def broken_relation(folder):
    signal = wave_mv(rate_hz=500)
    signal[2] += 0.3
    write_dat(folder, "A", signal_mv=signal)


def with_nan(folder):
    signal = wave_mv(rate_hz=500)
    signal[7, 1000] = np.nan
    write_dat(folder, "A", signal_mv=signal)


@pytest.mark.parametrize(
    ("damage", "reason", "detail"),
    [
        (lambda f: (f / "A.hea").unlink(), Reason.MISSING_FILE, "A.hea is not there"),
        (lambda f: (f / "A.dat").unlink(), Reason.MISSING_FILE, "A.dat is not there"),
        (lambda f: (f / "A.hea").write_text(""), Reason.HEADER_UNREADABLE, "the header has no record line"),
        (lambda f: (f / "A.hea").write_text("A 12 500 6000\n"), Reason.HEADER_UNREADABLE, "lacks file_name|cannot be"),
        (lambda f: (f / "A.dat").write_bytes(b"12"), Reason.TRUNCATED, "A.dat has 2 bytes, its header needs 144000"),
        (header_with("A.dat", "../A.dat"), Reason.OUTSIDE_FOLDER, r"names the file '\.\./A\.dat', which does not lie"),
        (header_with("A.dat", "/etc/passwd"), Reason.OUTSIDE_FOLDER, "names the file '/etc/passwd'"),
        (header_with("A 12", "A/3 12"), Reason.HEADER_UNREADABLE, "several segments|cannot be read"),
        (header_with(" 500 ", " 50 "), Reason.WRONG_RATE, "the header says '50', expected 100 to 1000 Hz"),
        (header_with(" 500 ", " 2000 "), Reason.WRONG_RATE, "the header says '2000', expected 100 to 1000 Hz"),
        (header_with("6000", "9999999999"), Reason.TRUNCATED, "A.dat has 144000 bytes, its header needs 2399999"),
        (header_with(" 16 ", " 516 "), Reason.HEADER_UNREADABLE, "the header says format 516, known are 8, 80, 212"),
        (header_with("/mV", "/mmHg"), Reason.WRONG_UNITS, "lead I is in 'mmHg', expected mV or µV"),
        (header_with(" V6", " V5"), Reason.DUPLICATE_LEAD, "lead V5 comes more than once"),
        (header_with(" V6", " Vx"), Reason.UNKNOWN_LEAD, "lead 'Vx' is not one of"),
        (broken_relation, Reason.LEAD_RELATION, r"limb leads contradict each other by 0\.30 mV"),
        (with_nan, Reason.NOT_A_NUMBER, "lead V2 has samples without a value"),
        (lambda f: write_dat(f, "A", leads=LEADS[:11], signal_mv=wave_mv(rate_hz=500)[:11]), Reason.MISSING_LEAD, "V6"),
        (
            lambda f: write_dat(f, "A", signal_mv=wave_mv(rate_hz=500, seconds=8)),
            Reason.WRONG_LENGTH,
            r"4000 samples at 500 Hz, expected 5000 \(10 s\) or more",
        ),
        (
            lambda f: write_dat(f, "A", signal_mv=30 * wave_mv(rate_hz=500), fmt="32"),
            Reason.OUT_OF_RANGE,
            r"a sample is beyond ±32\.8 mV",
        ),
    ],
)
def test_what_cannot_be_believed_is_set_aside_with_its_reason(tmp_path, damage, reason, detail):
    import re

    write_dat(tmp_path, "A")
    damage(tmp_path)
    found = read(tmp_path, "A")
    assert isinstance(found, Refusal), found
    assert found.reason == reason, found
    assert re.search(detail, found.detail), found
    assert str(tmp_path) not in found.detail


def test_a_flipped_bit_is_noticed_by_the_headers_checksum(tmp_path):
    write_dat(tmp_path, "A")
    content = bytearray((tmp_path / "A.dat").read_bytes())
    content[5000] ^= 4
    (tmp_path / "A.dat").write_bytes(content)
    found = read(tmp_path, "A")
    assert found.reason == Reason.HEADER_CHECKSUM
    assert "its header says" in found.detail


@pytest.fixture(scope="module")
def one_record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    write_dat(folder, "A", comments=["Age: 50", "Dx: 426783006"])
    return folder


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_in_a_header_it_ends_as_a_reading_or_a_refusal(one_record, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("one")
    shutil.copy(one_record / "A.dat", folder)
    lines = (one_record / "A.hea").read_text().splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.integers(0, len(lines) - 1))
        words = lines[number].split(" ")
        place = data.draw(st.integers(0, len(words) - 1))
        words[place] = data.draw(
            st.one_of(
                st.text(max_size=8),
                st.sampled_from(["", "-1", "0", "nan", "1e9", "16x2", "16:5", "16+999999", "A/2", "../A.dat", "~"]),
                st.integers(-(2**40), 2**40).map(str),
            )
        )
        lines[number] = " ".join(words)
    text = "\n".join(lines)
    (folder / "A.hea").write_text(text, encoding="utf-8", errors="replace")
    layout_of(folder, asked=asked()).offers()
    assert isinstance(read(folder, "A"), Reading | Refusal)


# The layout


def test_two_names_with_one_number_are_refused(tmp_path, monkeypatch):
    for name in ("A", "B"):
        write_dat(tmp_path, name)
    monkeypatch.setattr("vizecg.snomed.headers.id_of", lambda _: 7)
    with pytest.raises(InputError, match="folder:test: A and B get the same number; rename one of them"):
        offers(tmp_path)


def test_the_table_of_codes_is_sound():
    from vizecg.snomed.headers import code_map

    code_of = code_map().code_of
    assert all(label.isdigit() for label in code_of)
    assert len(code_of) > 80
    # Spot checks by hand against the challenge's list (PhysioNet/CinC Challenge 2021, dx_mapping).
    expected = {"164889003": "AFIB", "270492004": "1AVB", "713426002": "IRBBB", "164873001": "LVH", "39732003": None}
    assert {label: code_of[label] for label in expected} == expected
    assert Counter(code_of.values())["CRBBB"] == 2
