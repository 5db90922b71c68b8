"""Whatever happens on the way, ingest ends with the same record set, or with one sentence and the old one."""

import hashlib
import json
import multiprocessing
import shutil
import time

import numpy as np
import pandas as pd
import pytest
import wfdb

from vizecg.errors import Conflict, InputError
from vizecg.labels import LEADS
from vizecg.publish import locked
from vizecg.records import read_quarantine, read_record_set
from vizecg.simulate import write_database
from vizecg.sources import write_pin
from vizecg.steps.ingest import Params, run

RECORDS = 40


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingest") / "ptb-xl"
    write_database(folder, records=RECORDS, seed=7, both_rates=False)
    return folder


@pytest.fixture
def folder(simulated, tmp_path):
    return shutil.copytree(simulated, tmp_path / "ptb-xl")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("VIZECG_STATE_DIR", str(tmp_path / "state"))


def params(source, **changes):
    options = {
        "source": source if isinstance(source, list) else str(source),
        "task": "superdiagnostic",
        "limit": None,
        "sampling_hz": 100,
        "max_quarantined": 0.1,
        "workers": 0,
        "label_map": None,
        "fetch": {"connections": 2, "part_mb": 1, "tries": 2, "deadline_s": 60},
        "s3": {"endpoint_url": None, "region": None, "signed": False},
        "simulated": {"records": 5, "seed": 7},
    }
    return Params(**(options | changes))


def ingest(source, into, **changes):
    chosen = params(source, **changes)
    write_pin(into.parent / "source.json", chosen)
    run(chosen, source=into.parent / "source.json", records=into)
    return read_record_set(into)


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def test_every_record_is_published_with_its_own_signal(folder, tmp_path, capsys):
    record_set = ingest(folder, tmp_path / "records")
    assert record_set.table["ecg_id"].tolist() == list(range(1, RECORDS + 1))
    digital = np.fromfile(folder / "records100/00000/00017_lr.dat", "<i2").reshape(1000, 12)
    np.testing.assert_array_equal(record_set.signals_uv[16], digital.T)
    assert record_set.simulated
    assert capsys.readouterr().out == (
        f"ingest: 40 records in, 40 published, 0 in quarantine, {record_set.counts['unlabelled']} unlabelled, "
        "from folder:ptb-xl\n"
    )


@pytest.mark.parametrize("executor", ["processes", "threads"])
def test_the_same_source_gives_the_same_bytes_whoever_reads_it(folder, tmp_path, executor):
    alone = ingest(folder, tmp_path / "alone")
    assert ingest(folder, tmp_path / "together", executor=executor, workers=2).digest == alone.digest


def test_the_default_needs_no_data_at_all(tmp_path):
    record_set = ingest("simulated", tmp_path / "records")
    assert (len(record_set), record_set.simulated) == (5, True)
    assert record_set.source["uri"] == "simulated:records=5,seed=7"


def test_simulated_records_come_at_500_hz_too(tmp_path):
    record_set = ingest("simulated", tmp_path / "records", sampling_hz=500)
    assert record_set.signals_uv.shape == (5, 12, 5000)


def test_a_limit_takes_the_first_records(folder, tmp_path):
    assert ingest(folder, tmp_path / "records", limit=3).table["ecg_id"].tolist() == [1, 2, 3]


def test_a_bad_record_is_set_aside_and_counted_and_the_rest_goes_on(folder, tmp_path, capsys):
    flip_bit(folder / "records100/00000/00005_lr.dat")
    (folder / "records100/00000/00009_lr.hea").unlink()
    record_set = ingest(folder, tmp_path / "records")
    assert record_set.counts["in"] == RECORDS == record_set.counts["published"] + record_set.counts["quarantined"]
    assert not {5, 9} & set(record_set.table["ecg_id"])
    assert read_quarantine(tmp_path / "records")[["ecg_id", "reason"]].values.tolist() == [
        [5, "file_checksum"],
        [9, "missing_file"],
    ]
    assert "38 published, 2 in quarantine (file_checksum 1, missing_file 1)" in capsys.readouterr().out


