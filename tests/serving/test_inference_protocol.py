"""Held to the protocol's own description: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol"""

import base64
import io
import json

import httpx
import pytest
from PIL import Image

from serving.app import create_app
from serving.settings import ServingSettings
from vizecg.predictor import Predictor

MODEL = "/v2/models/vizecgnet"


@pytest.fixture
def api(service):
    with httpx.Client(base_url=service, trust_env=False, timeout=20) as opened:
        yield opened


def asked(*pictures: bytes, **more) -> dict:
    data = [base64.b64encode(picture).decode() for picture in pictures]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}], **more}


def white() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (800, 600), "white").save(stream, "PNG")
    return stream.getvalue()


def outputs_of(reply: httpx.Response) -> dict:
    assert reply.status_code == 200, reply.text
    return {output["name"]: output for output in reply.json()["outputs"]}


def test_server_and_model_say_what_they_are(api):
    assert api.get("/v2").json().keys() == {"name", "version", "extensions"}
    assert api.get("/v2/health/live").json() == {"live": True}
    assert api.get("/v2/health/ready").json() == {"ready": True}
    assert api.get(f"{MODEL}/ready").json() == {"name": "vizecgnet", "ready": True}
    described = api.get(MODEL).json()
    assert described["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert {"name": "probability", "datatype": "FP64", "shape": [-1, 5]} in described["outputs"]


def test_pictures_are_read_as_everywhere_and_the_id_comes_back(api, page_png, bundle):
    reply = api.post(f"{MODEL}/infer", json=asked(page_png, white(), id="scan-42"))
    outputs = outputs_of(reply)
    assert (reply.json()["id"], reply.json()["model_name"]) == ("scan-42", "vizecgnet")
    assert outputs["decision"]["data"] == ["ok", "reject"]
    expected = Predictor.load(bundle).predict(page_png)
    assert outputs["probability"]["shape"] == [2, 5]
    assert outputs["probability"]["data"] == pytest.approx([*(one.probability for one in expected.labels), *[-1.0] * 5])
    assert outputs["positive"]["data"][:5] == [one.positive for one in expected.labels]
    assert outputs["classes"]["data"] == [one.code for one in expected.labels]
    assert json.loads(outputs["answer"]["data"][0])["model"]["bundle_digest"] == expected.model.bundle_digest


def test_the_metadata_describes_what_comes(api, page_png):
    described = api.get(MODEL).json()["outputs"]
    outputs = outputs_of(api.post(f"{MODEL}/infer", json=asked(page_png)))
    assert [one["name"] for one in described] == list(outputs)
    for one in described:
        got = outputs[one["name"]]
        assert got["datatype"] == one["datatype"]
        assert all(want in (-1, have) for want, have in zip(one["shape"], got["shape"], strict=True))


def test_only_the_outputs_asked_for_come_and_no_id_where_none_was_given(api, page_png):
    reply = api.post(f"{MODEL}/infer", json=asked(page_png, outputs=[{"name": "decision"}]))
    assert list(outputs_of(reply)) == ["decision"]
    assert "id" not in reply.json()


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        pytest.param("/v2/models/resnet/infer", asked(b"x"), 404, "there is no model 'resnet'", id="name"),
        pytest.param(f"{MODEL}/versions/9/infer", asked(b"x"), 404, "version '9' does not answer", id="version"),
        pytest.param("/v2/nothing", {}, 404, "not found", id="route"),
        pytest.param(f"{MODEL}/infer", {"inputs": []}, 400, "inputs: list should have at least 1 item", id="none"),
        pytest.param(f"{MODEL}/infer", asked(b"Dear doctor"), 400, "picture 0: the picture must be a PNG", id="text"),
        pytest.param(f"{MODEL}/infer", asked(*[b"x"] * 33), 413, "33 pictures, at most 32", id="many"),
        pytest.param(f"{MODEL}/infer", asked(bytes(1_000_001)), 413, "picture 0 is larger than 1000000", id="large"),
        pytest.param(
            f"{MODEL}/infer", asked(b"x", outputs=[{"name": "y"}]), 400, "there is no output 'y'", id="output"
        ),
        pytest.param(
            f"{MODEL}/infer",
            {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1], "data": [1.0]}]},
            400,
            "the input must be 'image' of BYTES, got 'image' of 'FP32'",
            id="datatype",
        ),
        pytest.param(
            f"{MODEL}/infer",
            {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": ["x"]}]},
            400,
            "shape [2] does not fit 1 pictures",
            id="shape",
        ),
        pytest.param(
            f"{MODEL}/infer",
            {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["~"]}]},
            400,
            "picture 0 is not base64",
            id="base64",
        ),
    ],
)
def test_errors_have_the_form_of_the_protocol(api, path, body, status, sentence):
    reply = api.post(path, json=body)
    assert reply.status_code == status
    assert reply.json().keys() == {"error"}
    assert sentence in reply.json()["error"]


def test_a_binary_tensor_is_refused_by_name(api):
    reply = api.post(f"{MODEL}/infer", content=b"{}", headers={"Inference-Header-Content-Length": "2"})
    assert reply.status_code == 400
    assert "binary tensor data is not supported" in reply.json()["error"]


def test_without_a_model_it_lives_and_is_not_ready(serve, tmp_path):
    settings = ServingSettings(state_dir=tmp_path, tracking_uri=f"sqlite:///{tmp_path}/none.db")
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/v2/health/live").json() == {"live": True}
        ready = client.get("/v2/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
        assert client.get(f"{MODEL}/ready").json()["error"].startswith("no model is ready")
