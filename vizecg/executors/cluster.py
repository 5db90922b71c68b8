"""A Dask cluster as an executor: who answers at an address, whether its workers are like us, what its loss means."""

import asyncio
import hashlib
import logging
import math
import platform
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

import dask
from distributed import Client, KilledWorker, Security
from distributed.core import rpc

import vizecg
from vizecg.errors import InputError
from vizecg.executors.local import SizedExecutor

Call = ParamSpec("Call")
Result = TypeVar("Result")

CONNECT_TIMEOUT_S: Final = 10.0
_COUNT_EVERY_S: Final = 2.0
"""How old the number of the cluster's threads may be."""

# Another version of one of these may draw or read another bit.
_LIBRARIES: Final = (
    *("numpy", "scipy", "numba", "opencv-python-headless", "pillow", "simplejpeg", "wfdb", "pypdfium2", "pydicom"),
)
_CODE: Final = frozenset({".py", ".csv"})


class DaskExecutor(SizedExecutor):
    """Sends work to the workers of a Dask scheduler; to be used in a `with` block, which ends the connection.

    Work of a worker that is lost is done again by another. What goes wrong with the
    cluster itself leaves the block as an `InputError`.
    """

    def __init__(self, address: str) -> None:
        _require_scheduler(address)
        # A step sends what it has read, some megabytes a task, on purpose: Dask would warn of it.
        dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 GiB"})
        # What goes wrong with the connection ends the work, and is told then; Dask would print a call stack before.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        self._address = address
        self._client = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False, name="vizecg")
        try:
            _require_like_us(self._client, address=address)
        except BaseException:
            self._client.close()
            raise
        # Not pure: Dask would take calls with equal arguments for one call, and hash the arguments to find out.
        self._executor = self._client.get_executor(pure=False)
        self._counted, self._counted_s = 0, -math.inf

    @property
    def at_once(self) -> int:
        """The threads of all workers, as of a moment ago."""
        if time.monotonic() - self._counted_s >= _COUNT_EVERY_S:
            self._counted_s = time.monotonic()
            with suppress(OSError):  # of a cluster that is lost the results tell
                self._counted = sum(self._client.nthreads().values())
        return max(1, self._counted)

    def submit(self, fn: Callable[Call, Result], /, *args: Call.args, **kwargs: Call.kwargs) -> Future[Result]:
        """Send a call; `fn`, its arguments and its result are picklable, and it may be called more than once."""
        call = partial(fn, *args, **kwargs)
        future: Future[Result] = self._executor.submit(partial(_call_alike, call, asked=software()))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the connection; `wait` lets work come to its end first, unless it is cancelled."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._client.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the connection, and say in a sentence what went wrong with the cluster."""
        super().__exit__(kind, error, traceback)
        if isinstance(error, KilledWorker):
            raise InputError(
                f"workers of the Dask cluster at {self._address} ended {error.allowed_failures + 1} times over the "
                f"same work, the last was {error.last_worker.address}: have they memory enough? Their logs may say more"
            ) from error
        if isinstance(error, CancelledError):
            raise InputError(f"the Dask scheduler at {self._address} was lost; run the step again") from error


def _require_scheduler(address: str) -> None:
    """See who answers before a client is made: a client would wait for ever for one who says nothing."""
    connection = Security().get_connection_args("client")
    if address.startswith("tls://") and connection.get("ssl_context") is None:
        raise InputError(
            f"{address} needs certificates: Dask's configuration names them (distributed.comm.tls), or variables such "
            "as DASK_DISTRIBUTED__COMM__TLS__CA_FILE"
        )
    try:
        # A second more, so that a connection that fails can still say why.
        kind = asyncio.run(asyncio.wait_for(_kind_at(address, connection=connection), CONNECT_TIMEOUT_S + 1))
    except OSError as error:
        why = f" ({error.__cause__})" if str(error.__cause__ or "") else ""
        raise InputError(f"no Dask scheduler answers at {address} within {CONNECT_TIMEOUT_S:g} s{why}") from None
    except Exception as error:
        raise InputError(f"what answers at {address} is no Dask scheduler ({type(error).__name__})") from error
    if kind != "Scheduler":
        raise InputError(f"at {address} is a {kind} of a Dask cluster; name its scheduler")


async def _kind_at(address: str, *, connection: Mapping[str, Any]) -> str:
    async with rpc(address, timeout=CONNECT_TIMEOUT_S, connection_args=connection) as other:
        return str((await other.identity())["type"])


def _require_like_us(client: Client, *, address: str) -> None:
    """See that there are workers, and that they and the scheduler, which unpacks every call, have this very code."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
    except TimeoutError:
        raise InputError(f"the Dask scheduler at {address} has no workers; start some: dask worker {address}") from None
    try:
        # Asked with Python's own function first: of a name that it does not know, a worker would end.
        for run in (client.run_on_scheduler, client.run):
            run(find_spec, __name__)
    except ModuleNotFoundError:
        raise InputError(
            f"the Dask scheduler at {address}, or one of its workers, lacks this version of vizecg: install there what "
            "runs the step, and start it again"
        ) from None
    client.run(require_alike, software())


@cache
def software() -> Mapping[str, str]:
    """What the bytes of a result depend on beside the arguments: our code, and the versions of what it calls."""
    return {
        "vizecg": _code_digest(Path(vizecg.__path__[0])),
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: _version(name) for name in _LIBRARIES},
    }


def _code_digest(package: Path) -> str:
    files = sorted(path.relative_to(package) for path in package.rglob("*") if path.suffix in _CODE)
    content = hashlib.sha256()
    for name in files:
        content.update(f"{name.as_posix()} {hashlib.sha256((package / name).read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()[:12]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _call_alike(call: Callable[[], Result], *, asked: Mapping[str, str]) -> Result:
    """Call, on a worker, if it is like the process that asks."""
    require_alike(asked)
    return call()


def require_alike(asked: Mapping[str, str]) -> None:
    """See that this process computes the same bytes as the one that asks.

    Raises:
        InputError: its code or a library is another.
    """
    here = {name: software().get(name, "missing") for name in asked}
    others = [f"{name} {here[name]}, wanted is {wanted}" for name, wanted in asked.items() if here[name] != wanted]
    if others:
        raise InputError(
            f"the Dask worker on {socket.gethostname()} has {'; '.join(others)}: "
            "install there what runs the step, and start the worker again"
        )
