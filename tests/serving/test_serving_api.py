import http.client
import inspect
import io
import json
import re
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from fastapi import Depends
from PIL import Image

from serving import batch, docs_page, examples, explain, feedback, inference_protocol, page, routes
from serving.plain_route import PlainRoute
from vizecg.answer import Answer
from vizecg.client import Client
from vizecg.predictor import Predictor

PROBLEM = "application/problem+json"


@pytest.fixture
def api(service):
    with httpx.Client(base_url=service, trust_env=False, timeout=20) as opened:
        yield opened


def labels_of(response: httpx.Response) -> list[dict]:
    assert response.status_code == 200, response.text
    return response.json()["labels"]


def refusal(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    problem = response.json()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem["detail"]


def test_form_and_raw_body_give_the_same_labels(api, page_png):
    form = api.post("/v1/predict", files={"file": ("ecg.png", page_png, "image/png")})
    raw = api.post("/v1/predict", content=page_png, headers={"content-type": "image/png"})
    assert labels_of(form) == labels_of(raw)
    assert raw.json()["decision"] == "ok"


@pytest.mark.parametrize("kind", ["text/html", "application/x-www-form-urlencoded", "image/jpeg", "", "nonsense;;;="])
def test_the_bytes_decide_what_a_picture_is_not_what_is_said_of_it(api, page_png, kind):
    as_said = api.post("/v1/predict", content=page_png, headers={"content-type": kind})
    as_named = api.post("/v1/predict", files={"file": ("../../etc/passwd.exe", page_png, "text/x-script")})
    assert labels_of(as_said) == labels_of(as_named)


def test_a_jpeg_is_read_too(api, page_png):
    stream = io.BytesIO()
    Image.open(io.BytesIO(page_png)).convert("RGB").save(stream, "JPEG", quality=90)
    assert len(labels_of(api.post("/v1/predict", content=stream.getvalue()))) == 5


def test_the_reply_is_the_published_schema_and_names_its_model(api, page_png, bundle, make):
    answer = Answer.model_validate(api.post("/v1/predict", content=page_png).json())
    assert answer.model.bundle_digest == make.digest(bundle)
    assert answer.timing_ms["total"] > 0
    assert "not a medical device" in answer.disclaimer
    assert "simulated" in answer.notes[0]


def test_a_request_keeps_the_name_its_caller_gave_it(api, page_png):
    response = api.post("/v1/predict", content=page_png, headers={"X-Request-ID": "ward-7.scan:42"})
    assert response.headers["x-request-id"] == response.json()["request_id"] == "ward-7.scan:42"


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "<script>", "ü".encode()])
def test_a_name_that_could_harm_a_log_is_replaced(api, name):
    response = api.post("/v1/predict", content=b"x", headers={"X-Request-ID": name})
    assert len(response.headers["x-request-id"]) == 32
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_a_picture_that_decodes_always_gets_an_answer(api):
    noise = np.random.default_rng(1).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    response = api.post("/v1/predict", content=stream.getvalue())
    assert response.status_code == 200
    assert response.json()["decision"] == "reject"
    assert response.json()["labels"] == []
    assert response.json()["quality"]["findings"]


def test_a_text_file_sent_as_a_png_is_415(api):
    response = api.post("/v1/predict", files={"file": ("ecg.png", b"Dear doctor,", "image/png")})
    assert refusal(response, 415).startswith(
        "the picture must be a PNG, JPEG, TIFF or PDF file, got something that starts with"
    )


def test_a_pdf_is_415_and_says_what_to_do(api):
    assert "a GIF: export it as PNG or JPEG" in refusal(api.post("/v1/predict", content=b"GIF89a..."), 415)


