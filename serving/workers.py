"""Several processes that answer on one port: started, watched, replaced and ended together.

The port is taken here and inherited, so a worker that dies loses only the connections that it had accepted. Workers are
new interpreters: they inherit no thread and no lock.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import FrameType
from typing import Final

from serving.access import refuse_open_doors
from serving.listening import greeting, listen
from serving.logs import log_to_stderr
from serving.settings import ServingSettings
from serving.together import BEGUN, counting_folder, forget_gauges
from vizecg.errors import InputError

log = logging.getLogger("vizecg.serving")

# Silence is counted in looks and not by the clock: when all of us were paused, nobody has been silent.
_LOOK_S: Final = 0.1
# Beyond VIZECG_DRAIN_S, for what a worker does when the last request is answered: its threads may be downloading.
_MORE_THAN_DRAIN_S: Final = 4.0
# One that lives longer than this and dies is replaced at once; one that dies sooner, ever more slowly.
_HEALTHY_S: Final = 30.0
_LONGEST_PAUSE_S: Final = 30.0


def serve_together(settings: ServingSettings) -> None:
    """Answer with `settings.workers` processes until SIGTERM or Ctrl-C; accepted requests are answered first.

    Raises:
        InputError: as `serving.server.serve`, or a worker cannot start.
    """
    refuse_open_doors(settings)
    log_to_stderr(settings.log)
    with listen(settings) as listening, counting_folder(settings.state_dir) as folder:
        _Workers(settings, listening=listening, folder=folder).run()


@dataclass(slots=True, kw_only=True)
class _Worker:
    """One process.

    Attributes:
        process: the worker; its standard input tells it, when it is closed, that we are gone.
        told: what it has to say: that it has begun, or why it cannot.
        since_s: when it was started.
        begun: whether it answers.
        said: all that it has told until it had begun.
        silent_looks: how often we have looked since it was heard.
    """

    process: subprocess.Popen[bytes]
    told: FileIO
    since_s: float
    begun: bool = False
    said: bytes = b""
    silent_looks: int = 0

    def look(self) -> None:
        """Take in what it has told since."""
        heard = self.told.read() or b""
        self.silent_looks = 0 if heard else self.silent_looks + 1
        if not self.begun:
            self.said += heard
            self.begun = self.said.startswith(BEGUN)

    def why(self) -> str:
        """Why it has ended; it has."""
        self.look()
        if self.said and not self.begun:
            return self.said.decode(errors="replace")
        code = self.process.returncode
        return f"a worker ended by signal {-code}" if code < 0 else f"a worker ended with code {code}"

    def close(self) -> None:
        """Let go of what leads to it."""
        self.told.close()
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()


@dataclass(slots=True)
class _Place:
    """Where a worker stands; whoever replaces it stands there, too."""

    number: int
    worker: _Worker | None = None
    failures: int = 0
    """Of workers that ended soon, one after the other."""
    not_before_s: float = 0.0
    used: bool = False


class _Workers:
    def __init__(self, settings: ServingSettings, *, listening: socket.socket, folder: Path) -> None:
        self._settings, self._listening, self._folder = settings, listening, folder
        self._places = [_Place(number) for number in range(settings.workers)]
        self._answering = False
        """Whether all have begun once: from then on one that cannot start is no reason to end the others."""
        self._ending = False

    def run(self) -> None:
        """Until a signal.

        Raises:
            InputError: a worker cannot start.
        """
        for received in (signal.SIGTERM, signal.SIGINT):
            signal.signal(received, self._end)
        try:
            while not self._ending:
                for place in self._places:
                    self._see_to(place)
                self._greet()
                time.sleep(_LOOK_S)
        finally:
            self._listening.close()  # from now on nobody waits to be accepted whom nobody will accept
            self._end_all()

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature of a signal handler)
        self._ending = True

    def _greet(self) -> None:
        if not self._answering and all(place.worker is not None and place.worker.begun for place in self._places):
            self._answering = True
            print(greeting(self._settings, self._listening), flush=True)
            log.info("%d workers answer", len(self._places))

    def _see_to(self, place: _Place) -> None:
        if place.worker is None:
            if time.monotonic() >= place.not_before_s:
                place.worker = self._started(place)
            return
        place.worker.look()
        if place.worker.process.poll() is not None:
            self._has_ended(place, place.worker)
        elif place.worker.begun and place.worker.silent_looks * _LOOK_S > self._settings.worker_silent_s:
            log.error("worker %d was not heard for %g s and is killed", place.number, self._settings.worker_silent_s)
            place.worker.process.kill()
            place.worker.silent_looks = 0

    def _has_ended(self, place: _Place, worker: _Worker) -> None:
        why = worker.why()
        worker.close()
        place.worker = None
        forget_gauges(self._folder, place=place.number)
        if not self._answering and not worker.begun:
            raise InputError(why if worker.said else f"{why} before it answered; the log says why")
        lived_s = time.monotonic() - worker.since_s
        place.failures = 0 if lived_s > _HEALTHY_S else place.failures + 1
        pause_s = 0.0 if place.failures <= 1 else min(2.0 ** min(place.failures - 1, 10), _LONGEST_PAUSE_S)
        place.not_before_s = time.monotonic() + pause_s
        log.error("worker %d is started again after %g s: %s", place.number, pause_s, why)

    def _started(self, place: _Place) -> _Worker:
        reading, telling = os.pipe()
        os.set_blocking(reading, False)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "serving.worker", str(self._listening.fileno()), str(telling)],
                stdin=subprocess.PIPE,
                pass_fds=[self._listening.fileno(), telling],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # Ctrl-C is for us: we pass it on
            )
        finally:
            os.close(telling)
        asked = {
            "settings": self._settings.model_dump(mode="json"),
            "folder": str(self._folder),
            "place": place.number,
            "replaces": place.used,
        }
        place.used = True
        worker = _Worker(process=process, told=FileIO(reading), since_s=time.monotonic())
        assert process.stdin is not None  # noqa: S101 (it was asked for)
        with suppress(BrokenPipeError):  # it has ended already, which is seen to next
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        return worker

    def _end_all(self) -> None:
        """Let each finish what it has accepted, and end with the last."""
        workers = [place.worker for place in self._places if place.worker is not None]
        for worker in workers:
            worker.process.terminate()
        until_s = time.monotonic() + self._settings.drain_s + _MORE_THAN_DRAIN_S
        for worker in workers:
            try:
                worker.process.wait(max(0.0, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("a worker does not end and is killed")
                worker.process.kill()
                worker.process.wait()
            worker.close()
