"""Killed with `kill -9` at random moments, a step leaves the old set or the new one, and a rerun ends byte-identical.

`make test` kills a handful of times, `make fuzz` sixty times a step: `pytest tests/test_kills.py --kills 60`.
"""

import hashlib
import multiprocessing
import random
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

from vizecg.simulate import write_database

RECORDS = 20  # more than a worker is handed at a time
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("vizecg.steps.ingest", "vizecg.sources", "vizecg.layouts", "vizecg.ptbxl.table", "vizecg.recordings.reading"),
        *("vizecg.steps.render", "vizecg.pages", "vizecg.progress", "vizecg.records", "scipy.signal", "pandas", "wfdb"),
    ]
)


@pytest.fixture(scope="module")
def source(request, tmp_path_factory):
    """A slice of the real sample where it is at hand, else simulated records."""
    folder = tmp_path_factory.mktemp("kills") / "ptb-xl"
    try:
        _copy_slice(request.getfixturevalue("real_ptbxl"), into=folder)
    except pytest.skip.Exception:
        write_database(folder, records=RECORDS, seed=7, both_rates=False)
    return folder


def _copy_slice(whole, *, into):
    into.mkdir()
    table = pd.read_csv(whole / "ptbxl_database.csv").sort_values("ecg_id").head(RECORDS)
    table.to_csv(into / "ptbxl_database.csv", index=False)
    shutil.copy(whole / "scp_statements.csv", into)
    for name in table["filename_lr"]:
        for ending in (".hea", ".dat"):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(whole / f"{name}{ending}", into / f"{name}{ending}")
    files = sorted(path for path in into.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(into).as_posix()}\n" for path in files]
    (into / "SHA256SUMS.txt").write_text("".join(lines))


@pytest.fixture(scope="module")
def records(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills-records")
    ingest(source, folder / "records")
    return folder / "records"


def ingest(source, out):
    from vizecg.sources import write_pin
    from vizecg.steps.ingest import Params, run

    params = Params(
        source=str(source),
        task="superdiagnostic",
        limit=None,
        sampling_hz=100,
        label_map=None,
        max_quarantined=0.1,
        workers=0,
        fetch={"connections": 1, "part_mb": 1, "tries": 1, "deadline_s": 60},
        s3={"endpoint_url": None, "region": None, "signed": False},
        simulated={"records": 1, "seed": 7},
    )
    pin = source.parent / "source.json"
    if not pin.exists():
        write_pin(pin, params)
    run(params, source=pin, records=out)


def render(records, out):
    from vizecg.steps.render import Params, run

    params = Params(
        seed=7,
        copies=1,
        style="standard",
        camera="scan",
        upload_px_per_mm=4.0,
        px_per_mm=1.5,
        workers=0,
        contact_sheet="none",
    )
    run(params, records=records, pages=out)


STEPS = {"ingest": (ingest, "source"), "render": (render, "records")}


def content_of(folder: Path) -> dict[str, str]:
    """Every byte of a folder: relative name -> SHA-256."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_random_moment_a_rerun_ends_as_if_undisturbed(request, tmp_path, step, pytestconfig):
    run, given = STEPS[step]
    given = request.getfixturevalue(given)
    out = tmp_path / "set"
    duration_s = min(_timed(run, given, out) for _ in range(2))  # the first one starts interpreters too
    undisturbed = content_of(out)
    rng = random.Random(step)  # noqa: S311 (when to kill needs no secrecy)
    landed = 0
    for _ in range(pytestconfig.getoption("kills")):
        if rng.random() < 0.5:  # half of them write a set anew, half replace one
            shutil.rmtree(out)
        landed += _kill(run, given, out, after_s=rng.uniform(0, duration_s))
        if out.exists():
            assert content_of(out) == undisturbed
        _timed(run, given, out)
        assert content_of(out) == undisturbed
    assert landed, "every run was done before it could be killed"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".set.lock", "set"]


def _timed(run, given, out) -> float:
    started_s = time.monotonic()
    process = CONTEXT.Process(target=run, args=(given, out))
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - started_s


def _kill(run, given, out, *, after_s) -> bool:
    """Whether the kill came before the step was done."""
    process = CONTEXT.Process(target=run, args=(given, out))
    process.start()
    process.join(timeout=after_s)
    process.kill()
    process.join()
    return process.exitcode == -9