def test_too_many_bad_records_are_an_error_and_leave_the_old_set(folder, tmp_path):
    before = ingest(folder, tmp_path / "records").digest
    for ecg_id in range(1, 6):
        flip_bit(folder / f"records100/00000/{ecg_id:05d}_lr.dat")
    message = (
        r"5 of 40 records \(12\.5%\) cannot be used \(file_checksum 5\); "
        r"ingest\.max_quarantined in params\.yaml allows 10\.0%"
    )
    with pytest.raises(InputError, match=message):
        ingest(folder, tmp_path / "records")
    assert read_record_set(tmp_path / "records").digest == before


def test_not_one_good_record_is_an_error_whatever_is_allowed(folder, tmp_path):
    flip_bit(folder / "records100/00000/00001_lr.dat")
    with pytest.raises(InputError, match=r"1 of 1 records \(100\.0%\) cannot be used"):
        ingest(folder, tmp_path / "records", limit=1, max_quarantined=1.0)


def test_a_source_that_changed_since_it_was_pinned_is_refused(folder, tmp_path):
    chosen = params(folder)
    write_pin(tmp_path / "source.json", chosen)
    sums = folder / "SHA256SUMS.txt"
    sums.write_text(sums.read_text().replace("a", "b"))
    with pytest.raises(InputError, match=r"data/source\.json pins folder:ptb-xl .* run `vizecg source pin`"):
        run(chosen, source=tmp_path / "source.json", records=tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_a_source_nobody_pinned_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no source is pinned; run `vizecg source pin`"):
        run(params(folder), source=tmp_path / "source.json", records=tmp_path / "records")


def test_a_second_run_beside_the_first_is_told_so(folder, tmp_path):
    with locked(tmp_path / "records"), pytest.raises(Conflict, match="records is being written by another run"):
        ingest(folder, tmp_path / "records")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": 0}, "limit"),
        ({"max_quarantined": 1.5}, "max_quarantined"),
        ({"sampling_hz": 250}, "sampling_hz"),
        (
            {"task": "superdiagnosis"},
            "there is no such task; allowed are superdiagnostic, subdiagnostic, diagnostic, form",
        ),
        ({"source": []}, "name a source, or a list of sources to join"),
        ({"source": ["simulated", "simulated"]}, "a source stands there twice; join each once"),
    ],
)
def test_a_number_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        params(**{"source": "simulated", **change})


def test_killed_at_any_point_a_rerun_ends_as_if_undisturbed(folder, tmp_path):
    undisturbed = ingest(folder, tmp_path / "undisturbed").digest
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vizecg.recordings.reading", "vizecg.records", "vizecg.steps.ingest"])
    target, part = tmp_path / "records", tmp_path / ".records.part"
    arguments = {"source": tmp_path / "source.json", "records": target}
    killed = 0
    for written_bytes in (0, 200_000, 700_000):
        process = context.Process(target=run, args=(params(folder),), kwargs=arguments)
        process.start()
        while process.is_alive() and not _holds(part / "signals.npy", written_bytes):
            time.sleep(0.0005)
        process.kill()
        process.join()
        killed += process.exitcode == -9
        process.close()
        if target.exists():
            assert read_record_set(target).digest == undisturbed
    assert killed
    assert ingest(folder, target).digest == undisturbed
    assert not part.exists()


def _holds(path, size_bytes):
    return path.exists() and path.stat().st_size >= size_bytes


