"""The process that unpacks pictures for the service: `python -m serving.decoder`, started by `serving.decoding`.

A file that makes a decoder loop, swallow memory or crash ends this process and
not the service.
"""

import json
import mmap
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

import pypdfium2  # noqa: F401 (loaded before memory is limited, as everything else is)
from PIL import Image

from serving import handover
from vizecg import intake
from vizecg.errors import InputError
from vizecg.intake import Picture

READY: Final = b"ready"
_MOST_DETAIL_CHARACTERS: Final = 1_000


def main() -> None:
    """Answer what comes over the inherited socket until it is closed."""
    descriptor, file_bytes, memory_bytes = map(int, sys.argv[1:4])
    cpu_s = float(sys.argv[4])
    Image.preinit()
    with socket.socket(fileno=descriptor) as channel:
        inbox = _open_inbox(channel, file_bytes)
        _limit(memory_bytes)
        while asked := channel.recv(handover.MOST_MESSAGE_BYTES):
            # Time on the CPU, so that a busy machine fails nobody. The signal ends this process.
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            _answer(inbox[: int(asked)], channel)
            signal.setitimer(signal.ITIMER_PROF, 0)


def _open_inbox(channel: socket.socket, file_bytes: int) -> mmap.mmap:
    """Made here and not by the service, which may be told to write small files only; its audit trail is for that."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    inbox = handover.letter_box(file_bytes)
    socket.send_fds(channel, [READY], [inbox])
    return handover.opened(inbox, size=file_bytes)


def _limit(memory_bytes: int) -> None:
    """Beyond what is in memory now only so much; and no picture in a core dump."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # When the machine itself runs out of memory, the kernel shall end this process and not the service.
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _answer(data: bytes, channel: socket.socket) -> None:
    try:
        picture = intake.open_upload(data)
        _send_picture(picture, channel)
    except InputError as error:
        _send(channel, kind=type(error).__name__, detail=str(error)[:_MOST_DETAIL_CHARACTERS])
    except MemoryError:
        _send(channel, kind="memory")
        raise SystemExit(0) from None  # what it holds is no measure for the next file
    except Exception as error:  # a fault in a library that nobody has met yet is one picture's, too
        _send(channel, kind="fault", detail=type(error).__name__)


def _send_picture(picture: Picture, channel: socket.socket) -> None:
    shape = list(picture.pixels.shape)
    with handover.memory_of(picture.pixels.data) as descriptor:
        _send(channel, descriptor, kind="picture", shape=shape, upload_px=picture.upload_px, pages=picture.pages)


def _send(channel: socket.socket, *descriptors: int, **message: Any) -> None:  # noqa: ANN401 (what JSON holds)
    socket.send_fds(channel, [json.dumps(message).encode()], list(descriptors))


if __name__ == "__main__":
    main()
