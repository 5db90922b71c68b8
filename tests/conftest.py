"""What more than one test file needs."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from vizecg import steps
from vizecg.config import override
from vizecg.environment import house_environment
from vizecg.process import start_supervised, stop
from vizecg.publish import sha256_of
from vizecg.settings import Settings

ROOT = Path(__file__).parent.parent
REAL_SAMPLE_VARIABLE = "VIZECG_TEST_PTBXL"
# Big enough that every class has positives in folds 9 and 10, small enough for a minute.
SMALL = [
    "ingest.simulated.records=200",
    "render.copies=1",
    "render.contact_sheet=none",
    "validate.min_records=50",
    "train.epochs=2",
    "train.distillation.warmup_epochs=0",
    "train.distillation.ramp_epochs=0",
    "train.model.image_width=4",
    "train.model.signal_width=8",
    "train.model.dim=16",
    "train.threads=1",
    "evaluate.resamples=100",
    "evaluate.min_scored=1",
    # A matrix of one condition beside the reference, and no controls: test_evaluation asks them.
    "evaluate.robustness.records=10",
    "evaluate.robustness.styles=[standard]",
    "evaluate.robustness.cameras=[scan]",
    "evaluate.robustness.controls=false",
    "evaluate.robustness.workers=1",
    "register.goldens=1",
    # One epoch makes no model; these tests are about moving it, not about how good it is.
    "promote.macro_auroc_floor=0",
    "promote.calibration_error_ceiling=1",
]
OUTPUTS = ("data/records", "data/pages", "reports/validation", "models/run", "reports/evaluation", "models/bundle")

# What whoever runs the tests has set for their own platform, a ledger say, is nothing a test may write to.
for _name in [name for name in os.environ if name.startswith("VIZECG_") and not name.startswith("VIZECG_TEST_")]:
    del os.environ[_name]

# The tests' two workers have a core each: a thread more in each only spins while it waits for the other's core.
for _name in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(_name, "1")  # read by numpy, torch and OpenCV when they are imported, which is later

# Prefect makes its home where it is imported, and only where the folder above is there; nobody's own home for tests.
_PREFECT_HOME = tempfile.TemporaryDirectory(prefix="vizecg-tests-prefect-")
os.environ["PREFECT_HOME"] = _PREFECT_HOME.name

# Groups in the order of how long they take, as far as one takes longer than a few others: begun last, the longest
# would keep one worker busy when the other has nothing left.
LONGEST_GROUPS = ("pipeline",)

# The same examples every time, so that a change is what makes a test fail; `make fuzz` draws new ones.
settings.register_profile("steady", derandomize=True)
settings.register_profile("wild", max_examples=2000)
settings.load_profile(os.environ.get("VIZECG_TEST_EXAMPLES", "steady"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="how often a step is killed (make fuzz: 60)")
    parser.addoption("--away", type=int, default=5, help="seconds for which a server is gone (make test-stack: 30)")
    parser.addoption("--uploads", type=int, default=200, help="damaged files sent to the service (make fuzz: 20000)")
    parser.addoption("--endings", type=int, default=1, help="how often the service is told to end (make fuzz: 100)")
    parser.addoption("--cases", type=int, default=300, help="requests made from the API description (make fuzz: 10000)")
    parser.addoption("--pictures", type=int, default=96, help="how many the intake is shown (make accuracy: 1000)")


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist take the groups in the order given here, not those of most tests first."""
    config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file is a group where it names none: spread over workers, each would make the file's fixtures anew."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(ROOT / "tests").as_posix()))
    order = {name: place for place, name in enumerate(LONGEST_GROUPS)}
    items.sort(key=lambda item: order.get(_group_of(item), len(order)))  # in files' own order otherwise


def _group_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    assert marker is not None, "every item was given one"
    return str(marker.args[0] if marker.args else marker.kwargs["name"])


@pytest.fixture(autouse=True)
def environment_of_this_test_alone() -> Iterator[None]:
    """A command that runs in this process sets its surroundings for good; the next test must not meet them."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def away_s(request: pytest.FixtureRequest) -> int:
    """How long a server is away while a run needs it."""
    return int(request.config.getoption("--away"))


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Parameters of a pipeline that takes a minute."""
    return SMALL


