import httpx
import pytest

from serving.app import create_app
from serving.settings import ServingSettings
from vizecg.predictor import Predictor


@pytest.fixture(scope="module")
def api(bundle, serve, tmp_path_factory):
    settings = ServingSettings(
        bundle=bundle,
        state_dir=tmp_path_factory.mktemp("state"),
        max_body_bytes=1_000_000,
        max_batch_files=4,
        max_batch_bytes=2_000_000,
    )
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        yield client


def form(*contents: bytes) -> list:
    return [("file", (f"{at}.png", content)) for at, content in enumerate(contents)]


def test_each_file_has_its_answer_or_its_problem_and_none_fails_the_others(api, page_png, bundle):
    files = form(page_png, page_png[:5000], b"", page_png)
    reply = api.post("/v1/predict/batch", files=files, headers={"X-Request-ID": "night"})
    assert reply.status_code == 200
    content = reply.json()
    assert (content["request_id"], content["answered"], content["refused"]) == ("night", 2, 2)
    first, cut_off, empty, last = content["results"]
    expected = [label.model_dump(mode="json") for label in Predictor.load(bundle).predict(page_png).labels]
    assert first["answer"]["labels"] == last["answer"]["labels"] == expected
    assert (first["answer"]["request_id"], last["answer"]["request_id"]) == ("night.0", "night.3")
    assert (cut_off["problem"]["status"], cut_off["problem"]["request_id"]) == (400, "night.1")
    assert (empty["problem"]["status"], empty["problem"]["detail"]) == (422, "the file is empty")
    assert [result["index"] for result in content["results"]] == [0, 1, 2, 3]


def test_one_file_that_is_too_large_is_a_problem_of_its_own(api, page_png):
    content = api.post("/v1/predict/batch", files=form(bytes(1_200_000), page_png)).json()
    assert content["results"][0]["problem"]["status"] == 413
    assert "answer" in content["results"][1]


@pytest.mark.parametrize(
    ("sent", "status", "sentence"),
    [
        pytest.param({"files": form(*[b"x"] * 5)}, 413, "the batch has too many files", id="files"),
        pytest.param({"files": form(*[bytes(700_000)] * 3)}, 413, "the batch is larger than 2000000", id="bytes"),
        pytest.param({"content": b"x"}, 415, "a batch is a multipart form", id="no-form"),
        pytest.param({"files": {"other": ("a", b"x")}}, 422, "the form has no file in a field 'file'", id="field"),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(api, sent, status, sentence):
    reply = api.post("/v1/predict/batch", **sent)
    assert reply.status_code == status
    assert sentence in reply.json()["detail"]


def test_a_fault_of_ours_on_one_file_is_told_and_fails_none_of_the_others(api, page_png, monkeypatch, caplog):
    read = Predictor.read

    def fails_once(self, data, *, request_id, unpack):
        if request_id.endswith(".0"):
            raise ZeroDivisionError
        return read(self, data, request_id=request_id, unpack=unpack)

    monkeypatch.setattr(Predictor, "read", fails_once)
    content = api.post("/v1/predict/batch", files=form(page_png, page_png)).json()
    assert content["results"][0]["problem"]["status"] == 500
    assert "answer" in content["results"][1]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
