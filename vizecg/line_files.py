"""Files that several processes add a line to: whole or not at all, and never changed afterwards."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PRIVATE: Final = 0o600


def append_line(path: Path, line: str, *, flush: bool = True) -> None:
    """Add one line, whoever else adds at the same time; folders on the way to it are made.

    Args:
        path: the file.
        line: without its end.
        flush: wait until it is on the disk, so that it survives a power cut.

    Raises:
        OSError: it cannot be written; nothing of it stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _PRIVATE)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        before = os.fstat(opened).st_size
        # What was cut off by a power failure must not take the next line with it.
        torn = before > 0 and os.pread(opened, 1, before - 1) != b"\n"
        _write_whole(opened, (b"\n" if torn else b"") + line.encode() + b"\n", before=before, flush=flush)
    finally:
        os.close(opened)


def lines_of(folder: Path, pattern: str) -> Iterator[bytes]:
    """Every line of the files of a folder that match, by their names; a folder that is not there holds none."""
    for path in sorted(folder.glob(pattern)):
        yield from (line for line in path.read_bytes().splitlines() if line)


def _write_whole(opened: int, data: bytes, *, before: int, flush: bool) -> None:
    try:
        if os.write(opened, data) != len(data):
            raise OSError("the disk took part of a line")
        if flush:
            os.fsync(opened)
    except OSError:
        os.ftruncate(opened, before)
        raise
