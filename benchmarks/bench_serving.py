"""Requests over loopback, on one core with the client: our service, `mlflow models serve` and LitServe.

The peers run Pillow and onnxruntime in fp32 on the same model, once with our intake between the two, which is the
same work, and once with a plain resize in its place, which is less. Our service checks every upload, measures its
quality and writes its audit trail, each line to the disk, as it does by default.
"""

import base64
import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from benchmarks.bench_intake import PHOTO_PX_PER_MM
from benchmarks.contest import Contest, note
from benchmarks.peers import HZ, LETTER, LETTER_PX_PER_MM
from benchmarks.serving_bundle import make_bundle
from benchmarks.serving_peers import Work, save_pyfunc
from vizecg import camera
from vizecg.page import draw_page, encode_png
from vizecg.predictor import Predictor
from vizecg.registry import QUICK_FAILURE
from vizecg.servers import free_port, mlflow_command, started, wait_until_healthy
from vizecg.settings import CHAMPION, MODEL_NAME, Settings
from vizecg.tracking import client as tracking_client
from vizecg.tracking import ensure_registered

ROOT = Path(__file__).parent.parent
PATIENCE_S = 300
PICTURES = 8
# As many as our service works on at once; more would only wait.
CONNECTIONS = 2
REQUESTS = int(os.environ.get("VIZECG_BENCH_REQUESTS", "16"))
ROUNDS = int(os.environ.get("VIZECG_BENCH_ROUNDS", "8"))
STARTS = 3


@dataclass(frozen=True, kw_only=True)
class Service:
    """Where something answers, and how a picture is put to it."""

    url: str
    path: str
    body: Callable[[bytes], bytes]
    content_type: str

    def ask(self, bodies: list[bytes], *, connections: int = CONNECTIONS) -> list[tuple[float, bytes]]:
        """Send these, so many at once, each connection kept; seconds and reply of each."""
        shares = [bodies[first::connections] for first in range(connections)]
        with ThreadPoolExecutor(connections) as pool:
            return [reply for share in pool.map(self._ask, shares) for reply in share]

    def _ask(self, bodies: list[bytes]) -> list[tuple[float, bytes]]:
        with closing(self.opened()) as connection:
            return [self.ask_over(connection, body) for body in bodies]

    def opened(self) -> http.client.HTTPConnection:
        """A connection for `ask_over`, as an application keeps one."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE_S)

    def ask_over(self, connection: http.client.HTTPConnection, body: bytes) -> tuple[float, bytes]:
        """Seconds and reply."""
        began = time.perf_counter()
        connection.request("POST", self.path, body, {"Content-Type": self.content_type})
        response = connection.getresponse()
        reply = response.read()
        took_s = time.perf_counter() - began
        assert response.status == 200, reply[:500]
        return took_s, reply


def as_base64(named: str) -> Callable[[bytes], bytes]:
    """JSON with the picture under a name: `inputs` is MLflow's own and takes a list."""

    def body(data: bytes) -> bytes:
        text = base64.b64encode(data).decode()
        return json.dumps({named: [text] if named == "inputs" else text}).encode()

    return body


@contextmanager
def on_last_core() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})  # of this thread, and so of what it starts
    yield
    os.sched_setaffinity(0, before)


@contextmanager
def answering(name: str, command: list[str], *, health: str, port: int, place: Path, **more: str) -> Iterator[str]:
    """Run a server on the last core until the block ends; its address, once it is healthy."""
    place.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("VIZECG_")}
    environment = {**kept, **QUICK_FAILURE, "PYTHONPATH": str(ROOT), **more}
    url = f"http://127.0.0.1:{port}"
    with on_last_core():
        server = started(
            name, command, url=url, health=health, cwd=place, environment=environment, log=place / "server.log"
        )
        with server as running:
            wait_until_healthy(running, timeout_s=PATIENCE_S)
            yield url


@contextmanager
def ours(place: Path, **settings: str) -> Iterator[Service]:
    port = free_port(18000)
    command = [sys.executable, "-m", "vizecg", "serve", "--port", str(port)]
    settings = {"VIZECG_STATE_DIR": str(place / "state"), **settings}
    with answering("VizECG", command, health="/ready", port=port, place=place, **settings) as url:
        yield Service(url=url, path="/v1/predict", body=bytes, content_type="application/octet-stream")


@contextmanager
def mlflow_peer(place: Path, *, bundle: Path, work: Work) -> Iterator[Service]:
    save_pyfunc(place / "model", bundle=bundle, work=work)
    port = free_port(18100)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--workers", "1"]
    command += ["--model-uri", str(place / "model"), "--host", "127.0.0.1", "--port", str(port)]
    with answering("mlflow models serve", command, health="/health", port=port, place=place) as url:
        yield Service(url=url, path="/invocations", body=as_base64("inputs"), content_type="application/json")


@contextmanager
def litserve_peer(place: Path, *, bundle: Path, work: Work) -> Iterator[Service]:
    port = free_port(18200)
    command = [sys.executable, "-m", "benchmarks.litserve_peer", str(bundle), work, str(port)]
    with answering("LitServe", command, health="/health", port=port, place=place) as url:
        yield Service(url=url, path="/predict", body=as_base64("image"), content_type="application/json")


