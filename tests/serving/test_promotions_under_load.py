"""Promotions, good and broken by turns, while callers ask: nobody gets an error, nobody gets half of two models."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from vizecg import bundle as bundles
from vizecg import publish
from vizecg.client import Client
from vizecg.predictor import Predictor

pytestmark = pytest.mark.servers

PATIENCE_S = 60
NEW_S, ROLL_BACK_S = 60, 5
CALLERS = 2
GOOD = 4


def sealed_again(bundle: Path, place: Path, change: Callable[[Path], object]) -> Path:
    """A copy with another content, every checksum of which holds."""
    with publish.publishing(place, kind=bundles.BUNDLE, schema_version=bundles.SCHEMA_VERSION) as staging:
        shutil.copytree(bundle, staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns(publish.MANIFEST_NAME))
        change(staging)
    return place


@pytest.fixture(scope="module")
def good(mlflow_server, make, tmp_path_factory) -> dict[str, Path]:
    """Version -> bundle, each of another model."""
    made = [make.bundle(tmp_path_factory.mktemp("good"), seed=100 + number) for number in range(GOOD)]
    return {mlflow_server.register(bundle): bundle for bundle in made}


@pytest.fixture(scope="module")
def broken(mlflow_server, make, tmp_path_factory) -> dict[str, str]:
    """What is wrong -> version. Damaged are copies of one that nobody has asked for: what is kept needs no download."""
    bundle = make.bundle(tmp_path_factory.mktemp("spare"), seed=200)
    version = mlflow_server.register(bundle)

    def sealed(**network: object) -> str:
        def change(folder: Path) -> None:
            make.onnx(folder / bundles.ONNX_FILE, **network)

        return mlflow_server.register(sealed_again(bundle, tmp_path_factory.mktemp("broken") / "bundle", change))

    def cut(folder: Path) -> None:
        (folder / bundles.ONNX_FILE).write_bytes((folder / bundles.ONNX_FILE).read_bytes()[:-50])

    return {
        "missing file": mlflow_server.break_copy_of(version, lambda folder: (folder / "contract.json").unlink()),
        "failing goldens": sealed(seed=7),
        "truncated file": mlflow_server.break_copy_of(version, cut),
        "wrong digest": mlflow_server.break_copy_of(version, lambda _: None, digest="f" * 64),
        "wrong shape": sealed(seed=200, height_px=320),
        "no numbers": sealed(seed=200, bias=float("nan")),
        "other classes": sealed(seed=200, labels=3),
    }


@pytest.fixture
def service(mlflow_server, good, start_service):
    """A service as a process, which follows the champion; it has begun with the first good version."""
    mlflow_server.promote(next(iter(good)))
    following = {"tracking_uri": mlflow_server.settings.tracking_uri, "poll_s": 0.3, "retry_limit_s": 1}
    started = start_service(**following)
    yield started.url
    started.process.terminate()
    assert started.process.wait(timeout=30) == 0
    assert "Traceback" not in started.said()


def wait_until(condition: Callable[[], bool], *, within_s: float) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, f"did not happen within {within_s} s"
        time.sleep(0.05)


class Callers:
    """Ask one after the other, a page and then a batch of both, and keep every answer or error."""

    def __init__(self, url: str, pages: list[bytes]) -> None:
        self.answers, self.batches, self.errors = [], [], []
        self._url, self._pages = url, pages
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with Client(self._url) as client:
            while not self._done.wait(0.02):
                try:
                    for at, page in enumerate(self._pages):
                        self.answers.append((at, client.predict(page)))
                    self.batches.append(client.predict_batch(self._pages))
                except Exception as error:  # every one is what this test looks for
                    self.errors.append(error)


# Five are two new ones, a roll back and two faults; twenty are every fault, and test_following has four by themselves.
@pytest.mark.parametrize("promotions", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_callers_notice_nothing_but_the_version_in_their_answers(mlflow_server, service, good, broken, promotions):
    pages = [
        (bundle / "goldens" / f"page-{at}.png").read_bytes() for bundle in list(good.values())[:1] for at in (0, 1)
    ]
    versions, faults = list(good), list(broken.items())
    answering, before, following = versions[0], versions[0], 1
    with Callers(service, pages) as callers:
        for number in range(promotions):
            if number % 2:
                what, refused = faults[number // 2 % len(faults)]
                mlflow_server.promote(refused)
                wait_until(lambda version=refused: says_refused(service, version), within_s=PATIENCE_S)
                assert version_at(service) == answering, what
                continue
            rolls_back = number % 4 == 2
            chosen = before if rolls_back else versions[following % GOOD]
            following += not rolls_back
            mlflow_server.promote(chosen)
            within_s = ROLL_BACK_S if rolls_back else NEW_S
            wait_until(lambda version=chosen: version_at(service) == version, within_s=within_s)
            answering, before = chosen, answering
            seen = len(callers.answers)
            wait_until(lambda seen=seen: len(callers.answers) > seen + 2 * CALLERS, within_s=PATIENCE_S)
    assert callers.errors == []
    assert {answer.model.version for _, answer in callers.answers} >= set(versions[:2])
    expected = {
        version: [probabilities(Predictor.load(bundle).predict(page)) for page in pages]
        for version, bundle in good.items()
    }
    assert_all_differ([rows[0] for rows in expected.values()])
    for at, answer in [*callers.answers, *(pair for batch in callers.batches for pair in enumerate(batch))]:
        np.testing.assert_allclose(probabilities(answer), expected[answer.model.version][at], atol=1e-6)
    for batch in callers.batches:
        assert len({answer.model.version for answer in batch}) == 1


def probabilities(answer) -> list[float]:
    return [label.probability for label in answer.labels]


def assert_all_differ(rows: list[list[float]]) -> None:
    for at, row in enumerate(rows):
        for other in rows[at + 1 :]:
            assert np.max(np.abs(np.subtract(row, other))) > 1e-3


def version_at(url: str) -> str:
    return httpx.get(f"{url}/ready", trust_env=False, timeout=30).json()["model"]["version"]


def says_refused(url: str, version: str) -> bool:
    said = httpx.get(f"{url}/ready", trust_env=False, timeout=30).json()["last_failure"] or ""
    return f"version {version} is refused" in said