@pytest.fixture(scope="session")
def pictures(request: pytest.FixtureRequest) -> int:
    """How many pictures the intake is tested on."""
    return int(request.config.getoption("--pictures"))


@pytest.fixture(scope="session")
def real_ptbxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real PTB-XL sample in PhysioNet's layout."""
    archive = os.environ.get(REAL_SAMPLE_VARIABLE)
    if not archive:
        pytest.skip(f"needs real PTB-XL records: set {REAL_SAMPLE_VARIABLE} to an archive of them")
    target = tmp_path_factory.mktemp("ptbxl")
    with tarfile.open(archive) as opened:
        if hasattr(tarfile, "data_filter"):
            opened.extractall(target, filter="data")
        else:  # Python before 3.11.4
            opened.extractall(target)  # noqa: S202 (whoever runs this named the archive)
    (folder,) = target.iterdir()
    return folder


_PORTS: list[socket.socket] = []


def port_of_our_own() -> int:
    """A free port that no other process of tests takes until this one ends.

    Between looking for a free port and listening on it another program may take it, and then answer in its place. So
    the number is held as a port of UDP, which nobody here uses; and it is none of those that the kernel hands out.
    """
    for port in range(20_000, 30_000):
        held = socket.socket(type=socket.SOCK_DGRAM)
        try:
            held.bind(("127.0.0.1", port))
            with socket.create_server(("127.0.0.1", port)):
                _PORTS.append(held)
                return port
        except OSError:
            held.close()
    raise AssertionError("no port is free")


@pytest.fixture(scope="session")
def own_port() -> Callable[[], int]:
    """`own_port()` is a port for a server that a test starts."""
    return port_of_our_own


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A real S3 server on loopback; every folder in `store` is a bucket. Keys are None where it is open to all."""

    endpoint_url: str
    store: Path
    access_key_id: str | None
    secret_access_key: str | None

    def bucket(self, name: str) -> Path:
        """Make a bucket; what is put into the folder is in the bucket."""
        (self.store / name).mkdir()
        return self.store / name


@contextmanager
def serving_s3(store: Path, *, signed: bool, listings_kept: str = "0") -> Iterator[S3Server]:
    """Run `rclone serve s3` until the block ends.

    Args:
        store: where the buckets lie.
        signed: whether it wants signed requests.
        listings_kept: how long it trusts what it knows of a folder. 0 shows at once what a test puts there
            past the server; with a hundred folders and more the server then does nothing but forget.
    """
    port = port_of_our_own()
    keys = (f"test{secrets.token_hex(4)}", secrets.token_hex(16)) if signed else (None, None)
    command = [str(Path(sys.executable).parent / "rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += ["--config", os.devnull, "--dir-cache-time", listings_kept, "--vfs-cache-mode", "off"]
    command += ["--auth-key", ",".join(keys)] if signed else []
    log = (store.parent / "s3.log").open("w")
    process = start_supervised([*command, str(store)], cwd=store.parent, environment=os.environ, output=log)
    try:
        deadline_s = time.monotonic() + 60
        while not _listens(port):
            assert process.poll() is None, (store.parent / "s3.log").read_text()
            assert time.monotonic() < deadline_s, "rclone serve s3 does not listen"
            time.sleep(0.05)
        yield S3Server(
            endpoint_url=f"http://127.0.0.1:{port}", store=store, access_key_id=keys[0], secret_access_key=keys[1]
        )
    finally:
        stop(process)
        log.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that wants signed requests."""
    store = tmp_path_factory.mktemp("s3") / "store"
    store.mkdir()
    with serving_s3(store, signed=True) as running:
        yield running


