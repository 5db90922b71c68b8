"""Unpack an archive that may have been made by anybody: nothing lands outside, nothing points outside."""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from vizecg.errors import InputError
from vizecg.ptbxl.layout import stays_inside

MOST_UNPACKED_BYTES: Final = 16 * 1024**3
"""Five times the whole of PTB-XL: what claims more is no ECG database but a bomb."""

_DAMAGED: Final = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, RuntimeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    name: str
    size_bytes: int
    content: IO[bytes]


def is_archive(path: Path) -> bool:
    """Whether it begins as a tar (plain or compressed) or is a zip."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(archive: Path, *, into: Path, leave_out: Collection[str] = ()) -> None:
    """Unpack the plain files of an archive.

    Args:
        archive: tar, plain or compressed by gzip, bzip2 or xz, or zip.
        into: an empty folder.
        leave_out: names of folders whose files are not wanted.

    Raises:
        InputError: it is damaged, or holds a link, a device, or a name that leads out of the folder.
    """
    total = 0
    members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    with _damage_is_input_error(archive):
        for member in members(archive):
            total += member.size_bytes
            if total > MOST_UNPACKED_BYTES:
                raise InputError(f"{archive} unpacks to more than {MOST_UNPACKED_BYTES // 1024**3} GiB; refused")
            if not set(leave_out).isdisjoint(PurePosixPath(member.name).parts):
                continue
            target = into / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as opened:
                shutil.copyfileobj(member.content, opened)


@contextmanager
def _damage_is_input_error(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise InputError(f"{archive} cannot be unpacked ({error}); is it complete?") from None


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, mode="r|*") as opened:
        for info in opened:
            _check(archive, name=info.name, plain=info.isfile() or info.isdir())
            content = opened.extractfile(info) if info.isfile() else None
            if content is not None:
                yield _Member(name=info.name, size_bytes=info.size, content=content)


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # Unix mode; 0 where the archive was made elsewhere
            _check(archive, name=info.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if not info.is_dir():
                with opened.open(info) as content:
                    yield _Member(name=info.filename, size_bytes=info.file_size, content=content)


def _check(archive: Path, *, name: str, plain: bool) -> None:
    if not stays_inside(name):
        raise InputError(f"{archive} holds {name!r}, a name that leads out of the folder; nothing was unpacked")
    if not plain:
        raise InputError(f"{archive} holds {name!r}, a link or device; only plain files are unpacked")
