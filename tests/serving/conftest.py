"""Bundles made in milliseconds: the real files and checks around a network of one convolution."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import onnx
import pytest
import uvicorn
from onnx import TensorProto, helper, numpy_helper
from starlette.types import ASGIApp

from serving.app import create_app
from serving.settings import ServingSettings
from vizecg import bundle as bundles
from vizecg import bundling, publish
from vizecg.client import Client
from vizecg.intake import CanonicalSpec
from vizecg.labels import TASKS
from vizecg.operating_point import OperatingPoint
from vizecg.registry import DIGEST_TAG, QUICK_FAILURE
from vizecg.servers import mlflow_command, started, wait_until_healthy
from vizecg.settings import CHAMPION, MODEL_NAME, Settings
from vizecg.tracking import client, ensure_registered

TASK = TASKS["superdiagnostic"]
CODES = TASK.codes
SPEC = CanonicalSpec()
TOLERANCE = bundles.GoldenTolerance(gray_levels=2.0, logits=1e-3, probabilities=0.02)


def write_onnx(path: Path, *, seed: int = 0, labels: int = len(CODES), bias: float = 0.0, height_px: int | None = None):
    """A 32 × 32 convolution whose map is the evidence and whose mean is the logit."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(0, 0.05, (labels, 1, 32, 32)).astype(np.float32)
    biases = (rng.normal(0, 1, labels) + bias).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["evidence"], strides=[32, 32]),
        helper.make_node("GlobalAveragePool", ["evidence"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    height_px = height_px or SPEC.height_px
    grid = [height_px // 32, SPEC.width_px // 32]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, height_px, SPEC.width_px])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", labels]),
            helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["n", labels, *grid]),
        ],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(biases, "bias")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def write_model_run(folder: Path, *, seed: int = 0, simulated: bool = True, **network: object) -> Path:
    description = {
        "schema_version": 2,
        "task": TASK.name,
        "classes": [{"code": entry.code, "name": entry.name} for entry in TASK.classes],
        "params": {"epochs": 8},
        "precision": "float32",
        "source": {"uri": "simulated"},
        "image": {"height_px": SPEC.height_px, "width_px": SPEC.width_px, "px_per_mm": SPEC.px_per_mm},
        "config": {},
        "best_epoch": 7,
        "records": "1" * 64,
        "pages": "2" * 64,
        "simulated": simulated,
    }
    with publish.publishing(folder, kind="model-run", schema_version=2) as staging:
        write_onnx(staging / "model.onnx", seed=seed, **network)
        (staging / "model.safetensors").write_bytes(b"weights %d" % seed)
        (staging / "model.json").write_text(publish.to_json(description))
        (staging / "metrics.jsonl").write_text('{"epoch": 1, "loss/total": 0.5}\n')
    return folder


def write_evaluation(folder: Path, *, model_run: Path, classes: tuple[str, ...] = CODES) -> Path:
    digest = publish.read_manifest(model_run, kind="model-run", schema_version=2).digest
    metrics = {"auroc": 0.9, "auroc_low": 0.85, "auroc_high": 0.94, "auprc": 0.8, "f1": 0.7}
    scores = {
        "model_run": digest,
        "records": 130,
        "macro": metrics,
        "macro_classes": list(classes),
        "classes": dict.fromkeys(classes, metrics),
    }
    point = OperatingPoint(
        classes=classes,
        slope=(1.0,) * len(classes),
        bias=(0.0,) * len(classes),
        thresholds=tuple(0.3 + 0.05 * at for at in range(len(classes))),
        abstain_margin=0.05,
        fitted_on={"records": 133},
    )
    with publish.publishing(folder, kind="evaluation", schema_version=1) as staging:
        (staging / "metrics.json").write_text(publish.to_json(scores))
        (staging / "operating_point.json").write_text(point.to_json())
    return folder


def build_bundle(place: Path, *, goldens: int = 2, **model: object) -> Path:
    """Model run, evaluation and bundle, published under `place`."""
    model_run = write_model_run(place / "run", **model)
    evaluation = write_evaluation(place / "evaluation", model_run=model_run)
    with publish.publishing(place / "bundle", kind=bundles.BUNDLE, schema_version=bundles.SCHEMA_VERSION) as staging:
        bundling.build(staging, model_run=model_run, evaluation=evaluation, goldens=goldens, tolerance=TOLERANCE)
    return place / "bundle"


def digest_of(bundle: Path) -> str:
    return publish.read_manifest(bundle, kind=bundles.BUNDLE, schema_version=bundles.SCHEMA_VERSION).digest


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that must not be changed."""
    return build_bundle(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="session")
def second_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model; must not be changed."""
    return build_bundle(tmp_path_factory.mktemp("second"), seed=1)


@pytest.fixture
def forged(bundle: Path, tmp_path: Path) -> Callable[[Callable[[Path], object]], Path]:
    """Change a copy of the bundle and seal it again: every checksum holds, the content does not."""

    def forge(change: Callable[[Path], object]) -> Path:
        target = tmp_path / "forged"
        with publish.publishing(target, kind=bundles.BUNDLE, schema_version=bundles.SCHEMA_VERSION) as staging:
            shutil.copytree(bundle, staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns(publish.MANIFEST_NAME))
            change(staging)
        return target

    return forge


@pytest.fixture(scope="session")
def page_png(bundle: Path) -> bytes:
    """An ECG, as the bundle's first golden has it."""
    return (bundle / "goldens" / "page-0.png").read_bytes()


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """What tests build by themselves."""
    return SimpleNamespace(
        bundle=build_bundle, model_run=write_model_run, evaluation=write_evaluation, onnx=write_onnx, digest=digest_of
    )


@contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """A real uvicorn on loopback, in a thread."""
    # A request that its caller has left half sent keeps a server that waits for ever from ending.
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=60)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def serve() -> Callable[[ASGIApp], AbstractContextManager[str]]:
    """`with serve(app) as url`."""
    return running


