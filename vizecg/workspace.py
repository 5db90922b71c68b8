"""A clone to run in with other parameters, so that the checkout stays as it is.

Clones share the checkout's DVC cache and its state folder: nothing is stored
twice, and MLflow, Prefect and the ledger see one history.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vizecg.errors import InputError
from vizecg.publish import write_atomically

LOCK_FILE: Final = "dvc.lock"


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
    cache = (checkout / ".dvc" / "cache").resolve()
    write_atomically(workspace / ".dvc" / "config.local", f"[cache]\n    dir = {cache}\n")


def uncommitted_files(checkout: Path) -> list[str]:
    """Name the tracked files whose changes a clone of HEAD would lack."""
    return [line[3:] for line in _git(["status", "--porcelain", "--untracked-files=no"], cwd=checkout).splitlines()]


def head_commit(folder: Path) -> str | None:
    """The commit that is checked out, with `-dirty` where tracked files differ from it; None where there is none."""
    try:
        commit = _git(["rev-parse", "HEAD"], cwd=folder)
        # dvc.lock and params.yaml are what a run changes, and are kept beside the run.
        changed = set(uncommitted_files(folder)) - {LOCK_FILE, "params.yaml", "data/source.json"}
        return f"{commit}-dirty" if changed else commit
    except InputError:
        return None


def _git(arguments: Sequence[str], *, cwd: Path) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError("git is not installed; it is needed to run in a workspace of its own") from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"git {arguments[0]} in {cwd} failed: {error.stderr.strip()}") from None
    return done.stdout.rstrip("\n")
