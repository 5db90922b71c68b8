"""Processes that do not outlive the one that started them.

`kill -9` of `dvc repro` would leave its trainer running, and a second repro
would start beside it. On Linux the kernel tells a child when its parent ends, if
the child asks for that; elsewhere the lock on the output folder is what remains.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from vizecg.errors import InputError

_PR_SET_PDEATHSIG: Final = 1
GRACE_S: Final = 10.0


def die_with_parent(with_signal: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send this process a signal when its parent ends; does nothing outside Linux."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, with_signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the kernel knew of the wish
        os.kill(os.getpid(), with_signal)


def start_supervised(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    output: IO[str] | int,
    errors: IO[str] | int = subprocess.STDOUT,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[str]:
    """Start a command in a process group of its own that ends with this process, however this process ends.

    Args:
        command: program and arguments; no shell.
        cwd: its working directory.
        environment: all of its environment variables.
        output: where stdout goes.
        errors: where stderr goes; there too, unless said.
        stop_signal: what the group is told to end with; PostgreSQL waits for its clients at SIGTERM.

    Returns:
        The supervisor. SIGTERM to it ends the whole group, after `GRACE_S` by force.
        Its exit code is the command's.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "vizecg.process", str(int(stop_signal)), *command],
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        text=True,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[str]) -> None:
    """End a supervised command and everything it started; returns when it is gone."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=GRACE_S + 5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_within(
    timeout_s: float,
    command: Sequence[str],
    *,
    cwd: Path,
    what: str,
    mend: str,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, or of its time, and keep what it prints; it ends with all it started.

    Args:
        timeout_s: generous: what is still at work then waits for somebody who does not answer.
        command: program and arguments; no shell.
        cwd: its working directory.
        what: it is, for the sentence.
        mend: what to do when the time is over, for the sentence.
        environment: all of its environment variables; None: ours.

    Raises:
        InputError: it took longer.
    """
    pipe = subprocess.PIPE
    with start_supervised(command, cwd=cwd, environment=environment or os.environ, output=pipe, errors=pipe) as process:
        try:
            printed, complained = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise InputError(f"{what} did not end within {spoken(timeout_s)} and was stopped; {mend}") from None
        finally:
            stop(process)
    return subprocess.CompletedProcess(command, process.returncode, printed, complained)


def spoken(seconds: float) -> str:
    """A time limit as people say it: `72 h`, `30 min`, `4 s`."""
    for unit, length_s in (("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.3g} {unit}"
    return f"{seconds:.3g} s"


def supervise(command: Sequence[str], *, stop_signal: int = signal.SIGTERM) -> int:
    """Run a command; when told to stop, or left alone, stop every process of this group.

    Returns:
        The command's exit code, or 128 + the signal that ended it.
    """
    stopping = threading.Event()

    def stop_group(*_: object) -> None:
        if not stopping.is_set():
            stopping.set()
            os.killpg(os.getpgrp(), stop_signal)
            threading.Timer(GRACE_S, os.killpg, (os.getpgrp(), signal.SIGKILL)).start()

    signal.signal(signal.SIGTERM, stop_group)
    signal.signal(signal.SIGINT, stop_group)
    die_with_parent(signal.SIGTERM)
    code = subprocess.Popen(command).wait()
    while stopping.is_set() and _others_in_group():  # the timer ends those that do not want to, and this process
        time.sleep(0.05)
    return code if code >= 0 else 128 - code


def _others_in_group() -> bool:
    """Whether another process of this group is alive; outside Linux nobody can tell, so nobody is waited for."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name_ends, fields = stat.read_text().rsplit(")", 1)
        except (OSError, ValueError):
            continue
        state, _, group = fields.split()[:3]
        if int(group) == os.getpgrp() and state != "Z" and name_ends.split(" ", 1)[0] != str(os.getpid()):
            return True
    return False


def main() -> None:
    """`python -m vizecg.process SIGNAL COMMAND…`, as the leader of its own process group."""
    code = supervise(sys.argv[2:], stop_signal=int(sys.argv[1]))
    sys.stdout.flush()
    os._exit(code)  # the timer of a group that is gone must not be waited for


if __name__ == "__main__":
    main()
