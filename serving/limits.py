"""How much one caller, and how many at once, may ask: token buckets by key, and a line that has an end."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http import HTTPStatus
from typing import TypeVar

from serving.metrics import Metrics
from serving.problems import RETRY_AFTER_S, ProblemError

Result = TypeVar("Result")


class RateLimit:
    """A token bucket for each caller of this process; n processes allow n times as much.

    Args:
        per_minute: tokens that flow in; None: no limit.
        burst: tokens that a bucket holds.
        clock: seconds that never go back.
    """

    def __init__(self, *, per_minute: float | None, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = None if per_minute is None else per_minute / 60
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait_s(self, caller: str, *, cost: int = 1) -> float:
        """Take tokens if there is one, and tell how long to wait where there is none: 0 when they were taken.

        What costs more than there is leaves the bucket in debt, so that one large request is
        possible and the next ones pay for it.
        """
        if self._per_s is None:
            return 0.0
        now = self._clock()
        tokens, filled_at = self._buckets.get(caller, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - filled_at) * self._per_s)
        taken = tokens >= 1
        self._buckets[caller] = (tokens - cost if taken else tokens, now)
        return 0.0 if taken else (1 - tokens) / self._per_s


class WorkQueue:
    """Work that holds the CPU: so much at once, so much waiting, and beyond that a refusal at once.

    Args:
        at_once: pieces of work done at the same time, each in a thread.
        waiting: pieces that may wait for one of these.
        metrics: told how many wait.
    """

    def __init__(self, *, at_once: int, waiting: int, metrics: Metrics) -> None:
        # Threads of its own: half the cost of anyio's, which are for any number of askers.
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="vizecg-work")
        self._places = at_once + waiting
        self._at_once = at_once
        self._taken = 0
        self._metrics = metrics

    def refuse_if_full(self) -> None:
        """Turn a request away before its body is read.

        Raises:
            ProblemError: 503, every place is taken.
        """
        if self._taken >= self._places:
            self._metrics.refused.labels("overload").inc()
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"the service is at its limit: {self._at_once} pictures are worked on and "
                f"{self._places - self._at_once} wait; ask again after {RETRY_AFTER_S} s",
            )

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do a piece of work in a thread, after those that came before.

        Raises:
            ProblemError: 503, every place is taken.
        """
        self.refuse_if_full()
        self._changed(1)
        try:
            context = copy_context()  # whose request it is, for the log
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: context.run(work))
        finally:
            self._changed(-1)

    def close(self) -> None:
        """Begin nothing more; what is being done goes on."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _changed(self, by: int) -> None:
        self._taken += by
        self._metrics.waiting.set(max(0, self._taken - self._at_once))


def refuse_too_many(wait_s: float, *, allowed: str) -> ProblemError:
    """429 with the time after which one more request will be answered."""
    after_s = math.ceil(wait_s)
    return ProblemError(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"this API key asks too often; ask again after {after_s} s",
        allowed=allowed,
        headers={"Retry-After": str(after_s)},
    )
