"""A record is believed only when everything its files say of themselves holds."""

import hashlib
import shutil
import warnings

import numpy as np
import pytest
import wfdb

from vizecg.errors import InputError
from vizecg.labels import LEADS, TASKS
from vizecg.ptbxl.layout import find_layout
from vizecg.ptbxl.table import read_table
from vizecg.recordings.offer import Reading
from vizecg.recordings.reading import RecordFiles, read_record
from vizecg.records import Reason
from vizecg.simulate import write_database
from vizecg.sums import parse_sums, read_sums

NAME = "records100/00000/00001_lr"


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "ptbxl"
    write_database(folder, records=6, seed=7, both_rates=False)
    return folder


@pytest.fixture
def folder(simulated, tmp_path):
    return shutil.copytree(simulated, tmp_path / "ptbxl")


def state_sums(folder):
    """Write SHA256SUMS.txt for what is there now, so that a fault lies deeper than the sum."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS.txt")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(folder).as_posix()}" for path in files]
    (folder / "SHA256SUMS.txt").write_text("\n".join(lines) + "\n")


def read(folder, *, name=NAME):
    files = RecordFiles.of(name, sums=read_sums(folder))
    return read_record(files, folder=folder, sampling_hz=100)


def edit_header(folder, change):
    path = folder / f"{NAME}.hea"
    path.write_text(change(path.read_text()))
    state_sums(folder)


def edit_samples(folder, change):
    """Change the samples and make sum, first sample and checksum agree: only the content is wrong."""
    path = folder / f"{NAME}.dat"
    digital = np.frombuffer(path.read_bytes(), "<i2").reshape(-1, 12).copy()
    change(digital)
    path.write_bytes(digital.tobytes())
    lines = (folder / f"{NAME}.hea").read_text().splitlines()
    for lead in range(12):
        fields = lines[lead + 1].split()
        fields[5:7] = [str(digital[0, lead]), str(int(digital[:, lead].sum(dtype=np.int64)) % 65536)]
        lines[lead + 1] = " ".join(fields)
    edit_header(folder, lambda _: "\n".join(lines) + "\n")


def test_samples_are_those_that_wfdb_reads(folder):
    record = wfdb.rdrecord(str(folder / NAME))
    reading = read(folder)
    assert isinstance(reading, Reading)
    np.testing.assert_allclose(reading.signals_uv / 1000, record.p_signal.T, atol=1e-9)
    assert [name.upper() for name in LEADS] == record.sig_name


def test_gain_and_baseline_of_the_header_are_applied_as_wfdb_does(folder):
    edit_header(folder, lambda text: text.replace("1000.0(0)/mV", "500.0(-20)/mV"))
    record = wfdb.rdrecord(str(folder / NAME))
    np.testing.assert_allclose(read(folder).signals_uv / 1000, record.p_signal.T, atol=1e-9)


def test_leads_out_of_order_are_put_in_order_by_name(folder):
    expected = read(folder).signals_uv
    order = np.random.default_rng(0).permutation(12)

    def shuffle(text):
        first, *leads = text.splitlines()
        return "\n".join([first, *(leads[lead] for lead in order)]) + "\n"

    path = folder / f"{NAME}.dat"
    digital = np.frombuffer(path.read_bytes(), "<i2").reshape(-1, 12)
    path.write_bytes(np.ascontiguousarray(digital[:, order]).tobytes())
    edit_header(folder, shuffle)
    np.testing.assert_array_equal(read(folder).signals_uv, expected)


def replace_lead(old, new):
    return lambda text: text.replace(f" 0 {old}\n", f" 0 {new}\n")


HEADER_FAULTS = {
    "micro for milli": (
        lambda text: text.replace("/mV", "/uV"),
        Reason.WRONG_UNITS,
        "lead I is in 'uV', expected 'mV'",
    ),
    "one lead in microvolts": (
        lambda text: text.replace("/mV", "/uV", 2).replace("/uV", "/mV", 1),
        Reason.WRONG_UNITS,
        "lead II is in 'uV'",
    ),
    "cut after a line": (
        lambda text: "\n".join(text.splitlines()[:6]) + "\n",
        Reason.HEADER_UNREADABLE,
        "the header promises 12 leads and lacks",
    ),
    "cut within a line": (lambda text: text[:230], Reason.HEADER_UNREADABLE, "the header"),
    "empty": (lambda _: "", Reason.HEADER_UNREADABLE, "cannot be read: IndexError"),
    "not a header": (lambda _: "hello\n", Reason.HEADER_UNREADABLE, ""),
    "lead twice": (replace_lead("V2", "V1"), Reason.DUPLICATE_LEAD, "lead V1 comes more than once"),
    "unknown lead": (replace_lead("V6", "V9"), Reason.UNKNOWN_LEAD, "lead 'V9' is not one of I, II"),
    "other rate": (
        lambda text: text.replace("12 100 1000", "12 250 1000"),
        Reason.WRONG_RATE,
        "250 Hz, expected 100 Hz",
    ),
    "other length": (
        lambda text: text.replace("12 100 1000", "12 100 999"),
        Reason.WRONG_LENGTH,
        "999 samples, expected 1000 (10 s)",
    ),
    "other format": (lambda text: text.replace(".dat 16 ", ".dat 212 "), Reason.HEADER_UNREADABLE, "format 212"),
    "several segments": (
        lambda _: "00001_lr/2 12 100 1000\n00001_lr 500\n00001_lr 500\n",
        Reason.HEADER_UNREADABLE,
        "several segments",
    ),
    "file elsewhere": (
        lambda text: text.replace("00001_lr.dat", "../../../outside.dat"),
        Reason.HEADER_UNREADABLE,
        "HeaderSyntaxError: invalid syntax in signal line",
    ),
    "file at the root": (
        lambda text: text.replace("00001_lr.dat", "/etc/passwd"),
        Reason.HEADER_UNREADABLE,
        "HeaderSyntaxError: invalid syntax in signal line",
    ),
    "another record's file": (
        lambda text: text.replace("00001_lr.dat", "00002_lr.dat"),
        Reason.HEADER_UNREADABLE,
        "expected 00001_lr.dat",
    ),
    "shifted leads": (lambda text: text.replace(".dat 16 ", ".dat 16:3 "), Reason.HEADER_UNREADABLE, "shifts leads"),
    "no gain": (
        lambda text: text.replace("1000.0(0)/mV", "0(0)/mV", 1),
        Reason.WRONG_UNITS,
        "lead I has no gain, so its units mean nothing",
    ),
    "gain below zero": (
        lambda text: text.replace("1000.0(0)/mV", "-1000.0(0)/mV", 1),
        Reason.WRONG_UNITS,
        "a lead's gain is not above 0, so its units mean nothing",
    ),
    "gain so small that volts explode": (
        lambda text: text.replace("1000.0(0)/mV", "1.0(0)/mV"),
        Reason.OUT_OF_RANGE,
        "beyond ±32.8 mV",
    ),
}


@pytest.mark.parametrize(("change", "reason", "detail"), HEADER_FAULTS.values(), ids=HEADER_FAULTS)
def test_a_header_that_does_not_hold_puts_its_record_in_quarantine(folder, change, reason, detail):
    edit_header(folder, change)
    refusal = read(folder)
    assert refusal.reason is reason
    assert detail in refusal.detail


def test_eleven_leads_are_one_too_few(folder):
    path = folder / f"{NAME}.dat"
    path.write_bytes(np.frombuffer(path.read_bytes(), "<i2").reshape(-1, 12)[:, :11].tobytes())
    edit_header(folder, lambda text: "\n".join(text.replace("12 100", "11 100").splitlines()[:12]) + "\n")
    assert (read(folder).reason, read(folder).detail) == (Reason.MISSING_LEAD, "lead V6 is missing")


@pytest.mark.parametrize("ending", [".hea", ".dat"])
def test_one_flipped_bit_in_a_file_is_noticed(folder, ending):
    path = folder / f"{NAME}{ending}"
    content = bytearray(path.read_bytes())
    content[40] ^= 4
    path.write_bytes(content)
    refusal = read(folder)
    assert refusal.reason is Reason.FILE_CHECKSUM
    assert "SHA256SUMS.txt says" in refusal.detail


def test_one_flipped_bit_is_noticed_by_the_header_when_the_sums_were_made_after_it(folder):
    path = folder / f"{NAME}.dat"
    content = bytearray(path.read_bytes())
    content[5000] ^= 4
    path.write_bytes(content)
    state_sums(folder)
    refusal = read(folder)
    assert refusal.reason is Reason.HEADER_CHECKSUM
    assert "its header says" in refusal.detail


def test_a_wrong_first_sample_is_noticed(folder):
    edit_header(folder, lambda text: text.replace(" 16 0 ", " 16 0 1", 1))
    assert read(folder).reason is Reason.HEADER_CHECKSUM


def test_a_file_the_sums_do_not_list_is_not_believed(folder):
    sums = folder / "SHA256SUMS.txt"
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if "00001_lr.dat" not in line))
    assert read(folder).detail == f"{NAME}.dat is not in SHA256SUMS.txt"


@pytest.mark.parametrize("ending", [".hea", ".dat"])
def test_a_missing_file_is_named(folder, ending):
    (folder / f"{NAME}{ending}").unlink()
    assert (read(folder).reason, read(folder).detail) == (Reason.MISSING_FILE, f"{NAME}{ending} is not there")


def test_a_signal_file_cut_short_is_named(folder):
    path = folder / f"{NAME}.dat"
    path.write_bytes(path.read_bytes()[:-24])
    state_sums(folder)
    assert (read(folder).reason, read(folder).detail) == (
        Reason.TRUNCATED,
        "00001_lr.dat has 23976 bytes, its header needs 24000",
    )


def test_a_sample_without_a_value_is_named(folder):
    edit_samples(folder, lambda digital: digital.__setitem__((500, 7), -32768))
    assert (read(folder).reason, read(folder).detail) == (Reason.NOT_A_NUMBER, "lead V2 has samples without a value")


def test_limb_leads_that_contradict_each_other_are_refused(folder):
    edit_samples(folder, lambda digital: digital.__setitem__((slice(300, 310), 2), digital[300:310, 2] + 2600))
    refusal = read(folder)
    assert refusal.reason is Reason.LEAD_RELATION
    assert "contradict each other by 2.60 mV, allowed are 0.10 mV (Einthoven, Goldberger)" in refusal.detail


def test_exchanged_arm_electrodes_are_a_flag_and_not_a_refusal(folder):
    def exchange_arms(digital):
        i, ii, iii, avr, avl = (digital[:, lead].copy() for lead in range(5))
        digital[:, :5] = np.stack([-i, iii, ii, avl, avr], axis=1)

    before = read(folder)
    edit_samples(folder, exchange_arms)
    after = read(folder)
    assert set(after.flags) - set(before.flags) <= {"arm_reversal_suspected"}


@pytest.mark.parametrize("name", ["../outside/00001_lr", "/etc/passwd", "records100/../../00001_lr", ""])
def test_a_table_cannot_name_a_file_outside_the_folder(folder, name):
    assert read(folder, name=name).reason is Reason.OUTSIDE_FOLDER


def test_no_damaged_header_ends_in_a_traceback(folder):
    rng = np.random.default_rng(5)
    original = (folder / f"{NAME}.hea").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb's, on nonsense
        for _ in range(150):
            content = bytearray(original)
            for position in rng.integers(0, len(content), 2):
                content[position] = rng.integers(0, 256)
            (folder / f"{NAME}.hea").write_bytes(content[: rng.integers(1, 3 * len(content))])
            header_sum = hashlib.sha256((folder / f"{NAME}.hea").read_bytes()).hexdigest()
            sums = read_sums(folder) | {f"{NAME}.hea": header_sum}
            read_record(RecordFiles.of(NAME, sums=sums), folder=folder, sampling_hz=100)


# The tables


def table_of(folder, **changes):
    options = {"task": TASKS["superdiagnostic"], "source": "folder:test", "sampling_hz": 100, "limit": None} | changes
    return read_table(folder, sums=read_sums(folder), **options)


def edit_table(folder, change, *, name="ptbxl_database.csv"):
    path = folder / name
    path.write_text(change(path.read_text()))
    state_sums(folder)


def edit_cell(column, value, *, line=1):
    """Change one cell of the table; `line` counts from the first record."""

    def change(text):
        import csv
        import io

        rows = list(csv.reader(io.StringIO(text)))
        rows[line][rows[0].index(column)] = value
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(rows)
        return out.getvalue()

    return change


def test_a_row_becomes_a_record_in_plain_words(folder):
    edit_table(folder, edit_cell("sex", "1"))
    edit_table(folder, edit_cell("age", "300"))
    edit_table(folder, edit_cell("site", "2.0"))
    edit_table(folder, edit_cell("device", "CS-12   E"))
    edit_table(folder, edit_cell("recording_date", "1984-11-09 09:17:34"))
    edit_table(folder, edit_cell("scp_codes", "{'IMI': 35.0, 'SR': 0.0, 'CLBBB': 0.0}"))
    record = table_of(folder)[0].record
    assert (record.sex, record.age.band, record.age.years) == ("female", "90+", None)
    assert (record.site, record.device, str(record.recorded_at)) == ("2", "CS-12 E", "1984-11-09 09:17:34")
    # Every diagnostic statement counts, whatever its likelihood; SR is a rhythm.
    assert record.classes == ("MI", "CD")


def test_zero_is_male_as_in_ptbxl(folder):
    edit_table(folder, edit_cell("sex", "0"))
    assert table_of(folder)[0].record.sex == "male"


def test_a_limit_takes_the_lowest_numbers(folder):
    def upside_down(text):
        head, *rows = text.splitlines()
        return "\n".join([head, *reversed(rows)]) + "\n"

    edit_table(folder, upside_down)
    assert [listed.record.ecg_id for listed in table_of(folder, limit=2)] == [1, 2]


TABLE_FAULTS = {
    "no column": (lambda text: text.replace("strat_fold", "fold", 1), r"lacks the column 'strat_fold'; it has \["),
    "twice": (edit_cell("ecg_id", "2"), "lists ecg_id 2 more than once"),
    "fold": (edit_cell("strat_fold", "11"), "strat_fold of ecg_id 1 is 11, allowed are 1 to 10"),
    "no number": (
        edit_cell("patient_id", "anna"),
        r"line 2: patient_id must be a whole number from 0 to \d+, got 'anna'",
    ),
    "no patient": (
        edit_cell("patient_id", "", line=3),
        r"line 4: patient_id must be a whole number from 0 to \d+, got nothing",
    ),
    "no record below zero": (
        edit_cell("ecg_id", "-1"),
        "line 2: ecg_id must be a whole number from 0 to 281474976710655, got '-1'",
    ),
    "no patient below zero": (edit_cell("patient_id", "-1", line=2), "line 3: patient_id must be .*, got '-1"),
    "too large": (edit_cell("patient_id", "1e300"), r"line 2: patient_id must be .*, got '1e\+300'"),
    "past what joined sources keep apart": (
        edit_cell("ecg_id", str(2**48)),
        "line 2: ecg_id must be .*, got '281474976710656'",
    ),
    "past 64 bits": (edit_cell("ecg_id", str(10**30)), f"line 2: ecg_id must be .*, got '{10**30}'"),
    "no end": (edit_cell("patient_id", "inf"), "line 2: patient_id must be .*, got 'inf'"),
    "statements": (edit_cell("scp_codes", "NORM"), "ecg_id 1 has scp_codes 'NORM', expected the form"),
    "unknown statement": (
        edit_cell("scp_codes", "{'HUH': 100.0}"),
        r"ecg_id 1 has the statement 'HUH', which scp_statements\.csv does not list",
    ),
    "sex": (edit_cell("sex", "2"), r"ecg_id 1 has sex '2', allowed are 0 \(male\), 1 \(female\) or nothing"),
    "age": (edit_cell("age", "old"), "ecg_id 1 age must be a number, got 'old'"),
    "date": (edit_cell("recording_date", "yesterday"), "ecg_id 1 has recording_date 'yesterday', expected the form"),
    "not csv": (lambda _: "", "cannot be read as CSV"),
}


@pytest.mark.parametrize(("change", "message"), TABLE_FAULTS.values(), ids=TABLE_FAULTS)
def test_a_table_that_cannot_be_right_is_refused_by_name(folder, change, message):
    edit_table(folder, change)
    with pytest.raises(InputError, match=message):
        table_of(folder)


def test_a_patient_in_two_folds_is_refused(folder):
    edit_table(folder, edit_cell("patient_id", "77", line=1))
    edit_table(folder, edit_cell("patient_id", "77", line=2))
    edit_table(folder, edit_cell("strat_fold", "3", line=1))
    edit_table(folder, edit_cell("strat_fold", "10", line=2))
    with pytest.raises(InputError, match=r"has patient 77 in folds \[3, 10\]: a patient must not be on two sides"):
        table_of(folder)


def test_a_statement_that_means_something_else_is_refused(folder):
    edit_table(folder, lambda text: text.replace(",MI,", ",HEART,"), name="scp_statements.csv")
    message = r"gives '\w*MI' the diagnostic_class 'HEART', but '\w*MI' is of class MI"
    with pytest.raises(InputError, match=message):
        table_of(folder)


@pytest.mark.parametrize(
    ("task", "classes"),
    [("superdiagnostic", ("CD",)), ("subdiagnostic", ("_AVB",)), ("form", ("PVC",)), ("rhythm", ("SR",))],
)
def test_the_same_statements_are_other_classes_in_another_task(folder, task, classes):
    edit_table(folder, edit_cell("scp_codes", "{'1AVB': 100.0, 'PVC': 100.0, 'SR': 0.0}"))
    assert table_of(folder, task=TASKS[task])[0].record.classes == classes


@pytest.mark.parametrize("name", ["ptbxl_database.csv", "scp_statements.csv"])
def test_a_table_that_is_not_the_published_one_is_refused(folder, name):
    path = folder / name
    path.write_text(path.read_text() + "\n")
    with pytest.raises(InputError, match=rf"{name} is damaged: its SHA-256 is .*SHA256SUMS\.txt says"):
        table_of(folder)


def test_a_folder_without_sums_is_refused(folder):
    (folder / "SHA256SUMS.txt").unlink()
    with pytest.raises(InputError, match=r"has no SHA256SUMS\.txt, so nothing in it can be checked"):
        read_sums(folder)


def test_sums_that_are_none_are_refused_by_line():
    with pytest.raises(InputError, match=r"there line 2 is not a SHA-256 and a file name: 'hello'"):
        parse_sums(f"{'a' * 64} x.dat\nhello\n", where="there")


def test_sums_of_any_common_form_are_read():
    text = f"{'a' * 64}  ./one.dat\n{'B' * 64} *two.dat\n\n{'c' * 64}\tthree.dat\n"
    assert parse_sums(text, where="here") == {"one.dat": "a" * 64, "two.dat": "b" * 64, "three.dat": "c" * 64}


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"pictures holds no ptbxl_database\.csv at its top or one folder down"):
        find_layout(tmp_path, what="pictures")