def test_a_truncated_picture_is_400(api, page_png):
    detail = refusal(api.post("/v1/predict", content=page_png[: len(page_png) // 2]), 400)
    assert "the PNG file is broken or cut off" in detail


def test_a_picture_with_too_many_pixels_is_413_before_it_is_unpacked(api, page_png):
    bomb = bytearray(page_png)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    assert "60000 × 60000 pixels" in refusal(api.post("/v1/predict", content=bytes(bomb)), 413)


@pytest.mark.parametrize("form", [True, False])
def test_a_body_that_is_too_large_is_413_by_what_it_declares(api, form):
    data = b"\x89PNG\r\n\x1a\n" + bytes(1_100_000)
    sent = {"files": {"file": ("a.png", data)}} if form else {"content": data}
    response = api.post("/v1/predict", **sent)
    assert refusal(response, 413) == "the picture is larger than 1000000 bytes"
    assert response.json()["allowed"] == "1000000 bytes"


def test_a_body_that_is_too_large_is_413_although_it_declares_nothing_and_is_not_read_to_its_end(api):
    chunks = (bytes(100_000) for _ in range(40))
    response = api.post("/v1/predict", content=chunks)
    assert refusal(response, 413) == "the picture is larger than 1000000 bytes"
    got = int(response.json()["got"].removeprefix("at least ").removesuffix(" bytes"))
    assert 1_000_000 < got < 2_000_000  # of 4,000,000


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        pytest.param({"content": b""}, "no picture was sent; send its bytes as the body", id="nothing"),
        pytest.param({"files": {"file": ("a.png", b"")}}, "no picture was sent", id="empty-file"),
        pytest.param({"files": {"image": ("a.png", b"x")}}, "the form must hold one file in field 'file'", id="field"),
        pytest.param(
            {"files": [("file", ("a.png", b"x")), ("file", ("b.png", b"y"))]}, "must hold one file", id="two-files"
        ),
        pytest.param({"files": {"file": (None, "text")}}, "must hold one file", id="text-field"),
    ],
)
def test_a_missing_file_is_422_and_says_where_it_belongs(api, sent, sentence):
    response = api.post("/v1/predict", **sent)
    assert sentence in refusal(response, 422)


@pytest.mark.parametrize(
    ("kind", "body", "sentence"),
    [
        pytest.param("multipart/form-data", b"x", "its Content-Type names no boundary", id="no-boundary"),
        pytest.param(
            f"multipart/form-data; boundary={'b' * 71}",
            b"x",
            "its boundary has 71 characters, at most 70",
            id="boundary",
        ),
        pytest.param("multipart/form-data; boundary=b", b"hello", "its parts are not as its boundary says", id="text"),
        pytest.param("multipart/form-data; boundary=b", b"--b\r\n", "it ends before its last boundary", id="cut-off"),
        pytest.param(
            "multipart/form-data; boundary=b",
            b"--b\r\n\r\nx\r\n" * 9 + b"--b--",
            "it has more than 8 fields",
            id="many-fields",
        ),
    ],
)
def test_a_form_that_is_none_is_400_and_says_why(api, kind, body, sentence):
    response = api.post("/v1/predict", content=body, headers={"content-type": kind})
    assert refusal(response, 400) == f"the multipart form cannot be read: {sentence}"


def test_unknown_addresses_and_methods_are_problems_too(api):
    assert "/v3/nothing" in refusal(api.get("/v3/nothing"), 404)
    response = api.get("/v1/predict")
    assert refusal(response, 405)
    assert response.headers["allow"] == "POST"
    assert response.json()["allowed"] == "POST"


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/v1/model", "/", "/v2/health/live", "/v3/nothing", "/v1/predict"]
)
def test_head_is_get_without_its_body(api, path):
    got, head = api.get(path), api.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    of_one_reply = {"date", "x-request-id", "content-length"}
    assert {name: value for name, value in head.headers.items() if name not in of_one_reply} == {
        name: value for name, value in got.headers.items() if name not in of_one_reply
    }
    assert api.put("/health").headers["allow"] == "GET, HEAD"


def test_health_readiness_and_model(api, bundle):
    assert api.get("/health").json() == {"status": "ok"}
    ready = api.get("/ready").json()
    assert (ready["ready"], ready["registry"], ready["stale"]) == (True, "not used", False)
    model = api.get("/v1/model").json()
    assert model["contract"] == json.loads((bundle / "contract.json").read_text())
    assert model["model_card"] == (bundle / "model_card.md").read_text()


