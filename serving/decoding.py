"""Unpack pictures in processes of their own, within limits: a file that breaks a decoder breaks one request.

Decoders live long and are started as new interpreters, so they inherit no
thread, no lock and no secret; one that has ended is replaced. The functions
that unpack are those of `vizecg.intake`, as in training.
"""

import json
import logging
import math
import mmap
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from serving import handover
from serving.metrics import Metrics
from serving.settings import ServingSettings
from vizecg.errors import InputError, VizecgError
from vizecg.intake import ImageTooLarge, Picture, UnreadableImage, UnsupportedImage

log = logging.getLogger("vizecg.serving")

Ending = Literal["memory", "cpu", "wall", "ended", "start"]
_START_S: Final = 60.0
_END_S: Final = 5.0
_KEPT_ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR")
# One thread, and buffers up to 32 MB (glibc's most) are used again: a picture in new memory costs thousands of faults.
_LEAN: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
}
_REFUSALS: Final = {kind.__name__: kind for kind in (UnreadableImage, UnsupportedImage, ImageTooLarge)}


class Undecodable(InputError):
    """The file could not be decoded within limits, or ended the process that tried."""


class NoDecoder(VizecgError):
    """There is no process to unpack with, and none can be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What unpacking one file may take."""

    file_bytes: int
    memory_bytes: int
    """Beyond what a decoder takes that has nothing to do."""
    cpu_s: float
    wall_s: float

    def refusal(self, ending: Ending) -> "Undecodable | NoDecoder":
        """Why there is no picture, for whoever sent the file."""
        if ending == "start":
            return NoDecoder("no process to unpack pictures starts")
        if ending == "ended":
            return Undecodable("the picture cannot be decoded: it ends the process that decodes it")
        why = {
            "memory": f"more than {self.memory_bytes / 1e6:g} MB of memory",
            "cpu": f"more than {self.cpu_s:g} s on the CPU",
            "wall": f"more than {self.wall_s:g} s",
        }[ending]
        return Undecodable(
            f"the picture cannot be decoded within limits: it needs {why}; send it at a lower resolution"
        )


class _Ended(Exception):
    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending: Ending = ending


