"""Batches read ahead of the step that needs them."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vizecg.batches import Batch, TrainingData, training_batch
from vizecg.executors import in_order
from vizecg.recipe import JitterParams
from vizecg.training.processes import ALONE, Team

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """A part of a batch that is computed at once, and whose records it is of."""

    rows: NDArray[np.integer[Any]]
    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the portions of a batch; a function of (seed, epoch, ecg_id), so any thread may."""

    data: TrainingData
    jitter: JitterParams
    seed: int
    epoch: int
    accumulate: int
    with_pages: bool
    team: Team = ALONE

    def __call__(self, rows: NDArray[np.integer[Any]]) -> list[Portion]:
        """Equal portions of this process's share of a batch.

        None holds a single record if it can be helped: it would have no variance to normalise by.
        """
        share = self.team.share(rows)
        count = max(1, min(self.accumulate, len(share) // 2))
        return [Portion(rows=part, batch=self._read(part)) for part in np.array_split(share, count)]

    def _read(self, rows: NDArray[np.integer[Any]]) -> Batch:
        return training_batch(
            self.data, rows, jitter=self.jitter, seed=self.seed, epoch=self.epoch, with_pages=self.with_pages
        )


@contextmanager
def read_ahead(read: Callable[[Item], Result], items: Iterable[Item], *, threads: int) -> Iterator[Iterator[Result]]:
    """Results in the order of `items`; so many threads are at work on the next ones meanwhile, 0 for none."""
    if not threads:
        yield map(read, items)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="vizecg-loader") as pool:
        yield in_order(pool, read, items, ahead=threads + 1)


class Timed(Iterator[Item]):
    """Passes items on and adds up how long it waited for them."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self.waiting_s = 0.0

    def __next__(self) -> Item:
        began_s = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.waiting_s += time.perf_counter() - began_s
