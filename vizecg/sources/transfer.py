"""Fetching many files over a network that fails: in parts, over several connections, going on where it was cut off.

Every part is a file of its own that bytes are appended to as they arrive, so a
kill loses what was on the wire and nothing else. A file gets its name when all
of its parts are here and it is what it should be.
"""

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import random
from typing import Final, Protocol, TypeVar

from vizecg.errors import InputError
from vizecg.executors import in_order
from vizecg.publish import sha256_of

Result = TypeVar("Result")

PARTS_FOLDER: Final = ".parts"
# So that the six tries of params.yaml outlast a server that is restarted: their waits are 31 s at the very least.
FIRST_WAIT_S: Final = 2.0
LONGEST_WAIT_S: Final = 60.0
_TASKS_AHEAD: Final = 4
_CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How hard a network is tried.

    Attributes:
        connections: files or parts on their way at once.
        part_bytes: size of a part.
        tries: in a row without a single byte, before a part is given up.
        deadline_s: for everything together.
        first_wait_s: before the second try; doubled for each one after it.
    """

    connections: int
    part_bytes: int
    tries: int
    deadline_s: float
    first_wait_s: float = FIRST_WAIT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to fetch, and what is known of it beforehand.

    `version` names its content (an ETag): a file that changed while it was fetched is fetched anew.
    """

    name: str
    size_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    version: str | None = None


