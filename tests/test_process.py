import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vizecg.process import start_supervised, stop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent ended")

# A command that starts a child of its own and says both process numbers.
FAMILY = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(os.getpid(), child.pid, flush=True)\n"
    "time.sleep(60)\n"
)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone_within(pids: list[int], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.05)
    return False


def family_of(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    return [int(pid) for pid in process.stdout.readline().split()]


def test_stopping_a_command_stops_what_it_started(tmp_path):
    process = start_supervised(
        [sys.executable, "-c", FAMILY], cwd=tmp_path, environment=os.environ, output=subprocess.PIPE
    )
    family = family_of(process)
    stop(process)
    assert process.stdout is not None
    process.stdout.close()
    assert gone_within(family, seconds=5)


def test_a_grandchild_that_does_not_want_to_end_is_ended_by_force(tmp_path):
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    code = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {stubborn!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(os.getpid(), child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    # As `start_supervised` starts it, but that it waits for half a second, and not for ten.
    supervisor = "from vizecg import process; process.GRACE_S = 0.5; process.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", supervisor, str(int(signal.SIGTERM)), sys.executable, "-c", code],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    family = family_of(process)
    stop(process)
    assert process.stdout is not None
    process.stdout.close()
    assert gone_within(family, seconds=5)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_whatever_ends_the_parent_ends_the_whole_family(tmp_path, how):
    parent = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import os, pathlib, subprocess, sys\n"
            "from vizecg.process import start_supervised\n"
            "process = start_supervised([sys.executable, '-c', sys.argv[1]], cwd=pathlib.Path.cwd(),"
            " environment=os.environ, output=sys.stdout)\n"
            "process.wait()\n",
            FAMILY,
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    family = family_of(parent)
    parent.send_signal(how)
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()
    assert len(family) == 2
    assert gone_within(family, seconds=5)


@pytest.mark.parametrize("code", [0, 3])
def test_the_supervisor_hands_on_exit_codes(tmp_path, code):
    command = [sys.executable, "-c", f"raise SystemExit({code})"]
    process = start_supervised(command, cwd=tmp_path, environment=os.environ, output=subprocess.DEVNULL)
    assert process.wait(timeout=20) == code


def test_a_command_that_ignores_being_asked_is_ended_by_force(tmp_path, monkeypatch):
    monkeypatch.setattr("vizecg.process.GRACE_S", -4.5)  # `stop` waits for five seconds more
    stubborn = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"
    )
    environment = {**os.environ}
    process = start_supervised(
        [sys.executable, "-c", stubborn], cwd=tmp_path, environment=environment, output=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    began = time.monotonic()
    stop(process)
    process.stdout.close()
    assert process.returncode != 0
    assert time.monotonic() - began < 20
