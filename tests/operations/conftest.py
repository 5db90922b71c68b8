"""A real PostgreSQL on loopback for the tests of what a team runs on."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vizecg.errors import InputError
from vizecg.stack.postgres import programs

ROOT = Path(__file__).parent.parent.parent


class Postgres:
    """A server with one user, who has a password."""

    def __init__(self, *, port: int, password: str) -> None:
        self.port = port
        self.password = password

    def address(self, database: str, *, driver: str = "pg8000") -> str:
        return f"postgresql+{driver}://vizecg:{self.password}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """Make an empty database; its name."""
        import pg8000.dbapi

        name = f"d{secrets.token_hex(4)}"
        connection = pg8000.dbapi.connect(
            "vizecg", host="127.0.0.1", port=self.port, password=self.password, database="postgres"
        )
        connection.autocommit = True
        connection.cursor().execute(f"create database {name}")
        connection.close()
        return name


@pytest.fixture(scope="session")
def postgres(own_port: Callable[[], int]) -> Iterator[Postgres]:
    """PostgreSQL refuses to run as root, so for root it runs as nobody, in a folder that nobody may enter."""
    try:
        folder_of_programs = programs()
    except InputError as error:
        pytest.skip(str(error))
    port = own_port()
    password = secrets.token_hex(16)
    as_whom = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="vizecg-postgres-") as made:
        folder = Path(made)
        (folder / "password").write_text(password)
        if as_whom:
            for path in (folder, folder / "password"):
                shutil.chown(path, user="nobody", group="nogroup")
        data = str(folder / "data")
        initdb = [str(folder_of_programs / "initdb"), "-D", data, "-U", "vizecg", "-A", "scram-sha-256", "--no-sync"]
        initdb += ["--pwfile", str(folder / "password"), "-E", "UTF8", "--locale", "C"]
        subprocess.run(initdb, cwd=folder, check=True, capture_output=True, **as_whom)
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [str(folder_of_programs / "postgres"), "-D", data, *options],
                cwd=folder,
                stdout=log,
                stderr=log,
                **as_whom,
            )
        try:
            deadline_s = time.monotonic() + 60
            while "ready to accept connections" not in (folder / "log").read_text():
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline_s, (folder / "log").read_text()
                time.sleep(0.1)
            yield Postgres(port=port, password=password)
        finally:
            server.send_signal(signal.SIGINT)  # without waiting for connections that somebody has left open
            server.wait(timeout=30)


class Stack:
    """`vizecg stack up` in a checkout, as an operator would start it, with state of its own."""

    def __init__(self, folder: Path, *, checkout: Path, repository: Path) -> None:
        self.folder = folder / "stack"
        self.checkout = checkout
        self.said = folder / "said.txt"
        self.environment = {
            **os.environ,
            "VIZECG_STATE_DIR": str(folder),
            "VIZECG_REPOSITORY": str(repository),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Return when all parts are up."""
        with self.said.open("w") as said:
            command = [sys.executable, "-m", "vizecg", "stack", "up", *options]
            self._process = subprocess.Popen(
                command, cwd=self.checkout, env=self.environment, stdout=said, stderr=subprocess.STDOUT
            )
        wait_for(lambda: "Up until Ctrl-C" in self.said.read_text(), process=self._process, said=self.said)

    def stop(self, *, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop, as Ctrl-C or a service manager does; its exit code."""
        assert self._process is not None
        self._process.send_signal(with_signal)
        return self._process.wait(timeout=120)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def vizecg(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of ours beside the stack."""
        return self._ran([sys.executable, "-m", "vizecg", *arguments], check=check)

    def run(self, *command: str, check: bool = True) -> str:
        """A command with the stack's environment; what it printed."""
        done = self.vizecg("stack", "run", "--", *command, check=check)
        return done.stdout + done.stderr

    def python(self, code: str) -> str:
        """A few lines of Python with the stack's environment; what they printed."""
        return self.vizecg("stack", "run", "--", sys.executable, "-c", code).stdout

    def deployed(self, deployment: str, **parameters: object) -> str:
        """Let the worker run a deployment, and wait for its end; what Prefect's command line said."""
        given = ["--params", json.dumps(parameters)] if parameters else []
        return self.run("prefect", "deployment", "run", deployment, *given, "--watch")

    def runs(self) -> list[tuple[str, str, str]]:
        """Flow, state and message of every run that a deployment began, the oldest first."""
        told = self.python(
            "import json\n"
            "from prefect.client.orchestration import get_client\n"
            "with get_client(sync_client=True) as client:\n"
            "    flows = {flow.id: flow.name for flow in client.read_flows()}\n"
            "    runs = [run for run in client.read_flow_runs() if run.deployment_id]\n"
            "    runs.sort(key=lambda run: run.created)\n"
            "    print(json.dumps([[flows[r.flow_id], r.state_name, r.state.message or ''] for r in runs]))\n"
        )
        return [tuple(run) for run in json.loads(told.strip().splitlines()[-1])]

    def log(self, part: str) -> str:
        return (self.folder / "logs" / f"{part}.log").read_text()

    def url(self, part: str) -> str:
        ports = json.loads((self.folder / "stack.json").read_text())["ports"]
        return f"http://127.0.0.1:{ports[part]}"

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text()

    def processes(self) -> list[str]:
        """Command lines of whatever runs with this stack's folder in its environment or its arguments."""
        mark = str(self.folder).encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes()
                if mark in words or mark in (process / "environ").read_bytes():
                    found.append(words.replace(b"\0", b" ").decode(errors="replace"))
        return found

    def _ran(self, command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.checkout, env=self.environment, capture_output=True, text=True, check=False, timeout=3600
        )
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done


def wait_for(condition, *, process=None, said=None, seconds=900):
    deadline_s = time.monotonic() + seconds
    while not condition():
        last = said.read_text()[-3000:] if said is not None else "it did not come about"
        assert process is None or process.poll() is None, last
        assert time.monotonic() < deadline_s, last
        time.sleep(0.2)


@pytest.fixture(scope="session")
def make_stack() -> Iterator[Callable[..., Stack]]:
    """Makes stacks that are not running yet; whatever still runs at the end is stopped."""
    try:
        programs()
    except InputError as error:
        pytest.skip(str(error))
    made: list[Stack] = []

    def make(folder: Path, **of: Path) -> Stack:
        folder.mkdir(parents=True)
        made.append(Stack(folder, **of))
        return made[-1]

    yield make
    for stack in made:
        if stack.is_running:
            stack.stop()
