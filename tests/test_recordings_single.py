"""A record by itself is drawn on the time and voltage scale it was recorded on, or not at all."""

import shutil
import warnings

import numpy as np
import pytest
import wfdb

from vizecg.errors import InputError
from vizecg.labels import LEADS
from vizecg.recordings.single import read_wfdb
from vizecg.simulate import write_database

NAME = "00001_lr"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("single") / "ptbxl"
    write_database(folder, records=1, seed=7)
    return folder


@pytest.fixture
def record(made, tmp_path):
    """Path of one record of 100 Hz, without ending, in a folder with nothing else."""
    for ending in (".hea", ".dat"):
        shutil.copy(made / f"records100/00000/{NAME}{ending}", tmp_path)
    return tmp_path / NAME


def edit_header(record, change):
    path = record.with_suffix(".hea")
    path.write_bytes(change(path.read_text()).encode("latin-1"))


def with_rate(record, rate):
    edit_header(record, lambda text: text.replace(f"{NAME} 12 100 1000", f"{NAME} 12 {rate} 1000", 1))


def digital_of(record):
    """(12, samples) as they lie in the file: format 16 is two bytes, little-endian, lead after lead."""
    return np.frombuffer(record.with_suffix(".dat").read_bytes(), "<i2").reshape(-1, 12).T


@pytest.mark.parametrize("ending", ["", ".hea", ".dat"])
def test_samples_are_those_in_the_file_in_millivolts(record, ending):
    read = read_wfdb(record.with_name(record.name + ending))
    assert read.sampling_hz == 100
    assert read.signal_mv.shape == (12, 1000)
    np.testing.assert_allclose(read.signal_mv, digital_of(record) / 1000, atol=1e-12)


def test_both_rates_of_a_record_last_as_long(made):
    low, high = (read_wfdb(made / f"records{rate}/00000/00001_{end}") for rate, end in ((100, "lr"), (500, "hr")))
    assert (low.sampling_hz, high.sampling_hz) == (100, 500)
    assert low.signal_mv.shape[1] / 100 == high.signal_mv.shape[1] / 500 == 10


def test_leads_are_put_in_order_by_name(record, tmp_path):
    order = [11, 3, 7, 0, 9, 1, 5, 10, 2, 8, 4, 6]
    whole = wfdb.rdrecord(str(record))
    wfdb.wrsamp(
        "shuffled",
        fs=100,
        units=["mV"] * 12,
        sig_name=[LEADS[at] for at in order],
        d_signal=np.ascontiguousarray(digital_of(record).T[:, order]),
        fmt=["16"] * 12,
        adc_gain=[whole.adc_gain[at] for at in order],
        baseline=[whole.baseline[at] for at in order],
        write_dir=str(tmp_path),
    )
    np.testing.assert_array_equal(read_wfdb(tmp_path / "shuffled").signal_mv, read_wfdb(record).signal_mv)


@pytest.mark.parametrize("rate", ["100", "100.0", "100/50", "100/50.5(0)", "100/100(-3)"])
def test_a_rate_is_read_whatever_counter_stands_behind_it(record, rate):
    with_rate(record, rate)
    assert read_wfdb(record).sampling_hz == 100


@pytest.mark.parametrize("rate", ["50", "257.5", "10000"])
def test_every_rate_an_ecg_can_have_is_read(record, rate):
    with_rate(record, rate)
    assert read_wfdb(record).sampling_hz == float(rate)


@pytest.mark.parametrize(
    "rate", ["1e9", "1e2", "-5", "0", "49.9", "10001", "nan", "inf", "fast", "+100", "100Hz", ".", "1\xb200"]
)
def test_a_rate_no_ecg_has_is_refused(record, rate):
    with_rate(record, rate)
    with pytest.raises(InputError, match="; it must be a plain number of samples per second from 50 to 10000") as error:
        read_wfdb(record)
    if rate.isascii():
        assert f"{NAME}.hea states the sampling rate {rate!r};" in str(error.value)


def test_a_header_without_a_rate_is_refused_and_not_taken_for_250_hz(record):
    edit_header(record, lambda text: text.replace(f"{NAME} 12 100 1000", f"{NAME} 12", 1))
    with pytest.raises(InputError, match=r"00001_lr\.hea states the sampling rate 'nothing'; it must be"):
        read_wfdb(record)


def test_a_rate_that_wfdb_reads_otherwise_is_refused(record, monkeypatch):
    whole = wfdb.rdrecord(str(record), physical=False)
    whole.fs = 250
    monkeypatch.setattr(wfdb, "rdrecord", lambda *_, **__: whole)
    with pytest.raises(InputError, match=r"00001_lr\.hea states 100 samples per second, but wfdb reads 250"):
        read_wfdb(record)


