"""Which executor: what the parameter `executor` of a step may say."""

from typing import Annotated, Final

from pydantic import AfterValidator

from vizecg.errors import InputError
from vizecg.executors.local import SizedExecutor, local_executor

PROCESSES: Final = "processes"
THREADS: Final = "threads"


def _checked(executor: str) -> str:
    if executor not in (PROCESSES, THREADS):
        raise ValueError(f"there is no such executor; allowed are {PROCESSES}, {THREADS}")
    return executor


ExecutorName = Annotated[str, AfterValidator(_checked)]
"""Type of the parameter `executor`."""


def open_executor(executor: str, *, workers: int) -> SizedExecutor:
    """Make the executor of a name; use it in a `with` block.

    Args:
        executor: `processes` or `threads` of this machine.
        workers: how many; 0 and 1 mean none beside this one.

    Raises:
        InputError: there is none of that name.
        ValueError: `workers` is negative.
    """
    try:
        _checked(executor)
    except ValueError as error:
        raise InputError(f"executor is {executor!r}: {error}") from None
    return local_executor(workers, threads=executor == THREADS)
