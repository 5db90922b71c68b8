"""The service follows the alias, over real servers."""

import threading
import time

import httpx
import pytest

from serving.app import create_app
from serving.metrics import Metrics
from serving.settings import ServingSettings
from serving.watcher import ServedModel, Watcher
from vizecg.client import Client
from vizecg.registry import DIGEST_TAG, BrokenVersion, Registry

pytestmark = pytest.mark.servers
PATIENCE_S = 20


@pytest.fixture(scope="module")
def first(mlflow_server, bundle):
    return mlflow_server.register(bundle)


@pytest.fixture(scope="module")
def second(mlflow_server, second_bundle):
    return mlflow_server.register(second_bundle)


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def readiness(url: str) -> dict:
    return httpx.get(f"{url}/ready", trust_env=False).json()


def version_at(url: str) -> str | None:
    model = readiness(url)["model"]
    return model["version"] if model else None


def failed_loads(url: str) -> float:
    metrics = httpx.get(f"{url}/metrics", trust_env=False).text
    return float(metrics.partition('vizecg_model_loads_total{outcome="failed"} ')[2].split()[0])


def test_a_promotion_is_followed_without_a_failed_request_and_a_rollback_too(
    mlflow_server, following, serve, first, second, page_png, bundle, second_bundle, make
):
    mlflow_server.promote(first)
    answers, stop = [], threading.Event()

    def keep_asking(url):
        with Client(url) as client:
            while not stop.is_set():
                answers.append(client.predict(page_png))

    with serve(create_app(following)) as url:
        until(lambda: version_at(url) == first)
        asking = threading.Thread(target=keep_asking, args=(url,))
        asking.start()
        for version in (second, first, second):
            mlflow_server.promote(version)
            until(lambda version=version: version_at(url) == version)
            until(lambda version=version: answers and answers[-1].model.version == version)
        stop.set()
        asking.join()
    # Each answer comes from one model: the labels of a version are always the same.
    digest_of = {first: make.digest(bundle), second: make.digest(second_bundle)}
    labels_of = {}
    for answer in answers:
        assert answer.model.bundle_digest == digest_of[answer.model.version]
        assert labels_of.setdefault(answer.model.version, answer.labels) == answer.labels
    assert labels_of[first] != labels_of[second]


@pytest.mark.parametrize("how", ["truncated", "missing", "other digest", "no numbers"])
def test_a_broken_version_is_refused_and_the_old_one_keeps_answering(
    mlflow_server, following, serve, first, second, page_png, make, forged, how, caplog
):
    def truncate(bundle):
        (bundle / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes()[:-50])

    if how == "truncated":
        broken = mlflow_server.break_copy_of(second, truncate)
    elif how == "missing":
        broken = mlflow_server.break_copy_of(second, lambda bundle: (bundle / "contract.json").unlink())
    elif how == "other digest":
        broken = mlflow_server.break_copy_of(second, lambda _: None, digest="f" * 64)
    else:
        broken = mlflow_server.register(forged(lambda folder: make.onnx(folder / "model.onnx", bias=float("nan"))))
    mlflow_server.promote(first)
    with serve(create_app(following)) as url, Client(url) as client:
        until(lambda: version_at(url) == first)
        caplog.clear()
        mlflow_server.promote(broken)
        until(lambda: readiness(url)["last_failure"])
        said = readiness(url)["last_failure"]
        assert f"version {broken} is refused: it" in said
        assert "/" not in said
        assert f"version {broken} is refused: " in caplog.text
        assert client.predict(page_png).model.version == first
        until(lambda: failed_loads(url) >= 3)  # it tries again, and says so once
        assert readiness(url)["stale"], "the registry names another version than the one that answers"
        assert len([record for record in caplog.records if f"version {broken} is refused: " in record.message]) == 1
        mlflow_server.promote(second)
        until(lambda: version_at(url) == second)
        until(lambda: not readiness(url)["stale"])
        assert readiness(url)["last_failure"] is None


def test_without_a_promoted_version_it_is_not_ready_and_says_why(following, serve, page_png, caplog):
    settings = following.model_copy(update={"alias": "nobody"})
    with serve(create_app(settings)) as url:
        until(lambda: readiness(url)["last_failure"])
        response = httpx.get(f"{url}/ready", trust_env=False)
        assert response.status_code == 503
        said = "the model registry has no vizecgnet@nobody; promote a version first"
        assert response.json()["last_failure"] == said
        assert f"the registry at {settings.tracking_uri} has no vizecgnet@nobody" in caplog.text
        refused = httpx.post(f"{url}/v1/predict", content=page_png, trust_env=False)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "2"
        assert refused.json()["detail"] == f"no model is ready: {said}"
        assert httpx.get(f"{url}/health", trust_env=False).status_code == 200


def test_with_the_registry_down_the_last_verified_copy_answers_and_is_marked(
    mlflow_server, following, serve, first, page_png
):
    mlflow_server.promote(first)
    with serve(create_app(following)) as url:
        until(lambda: version_at(url) == first)
    settings = following.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    with serve(create_app(settings)) as url, Client(url) as client:
        until(lambda: readiness(url)["ready"])
        assert client.predict(page_png).model.version == first
        said = readiness(url)
        assert (said["registry"], said["stale"]) == ("down", True)
        assert said["last_failure"] == "the model registry does not answer"
        metrics = httpx.get(f"{url}/metrics", trust_env=False).text
        assert "vizecg_model_stale 1.0" in metrics
        assert "vizecg_registry_up 0.0" in metrics


