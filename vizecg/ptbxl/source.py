"""The source of a run: which it is, what it holds now, and a folder to read it from.

`data/source.json` pins a source by a digest, so that DVC sees when the data
behind a name or an address has changed, and so that ingest refuses data nobody
agreed to.
"""

import lzma
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, Literal, Protocol

from pydantic import Field

from vizecg.config import Section
from vizecg.errors import InputError
from vizecg.executors import local_executor
from vizecg.progress import LINE_EVERY_S
from vizecg.ptbxl.archive import is_archive, unpack
from vizecg.ptbxl.layout import FOLDER_OF_RATE, STATEMENTS_NAME, SUMS_NAME, TABLE_NAME, find_layout, read_sums
from vizecg.ptbxl.physionet import PHYSIONET_URL, PhysioNetSource
from vizecg.ptbxl.pin import Pin, digest_of, require, write
from vizecg.publish import publishing, sha256_of, verify

SIMULATED: Final = "simulated"
PHYSIONET: Final = "physionet"
SIMULATOR_VERSION: Final = 1
"""Raised when `vizecg.simulate` draws other records from the same seed."""

_CACHE_KIND: Final = "ptbxl-folder"
_CACHE_VERSION: Final = 1
_KEY_LENGTH: Final = 16

_NOTE_NAME: Final = "LICENSE.txt"
_NOTE_START: Final = b"SIMULATED RECORDS"
"""How the note begins that `vizecg simulate` puts beside its tables."""
_NOTE_DEPTH: Final = 2
"""The note lies at the top or one folder down, as the table that it speaks of."""


class SimulatedParams(Section):
    """How many records the embedded default draws, and from which seed."""

    records: int = Field(ge=1, le=99_999)
    seed: int = Field(ge=0)


class SourceParams(Section):
    """The part of `ingest` in params.yaml that says where records come from."""

    source: str = Field(min_length=1)
    limit: int | None = Field(ge=1)
    sampling_hz: Literal[100]
    simulated: SimulatedParams


