"""Real servers on loopback, started for a while and stopped with everything they started."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from vizecg.errors import InputError
from vizecg.process import start_supervised, stop

LOOPBACK: Final = "127.0.0.1"
MLFLOW_PORT: Final = 5000
PREFECT_PORT: Final = 4200
SERVICE_PORT: Final = 8000
_PORTS_TO_TRY: Final = 50
_LAST_LINES: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A program that will answer at `url` once `health` does."""

    name: str
    url: str
    health: str
    log: Path
    process: subprocess.Popen[str]


def free_port(preferred: int) -> int:
    """Take the preferred port, or the next free one.

    Raises:
        InputError: none of the next 50 is free.
    """
    for port in range(preferred, preferred + _PORTS_TO_TRY):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise InputError(f"no free port between {preferred} and {preferred + _PORTS_TO_TRY - 1} on {LOOPBACK}")


def reserved(port: int) -> socket.socket:
    """Hold a port until the socket is closed: a server that takes a minute to start has not bound its own yet.

    Port 0 is any that is free, another one each time.

    Raises:
        InputError: somebody else was first.
    """
    held = socket.socket()  # without SO_REUSEADDR, by which two may bind as long as none listens
    try:
        held.bind((LOOPBACK, port))
    except OSError:
        held.close()
        raise InputError(f"port {port} on {LOOPBACK} was taken by another program just now; try again") from None
    return held


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    *,
    url: str,
    health: str,
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
) -> Iterator[Server]:
    """Start a server without waiting for it; stop it, and all it started, at the end.

    Args:
        name: what people call it.
        command: program and arguments.
        url: where it will answer.
        health: path that answers 200 once it is ready.
        cwd: its working directory.
        environment: all of its environment variables.
        log: file for what it prints.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        process = start_supervised(command, cwd=cwd, environment=environment, output=output)
        try:
            yield Server(name=name, url=url, health=health, log=log, process=process)
        finally:
            stop(process)


def wait_until_healthy(server: Server, *, timeout_s: float) -> None:
    """Return when the server answers.

    Raises:
        InputError: it ended, or did not answer in time; the sentence has its last words.
    """
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if server.process.poll() is not None:
            raise InputError(f"{server.name} ended with code {server.process.returncode}: {last_words(server.log)}")
        try:
            # A proxy of the environment is for the world outside.
            if httpx.get(server.url + server.health, timeout=2, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise InputError(f"{server.name} did not answer at {server.url} within {timeout_s:.0f} s: {last_words(server.log)}")


def mlflow_command(*, port: int, database_url: str, artifact_root: Path) -> list[str]:
    """MLflow's own server over the embedded database."""
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", database_url, "--default-artifact-root", artifact_root.as_uri()),
    ]


def prefect_command(*, port: int) -> list[str]:
    """Prefect's own server; its database lies in PREFECT_HOME."""
    return [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)]


def last_words(log: Path) -> str:
    """The end of what a program printed, in one line, and where all of it is."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return (" / ".join(lines[-_LAST_LINES:]) or "it printed nothing") + f" (all of it: {log})"