@pytest.mark.parametrize("unit", ["uV", "µV", "\u03bcV"])
def test_microvolts_are_drawn_as_tall_as_millivolts(record, unit):
    expected = read_wfdb(record).signal_mv
    text = record.with_suffix(".hea").read_text().replace("1000.0(0)/mV", f"1.0(0)/{unit}")
    record.with_suffix(".hea").write_text(text, encoding="utf-8")
    np.testing.assert_allclose(read_wfdb(record).signal_mv, expected, atol=1e-12)


def test_units_that_are_no_volts_are_refused(record):
    edit_header(record, lambda text: text.replace("/mV", "/mmHg", 1))
    with pytest.raises(InputError, match=r"00001_lr: lead I is in 'mmHg', expected mV or µV"):
        read_wfdb(record)


def test_a_lead_without_a_gain_is_refused_and_not_taken_for_200(record):
    edit_header(record, lambda text: text.replace(" 1000.0(0)/mV", " 0(0)/mV", 1))
    with pytest.raises(InputError, match=r"00001_lr: lead I has no gain, so its units mean nothing"):
        read_wfdb(record)


def test_other_leads_are_refused(record):
    edit_header(record, lambda text: text.replace(" V6", " V7"))
    with pytest.raises(InputError, match=r"00001_lr: lead 'V7' is not one of I, II, III"):
        read_wfdb(record)


def test_a_flipped_bit_is_found_by_the_checksum(record):
    content = bytearray(record.with_suffix(".dat").read_bytes())
    content[24 * 500 + 2] ^= 4  # the second lead
    record.with_suffix(".dat").write_bytes(content)
    with pytest.raises(InputError, match="the samples of lead II do not have the checksum its header states"):
        read_wfdb(record)


@pytest.mark.parametrize("ending", ["", ".hea", ".dat"])
def test_a_record_that_is_not_there_is_named(tmp_path, ending):
    with pytest.raises(InputError, match=r"none\.hea is not there; name a WFDB record, with or without \.hea"):
        read_wfdb(tmp_path / f"none{ending}")


def test_samples_that_are_not_there_are_one_sentence(record):
    record.with_suffix(".dat").unlink()
    with pytest.raises(InputError, match=r"00001_lr cannot be read as WFDB: FileNotFoundError: .*00001_lr\.dat"):
        read_wfdb(record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda _: "", "has no record line; is it complete", id="empty"),
        pytest.param(lambda _: "# a remark\n", "has no record line; is it complete", id="only a remark"),
        pytest.param(lambda text: text[:9], "states the sampling rate 'nothing'", id="within the record line"),
        pytest.param(lambda text: text.splitlines()[0], "cannot be read as WFDB: ", id="after the record line"),
        pytest.param(lambda text: text[: text.index("V1")], "cannot be read as WFDB: ", id="within the leads"),
        pytest.param(lambda text: text.replace(NAME, f"{NAME}/2", 1), "names several segments", id="segments"),
    ],
)
def test_a_truncated_header_is_one_sentence(record, change, message):
    edit_header(record, change)
    with pytest.raises(InputError, match=message):
        read_wfdb(record)


@pytest.mark.parametrize(
    "form", ["../{name}", "{folder}/{name}", "below/../../{name}", "s3://bucket/{name}", "..\\{name}"]
)
def test_a_header_cannot_name_a_file_outside_its_folder(record, tmp_path, form):
    (tmp_path / "inside").mkdir()
    header = record.with_suffix(".hea").rename(tmp_path / "inside" / f"{NAME}.hea")
    outside = form.format(folder=tmp_path, name=f"{NAME}.dat")
    header.write_text(header.read_text().replace(f"{NAME}.dat", outside))
    with pytest.raises(InputError, match=r"names the file '.*00001_lr\.dat', which is not below its folder"):
        read_wfdb(header)


def test_no_damaged_header_ends_in_a_traceback(record):
    rng = np.random.default_rng(5)
    path = record.with_suffix(".hea")
    original = path.read_bytes()
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb's and numpy's, on nonsense
        for _ in range(150):
            content = bytearray(original)
            for position in rng.integers(0, len(content), 3):
                content[position] = rng.integers(0, 256)
            path.write_bytes(content[: rng.integers(1, 3 * len(content))])
            try:
                read_wfdb(record)
            except InputError:
                refused += 1
    assert refused > 50
