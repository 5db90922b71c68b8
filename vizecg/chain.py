"""Append-only JSON lines, each holding the SHA-256 of the line before: what was changed or taken out shows.

One chain has one writer at a time, and goes on where the writer before it ended,
killed or not. `audit-0.000001.jsonl` is the first file of chain 0. A line is torn
when its writer was killed within it; the next one closes it off with a line of
kind `torn` that names what there is of it, and goes on from the last whole line.
"""

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vizecg.errors import Conflict, GateRefused, InputError
from vizecg.publish import locked

NOTHING_BEFORE: Final = "0" * 64
TORN: Final = "torn"
_NAME: Final = re.compile(r"audit-(?P<chain>\d+)\.(?P<number>\d{6})\.jsonl")
_MOST_CHAINS: Final = 1000
_FILE_MODE, _FOLDER_MODE = 0o640, 0o750


class BrokenChain(GateRefused):
    """A line is not the one that was written, or one is missing."""


class ChainWriter:
    """Appends to the first chain of a folder that nobody else writes; safe to use from several threads.

    Args:
        folder: made when it is not there.
        max_file_bytes: a line that would make the file longer begins the next file.
        flush: wait until each line is on the disk. Without, a power cut may take the last lines; a kill never does.
    """

    def __init__(self, folder: Path, *, max_file_bytes: int, flush: bool) -> None:
        self._folder = folder
        self._max_file_bytes = max_file_bytes
        self._flush = flush
        self._alone = threading.Lock()
        self._held = ExitStack()
        self._chain: int | None = None
        self._file: int | None = None
        self._number = 1
        self._end = _End()

    def append(self, content: Mapping[str, Any]) -> None:
        """Write one line.

        Raises:
            OSError: it cannot be written; then the chain ends where it did before.
        """
        with self._alone:
            self._open()
            self._append(content)

    def open(self) -> None:
        """Take a chain now and not with the first line.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._alone:
            self._open()

    def close(self) -> None:
        """Flush and let the chain go."""
        with self._alone:
            if self._file is not None:
                os.fsync(self._file)
            self._close_file()
            self._held.close()
            self._chain = None

    def _open(self) -> None:
        if self._file is not None:
            return
        if self._chain is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
            self._chain = self._free_chain()
        files = _files(self._folder).get(self._chain, [])
        self._number = _number_of(files[-1]) if files else 1
        self._open_file()
        if files and _lacks_only_its_end(files[-1]):
            self._write(b"\n")
        self._end = _end_of(files)
        if self._end.loose:
            self._close_off(self._end.loose)

    def _free_chain(self) -> int:
        for chain in range(_MOST_CHAINS):
            try:
                self._held.enter_context(locked(self._folder / f"audit-{chain}"))
            except Conflict:
                continue
            return chain
        raise OSError(f"{_MOST_CHAINS} programs write to {self._folder} already")

    def _close_off(self, loose: bytes) -> None:
        ended = loose.endswith(b"\n")
        piece = loose[:-1] if ended else loose
        note = {"kind": TORN, "torn_bytes": len(piece), "torn_sha256": _digest(piece)}
        self._append(note, before=b"" if ended else b"\n")

    def _append(self, content: Mapping[str, Any], *, before: bytes = b"") -> None:
        line = _line({**content, "seq": self._end.lines, "previous": self._end.digest})
        if not before:
            self._rotate_for(line)
        self._write(before + line + b"\n")
        self._end = _End(lines=self._end.lines + 1, digest=_digest(line))

    def _write(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101 (_open went before)
        status = os.fstat(self._file)
        try:
            if not status.st_nlink:
                raise FileNotFoundError(f"the open file of {self._folder} was taken away")
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if self._flush:
                os.fsync(self._file)
        except OSError:
            self._take_back(status.st_size if status.st_nlink else None)
            raise

    def _take_back(self, size: int | None) -> None:
        """Undo a write that failed; where that fails too, the next attempt closes off what is there."""
        assert self._file is not None  # noqa: S101 (a write to it has failed)
        try:
            if size is None:
                raise FileNotFoundError
            os.ftruncate(self._file, size)
        except OSError:
            self._close_file()

    def _rotate_for(self, line: bytes) -> None:
        assert self._file is not None  # noqa: S101 (_open went before)
        size = os.fstat(self._file).st_size
        if size and size + len(line) + 1 > self._max_file_bytes:
            os.fsync(self._file)
            self._close_file()
            self._number += 1
            self._open_file()

    def _open_file(self) -> None:
        path = self._folder / f"audit-{self._chain}.{self._number:06d}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # a new file's name is on the disk before its lines are
        finally:
            os.close(folder)

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One whole line and where it stands."""

    where: str
    content: Mapping[str, Any]
    digest: str


