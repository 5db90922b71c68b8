"""Bytes from one process to another as sealed anonymous memory, whose descriptor goes over a socket.

Nothing is squeezed through a pipe, which on a busy machine costs a change of
process for every few pages, and nothing reaches a disk.
"""

import fcntl
import mmap
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_MESSAGE_BYTES: Final = 16_384
# Memory that its giver could still shorten would kill whoever reads it (SIGBUS).
_OF_FIXED_SIZE: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_SEALS: Final = _OF_FIXED_SIZE | fcntl.F_SEAL_WRITE


def channel() -> tuple[socket.socket, socket.socket]:
    """Two ends over which messages go whole; a closed one reads as an empty message at the other."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@contextmanager
def memory_of(content: bytes | memoryview) -> Iterator[int]:
    """A descriptor of memory that holds a copy of this and can be changed by nobody; closed when the block ends.

    Raises:
        OSError: there is no memory, or no descriptor left.
    """
    descriptor = os.memfd_create("vizecg", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(content).cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        yield descriptor
    finally:
        os.close(descriptor)


def letter_box(size: int) -> int:
    """A descriptor of memory of this size that others may write into; what nobody has written takes no memory.

    Raises:
        OSError: there is no memory, or files may not be so large here (RLIMIT_FSIZE).
    """
    descriptor = os.memfd_create("vizecg", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _OF_FIXED_SIZE)
    return descriptor


def opened(descriptor: int, *, size: int) -> mmap.mmap:
    """A letter box of another process, to write into; closes the descriptor.

    Raises:
        ValueError: it could change its size, or has another.
    """
    try:
        _check(descriptor, size=size, seals=_OF_FIXED_SIZE)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def received(descriptor: int, *, size: int) -> NDArray[np.uint8]:
    """What memory holds that another process sent, as bytes of our own; closes the descriptor.

    Args:
        descriptor: of sealed memory.
        size: bytes that it must have, at least 1.

    Raises:
        ValueError: it is not sealed, or of another size.
    """
    try:
        _check(descriptor, size=size, seals=_SEALS)
        # Copied only where somebody writes on it.
        return np.frombuffer(mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY), np.uint8)
    finally:
        os.close(descriptor)


def _check(descriptor: int, *, size: int, seals: int) -> None:
    length, sealed = os.fstat(descriptor).st_size, fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    if length != size or sealed & seals != seals:
        raise ValueError(f"memory of {length} bytes with seals {sealed:#x}, expected {size} bytes and {seals:#x}")
