"""Five times as many requests as the service can answer: how fast it refuses, how much it still answers, what it takes.

    VIZECG_BUNDLE=models/bundle python -m benchmarks.bench_overload

Capacity is the most that callers get who wait for each answer. Then requests come by the clock, five times as many,
whether or not anybody was answered. A machine is not equally fast all the time, so the two are measured in turns and
each overload is held against the calm before it. Callers have the last core for themselves and the service has the
others, so that what it costs to ask is not taken for what it costs to refuse. On a machine with other things to do the
answers a second say little; CPU time for each answer, of service and decoders together, says what refusing takes away
from answering.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
import pytest

from benchmarks.contest import note
from benchmarks.ingest import memory_mb
from vizecg.client import Client
from vizecg.servers import free_port

BUNDLE = Path(os.environ.get("VIZECG_BUNDLE", "models/bundle"))
CALLERS = (2, 4, 8)
TRIED_S, CALM_S, OVERLOAD_S = 6.0, 10.0, 18.0
FILLED_S = 4.0  # the queue fills in the first seconds
ROUNDS = 3
TIMES = 5
START_S = 120
GOODPUT_AT_LEAST, REFUSED_WITHIN_MS = 0.9, 100


@dataclass
class Seen:
    """Replies: when they came, counted from the first request, how long each took, and its status."""

    at_s: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def goodput(self, *, first_s: float, last_s: float) -> float:
        """Answers a second."""
        answered = [at_s for at_s, status in zip(self.at_s, self.statuses, strict=True) if status == 200]
        return sum(first_s <= at_s < last_s for at_s in answered) / (last_s - first_s)

    def ms_of(self, status: int) -> list[float]:
        return [took for took, got in zip(self.took_ms, self.statuses, strict=True) if got == status] or [float("nan")]


@dataclass(frozen=True, kw_only=True)
class Round:
    """A calm and the overload after it."""

    capacity_per_s: float
    answered_per_s: float
    calm_ms: float
    """Of CPU, for an answer."""
    busy_ms: float
    seen: Seen

    @property
    def of_capacity(self) -> float:
        return self.answered_per_s / self.capacity_per_s


async def _ask(client: httpx.AsyncClient, page: bytes, seen: Seen, *, started: float) -> None:
    sent = time.perf_counter()
    reply = await client.post("/v1/predict", content=page)
    seen.at_s.append(time.perf_counter() - started)
    seen.took_ms.append(1000 * (time.perf_counter() - sent))
    seen.statuses.append(reply.status_code)


def cpu_s(pid: int) -> float:
    """Time on the CPU so far, of the service and of the processes it has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    processes = [pid, *(int(child) for task in tasks for child in task.read_text().split())]
    ticks = 0
    for one in processes:
        ticks += sum(map(int, Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def by_callers(client: httpx.AsyncClient, page: bytes, *, callers: int, seconds: float) -> float:
    """Answers a second of so many callers who wait for each."""
    seen, started = Seen(), time.perf_counter()

    async def caller() -> None:
        while time.perf_counter() - started < seconds:
            await _ask(client, page, seen, started=started)

    await asyncio.gather(*(caller() for _ in range(callers)))
    assert set(seen.statuses) == {200}
    return seen.goodput(first_s=0, last_s=seconds)


async def by_the_clock(client: httpx.AsyncClient, page: bytes, *, per_s: float) -> Seen:
    """Requests at a rate, answered or not."""
    seen, started = Seen(), time.perf_counter()
    under_way = []
    for number in range(round(per_s * OVERLOAD_S)):
        await asyncio.sleep(max(0.0, started + number / per_s - time.perf_counter()))
        under_way.append(asyncio.create_task(_ask(client, page, seen, started=started)))
    await asyncio.gather(*under_way)
    return seen


async def measured(url: str, page: bytes, *, pid: int) -> dict[str, float]:
    """What is put into the book."""
    # Connections left over from an overload are idle in the calm after it.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2.0)
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits) as client:
        await by_callers(client, page, callers=2, seconds=TRIED_S)  # caches are warm
        tried = {callers: await by_callers(client, page, callers=callers, seconds=TRIED_S) for callers in CALLERS}
        callers = max(tried, key=lambda number: tried[number])
        before_mb = memory_mb(pid)
        with watched(pid) as peak_mb:
            rounds = [await in_turn(client, page, pid=pid, callers=callers) for _ in range(ROUNDS)]
    refused_ms = [took for one in rounds for took in one.seen.ms_of(503)]
    others = Counter(status for one in rounds for status in one.seen.statuses if status not in {200, 503})
    assert not others, others
    answered_ms = [took for one in rounds for took in one.seen.ms_of(200)]

    def middle(of: str, digits: int = 1) -> float:
        return round(float(np.median([getattr(one, of) for one in rounds])), digits)

    return {
        "capacity_per_s": middle("capacity_per_s"),
        "sent_per_s": round(TIMES * middle("capacity_per_s"), 1),
        "answered_per_s": middle("answered_per_s"),
        "answered_of_capacity": middle("of_capacity", 2),
        "cpu_ms_per_answer": middle("calm_ms"),
        "cpu_ms_per_answer_overloaded": middle("busy_ms"),
        "refused": len(refused_ms),
        "refused_ms_median": round(float(np.median(refused_ms)), 1),
        "refused_ms_p99": round(float(np.percentile(refused_ms, 99)), 1),
        "answered_ms_median": round(float(np.median(answered_ms))),
        "mb_before": round(before_mb),
        "mb_at_most": round(max(peak_mb)),
    }


async def in_turn(client: httpx.AsyncClient, page: bytes, *, pid: int, callers: int) -> Round:
    """As many as can be answered, then five times as many."""
    before_s = cpu_s(pid)
    capacity = await by_callers(client, page, callers=callers, seconds=CALM_S)
    calm_ms = 1000 * (cpu_s(pid) - before_s) / (capacity * CALM_S)
    before_s = cpu_s(pid)
    seen = await by_the_clock(client, page, per_s=TIMES * capacity)
    return Round(
        capacity_per_s=capacity,
        answered_per_s=seen.goodput(first_s=FILLED_S, last_s=OVERLOAD_S),
        calm_ms=calm_ms,
        busy_ms=1000 * (cpu_s(pid) - before_s) / seen.statuses.count(200),
        seen=seen,
    )


@contextmanager
def watched(pid: int) -> Iterator[list[float]]:
    """Memory of a process and those it has started, in MB, twice a second until the block ends."""
    seen_mb, done = [memory_mb(pid)], threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            seen_mb.append(memory_mb(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen_mb
    finally:
        done.set()
        watching.join()


def overload() -> dict[str, float]:
    """Start a service over `BUNDLE` and measure it."""
    cores = os.sched_getaffinity(0)
    page = (BUNDLE / "goldens" / "page-0.png").read_bytes()
    port = free_port(26000)
    url = f"http://127.0.0.1:{port}"
    with TemporaryDirectory() as state:
        service = subprocess.Popen(
            [sys.executable, "-m", "vizecg", "serve", "--port", str(port)],
            env={**os.environ, "VIZECG_BUNDLE": str(BUNDLE.resolve()), "VIZECG_STATE_DIR": state},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.sched_setaffinity(service.pid, cores - {max(cores)} or cores)  # before it starts threads and processes
        try:
            os.sched_setaffinity(0, {max(cores)})
            until = time.monotonic() + START_S
            with Client(url) as client:
                while not client.ready():
                    assert time.monotonic() < until
                    time.sleep(0.1)
            return asyncio.run(measured(url, page, pid=service.pid))
        finally:
            os.sched_setaffinity(0, cores)
            service.kill()
            service.wait()


@pytest.mark.all_cores
def test_overload() -> None:
    if not (BUNDLE / "manifest.json").is_file():
        pytest.skip(f"needs a bundle at {BUNDLE}: run `make demo`, or set VIZECG_BUNDLE")
    wanted = {"wanted_of_capacity": GOODPUT_AT_LEAST, "wanted_refused_within_ms": REFUSED_WITHIN_MS}
    note({"name": f"the service at {TIMES} times its capacity", "figures": {**overload(), **wanted}})


if __name__ == "__main__":
    print(json.dumps(overload(), indent=1))