@dataclass(slots=True, kw_only=True)
class ChainReport:
    """What a chain holds."""

    name: str
    files: int = 0
    lines: int = 0
    head: str = NOTHING_BEFORE
    """Digest of the last line: noted elsewhere, it shows later that nothing before it was changed or cut off."""
    torn: list[str] = field(default_factory=list)
    unfinished: str | None = None
    """Where a line has no end: it is being written now, or its writer was killed and none came after it."""


def verify(folder: Path) -> Iterator[tuple[ChainReport, Iterator[Line]]]:
    """Check each chain of a folder, line by line.

    Yields:
        A report that is complete once the lines beside it have been read.

    Raises:
        InputError: the folder holds no chain.
        BrokenChain: the sentence names the first line that is not as it was written.
    """
    chains = _files(folder)
    if not chains:
        raise InputError(f"{folder} holds no audit trail: there is no audit-0.000001.jsonl")
    for chain, files in sorted(chains.items()):
        report = ChainReport(name=f"audit-{chain}", files=len(files))
        yield report, _verified(files, report)


def _verified(files: list[Path], report: ChainReport) -> Iterator[Line]:
    loose: list[tuple[str, bytes, str]] = []
    """Lines that do not fit, each with where it stands and why."""
    ended = True
    for where, text in _numbered(files):
        ended = text.endswith(b"\n")
        line = text.removesuffix(b"\n")
        content = _parsed(line)
        if loose and content is not None and _closes_off(content, [piece for _, piece, _ in loose], report):
            report.torn.append(loose[0][0])
            loose = []
        elif loose or _fault(content, report):
            loose.append((where, line, _fault(content, report) or ""))
            continue
        assert content is not None  # noqa: S101 (it has no fault)
        report.lines, report.head = report.lines + 1, _digest(line)
        yield Line(where=where, content=content, digest=report.head)
    if len(loose) == 1 and not ended:
        report.unfinished = loose[0][0]
    elif loose:
        raise BrokenChain(f"{loose[0][0]}: {loose[0][2]}")


def _fault(content: Mapping[str, Any] | None, report: ChainReport) -> str | None:
    if content is None:
        return "this is no JSON object"
    if content.get("seq") != report.lines:
        return f"this is line {content.get('seq')} of the chain, expected {report.lines}: lines are missing or moved"
    if content.get("previous") != report.head:
        return (
            f"it was written after a line of digest {str(content.get('previous'))[:12]}…, "
            f"the line before it has {report.head[:12]}…: one of the two was changed"
        )
    return None


def _closes_off(content: Mapping[str, Any], pieces: list[bytes], report: ChainReport) -> bool:
    torn = content.get("kind") == TORN and content.get("torn_sha256") == _digest(b"\n".join(pieces))
    return torn and _fault(content, report) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """Where a chain ends."""

    lines: int = 0
    digest: str = NOTHING_BEFORE
    loose: bytes = b""
    """What stands behind the last whole line."""


def _end_of(files: list[Path]) -> _End:
    loose = b""
    for path in reversed(files):
        lines = _lines_of(path)
        for at in range(len(lines) - 1, -1, -1):
            content = _parsed(lines[at].removesuffix(b"\n"))
            if lines[at].endswith(b"\n") and content is not None and isinstance(content.get("seq"), int):
                return _End(lines=content["seq"] + 1, digest=_digest(lines[at][:-1]), loose=loose)
            loose = lines[at] + loose
    return _End(loose=loose)


def _lacks_only_its_end(path: Path) -> bool:
    """Whether the writer was killed between a line and its newline: nothing of the line is missing."""
    lines = _lines_of(path)
    return bool(lines) and not lines[-1].endswith(b"\n") and _parsed(lines[-1]) is not None


def _lines_of(path: Path) -> list[bytes]:
    with path.open("rb") as opened:
        return list(opened)


def _files(folder: Path) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("audit-*.jsonl")):
        if named := _NAME.fullmatch(path.name):
            found.setdefault(int(named["chain"]), []).append(path)
    return found


def _number_of(path: Path) -> int:
    return int(path.name.split(".")[1])


def _numbered(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    for path in files:
        with path.open("rb") as opened:
            for number, text in enumerate(opened, start=1):
                yield f"{path.name} line {number}", text


def _line(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def _parsed(line: bytes) -> Mapping[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
