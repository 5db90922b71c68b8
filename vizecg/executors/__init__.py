"""Where a step's work runs: here, in processes or threads beside it, or on a Dask cluster.

A step hands work to a `concurrent.futures.Executor` and never asks which one.
Results come back in the order of the work, so what is written depends neither on
who did it nor on how many there were.
"""

from vizecg.executors.choice import PROCESSES, ExecutorName, open_executor
from vizecg.executors.local import InlineExecutor, SizedExecutor
from vizecg.executors.work import in_order, seeing

__all__ = [
    "PROCESSES",
    "ExecutorName",
    "InlineExecutor",
    "SizedExecutor",
    "in_order",
    "open_executor",
    "seeing",
]
