"""A record set says what it holds, is trusted only whole, and is the same bytes for the same records."""

import json
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from vizecg.errors import InputError
from vizecg.labels import TASKS
from vizecg.records import (
    Age,
    Provenance,
    Reason,
    Record,
    read_quarantine,
    read_record_set,
    table_columns,
    writing_record_set,
)

SOURCE = Provenance(uri="folder:test", simulated=False, digest="d" * 64)
SAMPLES = 50
TASK = TASKS["superdiagnostic"]


def record(ecg_id, *, fold=1, classes=("NORM",), years=40.0, **changes):
    fields = {
        "ecg_id": ecg_id,
        "source": "folder:test",
        "name": f"records100/{ecg_id}",
        "patient_id": 100 + ecg_id,
        "age": Age.of(years),
        "sex": "female",
        "site": "0",
        "device": "CS-12",
        "recorded_at": datetime(1984, 11, 9, 9, 17, 34),
        "fold": fold,
        "classes": classes,
    }
    return Record(**(fields | changes))


def signals(ecg_id):
    return np.random.default_rng(ecg_id).integers(-2000, 2000, (12, SAMPLES)).astype(np.int16)


def writing(folder, *, task=TASK):
    return writing_record_set(folder, task=task, sampling_hz=100, samples=SAMPLES, source=SOURCE)


def write(folder, records, *, quarantined=()):
    with writing(folder) as writer:
        for one in records:
            writer.add(one, signals_uv=signals(one.ecg_id))
        for ecg_id, reason in quarantined:
            writer.quarantine(ecg_id, source="folder:test", reason=reason, detail="as the test says")


@pytest.fixture
def folder(tmp_path):
    records = [
        record(3, fold=1),
        record(5, fold=9, classes=("MI", "CD"), flags=("noisy",)),
        record(7, fold=10, classes=()),
        record(8, fold=10, classes=("HYP",), years=300.0, recorded_at=None),
        record(9, fold=1, years=None, sex="unknown"),
    ]
    write(tmp_path / "records", records, quarantined=[(4, Reason.WRONG_UNITS)])
    return tmp_path / "records"


def test_every_record_comes_back_as_it_was_written(folder):
    record_set = read_record_set(folder)
    assert list(record_set.table.columns) == list(table_columns(TASK.codes))
    assert record_set.table["ecg_id"].tolist() == [3, 5, 7, 8, 9]
    for row, ecg_id in enumerate(record_set.table["ecg_id"]):
        np.testing.assert_array_equal(record_set.signals_uv[row], signals(ecg_id))
    assert record_set.table["recorded_at"][0] == pd.Timestamp("1984-11-09 09:17:34")
    assert pd.isna(record_set.table["recorded_at"][3])
    assert (record_set.sampling_hz, record_set.simulated) == (100, False)


def test_what_came_in_is_what_was_published_and_what_is_in_quarantine(folder):
    counts = read_record_set(folder).counts
    assert counts["in"] == counts["published"] + counts["quarantined"] == 6
    assert counts["unlabelled"] == 1
    assert counts["by_reason"] == {"wrong_units": 1}
    assert read_quarantine(folder).to_dict("records") == [
        {"ecg_id": 4, "source": "folder:test", "reason": "wrong_units", "detail": "as the test says"}
    ]


def test_label_columns_have_the_order_of_every_label_vector(folder):
    record_set = read_record_set(folder)
    assert record_set.codes == ("NORM", "MI", "STTC", "CD", "HYP")
    labels = record_set.labels()
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]


def test_a_record_without_a_diagnosis_is_kept_but_not_learned_from(folder):
    record_set = read_record_set(folder)
    assert record_set.rows(folds=(10,)).tolist() == [3]
    assert record_set.rows(folds=(10,), labelled=False).tolist() == [2, 3]
    assert record_set.rows().tolist() == [0, 1, 3, 4]


def test_signals_are_millivolts_and_cannot_be_changed_by_a_reader(folder):
    record_set = read_record_set(folder)
    signal_mv = record_set.signal_mv(1)
    assert signal_mv.dtype == np.float32
    np.testing.assert_allclose(signal_mv, signals(5) / 1000, rtol=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        record_set.signals_uv[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("written", "years", "band"),
    [
        *[(0, 0, "0-9"), (59.0, 59, "50-59"), (89, 89, "80-89"), (300, None, "90+"), (90, None, "90+")],
        *[(None, None, "unknown"), (float("nan"), None, "unknown"), (-1, None, "unknown")],
    ],
)
def test_an_age_above_89_is_a_band_and_never_a_number(written, years, band):
    assert Age.of(written) == Age(years=years, band=band)


def test_the_same_records_are_the_same_bytes(tmp_path, folder):
    again = tmp_path / "again"
    write(again, [record(1), record(2)])
    write(tmp_path / "third", [record(1), record(2)])
    assert read_record_set(again).digest == read_record_set(tmp_path / "third").digest != read_record_set(folder).digest


def test_a_set_without_a_record_can_be_read(tmp_path):
    write(tmp_path / "empty", [], quarantined=[(1, Reason.TRUNCATED)])
    assert read_record_set(tmp_path / "empty").signals_uv.shape == (0, 12, SAMPLES)


def test_a_flipped_bit_is_noticed(folder):
    path = folder / "signals.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"signals\.npy is damaged: its SHA-256 is .*; produce .* again"):
        read_record_set(folder)


def test_a_set_of_other_leads_is_refused(folder):
    from vizecg.publish import sha256_of

    path = folder / "set.json"
    path.write_text(path.read_text().replace('"aVR"', '"-aVR"'))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["set.json"] = sha256_of(path)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="has other leads than this version of vizecg; run ingest again"):
        read_record_set(folder)


