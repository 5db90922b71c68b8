"""Executors of this machine, each of which knows how many calls it works on at once."""

import multiprocessing
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

from vizecg.process import die_with_parent

Call = ParamSpec("Call")
Result = TypeVar("Result")


class SizedExecutor(Executor):
    """An executor that says how much work keeps it busy; an error that leaves its `with` block takes back the rest."""

    @property
    @abstractmethod
    def at_once(self) -> int:
        """Calls that run at the same time, 1 or more; where the executor grows and shrinks, those of now."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what runs; for what has not begun only when all went well."""
        self.shutdown(cancel_futures=kind is not None)


class InlineExecutor(SizedExecutor):
    """Does the work at once, in the caller: for small jobs, and for a debugger."""

    at_once = 1

    def submit(self, fn: Callable[Call, Result], /, *args: Call.args, **kwargs: Call.kwargs) -> Future[Result]:
        """Run `fn` now; what it raises is raised by the future's `result`, as with any executor."""
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # handed on whole: the caller of `result` gets it
            future.set_exception(error)
        return future


class _Processes(ProcessPoolExecutor, SizedExecutor):
    def __init__(self, workers: int) -> None:
        # Spawned, so that a forked lock of numpy's or pyarrow's threads cannot hang them.
        context = multiprocessing.get_context("spawn")
        super().__init__(max_workers=workers, mp_context=context, initializer=die_with_parent)
        self._workers = workers

    @property
    def at_once(self) -> int:
        return self._workers


class _Threads(ThreadPoolExecutor, SizedExecutor):
    def __init__(self, workers: int) -> None:
        super().__init__(max_workers=workers, thread_name_prefix="vizecg")
        self._workers = workers

    @property
    def at_once(self) -> int:
        return self._workers


def local_executor(workers: int, *, threads: bool = False) -> SizedExecutor:
    """Make an executor of this machine; use it in a `with` block.

    Args:
        workers: how many beside this process; 0 and 1 mean none. Processes end with
            this one even when it is killed.
        threads: of this process, instead of processes.

    Raises:
        ValueError: `workers` is negative.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
    if workers <= 1:
        return InlineExecutor()
    return _Threads(workers) if threads else _Processes(workers)
