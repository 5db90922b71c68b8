"""Handing work to an executor and taking its results."""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from vizecg.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int | Callable[[], int]
) -> Iterator[Result]:
    """Like `executor.map`, but at most `ahead` results exist at a time, so memory stays constant.

    Args:
        executor: who does the work.
        function: travels to the workers with each item; pure, for an item may be worked on twice.
        items: the work, made as it is asked for.
        ahead: how many; a function is asked again for each result, for an executor that grows.

    Raises:
        Whatever `function` raised for the first item that failed.
    """
    remaining = iter(items)
    limit = ahead if callable(ahead) else lambda: ahead
    pending = deque(executor.submit(function, item) for item in islice(remaining, limit()))
    try:
        while pending:
            result = pending.popleft().result()
            wanted = max(0, limit() - len(pending))
            pending.extend(executor.submit(function, item) for item in islice(remaining, wanted))
            yield result
    finally:
        for future in pending:
            future.cancel()


def seeing(folder: Path, function: Callable[[Item], Result]) -> Callable[[Item], Result]:
    """Make a function refuse to work where a folder is not to be seen.

    A worker of another machine without the file system would find each file missing,
    which looks like a fault of the records.

    Args:
        folder: holds something; absolute, for a worker may have started elsewhere.
        function: reads or writes below it.
    """
    return partial(_call_seeing, function=function, folder=folder)


def _call_seeing(item: Item, *, function: Callable[[Item], Result], folder: Path) -> Result:
    try:
        with os.scandir(folder) as entries:
            next(entries)
    except (OSError, StopIteration) as error:  # a place where nothing is mounted is there, and empty
        problem = "is empty" if isinstance(error, StopIteration) else f"cannot be listed ({error.strerror})"
        raise InputError(
            f"{folder} {problem} on {socket.gethostname()}; every worker needs the file system of the process that "
            "runs the step, at the same place"
        ) from None
    return function(item)
