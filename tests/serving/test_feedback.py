import json
import multiprocessing
from datetime import UTC, datetime

import httpx
import pytest

from serving.app import create_app
from serving.settings import ServingSettings
from vizecg import feedback
from vizecg.feedback import Feedback


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("state") / "given"


@pytest.fixture(scope="module")
def api(bundle, serve, folder):
    settings = ServingSettings(bundle=bundle, state_dir=folder.parent, feedback_dir=folder)
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        yield client


def entry(name: str) -> Feedback:
    when = datetime(2026, 11, 3, 12, tzinfo=UTC)
    return Feedback(request_id=name, labels=("MI",), received_at=when, bundle_digest="9f" * 32)


def test_a_confirmed_diagnosis_is_written_down_for_the_reader(api, folder, bundle, make):
    told = {"request_id": "ward-7.1", "labels": ["MI", "CD"]}
    reply = api.post("/v1/feedback", json=told)
    assert reply.status_code == 201
    (line,) = "".join(path.read_text() for path in folder.glob("*.jsonl")).splitlines()
    assert json.loads(line) == reply.json()
    assert reply.json() | told == reply.json()
    assert reply.json()["bundle_digest"] == make.digest(bundle)
    assert api.post("/v1/feedback", json={"request_id": "ward-7.2", "labels": []}).status_code == 201
    found = feedback.read(folder)
    assert [one.request_id for one in found.entries] == ["ward-7.1", "ward-7.2"]
    assert found.damaged == 0


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"request_id": "a", "labels": ["AFIB"]}, "labels names a class that the model does not know"),
        ({"request_id": "a", "labels": ["MI", "MI"]}, "labels names a class twice"),
        ({"request_id": "Doe, John", "labels": ["MI"]}, "request_id: string should match pattern"),
        ({"labels": ["MI"]}, "request_id: field required"),
        ({"request_id": "a", "labels": "MI"}, "labels: input should be a valid array"),
        ({"request_id": "a", "labels": [], "comment": "John Doe"}, "a field: extra inputs are not permitted"),
        ({"request_id": "a", "labels": [], "John Doe": 1}, "a field: extra inputs are not permitted"),
    ],
)
def test_what_is_no_diagnosis_of_this_model_is_422_and_never_repeated(api, folder, told, sentence):
    before = feedback.read(folder)
    reply = api.post("/v1/feedback", json=told)
    assert reply.status_code == 422
    assert sentence in reply.json()["detail"]
    assert "Doe" not in reply.text
    assert feedback.read(folder) == before


def test_a_body_without_end_is_413(api):
    assert api.post("/v1/feedback", content=b" " * 20_000).status_code == 413


def test_a_folder_that_cannot_be_written_is_507(bundle, serve, tmp_path):
    (tmp_path / "file").write_text("")
    settings = ServingSettings(bundle=bundle, state_dir=tmp_path, feedback_dir=tmp_path / "file")
    with serve(create_app(settings)) as url:
        reply = httpx.post(f"{url}/v1/feedback", json={"request_id": "a", "labels": []}, trust_env=False)
    assert reply.status_code == 507
    assert str(tmp_path) not in reply.text


def append_many(folder, who):
    for number in range(100):
        feedback.append(folder, entry(f"{who}.{number}"))


def test_many_writers_at_once_lose_and_mix_nothing(tmp_path):
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    writers = [context.Process(target=append_many, args=(tmp_path, who)) for who in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = feedback.read(tmp_path)
    assert {one.request_id for one in found.entries} == {f"{who}.{number}" for who in range(3) for number in range(100)}
    assert (len(found.entries), found.damaged) == (300, 0)


def test_a_line_cut_off_costs_itself_alone_and_is_counted(tmp_path):
    feedback.append(tmp_path, entry("one"))
    with (tmp_path / "feedback-2026-11.jsonl").open("a") as opened:
        opened.write('{"request_id": "tw')
    feedback.append(tmp_path, entry("three"))
    found = feedback.read(tmp_path)
    assert [one.request_id for one in found.entries] == ["one", "three"]
    assert found.damaged == 1
