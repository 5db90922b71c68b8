"""Unpack an archive that may have been made by anybody: nothing lands outside, nothing points outside."""

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from vizecg.errors import InputError
from vizecg.sources.simulated import is_note
from vizecg.sums import stays_inside

MOST_UNPACKED_BYTES: Final = 16 * 1024**3
"""Five times the whole of PTB-XL: what claims more is no ECG database but a bomb."""

ARCHIVE_ENDINGS: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""By these a name behind a network is known to be that of an archive; a file here is looked into."""

_CHUNK_BYTES: Final = 1024 * 1024
_WRAPPINGS: Final[tuple[tuple[bytes, Callable[[Path], IO[bytes]]], ...]] = (
    (b"\x1f\x8b", cast(Callable[[Path], IO[bytes]], gzip.open)),
    (b"BZh", cast(Callable[[Path], IO[bytes]], bz2.open)),
    (b"\xfd7zXZ\x00", cast(Callable[[Path], IO[bytes]], lzma.open)),
)

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


def notes(archive: Path) -> Iterator[IO[bytes]]:
    """Open each file that may be the simulator's note; nothing is unpacked to disk.

    Raises:
        InputError: the archive is damaged, or holds what `unpack` refuses.
    """
    members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    with _damage_is_input_error(archive):
        yield from (member.content for member in members(archive) if is_note(member.name))


@contextmanager
def _damage_is_input_error(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:  # a full disk is not the archive's fault
            raise
        raise InputError(f"{archive} cannot be unpacked ({error}); is it complete?") from None


def _tar_members(archive: Path) -> Iterator[_Member]:
    with _decompressed(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as opened:  # a stream: read once, never back
            for info in opened:
                _check(archive, name=info.name, plain=info.isfile() or info.isdir())
                content = opened.extractfile(info) if info.isfile() else None
                if content is not None:
                    yield _Member(name=info.name, size_bytes=info.size, content=content)
        while stream.read(_CHUNK_BYTES):  # the checksum of the whole comes after its last byte
            pass


def _decompressed(archive: Path) -> IO[bytes]:
    """Open what is in a tar's wrapping; these readers hold the content against its checksum, tarfile's own does not."""
    with archive.open("rb") as opened:
        start = opened.read(max(len(magic) for magic, _ in _WRAPPINGS))
    for magic, opener in _WRAPPINGS:
        if start.startswith(magic):
            return opener(archive)
    return archive.open("rb")


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