def test_an_interrupted_writer_leaves_the_old_set(folder):
    before = read_record_set(folder).digest
    with (
        pytest.raises(KeyboardInterrupt),
        writing(folder) as writer,
    ):
        writer.add(record(1), signals_uv=signals(1))
        raise KeyboardInterrupt
    assert read_record_set(folder).digest == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 11}, "fold of record 1 is 11, allowed are 1 to 10"),
        ({"flags": ("ugly",)}, r"record 1 has unknown flags \['ugly'\]"),
    ],
)
def test_a_row_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        record(1, **changes)


@pytest.mark.parametrize("wrong", [np.zeros((12, 49), np.int16), np.zeros((12, 50), np.int32)])
def test_signals_of_another_shape_or_type_are_refused(tmp_path, wrong):
    with (
        pytest.raises(ValueError, match=r"signals_uv must be int16 \(12, 50\), got"),
        writing(tmp_path / "r") as writer,
    ):
        writer.add(record(1), signals_uv=wrong)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ((record(1, classes=("AFIB",)), signals(1), None), r"record 1 has unknown classes \['AFIB'\]; those of superd"),
        ((record(1), None, None), "record 1 has neither a signal nor a page image"),
        ((record(1), None, b""), "record 1 has neither a signal nor a page image"),
        ((record(3, name="other"), signals(3), None), "ecg_id 3 is given to both records100/3 and other"),
    ],
)
def test_a_record_that_contradicts_the_set_is_refused(tmp_path, added, message):
    one, signals_uv, upload = added
    with pytest.raises(ValueError, match=message), writing(tmp_path / "r") as writer:
        writer.add(record(3), signals_uv=signals(3))
        writer.add(one, signals_uv=signals_uv, upload=upload)
    assert not (tmp_path / "r").exists()


def test_a_record_on_paper_keeps_its_page_and_has_no_signal(tmp_path):
    with writing(tmp_path / "r") as writer:
        writer.add(record(1), signals_uv=None, upload=b"first page")
        writer.add(record(2), signals_uv=signals(2))
        writer.add(record(3), signals_uv=signals(3), upload=b"third page, longer")
    record_set = read_record_set(tmp_path / "r")
    assert [record_set.upload(row) for row in range(3)] == [b"first page", None, b"third page, longer"]
    assert record_set.has_signal.tolist() == [False, True, True]
    assert record_set.counts["without_signal"] == 1
    np.testing.assert_array_equal(record_set.signals_uv[1], signals(2))
    with pytest.raises(ValueError, match="record 1 has no signal"):
        record_set.signal_mv(0)


@pytest.mark.parametrize("name", TASKS)
def test_the_classes_of_any_task_are_the_label_columns(tmp_path, name):
    task = TASKS[name]
    with writing(tmp_path / "r", task=task) as writer:
        writer.add(record(1, classes=(task.codes[0], task.codes[-1])), signals_uv=signals(1))
        writer.add(record(2, classes=()), signals_uv=signals(2))
    record_set = read_record_set(tmp_path / "r")
    assert (record_set.task, record_set.codes, record_set.classes) == (name, task.codes, task.classes)
    assert record_set.labels().tolist() == [[1, *[0] * (len(task.codes) - 2), 1], [0] * len(task.codes)]
    assert record_set.table["labelled"].tolist() == [True, False]


def test_joined_sources_are_all_named(tmp_path):
    parts = tuple(Provenance(uri=f"folder:{name}", simulated=name == "b", digest=name * 64) for name in "ab")
    source = Provenance(uri="folder:a + folder:b", simulated=True, digest="c" * 64, parts=parts)
    with writing_record_set(tmp_path / "r", task=TASK, sampling_hz=100, samples=SAMPLES, source=source) as writer:
        writer.add(record(1, source="folder:b"), signals_uv=signals(1))
    record_set = read_record_set(tmp_path / "r")
    assert [part["uri"] for part in record_set.source["parts"]] == ["folder:a", "folder:b"]
    assert record_set.table["source"].tolist() == ["folder:b"]
    assert record_set.simulated