class TryAgainError(Exception):
    """Something that may go better the next time; `wait_s` is what the other side asked for."""

    def __init__(self, problem: str, *, wait_s: float | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Arriving:
    """Bytes on their way. `start` is where they begin, 0 when the other side cannot begin elsewhere."""

    start: int
    chunks: Iterable[bytes]


class Remote(Protocol):
    """Somewhere files can be read from, in parts."""

    def address(self, name: str) -> str:
        """What a file is called in a message; without anything secret."""
        ...

    def open(self, wanted: Wanted, *, start: int, stop: int | None) -> AbstractContextManager[Arriving]:
        """Ask for bytes `start` to `stop` (not included; None for all that there is).

        Raises:
            TryAgainError: now or while it is read.
            InputError: it cannot be had, or is another file than before.
        """
        ...


@dataclass(kw_only=True)
class Clock:
    """The time for everything together, and the first failure, which ends all connections."""

    effort: Effort
    started_s: float = field(default_factory=time.monotonic)
    _failure: InputError | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def end(self, failure: InputError) -> None:
        """Let every connection stop, and say why."""
        self._failure = self._failure or failure
        self._over.set()

    def check(self, what: str) -> None:
        """Raise `InputError` when the time is over, or when another connection has failed."""
        if self._failure is not None:
            raise self._failure
        if time.monotonic() - self.started_s >= self.effort.deadline_s:
            raise InputError(
                f"{what} was not here after {self.effort.deadline_s:g} s (ingest.fetch.deadline_s); "
                "what has arrived is kept: run it again"
            )

    def wait(self, seconds: float, *, what: str) -> None:
        """Wait, but not beyond the end of the time."""
        left_s = self.started_s + self.effort.deadline_s - time.monotonic()
        self._over.wait(max(0.0, min(seconds, left_s)))
        self.check(what)


def fetch_all(
    wanted: Iterable[Wanted], *, remote: Remote, folder: Path, effort: Effort, clock: Clock | None = None
) -> Iterator[None]:
    """Fetch files into a folder, one step of the iteration for each; those that are here and right are not fetched.

    Args:
        wanted: names are relative to `folder`, and known to stay inside it.
        remote: where they are.
        folder: where they go; its `.parts` holds what is not whole yet.
        effort: how hard to try.
        clock: of a fetch that this is a part of; None starts one.

    Raises:
        InputError: a file cannot be had, is not what it should be, or the time is over.
    """
    clock = clock or Clock(effort=effort)
    # A file in parts hands its parts to a pool of its own: one pool for both could fill up with files that wait.
    with ThreadPoolExecutor(effort.connections) as files, ThreadPoolExecutor(effort.connections) as parts:
        work = partial(_fetch, remote=remote, folder=folder, clock=clock, pool=parts)
        try:
            yield from in_order(files, work, wanted, ahead=_TASKS_AHEAD * effort.connections)
        except BaseException:
            clock.end(InputError(f"{folder} was not filled: the fetch was stopped"))
            raise
    shutil.rmtree(folder / PARTS_FOLDER, ignore_errors=True)


def fetch_small(wanted: Wanted, *, remote: Remote, clock: Clock) -> bytes:
    """Fetch a small file into memory.

    Raises:
        InputError: as `fetch_all`.
    """
    content = bytearray()

    def attempt() -> None:
        content.clear()
        with remote.open(wanted, start=0, stop=None) as arriving:
            for chunk in arriving.chunks:
                content.extend(chunk)
                clock.check(remote.address(wanted.name))
        if wanted.sha256 is not None and hashlib.sha256(content).hexdigest() != wanted.sha256:
            raise TryAgainError("what arrived has another SHA-256 than is listed for it")

    persist(attempt, what=remote.address(wanted.name), clock=clock)
    return bytes(content)


def _fetch(wanted: Wanted, *, remote: Remote, folder: Path, clock: Clock, pool: Executor) -> None:
    target = folder / wanted.name
    if target.is_file() and not _wrong(target, wanted=wanted):
        return
    what = remote.address(wanted.name)
    parts = folder / PARTS_FOLDER / hashlib.sha256(repr((wanted.name, wanted.version)).encode()).hexdigest()[:32]

    def attempt() -> None:
        parts.mkdir(parents=True, exist_ok=True)
        ranges = _ranges(wanted, part_bytes=clock.effort.part_bytes)
        work = partial(_fetch_part, wanted=wanted, remote=remote, parts=parts, clock=clock)
        for _ in pool.map(work, ranges) if len(ranges) > 1 else map(work, ranges):
            pass
        _assemble(parts, count=len(ranges), target=target)
        if problem := _wrong(target, wanted=wanted):
            target.unlink()
            raise TryAgainError(problem)

    persist(attempt, what=what, clock=clock)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    number: int
    start: int
    stop: int | None


def _ranges(wanted: Wanted, *, part_bytes: int) -> list[_Range]:
    """Cut a file into parts; one whose size or version nobody knows stays whole."""
    size = wanted.size_bytes
    if size is None or size <= part_bytes or (wanted.version is None and wanted.sha256 is None):
        return [_Range(number=0, start=0, stop=size)]
    starts = range(0, size, part_bytes)
    return [_Range(number=n, start=start, stop=min(start + part_bytes, size)) for n, start in enumerate(starts)]


def _fetch_part(piece: _Range, *, wanted: Wanted, remote: Remote, parts: Path, clock: Clock) -> None:
    path = parts / f"{piece.number:06d}"
    done = parts / f"{piece.number:06d}.done"

    def size() -> int:
        return path.stat().st_size if path.exists() else 0

    def attempt() -> None:
        with remote.open(wanted, start=piece.start + size(), stop=piece.stop) as arriving:
            _append(arriving, path=path, piece=piece, what=remote.address(wanted.name), clock=clock)

    if done.exists():
        return
    if piece.stop is None or size() != piece.stop - piece.start:
        persist(attempt, what=remote.address(wanted.name), clock=clock, arrived=size)
    done.touch()


def _append(arriving: Arriving, *, path: Path, piece: _Range, what: str, clock: Clock) -> None:
    """Write what arrives where it belongs.

    Raises:
        TryAgainError: less or more arrived than was asked for.
    """
    skip = max(0, piece.start - arriving.start)  # the other side began at its own beginning
    position = max(0, arriving.start - piece.start)
    with path.open("r+b" if path.exists() else "w+b") as opened:
        opened.truncate(position)
        opened.seek(position)
        for chunk in arriving.chunks:
            clock.check(what)
            kept, skip = chunk[skip:], max(0, skip - len(chunk))
            opened.write(kept)
            opened.flush()
            if piece.stop is not None and opened.tell() >= piece.stop - piece.start:
                break
        size = opened.tell()
        if piece.stop is not None and size > piece.stop - piece.start:
            opened.truncate(piece.stop - piece.start)
            size = piece.stop - piece.start
    if piece.stop is not None and size < piece.stop - piece.start:
        raise TryAgainError(f"{size} of {piece.stop - piece.start} bytes arrived")


def _assemble(parts: Path, *, count: int, target: Path) -> None:
    """Put the parts together beside the target, then give it its name: a file that is there is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    whole = parts / "whole"
    if count == 1:
        whole = parts / "000000"
        (parts / "000000.done").unlink()  # it speaks of a file that is about to go
    else:
        with whole.open("wb") as opened:
            for number in range(count):
                with (parts / f"{number:06d}").open("rb") as part:
                    shutil.copyfileobj(part, opened, length=_CHUNK_BYTES)
    whole.replace(target)
    shutil.rmtree(parts)


def persist(attempt: Callable[[], Result], *, what: str, clock: Clock, arrived: Callable[[], int] = int) -> Result:
    """Try until it works; tries count from the last byte that arrived, so a slow and broken line still gets there.

    Raises:
        InputError: so many tries brought nothing, or the time is over.
    """
    tries, have = 0, arrived()
    while True:
        clock.check(what)
        try:
            return attempt()
        except TryAgainError as error:
            problem, asked_s = error.problem, error.wait_s
        except InputError as error:
            clock.end(error)
            raise
        if arrived() > have:
            tries, have = 0, arrived()
        tries += 1
        if tries >= clock.effort.tries:
            failure = InputError(
                f"{what} could not be fetched in {tries} tries ({problem}); "
                "what has arrived is kept: run it again later"
            )
            clock.end(failure)
            raise failure
        doubled_s = min(clock.effort.first_wait_s * 2 ** (tries - 1), LONGEST_WAIT_S)
        # Drawn, so that connections that failed together do not come back together.
        clock.wait(max(asked_s or 0.0, doubled_s * (0.5 + random() / 2)), what=what)  # noqa: S311 (no secret)


def _wrong(path: Path, *, wanted: Wanted) -> str:
    """What speaks against a file that is here; nothing when it is what was wanted."""
    if wanted.size_bytes is not None and path.stat().st_size != wanted.size_bytes:
        return f"what arrived has {path.stat().st_size} bytes, {wanted.size_bytes} are listed"
    if wanted.sha256 is not None and sha256_of(path) != wanted.sha256:
        return "what arrived has another SHA-256 than is listed for it"
    if wanted.md5 is not None:
        with path.open("rb") as opened:
            if hashlib.file_digest(opened, "md5").hexdigest() != wanted.md5:
                return "what arrived has another MD5 than is listed for it"
    return ""
