"""Starts the parts of a stack in order, keeps them up, restarts one when asked, and stops them in reverse order."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console
from rich.table import Table

from vizecg.errors import InputError
from vizecg.process import start_supervised, stop
from vizecg.publish import locked
from vizecg.servers import last_words, reserved
from vizecg.settings import Settings, repository_root
from vizecg.stack import backup as backups
from vizecg.stack.layout import API_KEY, Layout, folder_of, new_layout
from vizecg.stack.parts import Part, parts_of
from vizecg.stack.remote import Request, finish_request, forget_requests, next_request

UP_WITHIN_S: Final = 300.0
LOOK_EVERY_S: Final = 0.5
LONGEST_PAUSE_S: Final = 60.0
"""Between starts of a part that ends by itself again and again."""
_STEADY_S: Final = 60.0
STOPPED: Final = "not running"


def run_stack(*, ports: Mapping[str, int], backup: Path | None = None) -> int:
    """Start all parts, say where they are, and keep them up until Ctrl-C or SIGTERM.

    Args:
        ports: of parts that shall listen on these.
        backup: what a new stack begins with.

    Returns:
        The exit code: 0, for it was asked to stop.

    Raises:
        InputError: a program is missing, a port is taken, a part does not come up, or the backup cannot be used.
        Conflict: a stack is running in this checkout already.
    """
    settings = Settings()
    folder = folder_of(settings)
    console = Console(highlight=False, soft_wrap=True)
    asked_to_stop = threading.Event()
    with locked(folder), ExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.signal(number, _ask(asked_to_stop))
            stack.callback(signal.signal, number, before)
        if backup is not None:
            _refuse_to_overwrite(folder)
            backups.check(backup)
        layout = new_layout(folder, checkout=repository_root(), repository=settings.repository, ports=ports)
        forget_requests(folder)
        keeper = Keeper(layout, parts=parts_of(layout), say=console.print, asked_to_stop=asked_to_stop)
        stack.callback(keeper.stop_all)
        keeper.reserve_ports()
        if backup is not None and keeper.start(("postgres", "s3")):
            backups.restore(layout, backup=backup, say=console.print)
        if keeper.start(tuple(keeper.parts)):
            _show(console, layout=layout, keeper=keeper)
            keeper.keep()
        console.print("Stopping.")
    console.print("Everything is stopped.")
    return 0


class Keeper:
    """The running parts of one stack; used by one thread."""

    def __init__(
        self,
        layout: Layout,
        *,
        parts: Mapping[str, Part],
        say: Callable[[str], object],
        asked_to_stop: threading.Event,
    ) -> None:
        self._layout = layout
        self.parts = parts
        self._say = say
        self._asked_to_stop = asked_to_stop
        self._reserved: dict[str, socket.socket] = {}
        self._up: set[str] = set()  # while they come up for the first time
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._began_s: dict[str, float] = {}
        self._pause_s: dict[str, float] = {}

    def reserve_ports(self) -> None:
        """Let no other stack take the ports of parts that are not started yet."""
        for name, port in self._layout.ports.items():
            self._reserved[name] = reserved(port)

    def start(self, names: Collection[str]) -> bool:
        """Start parts that are not up yet, each when those it needs answer.

        Returns:
            Whether all of them are up; False when it was asked to stop before.

        Raises:
            InputError: one ended, or does not answer in time.
        """
        while not self._up.issuperset(names):
            for name in names:
                if name not in self._running and self._up.issuperset(self.parts[name].needs):
                    self._start(name)
            for name in [name for name in self._running if name not in self._up]:
                if self._is_up(name):
                    self._up.add(name)
                    self._say(f"{name} is up after {time.monotonic() - self._began_s[name]:.0f} s")
            if self._asked_to_stop.wait(LOOK_EVERY_S):
                return False
        return True

    def keep(self) -> None:
        """Until asked to stop: start again what has ended, and do what `vizecg stack restart` asks for."""
        while not self._asked_to_stop.wait(LOOK_EVERY_S):
            if (request := next_request(self._layout.folder)) is not None:
                self._restart(request)
                finish_request(self._layout.folder)
            for name, process in list(self._running.items()):
                if process.poll() is not None:
                    self._start_again(name)

    def stop_all(self) -> None:
        """Stop what is running, the last started first; returns when all of it is gone."""
        for name in list(self._reserved):
            self._reserved.pop(name).close()
        for name in reversed(list(self.parts)):
            if (process := self._running.pop(name, None)) is not None:
                stop(process)

    def _restart(self, request: Request) -> None:
        began_s = time.monotonic()
        stop(self._running.pop(request.part))
        self._say(f"{_now()} {request.part} was stopped, as asked; it comes back in {request.away_s:.0f} s")
        if self._asked_to_stop.wait(request.away_s):
            return
        self._start(request.part)
        while not self._asked_to_stop.wait(LOOK_EVERY_S):
            try:
                if self._is_up(request.part):
                    self._say(f"{_now()} {request.part} is up again after {time.monotonic() - began_s:.0f} s")
                    return
            except InputError as error:  # it is tried again and again, like any that ends by itself
                self._say(str(error))
                return

    def _start(self, name: str) -> None:
        part = self.parts[name]
        part.prepare()
        if name in self._reserved:
            self._reserved.pop(name).close()
        log = self._layout.log(name)
        with log.open("a", encoding="utf-8") as output:
            print(f"--- {name} is started {_now()}", file=output, flush=True)
            self._running[name] = start_supervised(
                part.command,
                cwd=part.cwd,
                environment=part.environment,
                output=output,
                stop_signal=part.stop_signal,
            )
        self._began_s[name] = time.monotonic()

    def _is_up(self, name: str) -> bool:
        process, log = self._running[name], self._layout.log(name)
        if process.poll() is not None:
            raise InputError(f"{name} ended with code {process.returncode}: {last_words(log)}")
        if self.parts[name].state() is not None:
            return True
        if time.monotonic() - self._began_s[name] > UP_WITHIN_S:
            raise InputError(f"{name} did not answer within {UP_WITHIN_S:.0f} s: {last_words(log)}")
        return False

    def _start_again(self, name: str) -> None:
        """At once the first time; one that never stays up is given longer and longer pauses."""
        ran_s = time.monotonic() - self._began_s[name]
        pause_s = 0.0 if ran_s > _STEADY_S else self._pause_s.get(name, 0.0)
        if ran_s < pause_s:
            return
        self._say(f"{_now()} {name} ended with code {self._running[name].returncode}; it is started again")
        self._pause_s[name] = min(max(1.0, 2 * pause_s), LONGEST_PAUSE_S)
        self._start(name)


def table_of(parts: Mapping[str, Part], *, layout: Layout) -> tuple[Table, bool]:
    """Every part with its address, state and log, and whether all of them answer."""
    table = Table("part", "address", "state", "log", box=None, pad_edge=False)
    states = {name: part.state() for name, part in parts.items()}
    for name, part in parts.items():
        table.add_row(name, part.address, states[name] or STOPPED, layout.log(name).name)
    return table, all(state is not None for state in states.values())


def _refuse_to_overwrite(folder: Path) -> None:
    if (folder / "postgres").exists() or (folder / "s3").exists():
        raise InputError(f"{folder} holds a stack's state already; a backup is restored into a new one: move it away")


def _show(console: Console, *, layout: Layout, keeper: Keeper) -> None:
    console.print(table_of(keeper.parts, layout=layout)[0])
    url, key = layout.url("service"), layout.secret_file(API_KEY)
    console.print("work with it      vizecg stack run -- vizecg doctor   (or prefect …, mlflow …)")
    console.print(f"ask the service   vizecg predict page.png --url {url} --key-file {key}")
    console.print("Up until Ctrl-C.")


def _ask(event: threading.Event) -> Callable[[int, FrameType | None], None]:
    return lambda *_: event.set()


def _now() -> str:
    return datetime.now(UTC).strftime("%H:%M:%S")
