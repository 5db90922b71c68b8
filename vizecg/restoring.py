"""`vizecg restore`: the very data and parameters that a registered version was made from, in a clone of its commit."""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from vizecg import bundle as bundles
from vizecg import publish, tracking, workspace
from vizecg.config import PARAMS_FILE
from vizecg.environment import house_environment
from vizecg.errors import InputError
from vizecg.process import run_within
from vizecg.registry import GIT_SHA_TAG, PinnedVersion, Registry
from vizecg.settings import Settings, shown
from vizecg.tracking.connection import errors_of_stores
from vizecg.workspace import LOCK_FILE, PIN_FILE

_PLACE: Final = "pipeline"
LOCK_TAG: Final = "dvc_lock"
_DIRTY: Final = "-dirty"
BUNDLE: Final = Path("models/bundle")
DATA_TIMEOUT_S: Final = 24 * 3600.0  # 250 GB, which a million records make, at 3 MB/s
# What the contract of a bundle names by its digest, and where the pipeline has it.
_INPUTS: Final = {
    "model_run": Path("models/run"),
    "evaluation": Path("reports/evaluation"),
    "records": Path("data/records"),
    "pages": Path("data/pages"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was brought back; `checked` are the folders whose digests are those of the version."""

    folder: Path
    commit: str
    dirty: bool
    checked: tuple[Path, ...]


def restore(settings: Settings, *, version: str, to: Path) -> Restored:
    """Clone the commit of a version, put its parameters, lock and pin there, and bring its data from cache or remote.

    Args:
        settings: which registry, which repository.
        version: number of the version.
        to: folder that is not there yet, or empty; it appears whole or not at all.

    Raises:
        InputError: the registry does not know enough of the version, the repository lacks its commit, the remote
            its data, or what came is not what the version was made from.
        Conflict: another process is restoring to the same folder.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise InputError(f"{to} is there already; name a folder that is not, with --to")
    tracking.client(settings)  # makes the embedded database: an empty registry is empty, not missing
    pinned = Registry(settings).version(version)
    commit = pinned.tags.get(GIT_SHA_TAG)
    if commit is None:
        raise InputError(f"version {version} does not say which commit it was made from; `vizecg retrain` tags it")
    with publish.locked(to):
        part = to.parent / f".{to.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        try:
            workspace.clone_at(part, settings=settings, revision=commit.removesuffix(_DIRTY))
            _put_files(settings, pinned, workspace_folder=part)
            _check_params(part)
            _bring_data(part, settings=settings)
            checked = _check_data(part, pinned=pinned)
            if to.is_dir():
                to.rmdir()
            part.rename(to)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return Restored(folder=to, commit=commit.removesuffix(_DIRTY), dirty=commit.endswith(_DIRTY), checked=checked)


def place_of(bundle_digest: str) -> str:
    """Where the files of a version lie among the artefacts of its run; of one training there may be several."""
    return f"{_PLACE}/{bundle_digest[:12]}"


def restore_and_show(*, version: str, to: Path | None) -> None:
    """Restore and say what was checked."""
    settings = Settings()
    done = restore(settings, version=version, to=to or settings.state_dir / "workspaces" / f"restored-{version}")
    print(f"{done.folder}: version {version}, commit {done.commit[:12]}")
    if done.dirty:
        print("Note: its code had changes that were never committed; data and parameters are its own, code may differ.")
    print(f"checked by SHA-256: {PARAMS_FILE}, {LOCK_FILE}, {', '.join(map(str, done.checked))}")


def _put_files(settings: Settings, pinned: PinnedVersion, *, workspace_folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        files = _download(settings, pinned, scratch=Path(scratch))
        missing = [str(name) for name in (PARAMS_FILE, Path(LOCK_FILE)) if name.name not in files]
        if missing:
            raise InputError(
                f"the run of version {pinned.version} does not hold {' and '.join(missing)}: it was not registered by "
                "`vizecg retrain` in a workspace, so which data it was made from is not known"
            )
        expected, got = pinned.tags.get(LOCK_TAG), publish.sha256_of(files[LOCK_FILE])
        if got != expected:
            raise InputError(
                f"{LOCK_FILE} of the run of version {pinned.version} has SHA-256 {got[:12]}…, the version says "
                f"{str(expected)[:12]}…: it is damaged, or of another version of the same training"
            )
        for name in (PARAMS_FILE, Path(LOCK_FILE), PIN_FILE):
            if name.name in files:
                publish.write_atomically(workspace_folder / name, files[name.name].read_bytes())


def _download(settings: Settings, pinned: PinnedVersion, *, scratch: Path) -> dict[str, Path]:
    """Name -> file, of what the run holds of its pipeline."""
    from mlflow.exceptions import MlflowException

    if pinned.run_id is None:
        return {}
    mlflow = tracking.client(settings)
    try:
        # Versions of before have them without a folder of their own, and there the first of a training.
        listed = mlflow.list_artifacts(pinned.run_id, place_of(pinned.bundle_digest)) or [
            entry for entry in mlflow.list_artifacts(pinned.run_id, _PLACE) if not entry.is_dir
        ]
        names = [entry.path for entry in listed]
        return {Path(name).name: Path(mlflow.download_artifacts(pinned.run_id, name, str(scratch))) for name in names}
    except errors_of_stores(MlflowException, OSError) as error:
        raise InputError(
            f"the files of the run of version {pinned.version} cannot be had from MLflow at "
            f"{shown(settings.tracking_uri)} ({type(error).__name__})"
        ) from error


def _check_params(folder: Path) -> None:
    """The lock holds the parameters of every stage: they must be those of the file."""
    params, lock = (yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in (PARAMS_FILE, LOCK_FILE))
    for stage, entry in lock["stages"].items():
        for name, value in entry.get("params", {}).get(str(PARAMS_FILE), {}).items():
            if _at(params, name) != value:
                raise InputError(
                    f"{PARAMS_FILE} of the run says {name} = {_at(params, name)!r}, stage {stage} of its {LOCK_FILE} "
                    f"was run with {value!r}: the two are not of one run"
                )


def _bring_data(folder: Path, *, settings: Settings) -> None:
    command = ["pull"] if workspace.has_remote(folder) else ["checkout"]
    done = run_within(
        DATA_TIMEOUT_S,
        [sys.executable, "-m", "dvc", *command],
        cwd=folder,
        what=f"dvc {command[0]} in {folder}",
        mend="see whether DVC's remote answers, then restore again: what has come is in the cache",
        environment=os.environ | house_environment(settings),
    )
    if done.returncode != 0:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        where = "DVC's remote and this machine's cache lack" if command == ["pull"] else "this machine's cache lacks"
        raise InputError(f"{where} data of the version, or cannot be read: {shown(' / '.join(said[-3:]))}")


def _check_data(folder: Path, *, pinned: PinnedVersion) -> tuple[Path, ...]:
    """Hold the bundle against the version, and what it was made from against the bundle; each file by its SHA-256."""
    digest, contract = bundles.read(folder / BUNDLE)
    if digest != pinned.bundle_digest:
        raise InputError(
            f"the pipeline gives bundle {digest[:12]}…, version {pinned.version} is {pinned.bundle_digest[:12]}…: "
            f"{LOCK_FILE} of its run is not the one it was made with"
        )
    checked = [BUNDLE]
    for name, place in _INPUTS.items():
        expected = getattr(contract.inputs, name)
        if expected is None or not (folder / place).is_dir():  # a pipeline of before may not have had it
            continue
        if (got := _verified_digest(folder / place)) != expected:
            raise InputError(f"{place} is {got[:12]}…, version {pinned.version} was made from {expected[:12]}…")
        checked.append(place)
    return tuple(checked)


def _verified_digest(folder: Path) -> str:
    content: dict[str, Any] = yaml.safe_load((folder / publish.MANIFEST_NAME).read_text(encoding="utf-8"))
    return publish.verify(folder, kind=content["kind"], schema_version=content["schema_version"]).digest


def _at(content: Mapping[str, Any], dotted: str) -> object:
    node: Any = content
    for part in dotted.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
