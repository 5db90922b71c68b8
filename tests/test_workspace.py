import subprocess

import pytest

from vizecg import workspace
from vizecg.errors import InputError


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
