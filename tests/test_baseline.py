"""New data are compared with the data that was accepted: a change is told, chance is not."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from vizecg.cli import cli
from vizecg.errors import InputError
from vizecg.labels import TASKS
from vizecg.records import Age, Provenance, Record, read_record_set, writing_record_set
from vizecg.steps.validate import Params
from vizecg.validation.baseline import compare, difference_interval, read_baseline, wilson
from vizecg.validation.profile import profile_of
from vizecg.validation.tables import Tables, class_table, page_table, record_table, signal_table

TASK = TASKS["superdiagnostic"]
Z_95 = 1.959964


def limits():
    from vizecg import steps
    from vizecg.config import PARAMS_FILE, read_params

    params = read_params(PARAMS_FILE, models=steps.params_models())["validate"]
    assert isinstance(params, Params)
    return params


def data_set(folder, *, seed, records=400, mi=0.25, female=0.5, gain=1.0, task=TASK):
    """A record set, its tables and profile; what differs between two of them is what is asked for, and chance."""
    rng = np.random.default_rng(seed)
    source = Provenance(uri=f"folder:batch-{seed}", simulated=True, digest="d" * 64)
    time_s = np.arange(200) / 100
    with writing_record_set(folder, task=task, sampling_hz=100, samples=200, source=source) as writer:
        for ecg_id in range(1, records + 1):
            beat = np.sin(2 * np.pi * 1.1 * time_s) * rng.lognormal(6.5, 0.3) * gain
            i, ii = beat + rng.normal(0, 4, 200), 1.2 * beat + rng.normal(0, 4, 200)
            chest = np.stack([beat * factor for factor in (0.5, 0.8, 1, 1.2, 1, 0.8)])
            signal = np.rint(np.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2, *chest]))
            one = Record(
                ecg_id=ecg_id,
                source=source.uri,
                name=f"r{ecg_id}",
                patient_id=ecg_id,
                age=Age.of(float(rng.integers(20, 90))),
                sex="female" if rng.random() < female else "male",
                site="0",
                device="x",
                recorded_at=None,
                fold=ecg_id % 10 + 1,
                classes=(task.codes[1 if rng.random() < mi else 0],),
            )
            writer.add(one, signals_uv=signal.astype(np.int16))
    record_set = read_record_set(folder)
    index = pd.DataFrame(
        {
            **{
                "row": np.arange(records),
                "ecg_id": np.arange(1, records + 1),
                "copy": 0,
                "style": "standard",
                "camera": "clean",
            },
            **{"is_ecg": True, "findings": "", "px_per_mm": 4.0, "measured_px_per_mm": 4.0},
            "ink_fraction": rng.normal(0.05, 0.01, records),
            "mean": rng.normal(240, 3, records),
        }
    )
    table = record_set.table
    tables = Tables(
        records=record_table(table, codes=task.codes),
        classes=class_table(table, codes=task.codes),
        signals=signal_table(table, signals_uv=record_set.signals_uv, sampling_hz=100, upload=record_set.upload),
        pages=page_table(index, table=table),
        baseline=pd.DataFrame(),
    )
    return tables, profile_of(tables, record_set=record_set)


def changed(then, now):
    tables, profile = now
    found = compare(profile, accepted=json.loads(json.dumps(then[1])), tables=tables, limits=limits())
    return {change.quantity for change in found.changes if change.changed}


@pytest.fixture(scope="module")
def accepted(tmp_path_factory):
    return data_set(tmp_path_factory.mktemp("baseline") / "records", seed=1)


# Newcombe, Statistics in Medicine 17 (1998): Wilson's interval in "Two-sided confidence intervals for the single
# proportion", table I, 81/263 and 15/148; the difference in "Interval estimation for the difference", table II (a).
@pytest.mark.parametrize(("hits", "total", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)])
def test_wilsons_interval_is_the_published_one(hits, total, low, high):
    assert wilson(hits, total, z=Z_95) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_of_a_difference_is_the_published_one():
    assert difference_interval((48, 80), (56, 70), z=Z_95) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_same_data_has_not_changed(accepted):
    assert changed(accepted, accepted) == set()


def test_other_patients_of_the_same_kind_are_no_change(accepted, tmp_path):
    told = [changed(accepted, data_set(tmp_path / str(seed), seed=seed, records=150)) for seed in range(2, 12)]
    assert sum(map(bool, told)) <= 1, told


@pytest.mark.parametrize(
    ("change", "quantities"),
    [
        ({"mi": 0.5}, {"class NORM", "class MI"}),
        ({"female": 0.8}, {"sex female", "sex male"}),
        ({"gain": 2.0}, {"largest voltage of a recording, mV"}),
    ],
)
def test_a_change_is_told(accepted, tmp_path, change, quantities):
    assert quantities <= changed(accepted, data_set(tmp_path / "new", seed=20, **change))


def test_a_small_change_in_a_small_batch_is_not_told(accepted, tmp_path):
    assert changed(accepted, data_set(tmp_path / "new", seed=21, records=30, mi=0.35)) == set()


def test_data_of_another_kind_are_not_compared(accepted, tmp_path):
    tables, profile = data_set(tmp_path / "new", seed=22, records=60, task=TASKS["rhythm"])
    found = compare(profile, accepted=accepted[1], tables=tables, limits=limits())
    assert found.changes == ()
    assert found.reason == "Nothing was compared: the data that was accepted is of another kind (task, classes differ)."


def test_a_profile_holds_nothing_of_one_record(accepted):
    text = json.dumps(accepted[1])
    assert "ecg_id" not in text
    assert "patient" not in text
    assert len(text) < 10_000


def test_accepting_and_forgetting(accepted, tmp_path):
    profile, baseline = tmp_path / "profile.json", tmp_path / "baseline.json"
    profile.write_text(json.dumps(accepted[1]))
    done = CliRunner().invoke(cli, ["baseline", "accept", "--profile", str(profile), "--to", str(baseline)])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{baseline}: 400 records of folder:batch-1, task superdiagnostic\n"
    assert read_baseline(baseline) == accepted[1]
    assert CliRunner().invoke(cli, ["baseline", "clear", "--to", str(baseline)]).exit_code == 0
    assert read_baseline(baseline) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"baseline\.json is not there; `vizecg baseline clear` writes one"),
        ("hello", r"baseline\.json is not a baseline; write it with `vizecg baseline accept`"),
        ('{"schema_version": 9, "profile": null}', "is not a baseline of this version"),
        ('{"schema_version": 1, "profile": 3}', "is not a baseline of this version"),
    ],
)
def test_a_baseline_that_is_none_is_one_sentence(tmp_path, content, message):
    if content is not None:
        (tmp_path / "baseline.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_baseline(tmp_path / "baseline.json")


def test_a_profile_that_is_none_is_not_accepted(tmp_path):
    (tmp_path / "profile.json").write_text('{"schema_version": 7}')
    done = CliRunner().invoke(cli, ["baseline", "accept", "--profile", str(tmp_path / "profile.json")])
    assert isinstance(done.exception, InputError)
    assert "is a profile of version 7, expected 1" in str(done.exception)


def test_the_checkout_has_accepted_nothing_yet():
    from vizecg.settings import repository_root

    assert read_baseline(repository_root() / "data" / "baseline.json") is None