class _Decoder:
    """One process; for one thread at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._channel, theirs = handover.channel()
        with theirs:
            command = [sys.executable, "-P", "-m", "serving.decoder", str(theirs.fileno())]
            try:
                self.process = subprocess.Popen(
                    [*command, str(limits.file_bytes), str(limits.memory_bytes), str(limits.cpu_s)],
                    pass_fds=[theirs.fileno()],
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # libraries quote what they could not read
                    start_new_session=True,  # Ctrl-C is for the service, which answers first what it accepted
                )
            except BaseException:
                self._channel.close()
                raise
        self._inbox: mmap.mmap | None = None

    def unpack(self, data: bytes, *, meanwhile: Callable[[], object] | None = None) -> Picture:
        """Raises as `Decoders.unpack`, and _Ended."""
        if self._inbox is None:
            self._inbox = self._first_sent()
        self._inbox[: len(data)] = data
        try:
            self._channel.send(b"%d" % len(data))
        except OSError:
            raise _Ended("ended") from None
        try:
            if meanwhile is not None:
                meanwhile()
        except BaseException:
            self.end()  # what it says to this picture must not be taken for what it says to the next
            raise
        message, descriptors = self._next(timeout_s=self._limits.wall_s)
        try:
            told = json.loads(message)
            if told["kind"] == "picture":
                return _picture_of(told, descriptors)
            raise _refusal_of(told)
        except (LookupError, TypeError, ValueError):  # a file may have made it say anything
            raise _Ended("ended") from None

    def end(self) -> None:
        """Whatever it does."""
        self._channel.close()
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_S)

    def _first_sent(self) -> mmap.mmap:
        """Where it wants its files: what a decoder sends when it is ready."""
        try:
            _, descriptors = self._next(timeout_s=_START_S)
            return handover.opened(descriptors[0], size=self._limits.file_bytes)
        except (_Ended, LookupError, ValueError):
            raise _Ended("start") from None

    def _next(self, *, timeout_s: float) -> tuple[bytes, list[int]]:
        self._channel.settimeout(timeout_s)
        try:
            message, descriptors, *_ = socket.recv_fds(self._channel, handover.MOST_MESSAGE_BYTES, 1)
        except TimeoutError:
            raise _Ended("wall") from None
        except OSError:
            message, descriptors = b"", []
        if not message:
            raise _Ended(self._ending())
        return message, descriptors

    def _ending(self) -> Ending:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_S)
        return "cpu" if self.process.returncode == -signal.SIGPROF else "ended"


def _picture_of(told: dict[str, Any], descriptors: list[int]) -> Picture:
    shape, (width, height) = tuple(map(int, told["shape"])), map(int, told["upload_px"])
    pixels = handover.received(descriptors[0], size=math.prod(shape)).reshape(shape)
    return Picture(pixels=pixels, upload_px=(width, height), pages=int(told["pages"]))


def _refusal_of(told: dict[str, Any]) -> Exception:
    kind, detail = str(told["kind"]), str(told.get("detail", ""))
    if kind == "memory":
        return _Ended("memory")
    if kind == "fault":
        log.warning("a decoder failed on a picture with %s", detail)
        return Undecodable(f"the picture cannot be decoded ({detail})")
    return _REFUSALS[kind](detail)


class Decoders:
    """As many decoders as pictures are worked on at once."""

    def __init__(self, settings: ServingSettings, *, metrics: Metrics) -> None:
        self._limits = Limits(
            file_bytes=settings.max_body_bytes,
            memory_bytes=settings.decode_memory_bytes,
            cpu_s=settings.decode_cpu_s,
            wall_s=settings.decode_wall_s,
        )
        self._metrics = metrics
        self._idle: queue.SimpleQueue[_Decoder | None] = queue.SimpleQueue()
        self._changing = threading.Lock()
        self._alive: set[_Decoder] = set()
        self._closed = False
        self._number = settings.predictions_at_once
        for _ in range(self._number):
            self._idle.put(None)

    def start(self) -> None:
        """Start all; returns before they are ready, and whoever comes first waits for them."""
        for _ in range(self._number):
            self._idle.put(self._idle.get() or self._started())

    def unpack(self, data: bytes, *, meanwhile: Callable[[], object] | None = None) -> Picture:
        """As `vizecg.intake.open_upload`, in another process.

        Args:
            data: bytes of the file.
            meanwhile: done here while the other process works; twice where that ends.

        Raises:
            UnreadableImage, UnsupportedImage, ImageTooLarge: as there.
            Undecodable: it takes more than the limits, or ends the process.
            NoDecoder: no process can be started, or all are being ended.
        """
        decoder = self._idle.get()
        try:
            # Twice: somebody else may have ended the first, and a file that ends two is at fault itself.
            for attempt in (1, 2):
                decoder = decoder or self._started()
                try:
                    return decoder.unpack(data, meanwhile=meanwhile)
                except _Ended as ended:
                    if self._closed:
                        raise NoDecoder("the service ends, and does not wait for this picture") from None
                    decoder = self._replaced(decoder, ended.ending)
                    if attempt == 2 or ended.ending not in {"ended", "start"}:
                        raise self._limits.refusal(ended.ending) from None
            raise AssertionError("the second attempt answers or raises")
        except NoDecoder:
            self._end(decoder)
            decoder = None
            raise
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """End all, whatever they do: a thread that waits for a decoder would keep this process from ending."""
        with self._changing:
            self._closed = True
            for decoder in self._alive:
                decoder.process.kill()
        with suppress(queue.Empty):
            while True:
                self._end(self._idle.get_nowait())

    def _replaced(self, ended: _Decoder, ending: Ending) -> _Decoder:
        """Start the next at once, so that the next picture need not wait for it."""
        self._metrics.decoder_restarts.labels(ending).inc()
        log.warning("a process that unpacks pictures was replaced: %s", ending)
        self._end(ended)
        return self._started()

    def _started(self) -> _Decoder:
        with self._changing:
            if self._closed:
                raise NoDecoder("the service ends, and unpacks no picture more")
            try:
                decoder = _Decoder(self._limits)
            except OSError as error:
                raise NoDecoder(f"no process to unpack pictures can be started ({error.strerror})") from error
            self._alive.add(decoder)
            return decoder

    def _end(self, decoder: _Decoder | None) -> None:
        if decoder is not None:
            decoder.end()
            with self._changing:
                self._alive.discard(decoder)


def _environment() -> dict[str, str]:
    """What an interpreter needs to find the same modules, and nothing that the service's settings may hold."""
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    path = os.pathsep.join(sys.path)
    return {**kept, **_LEAN, "PYTHONPATH": path}
