"""A disk that fills up ends in one sentence, and what was there before is still there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vizecg.config import assignment, override
from vizecg.records import read_record_set
from vizecg.simulate import write_database
from vizecg.steps import params_models

ROOT = Path(__file__).parent.parent


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk") / "ptb-xl"
    write_database(folder, records=120, seed=7, both_rates=False)
    return folder


def vizecg(*arguments, cwd, state):
    environment = {**os.environ, "VIZECG_STATE_DIR": str(state), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "vizecg", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def place_with_params(folder, *, source, limit):
    folder.mkdir(exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    changes = [assignment("ingest.source", str(source)), f"ingest.limit={limit}", "ingest.workers=0"]
    override(folder / "params.yaml", changes, models=params_models())
    return folder


INGEST = ("ingest", "--source", "data/source.json", "--records")


def test_no_room_for_the_set_leaves_the_old_one(small_disk, database, tmp_path):
    place = place_with_params(tmp_path / "place", source=database, limit=20)
    out = small_disk / "records"
    for limit, code in ((20, 0), (120, 2)):
        override(place / "params.yaml", [f"ingest.limit={limit}"], models=params_models())
        assert vizecg("source", "pin", cwd=place, state=tmp_path / "state").returncode == 0
        done = vizecg(*INGEST, str(out), cwd=place, state=tmp_path / "state")
        assert done.returncode == code, done.stderr
    assert "No space left on device" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("vizecg: ")
    assert "Traceback" not in done.stderr
    assert len(read_record_set(out)) == 20
    assert sorted(path.name for path in small_disk.iterdir()) == [".records.lock", "records"]


def test_no_room_to_unpack_leaves_nothing_half(small_disk, database, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "ptb-xl"), "zip", database.parent, "ptb-xl")
    place = place_with_params(tmp_path / "place", source=archive, limit=20)
    assert vizecg("source", "pin", cwd=place, state=small_disk / "state").returncode == 0
    done = vizecg(*INGEST, "data/records", cwd=place, state=small_disk / "state")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "is it complete?" not in done.stderr
    assert not (place / "data" / "records").exists()
    assert not list(small_disk.rglob("*.dat"))
