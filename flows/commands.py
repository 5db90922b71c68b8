"""Commands that tasks run: in a process group of their own, lines in the run's log, the exit code as an error."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vizecg.errors import Conflict, GateRefused, InputError, VizecgError
from vizecg.process import spoken, start_supervised, stop
from vizecg.settings import shown

_OUR_SENTENCE: Final = "vizecg: "
_KINDS: Final[Mapping[int, type[VizecgError]]] = {kind.exit_code: kind for kind in (InputError, GateRefused, Conflict)}


class TimeLimit(InputError):
    """A command took longer than it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a command printed, and its exit code."""

    lines: list[str]
    exit_code: int


def run_command(
    arguments: Sequence[str],
    *,
    workspace: Path,
    timeout_s: float,
    what: str,
    say: Callable[[str], None],
    worth_saying: Callable[[str], bool] = bool,
) -> Finished:
    """Run a module of this Python to its end; it ends with us, whatever ends us.

    Args:
        arguments: after `python -m`.
        workspace: where it runs.
        timeout_s: after which its process group is stopped.
        what: it is, for the sentence.
        say: receives every line that is worth saying, without user names and passwords in addresses.
        worth_saying: which are; by default all that are not empty.

    Raises:
        TimeLimit: it took too long.
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [sys.executable, "-m", *arguments]
    process = start_supervised(command, cwd=workspace, environment=environment, output=subprocess.PIPE)
    timed_out = threading.Event()

    def give_up() -> None:
        timed_out.set()
        stop(process)

    timer = threading.Timer(timeout_s, give_up)
    timer.start()
    try:
        lines = list(_spoken(process, say=say, worth_saying=worth_saying))
        process.wait()
    finally:
        timer.cancel()
        stop(process)
        if process.stdout is not None:
            process.stdout.close()
    if timed_out.is_set():
        raise TimeLimit(f"{what} was stopped after {spoken(timeout_s)}, its time limit")
    return Finished(lines=lines, exit_code=process.returncode)


def error_of(what: str, *, lines: Sequence[str], exit_code: int) -> VizecgError:
    """The error that a command of ours ended with, in its own sentence."""
    said = [line.removeprefix(_OUR_SENTENCE) for line in lines if line.startswith(_OUR_SENTENCE)]
    last_words = said[-1] if said else " / ".join(lines[-5:]) or "it printed nothing"
    return _KINDS.get(exit_code, InputError)(f"{what}: {last_words}")


def _spoken(
    process: subprocess.Popen[str], *, say: Callable[[str], None], worth_saying: Callable[[str], bool]
) -> Iterator[str]:
    assert process.stdout is not None  # noqa: S101 (it was started with a pipe)
    for raw in process.stdout:
        line = shown(raw.rstrip())  # what DVC or git say of a remote may hold its password
        if worth_saying(line):
            say(line)
            yield line
