"""Work comes back in order, whoever did it, and no worker outlives the one who asked."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress

import pytest

from vizecg.config import Section, read_params
from vizecg.errors import InputError
from vizecg.executors import ExecutorName, InlineExecutor, in_order, open_executor, seeing


def slow_square(number: int) -> int:
    time.sleep(0.02 if number % 3 == 0 else 0)  # the first of each three ends last
    return number * number


def refuse(number: int) -> int:
    raise LookupError(f"no {number} here")


@pytest.mark.parametrize("name", ["processes", "threads"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_work_whoever_does_it(name, workers):
    with open_executor(name, workers=workers) as executor:
        assert executor.at_once == max(1, workers)
        assert list(in_order(executor, slow_square, range(20), ahead=5)) == [n * n for n in range(20)]


@pytest.mark.parametrize("name", ["processes", "threads"])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_worker_raises_reaches_the_caller(name, workers):
    with open_executor(name, workers=workers) as executor, pytest.raises(LookupError, match="no 3 here"):
        list(in_order(executor, refuse, [3], ahead=2))


@pytest.mark.parametrize("name", ["processes", "threads"])
def test_an_error_takes_back_what_has_not_begun(name):
    with pytest.raises(RuntimeError, match="enough"), open_executor(name, workers=2) as executor:
        sleeping = [executor.submit(time.sleep, 0.05) for _ in range(100)]
        raise RuntimeError("enough")
    assert sum(future.cancelled() for future in sleeping) > 50


def test_only_threads_share_the_memory_of_the_caller():
    seen = []
    with open_executor("threads", workers=2) as executor:
        executor.submit(seen.append, os.getpid()).result()
    with open_executor("processes", workers=2) as executor:
        executor.submit(seen.append, 0).result()
    assert seen == [os.getpid()]


class Counting(InlineExecutor):
    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, fn, /, *args, **kwargs) -> Future:
        self.submitted += 1
        return super().submit(fn, *args, **kwargs)


def test_no_more_results_exist_than_asked_for():
    executor = Counting()
    next(in_order(executor, slow_square, iter(range(1000)), ahead=4))
    assert executor.submitted <= 5


def test_more_is_handed_out_when_the_executor_grows():
    executor, limits = Counting(), iter([1, 1, 6, 2, 2, 2, 2, 2])
    results = in_order(executor, slow_square, iter(range(1000)), ahead=lambda: next(limits))
    assert [executor.submitted for _ in zip(range(7), results, strict=False)] == [2, 8, 8, 8, 8, 8, 9]


@pytest.mark.parametrize("name", ["dask://cluster:8786", "tcp://10.0.0.7:8786", "tls://[fe80::1]:8786", "threads"])
def test_an_executor_is_named_in_params(name, tmp_path):
    (tmp_path / "params.yaml").write_text(f"render:\n  executor: {name}\n")
    (section,) = read_params(tmp_path / "params.yaml", models={"render": WithExecutor}).values()
    assert section.executor == name


REFUSED = (
    *("thread", "", "dask", "dask://", "dask://cluster", "dask://:8786", "dask://cluster:0", "dask://cluster:70000"),
    *("http://cluster:8786", "dask://cluster:8786/", "dask://user:word@cluster:8786", "tcp://fe80::1:8786"),
)


@pytest.mark.parametrize("name", REFUSED)
def test_an_unknown_executor_is_refused_by_what_is_allowed(name, tmp_path):
    allowed = "there is no such executor; allowed are processes, threads, or the address of a Dask scheduler: dask://"
    with pytest.raises(InputError, match=f"^executor is {name!r}: {allowed}HOST:PORT"):
        open_executor(name, workers=1)
    (tmp_path / "params.yaml").write_text(f"render: {{executor: '{name}'}}\n")
    with pytest.raises(InputError, match=f"render.executor is {name!r}: value error, {allowed}HOST:PORT"):
        read_params(tmp_path / "params.yaml", models={"render": WithExecutor})


class WithExecutor(Section):
    executor: ExecutorName


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "vizecg.executors.cluster", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"distributed is not installed: install vizecg\[distributed\]"):
        open_executor("dask://127.0.0.1:8786", workers=1)


def test_local_work_needs_no_dask():
    program = "import sys; from vizecg.executors import open_executor; open_executor('threads', workers=2); "
    program += "print('distributed' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 100])
def test_who_is_no_scheduler_is_refused_in_time(answer, monkeypatch):
    """None: nobody listens; empty: somebody who says nothing."""
    monkeypatch.setattr("vizecg.executors.cluster.CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        if answer is None:
            server.close()
        else:
            threading.Thread(target=answer_once, args=(server, answer), daemon=True).start()
        message = rf"no Dask scheduler answers at {address} within 0.3 s|what answers at {address} is no Dask scheduler"
        started_s = time.monotonic()
        with pytest.raises(InputError, match=message):
            open_executor(address, workers=1)
        assert time.monotonic() - started_s < 30


def answer_once(server: socket.socket, answer: bytes) -> None:
    with suppress(OSError):
        connection, _ = server.accept()
        with connection:
            connection.sendall(answer)
            while connection.recv(4096):
                pass


@pytest.mark.parametrize(
    ("name", "message"), [("there", "is empty on"), ("nowhere", r"cannot be listed \(No such file or directory\) on")]
)
def test_work_on_files_is_refused_where_they_are_not_to_be_seen(name, message, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match=rf"{name} {message} \S+; every worker needs the file system of the process"):
        seeing(tmp_path / name, slow_square)(3)
    (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / name / "a.hea").touch()
    assert seeing(tmp_path / name, slow_square)(3) == 9


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ValueError, match="workers must be 0 or more, got -1"):
        open_executor("processes", workers=-1)


PROGRAM = """
import os, time
from vizecg.executors import open_executor
if __name__ == "__main__":
    with open_executor("processes", workers=2) as executor:
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
        deadline_s = time.monotonic() + 30
        while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert not any(is_alive(pid) for pid in pids)