PEERS = {"mlflow models serve": mlflow_peer, "LitServe": litserve_peer}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def service(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with ours(tmp_path_factory.mktemp("ours"), VIZECG_BUNDLE=str(bundle)) as running:
        yield running


@pytest.fixture(scope="module")
def pictures(signals: list[np.ndarray]) -> dict[str, list[bytes]]:
    pages, photos = [], []
    for seed, signal_mv in enumerate(signals[:PICTURES]):
        page = draw_page(signal_mv, sampling_hz=HZ, style=LETTER, px_per_mm=LETTER_PX_PER_MM)
        pages.append(encode_png(page))
        large = draw_page(signal_mv, sampling_hz=HZ, px_per_mm=PHOTO_PX_PER_MM).rgb
        rng = np.random.default_rng(seed)
        photos.append(camera.photograph(large, preset="photo", rng=rng, px_per_mm=PHOTO_PX_PER_MM))
    return {"2200×1700 PNG": pages, "11-megapixel JPEG photo": photos}


@pytest.mark.parametrize("kind", ["2200×1700 PNG", "11-megapixel JPEG photo"])
@pytest.mark.parametrize("work", ["intake", "resize"])
@pytest.mark.parametrize("name", PEERS)
def test_requests_a_second(
    contest: Contest, service: Service, bundle: Path, pictures: dict, tmp_path: Path, name: str, work: Work, kind: str
) -> None:
    if name == "LitServe" and find_spec("litserve") is None:
        pytest.skip("LitServe is not installed: pip install vizecg[bench]")
    with PEERS[name](tmp_path, bundle=bundle, work=work) as peer:
        burst = list(islice(cycle(pictures[kind]), REQUESTS))
        bodies = {one.url: [one.body(data) for data in burst] for one in (service, peer)}
        done = "with our intake" if work == "intake" else "with a plain resize"
        entry = contest(
            f"{REQUESTS} requests of a {kind}, {CONNECTIONS} at once",
            lambda _: service.ask(bodies[service.url]),
            [None],
            peer=(f"{name} {done}", lambda _: peer.ask(bodies[peer.url])),
            rounds=ROUNDS,
            times=1,
            at_least=2.0 if work == "intake" else None,
        )
        entry["requests_per_s"] = {
            side: round(1000 * REQUESTS / entry[f"{side}_ms"]["median"], 2) for side in ("ours", "peer")
        }


@pytest.mark.parametrize("kind", ["2200×1700 PNG", "11-megapixel JPEG photo"])
def test_one_request_against_its_work_alone(
    service: Service, bundle: Path, pictures: dict, tmp_path: Path, kind: str
) -> None:
    predictor = Predictor.load(bundle)
    over_http, around, alone = [], [], []
    with ExitStack() as stack:
        without_audit = stack.enter_context(ours(tmp_path, VIZECG_BUNDLE=str(bundle), VIZECG_AUDIT="off"))
        around_without = []
        kept = {one.url: stack.enter_context(closing(one.opened())) for one in (service, without_audit)}
        for data in islice(cycle(pictures[kind]), 2 + REQUESTS * ROUNDS // 4):
            for one, outside in ((service, around), (without_audit, around_without)):
                took_s, reply = one.ask_over(kept[one.url], data)
                outside.append(took_s * 1000 - json.loads(reply)["timing_ms"]["total"])
                if one is service:
                    over_http.append(took_s * 1000)
            began = time.perf_counter()
            predictor.read(data)
            alone.append((time.perf_counter() - began) * 1000)
    p50, work = (float(np.median(times[2:])) for times in (over_http, alone))  # the first two warm up
    figures = {
        "p50_ms": round(p50, 1),
        "work_alone_ms": round(work, 1),
        "times": round(p50 / work, 2),
        "wanted_times": 1.3,
        "http_and_audit_ms": round(float(np.median(around[2:])), 2),
        "http_ms": round(float(np.median(around_without[2:])), 2),
        "wanted_http_ms": 2,
    }
    note({"name": f"one {kind} at a time", "figures": figures})


def test_ready_from_a_cached_bundle(bundle: Path, tmp_path: Path) -> None:
    port = free_port(18300)
    command = mlflow_command(port=port, database_url=f"sqlite:///{tmp_path / 'm.db'}", artifact_root=tmp_path / "files")
    took_s = []
    with ExitStack() as stack:
        url = stack.enter_context(answering("MLflow", command, health="/health", port=port, place=tmp_path / "mlflow"))
        settings = Settings(state_dir=tmp_path / "registering", tracking_uri=url)
        version = ensure_registered(bundle, settings=settings).version
        tracking_client(settings).set_registered_model_alias(MODEL_NAME, CHAMPION, version)
        for _ in range(1 + STARTS):
            began = time.perf_counter()
            with ours(tmp_path / "service", VIZECG_TRACKING_URI=url) as running:
                took_s.append(time.perf_counter() - began)
                said = httpx.get(f"{running.url}/ready", trust_env=False).json()
                assert (said["model"]["version"], said["stale"]) == (str(version), False)
    figures = {
        "seconds": round(float(np.median(took_s[1:])), 2),
        "slowest_s": round(max(took_s[1:]), 2),
        "wanted_below_s": 3,
    }
    note({"name": "from start to ready, with a cached bundle and a registry", "figures": figures})
