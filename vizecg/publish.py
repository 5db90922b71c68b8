"""Folders that appear whole or not at all, and can be trusted afterwards.

A folder is written beside its place as `.NAME.part`, every file is flushed to
disk, the manifest (SHA-256 of every file) is written last, then the folder is
renamed. Whoever reads a folder verifies its manifest first: neither a rename
nor DVC's cache notices a flipped bit.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vizecg.errors import Conflict, InputError

MANIFEST_NAME: Final = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a published folder holds: relative POSIX path -> SHA-256, in hex."""

    kind: str
    schema_version: int
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest itself: one name for the whole content."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Sorted and indented, so equal content is equal bytes."""
        content = {"files": dict(self.files), "kind": self.kind, "schema_version": self.schema_version}
        return json.dumps(content, indent=2, sort_keys=True) + "\n"


@contextmanager
def publishing(folder: Path, *, kind: str, schema_version: int, flush: bool = True) -> Iterator[Path]:
    """Give an empty staging folder; publish it as `folder` when the block ends well.

    The output is locked from start to end, by the kernel, so the lock of a
    killed process is gone with it. When the block raises, `folder` is what it
    was before.

    Args:
        folder: what will appear.
        kind: what it is, for whoever verifies it.
        schema_version: of that kind.
        flush: wait until every file is on the disk. A cache of thousands of small
            files that can be made again does without: `verify` finds what a power
            cut tore.

    Raises:
        Conflict: another process is writing the same folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        staging, previous = folder.parent / f".{folder.name}.part", folder.parent / f".{folder.name}.old"
        _finish_interrupted_swap(folder, previous=previous)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
            _seal(staging, kind=kind, schema_version=schema_version, flush=flush)
            if folder.exists():
                folder.rename(previous)
            staging.rename(folder)
            _fsync(folder.parent)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            _finish_interrupted_swap(folder, previous=previous)
            raise
        shutil.rmtree(previous, ignore_errors=True)


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock that belongs to an output.

    Raises:
        Conflict: another process holds it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(target.parent / f".{target.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise Conflict(
                f"{target} is being written by another run (process {owner}); wait for it or stop it"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def verify(folder: Path, *, kind: str, schema_version: int) -> Manifest:
    """Read a published folder's manifest and check every file against it.

    Raises:
        InputError: the folder or its manifest is missing or of another kind or
            version, a file is missing, extra, or not the one that was published.
    """
    manifest = read_manifest(folder, kind=kind, schema_version=schema_version)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST_NAME}
    if missing := sorted(manifest.files.keys() - present):
        raise InputError(f"{folder} lacks {missing[0]}, which its {MANIFEST_NAME} lists; produce {folder} again")
    if extra := sorted(present - manifest.files.keys()):
        raise InputError(f"{folder} holds {extra[0]}, which its {MANIFEST_NAME} does not list; produce {folder} again")
    for name, expected in manifest.files.items():
        got = sha256_of(folder / name)
        if got != expected:
            raise InputError(
                f"{folder / name} is damaged: its SHA-256 is {got[:12]}…, {MANIFEST_NAME} says {expected[:12]}…; "
                f"produce {folder} again"
            )
    return manifest


def read_manifest(folder: Path, *, kind: str, schema_version: int) -> Manifest:
    """Read a manifest without checking the files it names.

    Raises:
        InputError: it is missing, unreadable, or of another kind or version.
    """
    path = folder / MANIFEST_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(
            kind=content["kind"], schema_version=content["schema_version"], files=dict(content["files"])
        )
    except (FileNotFoundError, NotADirectoryError):
        what = "is not finished" if folder.is_dir() else "is not there"
        raise InputError(f"{folder} {what}: it has no {MANIFEST_NAME}; produce it first") from None
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not a manifest; produce {folder} again") from None
    if (manifest.kind, manifest.schema_version) != (kind, schema_version):
        raise InputError(
            f"{folder} is {manifest.kind!r} version {manifest.schema_version}, "
            f"expected {kind!r} version {schema_version}"
        )
    return manifest


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace one file so that readers see the old bytes or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        with part.open("wb") as opened:
            opened.write(content.encode() if isinstance(content, str) else content)
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _fsync(path.parent)


def newest_first(folders: Iterable[Path]) -> list[Path]:
    """Those that are still there, the one that was changed last first."""
    changed: dict[Path, int] = {}
    for folder in folders:
        with suppress(FileNotFoundError):  # others of this machine remove them too
            changed[folder] = folder.stat().st_mtime_ns
    return sorted(changed, key=lambda folder: -changed[folder])


def to_json(content: Any) -> str:  # noqa: ANN401 (JSON is any of its types)
    """Sorted, indented, ends with a newline, refuses NaN: equal content is equal bytes."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _seal(staging: Path, *, kind: str, schema_version: int, flush: bool) -> None:
    names = sorted(path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file())
    for name in names if flush else ():
        _fsync(staging / name)
    manifest = Manifest(
        kind=kind, schema_version=schema_version, files={name: sha256_of(staging / name) for name in names}
    )
    write_atomically(staging / MANIFEST_NAME, manifest.to_json())


def _finish_interrupted_swap(folder: Path, *, previous: Path) -> None:
    """A kill between the two renames leaves only `previous`: give it its name back."""
    if previous.exists():
        if folder.exists():
            shutil.rmtree(previous)
        else:
            previous.rename(folder)


def _fsync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