def test_health_answers_while_pictures_are_worked_on(api, service, page_png, monkeypatch):
    healthy, read = threading.Event(), Predictor.read

    def wait_for_health(*arguments, **named):
        assert healthy.wait(timeout=60)
        return read(*arguments, **named)

    monkeypatch.setattr(Predictor, "read", wait_for_health)
    answers = []

    def ask():
        with Client(service) as client:
            answers.append(client.predict(page_png))

    busy = [threading.Thread(target=ask) for _ in range(4)]
    for thread in busy:
        thread.start()
    assert api.get("/health").status_code == 200
    healthy.set()
    for thread in busy:
        thread.join()
    assert len(answers) == 4


def test_metrics_count_answers_and_never_name_a_request(api, page_png):
    def value(name: str) -> float:
        lines = api.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    before = value('vizecg_predictions_total{decision="ok"}')
    api.post("/v1/predict", content=page_png, headers={"X-Request-ID": "canary-1"})
    api.get("/canary-2")
    text = api.get("/metrics").text
    assert value('vizecg_predictions_total{decision="ok"}') == before + 1
    assert 'vizecg_requests_total{method="POST",route="/v1/predict",status="200"}' in text
    assert "vizecg_model_info{" in text
    assert "canary" not in text


def test_the_document_of_the_api_describes_bodies_replies_and_errors_with_examples(api):
    document = api.get("/openapi.json").json()
    predict = document["paths"]["/v1/predict"]["post"]
    assert {"multipart/form-data", "image/png", "image/jpeg"} <= predict["requestBody"]["content"].keys()
    assert {"200", "400", "401", "403", "408", "413", "415", "422", "429", "503"} == predict["responses"].keys()
    example = predict["responses"]["200"]["content"]["application/json"]["example"]
    assert Answer.model_validate(example).decision == "ok"
    assert predict["responses"]["413"]["content"].keys() == {PROBLEM}
    assert predict["responses"]["413"]["content"][PROBLEM]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert predict["responses"]["413"]["content"][PROBLEM]["example"]["status"] == 413


def test_the_document_names_every_route_with_an_example_of_what_is_sent_and_what_comes_back(api):
    paths = api.get("/openapi.json").json()["paths"]
    model = "/v2/models/{name}"
    inference = {
        f"{place}{end}" for place in (model, f"{model}/versions/{{version}}") for end in ("", "/ready", "/infer")
    }
    assert paths.keys() == {
        *("/health", "/ready", "/metrics", "/v1/model", "/v1/predict", "/v1/predict/batch", "/v1/explain"),
        *("/v1/feedback", "/v2", "/v2/health/live", "/v2/health/ready", *inference),
    }
    for path in ("/v1/predict", "/v1/predict/batch", "/v1/explain", "/v1/feedback"):
        done = next(reply for status, reply in paths[path]["post"]["responses"].items() if status.startswith("2"))
        assert "example" in done["content"]["application/json"]
    assert paths["/v1/predict"]["post"]["responses"]["200"]["content"]["application/fhir+json"]["example"]


def test_every_error_that_the_document_names_is_in_the_documentation(api):
    paths = api.get("/openapi.json").json()["paths"]
    named = {status for path in paths.values() for route in path.values() for status in route["responses"]}
    written = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text()
    errors = written.partition("Errors are problem details")[2].partition("\n\n")[0]
    assert {status for status in named if status >= "4"} <= {*re.findall(r"\b[45]\d\d\b", errors)}


def test_the_page_of_the_api_needs_nothing_from_elsewhere(api, service):
    response = api.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert f"curl --data-binary @ecg.png {service}/v1/predict" in response.text
    assert "<script" not in response.text
    assert not [link for link in ("src=", "@import", "url(", 'href="http') if link in response.text]


def test_the_page_of_the_api_shows_text_as_text():
    document = {
        "info": {"title": "<b>", "version": "1", "description": "`<i>` & more"},
        "paths": {"/x": {"get": {"summary": "<s>", "responses": {"200": {"description": "ok"}}}}},
    }
    page = docs_page.render(document, address="http://<u>/")
    assert "<u>" not in page
    assert "<b>" not in page
    assert "<code>&lt;i&gt;</code> &amp; more" in page


def test_the_example_is_an_answer():
    assert Answer.model_validate(examples.ANSWER).decision == "ok"