@pytest.fixture(scope="session")
def open_s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that is open to all."""
    store = tmp_path_factory.mktemp("open-s3") / "store"
    store.mkdir()
    with serving_s3(store, signed=False) as running:
        yield running


@pytest.fixture(scope="session")
def dvc_s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that wants signed requests and that holds many folders, written by its clients alone."""
    store = tmp_path_factory.mktemp("dvc-s3") / "store"
    store.mkdir()
    with serving_s3(store, signed=True, listings_kept="1h") as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class DaskCluster:
    """A real Dask scheduler on loopback, and the processes that work for it."""

    folder: Path
    environment: dict[str, str]
    options: tuple[str, ...]
    processes: list[subprocess.Popen[str]]

    @property
    def address(self) -> str:
        """As params.yaml has it."""
        return json.loads(self._named.read_text())["address"].replace("tcp://", "dask://")

    @property
    def _named(self) -> Path:
        return self.folder / "scheduler.json"

    def start(self, program: str, *options: str) -> None:
        """Start a `scheduler`, which names itself in a file, or a `worker`, which waits for that file."""
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", "--host", "127.0.0.1", "--no-dashboard"]
        command += ["--scheduler-file", str(self._named), *options, *self.options]
        with self.log.open("a") as log:
            self.processes.append(start_supervised(command, cwd=self.folder, environment=self.environment, output=log))

    def start_worker(self) -> None:
        """Start a process that works on one thing at a time, and that nobody starts again when it ends."""
        self.start("worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder))

    @property
    def log(self) -> Path:
        """What all of them say."""
        return self.folder / "dask.log"

    def wait_until_named(self) -> None:
        """Wait until the scheduler can be found: it logs its address first, and writes its file after that."""
        deadline_s = time.monotonic() + 120
        while True:
            try:
                json.loads(self._named.read_text())
                return
            except (FileNotFoundError, json.JSONDecodeError):  # not begun, or half written
                assert time.monotonic() < deadline_s, self.log.read_text()
                time.sleep(0.05)

    def wait_until(self, line: str, *, times: int = 1) -> None:
        """Wait until this has been said so often."""
        deadline_s = time.monotonic() + 120
        while self.log.read_text().count(line) < times:
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.05)


@contextmanager
def serving_dask(
    folder: Path, *, workers: int, options: Sequence[str] = (), **configuration: str
) -> Iterator[DaskCluster]:
    """Run a scheduler and its workers until the block ends.

    Args:
        folder: where they write; empty.
        workers: how many, each with one thread.
        options: of scheduler and workers.
        configuration: of Dask, as environment variables have it.
    """
    environment = {
        **os.environ,
        **configuration,
        "PYTHONPATH": str(ROOT),  # they call functions of these tests
        "DASK_CONFIG": str(folder / "no-configuration"),
        "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "false",
        "OMP_NUM_THREADS": "1",
    }
    cluster = DaskCluster(folder=folder, environment=environment, options=tuple(options), processes=[])
    try:
        cluster.start("scheduler", "--port", "0")
        for _ in range(workers):
            cluster.start_worker()
        cluster.wait_until_named()
        cluster.wait_until("Starting worker compute stream", times=workers)
        yield cluster
    finally:
        for process in reversed(cluster.processes):
            stop(process)