def test_with_the_store_away_the_last_verified_copy_answers(
    mlflow_server, following, serve, first, page_png, monkeypatch
):
    store = {"MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    for name, value in {**store, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    mlflow_server.promote(first)
    with serve(create_app(following)) as url:
        until(lambda: version_at(url) == first)
    run_id = mlflow_server.client.get_model_version("vizecgnet", first).run_id
    tags = {DIGEST_TAG: "e" * 64}
    away = mlflow_server.client.create_model_version("vizecgnet", "s3://bucket/x", run_id, tags=tags)
    mlflow_server.promote(away.version)
    resolve, asked = Registry.resolve, []
    monkeypatch.setattr(Registry, "resolve", lambda self, alias: asked.append(alias) or resolve(self, alias))
    with serve(create_app(following)) as url, Client(url) as client:
        until(lambda: readiness(url)["ready"])
        assert client.predict(page_png).model.version == first
        until(lambda: len(asked) >= 3)  # it goes on being the stand-in, though the registry itself answers
        said = readiness(url)
        assert (said["registry"], said["stale"]) == ("up", True)
        assert "vizecg_model_stale 1.0" in httpx.get(f"{url}/metrics", trust_env=False).text
        assert said["last_failure"] == (
            f"vizecgnet version {away.version} is refused: the model registry does not answer"
        )


def test_with_the_registry_down_and_nothing_kept_it_is_not_ready(following, serve, caplog, monkeypatch):
    resolve, calls = Registry.resolve, []
    monkeypatch.setattr(Registry, "resolve", lambda self, alias: calls.append(alias) or resolve(self, alias))
    settings = following.model_copy(update={"tracking_uri": "http://alice:s3cret@127.0.0.1:9"})
    with serve(create_app(settings)) as url:
        until(lambda: readiness(url)["last_failure"])
        assert not readiness(url)["ready"]
        assert readiness(url)["registry"] == "down"
        until(lambda: len(calls) >= 3)  # it asks again, and says so once
        replies = [httpx.get(f"{url}{path}", trust_env=False).text for path in ("/ready", "/v1/model", "/metrics")]
    assert not [reply for reply in replies if "127.0.0.1" in reply or "s3cret" in reply]
    logged = [record.getMessage() for record in caplog.records if "does not answer" in record.getMessage()]
    assert len(logged) == 1
    assert "the model registry at http://***@127.0.0.1:9 does not answer" in logged[0]
    assert "s3cret" not in caplog.text


def test_a_surprise_does_not_end_the_following(mlflow_server, following, serve, first, monkeypatch):
    mlflow_server.promote(first)
    resolve, calls = Registry.resolve, []

    def surprised_once(self, alias):
        calls.append(alias)
        if len(calls) == 1:
            raise ZeroDivisionError
        return resolve(self, alias)

    monkeypatch.setattr(Registry, "resolve", surprised_once)
    with serve(create_app(following)) as url:
        until(lambda: version_at(url) == first)


def test_rolling_back_needs_no_download(mlflow_server, following, serve, first, second, page_png, monkeypatch):
    mlflow_server.promote(first)
    with serve(create_app(following)) as url, Client(url) as client:
        until(lambda: version_at(url) == first)
        labels = client.predict(page_png).labels
        mlflow_server.promote(second)
        until(lambda: version_at(url) == second)
        monkeypatch.setattr(Registry, "fetch", lambda *_: pytest.fail("downloaded"))
        mlflow_server.promote(first)
        until(lambda: version_at(url) == first)
        assert client.predict(page_png).labels == labels


def test_a_rollback_reaches_the_running_service_within_five_seconds(mlflow_server, following, serve, first, second):
    as_shipped = following.model_copy(update={"poll_s": ServingSettings.model_fields["poll_s"].default})
    mlflow_server.promote(first)
    with serve(create_app(as_shipped)) as url:
        until(lambda: version_at(url) == first)
        mlflow_server.promote(second)
        until(lambda: version_at(url) == second)
        mlflow_server.promote(first)
        moved_s = time.monotonic()
        until(lambda: version_at(url) == first)
        assert time.monotonic() - moved_s < 5


def test_a_broken_version_is_tried_ever_more_rarely_but_another_at_once(
    mlflow_server, following, first, second, monkeypatch
):
    fetch, tried = Registry.fetch, []

    def failing(self, pinned):
        tried.append(pinned.version)
        if pinned.version == first:
            raise BrokenVersion("cut off")
        return fetch(self, pinned)

    monkeypatch.setattr(Registry, "fetch", failing)
    metrics = Metrics()
    model = ServedModel(metrics)
    settings = following.model_copy(update={"poll_s": 10.0, "retry_limit_s": 60.0})
    watcher = Watcher(model=model, settings=settings, metrics=metrics)
    now = [0.0]
    monkeypatch.setattr("serving.backoff.time.monotonic", lambda: now[0])
    mlflow_server.promote(first)
    for now[0] in range(0, 200, 10):
        watcher.follow_once()
    assert tried == [first] * 5  # at 0, 20, 60, 120 and 180 s
    mlflow_server.promote(second)
    watcher.follow_once()
    assert tried[5:] == [second]
    assert model.readiness(access="open on loopback").ready
