"""Where a step's work runs: in this process, or in worker processes beside it.

A step hands work to a `concurrent.futures.Executor` and never asks which one.
Results come back in the order of the work, so what is written does not depend
on how many workers there were.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from itertools import islice
from typing import ParamSpec, TypeVar

from vizecg.process import die_with_parent

Call = ParamSpec("Call")
Item = TypeVar("Item")
Result = TypeVar("Result")


class InlineExecutor(Executor):
    """Does the work at once, in the caller: for small jobs, and for a debugger."""

    def submit(self, fn: Callable[Call, Result], /, *args: Call.args, **kwargs: Call.kwargs) -> Future[Result]:
        """Run `fn` now; what it raises is raised by the future's `result`, as with any executor."""
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # handed on whole: the caller of `result` gets it
            future.set_exception(error)
        return future


def local_executor(workers: int) -> Executor:
    """Make an executor of this machine; use it in a `with` block.

    Args:
        workers: processes; 0 and 1 mean none beside this one. They are spawned,
            so a forked lock of numpy's or pyarrow's threads cannot hang them, and
            end with this process even when it is killed.

    Raises:
        ValueError: `workers` is negative.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
    if workers <= 1:
        return InlineExecutor()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=workers, mp_context=context, initializer=die_with_parent)


def in_order(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Iterator[Result]:
    """Like `executor.map`, but at most `ahead` results exist at a time, so memory stays constant.

    Raises:
        Whatever `function` raised for the first item that failed.
    """
    remaining = iter(items)
    pending = deque(executor.submit(function, item) for item in islice(remaining, ahead))
    try:
        while pending:
            result = pending.popleft().result()
            pending.extend(executor.submit(function, item) for item in islice(remaining, 1))
            yield result
    finally:
        for future in pending:
            future.cancel()
