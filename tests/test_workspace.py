import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from vizecg import workspace
from vizecg.errors import Conflict, InputError
from vizecg.settings import Settings


def git(*arguments, cwd):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    git("init", "-q", cwd=folder)
    (folder / "params.yaml").write_text("epochs: 5\n")
    (folder / "dvc.lock").write_text("committed\n")
    git("add", "-A", cwd=folder)
    git("commit", "-qm", "first", cwd=folder)
    return folder


def test_a_workspace_holds_the_last_commit_and_shares_the_cache(checkout):
    place = checkout / ".state" / "workspaces" / "other"
    workspace.prepare(place, checkout=checkout)
    assert (place / "params.yaml").read_text() == "epochs: 5\n"
    assert str(checkout / ".dvc" / "cache") in (place / ".dvc" / "config.local").read_text()


def test_coming_back_brings_new_commits_and_keeps_what_dvc_has_finished(checkout):
    place = checkout / ".state" / "workspaces" / "other"
    workspace.prepare(place, checkout=checkout)
    (place / "params.yaml").write_text("epochs: 99\n")
    (place / "dvc.lock").write_text("finished here\n")
    (checkout / "params.yaml").write_text("epochs: 6\n")
    git("commit", "-qam", "second", cwd=checkout)
    workspace.prepare(place, checkout=checkout)
    assert (place / "params.yaml").read_text() == "epochs: 6\n"
    assert (place / "dvc.lock").read_text() == "finished here\n"


def test_changes_that_a_clone_would_lack_are_named(checkout):
    assert workspace.uncommitted_files(checkout) == []
    (checkout / "params.yaml").write_text("epochs: 7\n")
    (checkout / "notes.txt").write_text("not tracked")
    assert workspace.uncommitted_files(checkout) == ["params.yaml"]


def test_a_folder_without_git_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"git rev-parse in .* failed: .*not a git repository"):
        workspace.prepare(tmp_path / "workspace", checkout=tmp_path)


@pytest.fixture
def settings(checkout):
    return Settings(state_dir=checkout / ".state", repository=str(checkout))


def test_one_run_works_in_a_clone_at_a_revision_that_is_gone_afterwards(checkout, settings):
    first = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    (checkout / "params.yaml").write_text("epochs: 6\n")
    git("commit", "-qam", "second", cwd=checkout)
    git("branch", "other", cwd=checkout)
    for revision, epochs in (("HEAD", 6), (first.stdout.strip(), 5), ("other", 6)):
        with workspace.of_one_run("one", settings=settings, revision=revision) as place:
            assert (place / "params.yaml").read_text() == f"epochs: {epochs}\n"
            assert str(checkout / ".dvc" / "cache") in (place / ".dvc" / "config.local").read_text()
        assert not place.exists()


def test_a_revision_that_is_not_there_is_named(settings):
    with (
        pytest.raises(InputError, match=r"checkout has no revision 'nightly'; name a branch, a tag or a commit"),
        workspace.of_one_run("one", settings=settings, revision="nightly"),
    ):
        pass


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def over_http(checkout):
    """The checkout as a repository that is cloned with a name and a password in its address."""
    git("update-server-info", cwd=checkout)
    with (
        HTTPServer(("127.0.0.1", 0), partial(QuietFiles, directory=checkout)) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        pool.submit(server.serve_forever)
        yield f"http://anna:s3cret@127.0.0.1:{server.server_port}/.git"
        server.shutdown()


def test_a_password_in_the_address_of_the_repository_is_in_no_sentence(over_http, settings):
    settings = settings.model_copy(update={"repository": over_http})
    with (
        pytest.raises(InputError, match=r"^http://\*\*\*@127\.0\.0\.1:\d+/\.git has no revision 'nightly'"),
        workspace.of_one_run("one", settings=settings, revision="nightly"),
    ):
        pass


def alive(word):
    """Processes whose command line holds a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [path] if word.encode() in path.read_bytes() else []
    return found


def test_a_repository_that_takes_the_connection_and_is_silent_is_not_waited_for_for_ever(settings, monkeypatch):
    monkeypatch.setattr(workspace, "GIT_TIMEOUT_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = settings.model_copy(update={"repository": f"http://{address}/vizecg.git"})
        with (
            pytest.raises(
                InputError, match=r"^git clone in .* did not end within 2 s and was stopped; see whether the"
            ),
            workspace.of_one_run("one", settings=settings, revision="HEAD"),
        ):
            pass
        until_s = time.monotonic() + 20
        while alive(address):
            assert time.monotonic() < until_s, "what git started is still at work"
            time.sleep(0.05)


def test_failed_runs_stay_to_be_looked_into_and_only_the_newest_and_those_at_work(settings):
    places = settings.state_dir / "workspaces"
    with workspace.of_one_run("at-work", settings=settings, revision="HEAD"):
        os.utime(places / "run-at-work", (1, 1))
        for number in range(6):
            with pytest.raises(RuntimeError), workspace.of_one_run(f"{number}", settings=settings, revision="HEAD"):
                raise RuntimeError
            os.utime(places / f"run-{number}", (number + 2, number + 2))
        assert sorted(path.name for path in places.glob("run-*")) == [
            *(f"run-{number}" for number in (2, 3, 4, 5)),
            "run-at-work",
        ]
        with (
            pytest.raises(Conflict, match="is being written by another run"),
            workspace.of_one_run("at-work", settings=settings, revision="HEAD"),
        ):
            pass


def test_changed_parameters_are_told_against_the_commit(checkout):
    (checkout / "params.yaml").write_text("train:\n  epochs: 5\n  folds: [1, 2]\n  name: a\n")
    git("commit", "-qam", "sections", cwd=checkout)
    assert workspace.changed_parameters(checkout) == ()
    (checkout / "params.yaml").write_text("train:\n  epochs: 7 # more\n  folds: [1, 2, 3]\n  name: a\n")
    assert workspace.changed_parameters(checkout) == ("train.epochs=7", "train.folds=[1, 2, 3]")


def test_without_a_commit_nobody_knows_what_was_changed(tmp_path):
    (tmp_path / "params.yaml").write_text("epochs: 5\n")
    assert workspace.changed_parameters(tmp_path) is None


def test_a_remote_counts_when_it_is_the_default(checkout):
    (checkout / ".dvc").mkdir()
    assert not workspace.has_remote(checkout)
    (checkout / ".dvc" / "config").write_text("[core]\n    remote = team\n['remote \"team\"']\n    url = s3://%b/x\n")
    assert workspace.has_remote(checkout)