@pytest.fixture(scope="session")
def serve_dask() -> Callable[..., AbstractContextManager[DaskCluster]]:
    """For a test that needs a cluster of its own, to break it."""
    return serving_dask


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Two workers. Tests that use it carry `xdist_group("dask")`, so that it is started once."""
    with serving_dask(tmp_path_factory.mktemp("dask"), workers=2) as cluster:
        yield cluster


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """This project as a repository of its own, with state of its own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        state = self.folder / ".state"
        urls = {"tracking_uri": f"sqlite:///{state}/mlflow.db", "ledger_url": f"sqlite:///{state}/ledger.db"}
        home = house_environment(Settings(state_dir=state, **urls))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # Compiled once, for the many processes that begin here, whatever the machine has set for its own folders.
        return {**os.environ, **home, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}

    def run(
        self, *command: str, check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it; `environment` comes on top of its own."""
        everything = self.environment | (environment or {})
        done = subprocess.run(
            command, cwd=self.folder, env=everything, capture_output=True, text=True, check=False, timeout=1200
        )
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def git(self, *arguments: str) -> str:
        return self.run("git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments).stdout

    def dvc(
        self, *arguments: str, check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "dvc", *arguments, check=check, environment=environment)

    def vizecg(
        self, *arguments: str, check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "vizecg", *arguments, check=check, environment=environment)

    def manifests(self) -> dict[str, str]:
        """What each step has made, by the digest of its manifest."""
        return {name: sha256_of(self.folder / name / "manifest.json") for name in OUTPUTS}

    def override(self, *assignments: str) -> None:
        """Change params.yaml, as `--set` does."""
        override(self.folder / "params.yaml", list(assignments), models=steps.params_models())

    def copy_to(self, folder: Path) -> "Checkout":
        shutil.copytree(self.folder, folder, symlinks=True)
        return Checkout(folder=folder)


ONE_STAGE = """\
stages:
  register:
    cmd: exec python make.py
    deps: {deps}
    params: [train.epochs, register.goldens]
    outs: [models/run, reports/evaluation, models/bundle]
"""
MAKE = """\
import importlib.util, pathlib, time, yaml
spec = importlib.util.spec_from_file_location("made", {helpers!r})
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
params = yaml.safe_load(pathlib.Path("params.yaml").read_text())
epochs = params["train"]["epochs"]
{body}"""
SMALLEST = """\
made.write_model_run(pathlib.Path("models/run"), epochs=epochs)
made.write_evaluation(pathlib.Path("reports/evaluation"))
made.write_bundle(pathlib.Path("models/bundle"), seed=epochs)
"""


def repository_of_one_stage(
    folder: Path, *, remote: str, first: str = "", body: str = SMALLEST, helpers: str = "promotion", pin: str = ""
) -> Checkout:
    """A committed repository that a worker may clone; its one stage makes at once what registering needs.

    Args:
        folder: where it is made.
        remote: of DVC.
        first: Python that the stage runs before anything else; it knows `epochs`.
        body: Python that makes the stage's outputs, with the helpers in `made`, `params` and `epochs`.
        helpers: folder of tests whose conftest.py holds them.
        pin: content of data/source.json, which the stage depends on; none without it.
    """
    (folder / "data").mkdir(parents=True)
    shutil.copy2(ROOT / "params.yaml", folder)
    (folder / ".gitignore").write_text("/.state/\n")
    (folder / "dvc.yaml").write_text(ONE_STAGE.format(deps="[make.py, data/source.json]" if pin else "[make.py]"))
    if pin:
        (folder / "data" / "source.json").write_text(pin)
    conftest = str(ROOT / "tests" / helpers / "conftest.py")
    (folder / "make.py").write_text(MAKE.format(helpers=conftest, body=first + body))
    made = Checkout(folder=folder)
    made.git("init", "-q", "-b", "main")
    made.dvc("init", "-q")
    made.dvc("remote", "add", "--default", "team", remote)
    made.git("add", "-A")
    made.git("commit", "-qm", "a")
    return made


@pytest.fixture(scope="session")
def one_stage() -> Callable[..., Checkout]:
    """For a test that needs a repository to clone, and no real training in it."""
    return repository_of_one_stage


def copy_of_this_project(folder: Path) -> Checkout:
    """Its files as they are now, committed or not, without a pipeline that has run and without a git repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for kind in ("*.nbi", "*.nbc"):  # what numba has compiled of these very files: it goes by their time and size
        for compiled in (ROOT / "vizecg").rglob(f"__pycache__/{kind}"):
            place = folder / compiled.relative_to(ROOT)
            place.parent.mkdir(exist_ok=True)
            shutil.copy2(compiled, place)
    return Checkout(folder=folder)


@pytest.fixture(scope="session")
def project() -> Callable[[Path], Checkout]:
    """For a test that needs a copy of this project in which nothing has run."""
    return copy_of_this_project


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of this project after its first `dvc repro`; whoever changes it changes it back, or works in a copy.

    Tests that use it carry `xdist_group("pipeline")`, so that it is made once.
    """
    made = copy_of_this_project(tmp_path_factory.mktemp("pipeline") / "checkout")
    made.override(*SMALL)
    made.vizecg("source", "pin")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "a"]):
        made.git(*command)
    made.dvc("repro")
    return made
