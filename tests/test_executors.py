"""Work comes back in order, whoever did it, and no worker outlives the one who asked."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future

import pytest

from vizecg.executors import InlineExecutor, in_order, local_executor


def slow_square(number: int) -> int:
    time.sleep(0.02 if number % 3 == 0 else 0)  # the first of each three ends last
    return number * number


def refuse(number: int) -> int:
    raise LookupError(f"no {number} here")


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_work_whatever_the_workers(workers):
    with local_executor(workers) as executor:
        assert list(in_order(executor, slow_square, range(20), ahead=5)) == [n * n for n in range(20)]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_worker_raises_reaches_the_caller(workers):
    with local_executor(workers) as executor, pytest.raises(LookupError, match="no 3 here"):
        list(in_order(executor, refuse, [3], ahead=2))


def test_no_more_results_exist_than_asked_for():
    submitted: list[int] = []

    class Counting(InlineExecutor):
        def submit(self, fn, /, *args, **kwargs) -> Future:
            submitted.append(args[0])
            return super().submit(fn, *args, **kwargs)

    results = in_order(Counting(), slow_square, iter(range(1000)), ahead=4)
    next(results)
    assert len(submitted) <= 5


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ValueError, match="workers must be 0 or more, got -1"):
        local_executor(-1)


PROGRAM = """
import os, time
from vizecg.executors import local_executor
if __name__ == "__main__":
    with local_executor(2) as executor:
        print(*{executor.submit(os.getpid).result() for _ in range(5)}, flush=True)
        for _ in range(2):  # an idle worker ends by itself when nobody is left to ask it; a busy one would not
            executor.submit(time.sleep, 60)
        time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as opened:  # noqa: PTH123 (a kernel file)
        return opened.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids
        time.sleep(0.2)  # until they are busy
        assert all(is_alive(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline_s = time.monotonic() + 5
        while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert not any(is_alive(pid) for pid in pids)
