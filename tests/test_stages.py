"""A stage as a Prefect task sees it: real DVC, tiny stages."""

import logging
import os
import subprocess
import sys
import time

import pytest

from flows.commands import run_command
from flows.outcomes import exit_code
from flows.retrain import _bring_up_to_date, time_limits_h
from flows.stages import run_stage, stage_names
from vizecg.errors import Conflict, GateRefused, InputError
from vizecg.process import start_supervised, stop

PIPELINE = """\
stages:
  write:
    cmd: {python} write.py
    deps: [word, write.py]
    outs: [out]
  slow:
    cmd: {python} -c "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(60)"
    deps: [word]
    outs: [never]
"""
WRITE = """\
import pathlib, sys
word = pathlib.Path("word").read_text()
if word.startswith("refuse"):
    print("vizecg: data are wrong: label V7 is unknown", file=sys.stderr)
    sys.exit(int(word.split()[1]))
pathlib.Path("out").write_text(word)
print("wrote", word)
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(PIPELINE.format(python=sys.executable))
    (folder / "write.py").write_text(WRITE)
    (folder / "word").write_text("hello")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def run(workspace, name="write", timeout_s=60.0):
    said = []
    return run_stage(name, workspace=workspace, timeout_s=timeout_s, say=said.append), said


def test_a_stage_runs_once_then_is_unchanged_then_comes_from_the_cache(workspace):
    result, said = run(workspace)
    assert (result.name, result.outcome) == ("write", "ran")
    assert "wrote hello" in said
    assert run(workspace)[0].outcome == "unchanged"
    (workspace / "word").write_text("other")
    assert run(workspace)[0].outcome == "ran"
    (workspace / "word").write_text("hello")
    assert run(workspace)[0].outcome == "restored from cache"
    assert (workspace / "out").read_text() == "hello"


@pytest.mark.parametrize(("code", "kind"), [(2, InputError), (3, GateRefused), (4, Conflict)])
def test_a_failed_stage_is_told_in_the_steps_own_words_and_kind(workspace, code, kind):
    (workspace / "word").write_text(f"refuse {code}")
    with pytest.raises(kind, match=r"^stage write: data are wrong: label V7 is unknown$") as caught:
        run(workspace)
    assert type(caught.value) is kind


def test_what_a_command_says_of_a_remote_is_told_without_its_password(workspace):
    (workspace / "cut_off.py").write_text("print('ERROR: https://anna:s3cret@git.example.org/x is away')")
    said = []
    done = run_command(["cut_off"], workspace=workspace, timeout_s=60, what="it", say=said.append)
    assert done.lines == said == ["ERROR: https://***@git.example.org/x is away"]


def test_a_stage_that_takes_too_long_is_stopped_with_all_it_started(workspace):
    began = time.monotonic()
    with pytest.raises(InputError, match="stage slow was stopped after 4 s, its time limit"):
        run(workspace, "slow", timeout_s=4.0)
    assert time.monotonic() - began < 30


def test_each_stage_has_time_for_a_million_records_or_what_people_say():
    stages = ["ingest", "render", "train"]
    given = time_limits_h("", stages=stages)
    # docs/scale.md: hours of a million records on one core; train on two.
    assert all(given[stage] > hours for stage, hours in {"ingest": 1.8, "render": 50, "train": 68}.items())
    assert time_limits_h("render=0.5 train=300", stages=stages) == given | {"render": 0.5, "train": 300}


@pytest.mark.parametrize("said", ["rendr=5", "render", "render=0", "render=-1", "render=nan", "train=2,render=3", "5"])
def test_a_limit_of_no_stage_or_no_hours_is_refused(said):
    with pytest.raises(
        InputError, match=rf"VIZECG_STAGE_TIMEOUT_H has '{said}', expected STAGE=HOURS, .* of render, t"
    ):
        time_limits_h(said, stages=["render", "train"])


def test_a_stage_that_was_stopped_says_by_which_setting_it_gets_more_time(workspace, monkeypatch):
    monkeypatch.setenv("VIZECG_STAGE_TIMEOUT_H", "slow=0.0005")
    monkeypatch.setattr("flows.retrain.get_run_logger", logging.getLogger)
    state = _bring_up_to_date("slow", workspace=workspace)
    assert state.message == (
        "stage slow was stopped after 1.8 s, its time limit; a longer one is set by VIZECG_STAGE_TIMEOUT_H=slow=HOURS"
    )
    assert exit_code(state) == 2


def test_a_second_run_in_the_same_folder_is_a_conflict(workspace):
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "slow"]
    first = start_supervised(command, cwd=workspace, environment=os.environ, output=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (workspace / "begun").exists():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(Conflict, match="another `dvc` is running in this folder; wait for it or stop it"):
            run(workspace, "slow")
    finally:
        stop(first)


def test_a_folder_without_a_pipeline_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no stages; run from a checkout of the project"):
        stage_names(tmp_path)
