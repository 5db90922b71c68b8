"""Which executor: what the parameter `executor` of a step may say."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from vizecg.errors import InputError
from vizecg.executors.local import SizedExecutor, local_executor

PROCESSES: Final = "processes"
THREADS: Final = "threads"
_ALLOWED: Final = f"{PROCESSES}, {THREADS}, or the address of a Dask scheduler: dask://HOST:PORT, tls://HOST:PORT"

# tcp:// is what a scheduler prints, and the same as dask://.
_ADDRESS: Final = re.compile(r"(?P<scheme>dask|tcp|tls)://(?P<place>(?:\[[0-9A-Fa-f:.%]+\]|[\w.-]+):(?P<port>\d{1,5}))")
_SCHEMES: Final = {"dask": "tcp", "tcp": "tcp", "tls": "tls"}
_LAST_PORT: Final = 65_535


def _checked(executor: str) -> str:
    if executor not in (PROCESSES, THREADS) and _scheduler(executor) is None:
        raise ValueError(f"there is no such executor; allowed are {_ALLOWED}")
    return executor


ExecutorName = Annotated[str, AfterValidator(_checked)]
"""Type of the parameter `executor`."""


def open_executor(executor: str, *, workers: int) -> SizedExecutor:
    """Make the executor of a name; use it in a `with` block.

    Args:
        executor: `processes` or `threads` of this machine, or the address of a Dask
            scheduler, `dask://HOST:PORT` (or `tcp://`, the same), or `tls://HOST:PORT`
            with what Dask's own configuration says of certificates.
        workers: how many processes or threads; 0 and 1 mean none beside this one.
            A Dask cluster has as many as it has.

    Raises:
        InputError: there is none of that name; Dask is not installed; the scheduler
            does not answer, or has no workers.
        ValueError: `workers` is negative.
    """
    try:
        _checked(executor)
    except ValueError as error:
        raise InputError(f"executor is {executor!r}: {error}") from None
    address = _scheduler(executor)
    if address is None:
        return local_executor(workers, threads=executor == THREADS)
    try:
        from vizecg.executors.cluster import DaskExecutor  # half a second of imports, and an extra of its own
    except ModuleNotFoundError as error:
        raise InputError(
            f"executor is {executor!r} and {error.name} is not installed: install vizecg[distributed]"
        ) from None
    return DaskExecutor(address)


def _scheduler(executor: str) -> str | None:
    """The address as Dask writes it."""
    found = _ADDRESS.fullmatch(executor)
    if found is None or not 0 < int(found["port"]) <= _LAST_PORT:
        return None
    return f"{_SCHEMES[found['scheme']]}://{found['place']}"
