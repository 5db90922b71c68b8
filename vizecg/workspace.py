"""A clone to run in with other parameters, so that the checkout stays as it is.

Clones share the checkout's DVC cache and its state folder: nothing is stored
twice, and MLflow, Prefect and the ledger see one history.
"""

import configparser
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import yaml

from vizecg.config import PARAMS_FILE
from vizecg.errors import Conflict, InputError
from vizecg.process import run_within
from vizecg.publish import locked, newest_first, write_atomically
from vizecg.settings import Settings, shown

LOCK_FILE: Final = "dvc.lock"
PIN_FILE: Final = Path("data/source.json")
# Of runs that failed: enough to look into the last nights, not enough to fill a disk.
FAILED_KEPT: Final = 3
_RUN: Final = "run-"
_OF_A_REMOTE: Final = ("clone", "fetch")
GIT_TIMEOUT_S: Final = 1800.0  # of a clone over a slow line
_GIT_MEND: Final = "see whether the repository answers (VIZECG_REPOSITORY), then run it again"


def prepare(workspace: Path, *, checkout: Path) -> None:
    """Clone the checkout's HEAD, or bring an earlier clone up to it.

    What DVC knows of finished stages (`dvc.lock`) is kept from the last time, so
    a second run skips what has not changed.

    Raises:
        InputError: the checkout is not a git repository with a commit.
    """
    head = _git(["rev-parse", "HEAD"], cwd=checkout)
    if not (workspace / ".git").is_dir():
        workspace.parent.mkdir(parents=True, exist_ok=True)
        _git(["clone", "--quiet", "--no-checkout", str(checkout), str(workspace)], cwd=checkout)
    finished = workspace / LOCK_FILE
    kept = finished.read_bytes() if finished.is_file() else None
    _git(["fetch", "--quiet", str(checkout), "HEAD"], cwd=workspace)
    _git(["reset", "--quiet", "--hard", head], cwd=workspace)
    if kept is not None:
        write_atomically(finished, kept)
    _share_cache(workspace, cache=(checkout / ".dvc" / "cache").resolve())


@contextmanager
def of_one_run(name: str, *, settings: Settings, revision: str) -> Iterator[Path]:
    """Clone `settings.repository` at a revision for one run; the clone goes when the run ends well.

    What a failed run leaves stays to be looked into, the newest few. All clones of a machine
    share one DVC cache, so a stage that another run has finished is restored, not run.

    Args:
        name: of the run; two of one name are never at work at once.
        settings: which repository, and where state lives.
        revision: a branch, a tag or a commit; HEAD is the repository's own.

    Raises:
        InputError: the repository cannot be cloned, or has no such revision.
        Conflict: a run of this name is at work.
    """
    folder = settings.state_dir / "workspaces" / f"{_RUN}{name}"
    with locked(folder):
        shutil.rmtree(folder, ignore_errors=True)
        _forget_old_runs(folder.parent, keep=folder)
        clone_at(folder, settings=settings, revision=revision)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def clone_at(workspace: Path, *, settings: Settings, revision: str) -> None:
    """Clone `settings.repository`, or bring an earlier clone of it to a revision, with the shared DVC cache.

    Raises:
        InputError: the repository cannot be cloned, or has no such revision.
    """
    if not (workspace / ".git").is_dir():
        workspace.parent.mkdir(parents=True, exist_ok=True)
        _git(["clone", "--quiet", "--no-checkout", settings.repository, str(workspace)], cwd=workspace.parent)
    _git(["fetch", "--quiet", "--tags", "origin"], cwd=workspace)
    _git(["reset", "--quiet", "--hard", _commit_of(revision, workspace=workspace)], cwd=workspace)
    local = Path(settings.repository)
    cache = local / ".dvc" / "cache" if local.is_dir() else settings.state_dir / "dvc-cache"
    _share_cache(workspace, cache=cache.resolve())


def has_remote(workspace: Path) -> bool:
    """Whether DVC has a remote to pull from and push to when nobody names one."""
    configuration = configparser.ConfigParser(interpolation=None)
    configuration.read([workspace / ".dvc" / "config", workspace / ".dvc" / "config.local"], encoding="utf-8")
    return configuration.has_option("core", "remote")


def changed_parameters(workspace: Path) -> tuple[str, ...] | None:
    """`section.name=value` of every parameter that is not as committed; None where nothing is committed."""
    try:
        committed = yaml.safe_load(_git(["show", f"HEAD:./{PARAMS_FILE}"], cwd=workspace))
    except InputError:
        return None
    before = dict(_leaves(committed))
    now = dict(_leaves(yaml.safe_load((workspace / PARAMS_FILE).read_text(encoding="utf-8"))))
    return tuple(f"{name}={value}" for name, value in now.items() if before.get(name) != value)


def uncommitted_files(checkout: Path) -> list[str]:
    """Name the tracked files whose changes a clone of HEAD would lack."""
    return [line[3:] for line in _git(["status", "--porcelain", "--untracked-files=no"], cwd=checkout).splitlines()]


def head_commit(folder: Path) -> str | None:
    """The commit that is checked out, with `-dirty` where tracked files differ from it; None where there is none."""
    try:
        commit = _git(["rev-parse", "HEAD"], cwd=folder)
        # dvc.lock and params.yaml are what a run changes, and are kept beside the run.
        changed = set(uncommitted_files(folder)) - {LOCK_FILE, str(PARAMS_FILE), str(PIN_FILE)}
        return f"{commit}-dirty" if changed else commit
    except InputError:
        return None


def _share_cache(workspace: Path, *, cache: Path) -> None:
    write_atomically(workspace / ".dvc" / "config.local", f"[cache]\n    dir = {cache}\n")


def _forget_old_runs(workspaces: Path, *, keep: Path) -> None:
    others = (folder for folder in workspaces.glob(f"{_RUN}*") if folder.is_dir() and folder != keep)
    for folder in newest_first(others)[FAILED_KEPT:]:
        with suppress(Conflict), locked(folder):  # one that is at work holds its lock
            shutil.rmtree(folder, ignore_errors=True)


def _commit_of(revision: str, *, workspace: Path) -> str:
    # A branch means the repository's, not one that an earlier clone has of the same name.
    for name in (f"origin/{revision}", revision):
        with suppress(InputError):
            return _git(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"], cwd=workspace)
    raise InputError(
        f"{shown(_git(['remote', 'get-url', 'origin'], cwd=workspace))} has no revision {revision!r}; "
        "name a branch, a tag or a commit that was pushed"
    )


def _leaves(content: object, *, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, Mapping) and content:
        for name, value in content.items():
            yield from _leaves(value, prefix=f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, yaml.safe_dump(content, default_flow_style=True, width=1_000_000).removesuffix("\n...\n").strip()


def _git(arguments: Sequence[str], *, cwd: Path) -> str:
    if shutil.which("git") is None:
        raise InputError("git is not installed; it is needed to run in a workspace of its own")
    command, what = ["git", *arguments], f"git {arguments[0]} in {cwd}"
    if arguments[0] in _OF_A_REMOTE:
        done = run_within(GIT_TIMEOUT_S, command, cwd=cwd, what=what, mend=_GIT_MEND)
    else:
        done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise InputError(f"{what} failed: {shown(done.stderr.strip())}")
    return done.stdout.rstrip("\n")