def mutations(page: bytes, *, number: int):
    rng = np.random.default_rng(11)
    for _ in range(number):
        data = bytearray(page)
        match rng.integers(5):
            case 0:
                data = bytearray(rng.bytes(int(rng.integers(1, 5000))))
            case 1:
                for at in rng.integers(0, len(data), int(rng.integers(1, 30))):
                    data[at] ^= int(rng.integers(1, 256))
            case 2:
                data = data[: int(rng.integers(0, len(data)))]
            case 3:
                data[8:33] = rng.bytes(25)
            case _:
                data[int(rng.integers(len(data))) :] = rng.bytes(100)
        yield bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_no_damaged_picture_is_a_fault_of_the_service(api, page_png, kind):
    stream = io.BytesIO()
    Image.open(io.BytesIO(page_png)).convert("L").reduce(2).save(stream, kind)
    statuses = [api.post("/v1/predict", content=data).status_code for data in mutations(stream.getvalue(), number=60)]
    assert set(statuses) <= {200, 400, 413, 415, 422}
    assert len(set(statuses)) > 1


def test_no_damaged_form_is_a_fault_of_the_service(api, page_png):
    request = httpx.Request("POST", "http://x", files={"file": ("a.png", page_png[:3000])})
    body, kind = request.read(), request.headers["content-type"]
    statuses = [
        api.post("/v1/predict", content=data, headers={"content-type": kind}).status_code
        for data in mutations(body, number=60)
    ]
    assert set(statuses) <= {200, 400, 413, 415, 422}


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "multipart/form-data; boundary=" + "x" * 5000},
        {"content-type": 'multipart/form-data; boundary=""'},
        {"content-type": "multipart/form-data; boundary=\xff; charset=rot13"},
        {"content-type": "\x80\x81"},
        {"content-length": "99999999999999999999"},
        {"content-length": "-1"},
        {"accept": "application/x-nothing"},
        {"expect": "200-maybe"},
        {"transfer-encoding": "gzip"},
    ],
    ids=lambda headers: next(iter(headers.values()))[:45],
)
def test_no_strange_header_is_a_fault_of_the_service(service, headers):
    with closing(http.client.HTTPConnection(urlsplit(service).netloc, timeout=10)) as connection:
        connection.putrequest("POST", "/v1/predict")
        if "content-length" not in headers:
            connection.putheader("content-length", "3")
        for name, value in headers.items():
            connection.putheader(name, value.encode("latin-1"))
        connection.endheaders()
        connection.send(b"abc")
        with connection.getresponse() as response:
            assert 400 <= response.status < 500


def test_a_fault_of_ours_is_in_the_log_under_the_request_id_without_what_was_sent(api, page_png, monkeypatch, caplog):
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Predictor, "read", fails)
    response = api.post("/v1/predict?patient=Doe", content=page_png, headers={"X-Request-ID": "ward-7"})
    assert refusal(response, 500) == "the service failed on this request; its log says why under the request id"
    (record,) = [record for record in caplog.records if "ward-7" in record.getMessage()]
    assert record.getMessage() == "request ward-7 failed at POST /v1/predict"
    assert record.exc_info[0] is ZeroDivisionError
    assert "Doe" not in caplog.text


def depended_on(dependant):
    for part in dependant.dependencies:
        yield part.call
        yield from depended_on(part)


@pytest.mark.parametrize("module", [batch, explain, feedback, inference_protocol, page, routes])
def test_nothing_that_a_route_depends_on_costs_a_thread(module):
    """FastAPI runs plain functions in one; that took a third of what HTTP adds to a prediction."""
    found = {call for route in module.router.routes for call in depended_on(route.dependant)}
    assert found or module is page
    for call in found:
        assert inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__), call


def test_a_plain_route_refuses_what_it_would_not_see_to():
    async def of_more(request, service, labels: str = ""):
        return request, service, labels

    async def of_both(request, service):
        return request, service

    with pytest.raises(TypeError, match="of_more must take request and service, and nothing else"):
        PlainRoute("/more", of_more, response_model=None)
    with pytest.raises(TypeError, match=r"of_both may depend on requires\(…\) alone"):
        PlainRoute("/both", of_both, response_model=None, dependencies=[Depends(of_more)])