@pytest.fixture(scope="session")
def service(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service over the first bundle, without a registry; bodies up to 1 MB."""
    settings = ServingSettings(bundle=bundle, state_dir=tmp_path_factory.mktemp("state"), max_body_bytes=1_000_000)
    with running(create_app(settings)) as url:
        yield url


def decoders_of(process: int) -> list[int]:
    """The processes that unpack pictures for one that runs."""
    found = []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended meanwhile
            found += [child for child in map(int, children.read_text().split()) if is_decoder(child)]
    return found


def is_decoder(process: int) -> bool:
    try:
        return b"serving.decoder" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def memory_mb_of(process: int) -> float:
    """Resident; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


class ServiceProcess:
    """`vizecg serve` as a process of its own.

    Args:
        folder: its state and its log.
        port: where it listens.
        settings: without `VIZECG_`.
    """

    def __init__(self, folder: Path, *, port: int, **settings: object) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{self.port}"
        self.state = folder / "state"
        self._log = folder / "service.log"
        variables = {f"VIZECG_{name.upper()}": str(value) for name, value in settings.items()}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vizecg", "serve", "--port", str(self.port)],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "VIZECG_STATE_DIR": str(self.state), **variables},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self._log.read_text()

    def wait_until_ready(self, *, within_s: float = 90) -> None:
        until = time.monotonic() + within_s
        with Client(self.url) as client:
            while not client.ready():
                assert self.process.poll() is None, self.said()
                assert time.monotonic() < until, self.said()
                time.sleep(0.1)


@pytest.fixture
def start_service(
    tmp_path_factory: pytest.TempPathFactory, own_port: Callable[[], int]
) -> Iterator[Callable[..., ServiceProcess]]:
    """Start a service with settings and wait until it is ready."""
    started: list[ServiceProcess] = []

    def start(**settings: object) -> ServiceProcess:
        started.append(ServiceProcess(tmp_path_factory.mktemp("service"), port=own_port(), **settings))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for service in started:
        service.process.kill()
        service.process.wait()


@pytest.fixture(scope="session")
def processes() -> SimpleNamespace:
    """What the kernel knows of them."""
    return SimpleNamespace(decoders_of=decoders_of, is_decoder=is_decoder, memory_mb_of=memory_mb_of)


@pytest.fixture(scope="session")
def uploads(request: pytest.FixtureRequest) -> int:
    """How many damaged files are sent."""
    return int(request.config.getoption("--uploads"))


class RegistryOfTests:
    """A real MLflow server, and what a test does to it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = client(settings)

    def aliases(self) -> dict[str, str]:
        """Alias -> version; none before anything is registered."""
        models = self.client.search_registered_models(f"name = '{MODEL_NAME}'")
        return dict(models[0].aliases) if models else {}

    def register(self, bundle: Path) -> str:
        """Upload a bundle as `vizecg register` does; the version's number."""
        return ensure_registered(bundle, settings=self.settings).version

    def promote(self, version: str) -> None:
        self.client.set_registered_model_alias(MODEL_NAME, CHAMPION, version)

    def break_copy_of(self, version: str, break_it: Callable[[Path], object], *, digest: str | None = None) -> str:
        """Register the files of a version again, damaged after registering; the new version's number."""
        whole = self.client.get_model_version(MODEL_NAME, version)
        run = self.client.create_run("0")
        files = Path(url2pathname(urlsplit(whole.source).path))
        self.client.log_artifacts(run.info.run_id, str(files), "model")
        source = f"{run.info.artifact_uri}/model"
        tags = {DIGEST_TAG: digest or whole.tags[DIGEST_TAG]}
        broken = self.client.create_model_version(MODEL_NAME, source, run.info.run_id, tags=tags)
        break_it(Path(url2pathname(urlsplit(source).path)) / "bundle")
        return str(broken.version)


@pytest.fixture(scope="session")
def mlflow_environment() -> Iterator[Mapping[str, str]]:
    """Time-outs of seconds for MLflow's client, as a program sets them that talks to it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK_FAILURE.items():
            patch.setenv(name, value)
        yield QUICK_FAILURE


@pytest.fixture(scope="session")
def mlflow_server(
    mlflow_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory, own_port: Callable[[], int]
) -> Iterator[RegistryOfTests]:
    """MLflow on loopback, with files on this machine, as the demo has it."""
    state = tmp_path_factory.mktemp("mlflow")
    port = own_port()
    environment = {**os.environ, **mlflow_environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = mlflow_command(port=port, database_url=f"sqlite:///{state / 'm.db'}", artifact_root=state / "artifacts")
    server = started(
        "MLflow",
        command,
        url=f"http://127.0.0.1:{port}",
        health="/health",
        cwd=state,
        environment=environment,
        log=state / "mlflow.log",
    )
    with server as running_server:
        wait_until_healthy(running_server, timeout_s=600)
        yield RegistryOfTests(Settings(state_dir=state / "client", tracking_uri=running_server.url))


@pytest.fixture
def following(mlflow_server: RegistryOfTests, tmp_path: Path) -> ServingSettings:
    """A service beside that server, with an empty cache, that polls eagerly."""
    return ServingSettings(
        state_dir=tmp_path / "state", tracking_uri=mlflow_server.settings.tracking_uri, poll_s=0.1, retry_limit_s=0.3
    )
