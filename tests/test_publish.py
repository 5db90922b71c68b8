import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vizecg.errors import Conflict, InputError
from vizecg.publish import locked, newest_first, publishing, read_manifest, to_json, verify, write_atomically


def publish(folder: Path, **files: str) -> None:
    with publishing(folder, kind="letters", schema_version=1) as staging:
        for name, content in files.items():
            (staging / name).write_text(content)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != "manifest.json"}


@pytest.fixture
def letters(tmp_path):
    publish(tmp_path / "letters", a="alpha", b="beta")
    return tmp_path / "letters"


def test_manifest_names_every_file_with_its_sha256(letters):
    manifest = json.loads((letters / "manifest.json").read_text())
    assert manifest["files"] == {
        "a": hashlib.sha256(b"alpha").hexdigest(),
        "b": hashlib.sha256(b"beta").hexdigest(),
    }


def test_equal_content_has_an_equal_digest(letters, tmp_path):
    publish(tmp_path / "again", b="beta", a="alpha")
    publish(tmp_path / "other", a="alpha", b="gamma")
    first, again, other = (
        verify(tmp_path / name, kind="letters", schema_version=1).digest for name in ("letters", "again", "other")
    )
    assert first == again != other
    assert verify(letters, kind="letters", schema_version=1).digest == first


def test_a_block_that_raises_leaves_the_old_folder_and_nothing_else(letters):
    with (
        pytest.raises(RuntimeError, match="disk"),
        publishing(letters, kind="letters", schema_version=1) as staging,
    ):
        (staging / "a").write_text("half wri")
        raise RuntimeError("disk full")
    assert contents(letters) == {"a": "alpha", "b": "beta"}
    assert [path.name for path in letters.parent.iterdir() if path.is_dir()] == ["letters"]


def test_publishing_again_replaces_the_whole_folder(letters):
    publish(letters, c="gamma")
    assert contents(letters) == {"c": "gamma"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda f: (f / "a").write_text("alphb"), "a is damaged: its SHA-256 is", id="flipped-bit"),
        pytest.param(lambda f: (f / "a").unlink(), "lacks a, which its manifest.json lists", id="missing-file"),
        pytest.param(lambda f: (f / "x").write_text("?"), "holds x, which its manifest.json does not list", id="extra"),
        pytest.param(
            lambda f: (f / "manifest.json").unlink(), "is not finished: it has no manifest.json", id="unsealed"
        ),
        pytest.param(lambda f: (f / "manifest.json").write_text("{"), "is not a manifest", id="no-json"),
        pytest.param(lambda f: (f / "manifest.json").write_text("[]"), "is not a manifest", id="no-object"),
    ],
)
def test_what_is_not_what_was_published_is_refused(letters, damage, message):
    damage(letters)
    with pytest.raises(InputError, match=message):
        verify(letters, kind="letters", schema_version=1)


def test_a_missing_folder_and_another_kind_are_refused(letters, tmp_path):
    with pytest.raises(InputError, match=r"is not there: it has no manifest\.json; produce it first"):
        verify(tmp_path / "nowhere", kind="letters", schema_version=1)
    with pytest.raises(InputError, match="is 'letters' version 1, expected 'numbers' version 2"):
        read_manifest(letters, kind="numbers", schema_version=2)


def test_two_writers_of_one_folder_conflict_and_the_first_goes_on(tmp_path):
    with (
        locked(tmp_path / "out"),
        pytest.raises(Conflict, match=rf"out is being written by another run \(process {os.getpid()}\)"),
        publishing(tmp_path / "out", kind="letters", schema_version=1),
    ):
        pytest.fail("the second writer got in")
    publish(tmp_path / "out", a="alpha")


def test_a_writer_that_is_killed_leaves_the_old_folder_and_no_lock(letters):
    writer = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import pathlib, sys, time\n"
            "from vizecg.publish import publishing\n"
            "with publishing(pathlib.Path(sys.argv[1]), kind='letters', schema_version=1) as staging:\n"
            "    (staging / 'a').write_text('half')\n"
            "    print('writing', flush=True)\n"
            "    time.sleep(60)\n",
            str(letters),
        ],
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert contents(letters) == {"a": "alpha", "b": "beta"}
    publish(letters, a="alpha two")
    assert contents(letters) == {"a": "alpha two"}


def test_a_kill_between_the_two_renames_is_mended_by_the_next_run(letters):
    letters.rename(letters.parent / ".letters.old")
    with pytest.raises(RuntimeError), publishing(letters, kind="letters", schema_version=1):
        raise RuntimeError
    assert contents(letters) == {"a": "alpha", "b": "beta"}


def test_a_file_is_replaced_whole(tmp_path):
    target = tmp_path / "one"
    write_atomically(target, "first")
    write_atomically(target, b"second")
    assert target.read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_the_newest_folder_is_first_and_one_that_has_vanished_is_passed_over(tmp_path):
    older, newer = tmp_path / "a", tmp_path / "b"
    for changed_s, folder in ((1, older), (2, newer)):
        folder.mkdir()
        os.utime(folder, (changed_s, changed_s))
    assert newest_first([older, tmp_path / "gone", newer]) == [newer, older]


def test_json_refuses_what_json_has_no_word_for():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"auroc": float("nan")})


def test_time_is_not_part_of_a_manifest(letters):
    first = (letters / "manifest.json").read_bytes()
    time.sleep(0.01)
    publish(letters, a="alpha", b="beta")
    assert (letters / "manifest.json").read_bytes() == first
