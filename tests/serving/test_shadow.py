"""A challenger asked beside the champion: what is recorded, what is dropped, and that no answer ever waits for it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from serving.app import create_app
from serving.metrics import Metrics
from serving.settings import ServingSettings
from serving.shadow import Shadow
from vizecg import shadow
from vizecg.errors import InputError
from vizecg.gates import SHADOW, Candidate, Evidence, Params
from vizecg.predictor import Predictor
from vizecg.promotion import promote
from vizecg.settings import CHALLENGER, MODEL_NAME
from vizecg.textbook import textbook_pages

PATIENCE_S = 60
PAGES = 4


@pytest.fixture(scope="module")
def pages() -> list[bytes]:
    return textbook_pages(PAGES)


@pytest.fixture(scope="module")
def champion(mlflow_server, bundle):
    return mlflow_server.register(bundle)


@pytest.fixture(scope="module")
def challenger(mlflow_server, second_bundle):
    return mlflow_server.register(second_bundle)


@pytest.fixture
def shadowing(mlflow_server, following, champion):
    """A service that follows `champion`, and whatever `challenger` comes to mean."""
    mlflow_server.promote(champion)
    yield following.model_copy(update={"shadow": CHALLENGER, "shadow_share": 1.0})
    if CHALLENGER in mlflow_server.aliases():
        mlflow_server.client.delete_registered_model_alias(MODEL_NAME, CHALLENGER)


def nominate(mlflow_server, version: str) -> None:
    mlflow_server.client.set_registered_model_alias(MODEL_NAME, CHALLENGER, version)


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def counted(client: httpx.Client, **wanted: str) -> float:
    """Sum of the samples of `vizecg_shadow…_total` that have all these labels."""
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith("vizecg_shadow")]
    lines = [line for line in lines if all(f'{name}="{value}"' in line for name, value in wanted.items())]
    return sum(float(line.rpartition(" ")[2]) for line in lines if "_total" in line)


@contextmanager
def asking(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE_S) as client:
        until(lambda: client.get("/ready").status_code == 200)
        yield client


def until_compared_with(client: httpx.Client, version: str) -> None:
    until(lambda: f'version="{version}"' in client.get("/metrics").text.partition("vizecg_shadow_info{")[2])


def positives(bundle, data: bytes) -> dict[str, bool]:
    return {label.code: label.positive for label in Predictor.load(bundle).predict(data).labels}


@pytest.mark.servers
def test_what_both_said_is_recorded_counted_and_judged_at_the_next_promotion(
    mlflow_server, shadowing, serve, champion, challenger, bundle, second_bundle, make, pages
):
    nominate(mlflow_server, challenger)
    with serve(create_app(shadowing)) as url, asking(url) as client:
        until_compared_with(client, challenger)
        answers = [client.post("/v1/predict", content=page).json() for page in pages]
        until(lambda: counted(client, outcome="compared") == PAGES)
        same, other = counted(client, said="same"), counted(client, said="other")
    assert {answer["model"]["version"] for answer in answers} == {champion}
    both = [(positives(bundle, page), positives(second_bundle, page)) for page in pages]
    expected = {code: sum(ours[code] != theirs[code] for ours, theirs in both) for code in both[0][0]}
    assert sum(expected.values()) > 0, "models that never differ show nothing"
    assert (other, same) == (sum(expected.values()), PAGES * len(expected) - sum(expected.values()))
    digests = {"champion": make.digest(bundle), "challenger": make.digest(second_bundle)}
    seen = shadow.read(shadowing.shadow_folder, **digests)
    assert seen is not None
    assert (seen.pictures, seen.damaged) == (PAGES, 0)
    assert {code: seen.differing.get(code, 0) for code in expected} == expected
    assert shadow.read(shadowing.shadow_folder, champion=digests["challenger"], challenger=digests["champion"]) is None

    for minimum, wanted in ((PAGES, "fail"), (PAGES + 1, "not enough data")):
        (row,) = [row for row in judged(shadowing, challenger, minimum=minimum).rows if row.gate == SHADOW]
        assert (row.result, row.records, row.limit) == (wanted, PAGES, 1.0)


def judged(settings, version: str, *, minimum: int):
    """The verdict of a promotion on this registry, by evidence under which nothing else says no."""

    def gather(challenger, champion):
        labels = np.random.default_rng(1).random((200, 5)) < 0.3
        candidates = [
            Candidate(
                bundle_digest=loaded.identity.bundle_digest,
                task=loaded.task,
                classes=loaded.operating_point.classes,
                simulated=loaded.identity.simulated,
                probabilities=labels * 0.98 + 0.01,
            )
            for loaded in map(Predictor.load, (challenger, champion))
        ]
        return Evidence(labels=labels, patient_ids=np.arange(200), challenger=candidates[0], champion=candidates[1])

    params = Params(
        macro_auroc_floor=0.7,
        macro_auroc_margin=0.05,
        class_auroc_margin=0.1,
        calibration_error_ceiling=1,
        minimum_records=1000,  # of which there are 200, so that this gate alone decides
        minimum_positives=20,
        shadow_agreement_floor=1.0,
        shadow_minimum_pictures=minimum,
        resamples=100,
        seed=0,
    )
    # A ledger of its own for each: what the first has made champion is none of the second's business.
    place = settings.state_dir / f"ledger-{minimum}.db"
    asked = settings.model_copy(update={"ledger_url": f"sqlite:///{place}"})
    return promote(asked, version=version, gather=gather, params=params, actor="anna").verdict


@pytest.mark.servers
def test_a_challenger_that_cannot_be_compared_or_loaded_costs_no_answer(
    mlflow_server, shadowing, serve, champion, challenger, pages
):
    broken = mlflow_server.break_copy_of(challenger, lambda folder: (folder / "contract.json").unlink())
    nominate(mlflow_server, broken)
    with serve(create_app(shadowing)) as url, asking(url) as client:
        assert client.post("/v1/predict", content=pages[0]).json()["model"]["version"] == champion
        assert "vizecg_shadow_info{" not in client.get("/metrics").text
        nominate(mlflow_server, challenger)  # whoever mends it is followed
        until_compared_with(client, challenger)
        (shadowing.state_dir / "shadow").write_text("a file where the folder should be")
        assert client.post("/v1/predict", content=pages[0]).status_code == 200
        until(lambda: counted(client, outcome="failed") == 1)
        (shadowing.state_dir / "shadow").unlink()
        assert client.post("/v1/predict", content=pages[0]).status_code == 200
        until(lambda: counted(client, outcome="compared") == 1)
        mlflow_server.client.delete_registered_model_alias(MODEL_NAME, CHALLENGER)
        until(lambda: "vizecg_shadow_info{" not in client.get("/metrics").text)
        assert client.post("/v1/predict", content=pages[0]).status_code == 200
        time.sleep(0.5)  # nobody is asked, and there is nothing to wait for that would say so
        assert counted(client, outcome="compared") == 1


def a_shadow(tmp_path, **changes) -> tuple[Shadow, Metrics]:
    """One that has not begun, so that nobody takes what waits."""
    metrics = Metrics()
    settings = ServingSettings(state_dir=tmp_path, tracking_uri="http://127.0.0.1:9", **changes)
    return Shadow(settings, alias=CHALLENGER, metrics=metrics), metrics


def total(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("vizecg_shadow_total", {"outcome": outcome})


def test_what_finds_the_line_full_is_dropped_and_counted_at_once(bundle, page_png, tmp_path):
    idle, metrics = a_shadow(tmp_path, shadow_share=1.0, shadow_waiting=3)
    reading = Predictor.load(bundle).read(page_png)
    for _ in range(10):
        idle.offer(reading)
    assert (total(metrics, "dropped"), total(metrics, "compared")) == (7, 0)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 40), (0.25, 10), (0.1, 4)])
def test_it_is_asked_about_its_share_of_the_pictures(bundle, page_png, tmp_path, share, expected):
    idle, metrics = a_shadow(tmp_path, shadow_share=share, shadow_waiting=1)
    reading = Predictor.load(bundle).read(page_png)
    for _ in range(40):
        idle.offer(reading)
    assert total(metrics, "dropped") + 1 == expected


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param(
            {"alias": CHALLENGER}, "VIZECG_SHADOW is 'challenger', which is what the service answers", id="same"
        ),
        pytest.param(
            {"bundle": "BUNDLE"}, "VIZECG_SHADOW follows an alias of the registry, and VIZECG_BUN", id="bundle"
        ),
    ],
)
def test_a_shadow_that_could_show_nothing_is_refused_at_the_start(bundle, tmp_path, changes, sentence):
    changes = {name: bundle if value == "BUNDLE" else value for name, value in changes.items()}
    with pytest.raises(InputError, match=sentence):
        create_app(ServingSettings(state_dir=tmp_path, shadow=CHALLENGER, **changes))


def test_a_line_that_cannot_be_read_is_counted_and_no_line_holds_more_than_it_should(tmp_path):
    entry = shadow.Comparison(
        time="2026-11-26T12:00:00Z", champion="a", challenger="b", differing=("MI",), largest_difference=0.25
    )
    shadow.append(tmp_path, entry)
    shadow.append(tmp_path, entry.model_copy(update={"differing": ()}))
    (file,) = tmp_path.iterdir()
    assert file.name == "shadow-2026-11.jsonl"
    assert [set(json.loads(line)) for line in file.read_text().splitlines()] == [
        {"time", "champion", "challenger", "differing", "largest_difference"}
    ] * 2
    file.write_text(file.read_text() + '{"champion": "a"')
    shadow.append(tmp_path, entry)  # what was cut off does not take the next line with it
    seen = shadow.read(tmp_path, champion="a", challenger="b")
    assert (seen.pictures, seen.differing, seen.damaged) == (3, {"MI": 2}, 1)
    assert (seen.share("MI"), seen.share("NORM")) == (pytest.approx(1 / 3), 1.0)