def test_sources_that_are_joined_keep_their_records_and_patients_apart(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    record_set = ingest([str(folder), str(other)], tmp_path / "records", limit=3)
    ids = record_set.table["ecg_id"]
    assert ids.is_unique
    assert ids.tolist()[:3] == [1, 2, 3]
    assert record_set.table["source"].tolist() == ["folder:ptb-xl"] * 3 + ["folder:other"] * 3
    patients = [set(record_set.table["patient_id"][part]) for part in (slice(0, 3), slice(3, 6))]
    assert not patients[0] & patients[1]
    np.testing.assert_array_equal(record_set.signals_uv[:3], record_set.signals_uv[3:])
    assert record_set.source["uri"] == "folder:ptb-xl + folder:other"
    assert [part["uri"] for part in record_set.source["parts"]] == ["folder:ptb-xl", "folder:other"]


def test_a_source_that_joined_after_the_pin_is_refused(folder, tmp_path):
    write_pin(tmp_path / "source.json", params(folder))
    with pytest.raises(InputError, match=r"source\.json pins 1 sources, but ingest\.source names 2; .*source pin"):
        run(params([str(folder), "simulated"]), source=tmp_path / "source.json", records=tmp_path / "records")


def test_a_label_map_is_pinned_too(folder, tmp_path):
    label_map = tmp_path / "map.csv"
    label_map.write_text("label,code\n1,MI\n")
    chosen = params(folder, label_map=str(label_map))
    write_pin(tmp_path / "source.json", chosen)
    run(chosen, source=tmp_path / "source.json", records=tmp_path / "records")
    label_map.write_text("label,code\n1,CD\n")
    with pytest.raises(
        InputError, match=r"ingest\.label_map is '.*map\.csv', which is not what data/source\.json pins"
    ):
        run(chosen, source=tmp_path / "source.json", records=tmp_path / "records")
    label_map.unlink()
    with pytest.raises(InputError, match=r"ingest\.label_map is '.*map\.csv' and there is no such file"):
        write_pin(tmp_path / "source.json", chosen)


def test_a_folder_in_no_known_layout_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.txt").write_text("no ECG")
    (tmp_path / "photos" / "SHA256SUMS.txt").write_text(f"{hashlib.sha256(b'no ECG').hexdigest()} cat.txt\n")
    with pytest.raises(InputError, match=r"folder:photos is in no known layout: it holds neither PTB-XL's"):
        ingest(tmp_path / "photos", tmp_path / "records")


@pytest.mark.parametrize("task", ["subdiagnostic", "diagnostic", "form", "rhythm", "all"])
def test_another_task_gives_the_same_records_other_classes(folder, tmp_path, task):
    first = ingest(folder, tmp_path / "first")
    other = ingest(folder, tmp_path / "other", task=task)
    assert other.task == task
    assert other.table["ecg_id"].tolist() == first.table["ecg_id"].tolist()
    assert other.codes != first.codes
    assert other.counts["unlabelled"] == int((other.labels().sum(axis=1) == 0).sum())


def test_records_of_two_layouts_are_joined(folder, tmp_path):
    """PTB-XL's layout beside WFDB records with SNOMED CT codes at another rate."""
    signal_mv = np.fromfile(folder / "records100/00000/00017_lr.dat", "<i2").reshape(1000, 12) / 1000
    fine = np.repeat(signal_mv, 5, axis=0)
    (tmp_path / "georgia" / "g1").mkdir(parents=True)
    wfdb.wrsamp(
        "E00001",
        fs=500,
        units=["mV"] * 12,
        sig_name=list(LEADS),
        p_signal=fine,
        fmt=["16"] * 12,
        comments=["Age: 61", "Sex: Male", "Dx: 164873001,426177001"],
        write_dir=str(tmp_path / "georgia" / "g1"),
    )
    record_set = ingest([str(folder), str(tmp_path / "georgia")], tmp_path / "records")
    last = record_set.table.iloc[-1]
    assert len(record_set) == RECORDS + 1
    assert (last["source"], last["name"], last["age_years"], last["sex"]) == ("folder:georgia", "g1/E00001", 61, "male")
    assert record_set.labels()[-1].tolist() == [0, 0, 0, 0, 1]
    assert record_set.table["ecg_id"].is_unique
    correlation = np.corrcoef(record_set.signals_uv[-1, 1, 50:-50], signal_mv.T[1, 50:-50])[0, 1]
    assert correlation > 0.95


def test_500_hz_records_are_ingested_as_they_are(tmp_path):
    fine = tmp_path / "fine"
    write_database(fine, records=4, seed=7, both_rates=True)
    record_set = ingest(fine, tmp_path / "records", sampling_hz=500)
    digital = np.fromfile(fine / "records500/00000/00002_hr.dat", "<i2").reshape(5000, 12)
    assert (record_set.sampling_hz, record_set.signals_uv.shape) == (500, (4, 12, 5000))
    np.testing.assert_array_equal(record_set.signals_uv[1], digital.T)


@pytest.mark.real
def test_the_real_records_at_500_hz_are_ingested(real_ptbxl, tmp_path):
    folder = shutil.copytree(real_ptbxl, tmp_path / "ptb-xl", ignore=shutil.ignore_patterns("records100"))
    table = pd.read_csv(folder / "ptbxl_database.csv")
    there = table["filename_hr"].map(lambda name: (folder / f"{name}.dat").is_file())
    table[there].to_csv(folder / "ptbxl_database.csv", index=False)
    _state_sums(folder, folder / "ptbxl_database.csv")
    record_set = ingest(folder, tmp_path / "records", sampling_hz=500)
    assert record_set.counts["in"] == record_set.counts["published"] == 48
    assert record_set.signals_uv.shape == (48, 12, 5000)


@pytest.mark.real
def test_the_real_sample_is_what_its_provenance_says(real_ptbxl, tmp_path):
    record_set = ingest(real_ptbxl, tmp_path / "records", workers=2)
    assert record_set.counts["in"] == record_set.counts["published"] == 1016
    assert record_set.counts["unlabelled"] == 12
    assert record_set.table[["NORM", "STTC", "CD", "MI", "HYP"]].sum().tolist() == [544, 236, 199, 191, 102]
    folds = record_set.table["fold"]
    assert [int((folds <= 8).sum()), int((folds == 9).sum()), int((folds == 10).sum())] == [743, 141, 132]
    assert (record_set.table["age_band"] == "90+").sum() == 22
    assert not record_set.simulated


@pytest.mark.real
def test_a_real_record_whose_limb_leads_contradict_each_other_is_set_aside(real_ptbxl, tmp_path):
    folder = shutil.copytree(real_ptbxl, tmp_path / "ptb-xl", ignore=shutil.ignore_patterns("records500"))
    stem = folder / "records100/00000/00162_lr"
    digital = np.fromfile(stem.with_suffix(".dat"), "<i2").reshape(1000, 12)
    digital[400:420, 0] += 2600  # as if lead I came from another moment
    stem.with_suffix(".dat").write_bytes(digital.tobytes())
    header = stem.with_suffix(".hea").read_text().splitlines()
    fields = header[1].split()
    fields[6] = str(int(digital[:, 0].sum(dtype=np.int64)) % 65536)
    stem.with_suffix(".hea").write_text("\n".join([header[0], " ".join(fields), *header[2:]]) + "\n")
    _state_sums(folder, stem.with_suffix(".dat"), stem.with_suffix(".hea"))
    ingest(folder, tmp_path / "records", limit=160)
    assert read_quarantine(tmp_path / "records")[["ecg_id", "reason"]].values.tolist() == [[162, "lead_relation"]]


def _state_sums(folder, *paths):
    path = folder / "SHA256SUMS.txt"
    text = path.read_text()
    for changed in paths:
        name = changed.relative_to(folder).as_posix()
        old = next(line for line in text.splitlines() if line.endswith(name))
        text = text.replace(old, f"{hashlib.sha256(changed.read_bytes()).hexdigest()} {name}")
    path.write_text(text)


def test_the_manifest_lists_every_file_of_the_set(folder, tmp_path):
    ingest(folder, tmp_path / "records")
    manifest = json.loads((tmp_path / "records" / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["quarantine.csv", "records.parquet", "set.json", "signals.npy", "uploads.bin"]