class Source(Protocol):
    """Somewhere records come from."""

    @property
    def uri(self) -> str:
        """What it is called in every report; no path of this machine."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether its records have no medical meaning."""
        ...

    def pin(self) -> Pin:
        """Say what it holds now.

        Raises:
            InputError: it is not there, or cannot be read.
        """
        ...

    def fetch(self, pinned: Pin, *, state_dir: Path, workers: int) -> Path:
        """Give a folder in PTB-XL's layout that holds what was pinned; kept and used again.

        Raises:
            InputError: it holds something else, or cannot be had.
            Conflict: another process is fetching the same.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSource:
    """Records drawn on the spot; they have no medical meaning."""

    records: int
    seed: int
    simulated: bool = True

    @property
    def uri(self) -> str:
        """Its recipe, for there is no place."""
        return f"{SIMULATED}:records={self.records},seed={self.seed}"

    def pin(self) -> Pin:
        """Name the recipe, not the bytes: the last bit of a cosine differs between processors."""
        recipe = ["vizecg.simulate", SIMULATOR_VERSION, self.records, self.seed]
        return Pin(uri=self.uri, simulated=True, objects=self.records, digest=digest_of(recipe))

    def fetch(self, pinned: Pin, *, state_dir: Path, workers: int) -> Path:
        """Draw them, or find them drawn before by the same code."""
        require(pinned, found=self.pin())

        def draw(staging: Path) -> None:
            from vizecg.simulate import write_database

            with local_executor(workers) as executor:
                write_database(
                    staging,
                    records=self.records,
                    seed=self.seed,
                    executor=executor,
                    both_rates=False,
                    progress=_say_now_and_then(self.records),
                )

        key = digest_of([pinned.digest, _simulator_code()])[:_KEY_LENGTH]
        return _cached(state_dir / SIMULATED / key, fill=draw)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """A folder in PTB-XL's layout, read where it lies."""

    path: Path

    @property
    def simulated(self) -> bool:
        """Whether `vizecg simulate` wrote it: its note says so."""
        return _is_simulated(find_layout(self.path, what=str(self.path)))

    @property
    def uri(self) -> str:
        """Its name; where it lies differs between machines and is in params.yaml."""
        return f"folder:{self.path.resolve().name}"

    def pin(self) -> Pin:
        """Its list of sums stands for the records; each is held against it when it is read."""
        folder = find_layout(self.path, what=str(self.path))
        names = [name for name in (SUMS_NAME, TABLE_NAME, STATEMENTS_NAME) if (folder / name).is_file()]
        content = [[name, (folder / name).stat().st_size, sha256_of(folder / name)] for name in names]
        return Pin(uri=self.uri, simulated=self.simulated, objects=len(read_sums(folder)), digest=digest_of(content))

    def fetch(self, pinned: Pin, *, state_dir: Path, workers: int) -> Path:  # noqa: ARG002 (nothing is stored)
        """The folder itself."""
        require(pinned, found=self.pin())
        return find_layout(self.path, what=str(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSource:
    """A tar or zip archive of such a folder."""

    path: Path
    sampling_hz: int

    @property
    def simulated(self) -> bool:
        """Whether `vizecg simulate` wrote what is in it: the note in it says so."""
        return _holds_simulated(self.path)

    @property
    def uri(self) -> str:
        """Its name; where it lies differs between machines and is in params.yaml."""
        return f"archive:{self.path.name}"

    def pin(self) -> Pin:
        """The archive is one object."""
        content = [[self.path.name, self.path.stat().st_size, sha256_of(self.path)]]
        return Pin(uri=self.uri, simulated=self.simulated, objects=1, digest=digest_of(content))

    def fetch(self, pinned: Pin, *, state_dir: Path, workers: int) -> Path:  # noqa: ARG002 (unpacking is one stream)
        """Unpack the records of this rate, or find them unpacked before."""
        require(pinned, found=self.pin())
        others = {folder for rate_hz, folder in FOLDER_OF_RATE.items() if rate_hz != self.sampling_hz}

        def fill(staging: Path) -> None:
            unpack(self.path, into=staging, leave_out=others)
            find_layout(staging, what=str(self.path))

        key = f"{sha256_of(self.path)[:_KEY_LENGTH]}-{self.sampling_hz}"
        folder = _cached(state_dir / "sources" / key, fill=fill)
        return find_layout(folder, what=str(self.path))


def source_of(params: SourceParams) -> Source:
    """Find the source that params.yaml names.

    Raises:
        InputError: there is none of that name or at that path.
    """
    name = params.source
    if name == SIMULATED:
        return SimulatedSource(records=params.simulated.records, seed=params.simulated.seed)
    if name == PHYSIONET or name.startswith(("https://", "http://")):
        base_url = PHYSIONET_URL if name == PHYSIONET else name
        return PhysioNetSource(base_url=base_url, limit=params.limit, sampling_hz=params.sampling_hz)
    path = Path(name).expanduser()
    if path.is_dir():
        return FolderSource(path=path)
    if not path.is_file():
        raise InputError(
            f"ingest.source is {name!r} and there is no such folder or archive; allowed are {SIMULATED!r}, "
            f"{PHYSIONET!r}, an https address, or the path of a folder or archive in PTB-XL's layout: mend params.yaml"
        )
    if not is_archive(path):
        raise InputError(f"{path} is neither a tar nor a zip archive that can be read; is it complete?")
    return ArchiveSource(path=path, sampling_hz=params.sampling_hz)


def write_pin(path: Path, params: SourceParams) -> Mapping[str, Any]:
    """Write down what the source holds now; this is `vizecg source pin`.

    Raises:
        InputError: there is no such source, or it cannot be read.
    """
    return write(path, source_of(params).pin())


def _cached(folder: Path, *, fill: Callable[[Path], None]) -> Path:
    """Fill a folder once; one that is damaged is filled again."""
    try:
        verify(folder, kind=_CACHE_KIND, schema_version=_CACHE_VERSION)
    except InputError:
        with publishing(folder, kind=_CACHE_KIND, schema_version=_CACHE_VERSION, flush=False) as staging:
            fill(staging)
    return folder


def _say_now_and_then(total: int) -> Callable[[int], None]:
    said_s = time.monotonic()

    def say(drawn: int) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= LINE_EVERY_S:
            said_s = time.monotonic()
            print(f"simulated records: {drawn} of {total} drawn", file=sys.stderr, flush=True)

    return say


def _simulator_code() -> str:
    """Digest of the code that draws: a cache made by other code is another cache."""
    from vizecg import simulate

    files = sorted(Path(simulate.__path__[0]).glob("*.py"))
    return digest_of([[path.name, sha256_of(path)] for path in files])


def _is_simulated(folder: Path) -> bool:
    """Whether the folder with the table has the simulator's note beside it."""
    note = folder / _NOTE_NAME
    if not note.is_file():
        return False
    with note.open("rb") as opened:
        return _says_simulated(opened)


def _holds_simulated(archive: Path) -> bool:
    """Whether an archive has the simulator's note where the table may be; nothing is unpacked to disk."""
    notes = _zip_notes if zipfile.is_zipfile(archive) else _tar_notes
    try:
        return any(_says_simulated(note) for note in notes(archive))
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise InputError(f"{archive} cannot be unpacked ({error}); is it complete?") from None


def _says_simulated(note: IO[bytes]) -> bool:
    return note.read(len(_NOTE_START)).upper() == _NOTE_START


def _tar_notes(archive: Path) -> Iterator[IO[bytes]]:
    with tarfile.open(archive, mode="r|*") as opened:  # a stream: a compressed archive is read once, never back
        for info in opened:
            content = opened.extractfile(info) if info.isfile() and _is_note(info.name) else None
            if content is not None:
                yield content


def _zip_notes(archive: Path) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if _is_note(info.filename):
                with opened.open(info) as content:
                    yield content


def _is_note(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name == _NOTE_NAME and len(path.parts) <= _NOTE_DEPTH
