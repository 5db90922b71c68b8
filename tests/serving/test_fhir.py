"""Held to HL7 FHIR R4, https://hl7.org/fhir/R4/diagnosticreport.html."""

import io

import httpx
import pytest
from PIL import Image

from serving import fhir
from vizecg.predictor import Predictor

FHIR = {"Accept": "application/fhir+json"}


@pytest.fixture
def api(service):
    with httpx.Client(base_url=service, trust_env=False, timeout=20) as opened:
        yield opened


def everything_in(resource: object):
    yield resource
    parts = resource.values() if isinstance(resource, dict) else resource if isinstance(resource, list) else ()
    for part in parts:
        yield from everything_in(part)


def test_a_report_holds_the_answer_the_model_gives_and_says_that_a_machine_made_it(api, page_png, bundle):
    reply = api.post("/v1/predict", content=page_png, headers={**FHIR, "X-Request-ID": "ward-7"})
    assert reply.headers["content-type"] == "application/fhir+json"
    report = reply.json()
    assert (report["resourceType"], report["status"]) == ("DiagnosticReport", "preliminary")
    assert report["meta"]["security"][0]["code"] == report["meta"]["tag"][0]["code"] == "AIAST"
    assert report["identifier"][0]["value"] == "ward-7"
    device, quality, *labels = report["contained"]
    expected = Predictor.load(bundle).predict(page_png)
    assert device["version"][0]["value"] == expected.model.bundle_digest
    assert quality["valueBoolean"] is True
    for observation, label in zip(labels, expected.labels, strict=True):
        assert observation["code"]["coding"][0]["code"] == label.code
        assert observation["valueQuantity"]["value"] == pytest.approx(label.probability, abs=1e-4)
        assert observation["interpretation"][0]["coding"][0]["code"] == ("POS" if label.positive else "NEG")
        assert observation["status"] == "preliminary"


def test_every_reference_leads_to_something_contained_and_everything_contained_is_referred_to(api, page_png):
    report = api.post("/v1/predict", content=page_png, headers=FHIR).json()
    ids = [f"#{resource['id']}" for resource in report["contained"]]
    referred = {part["reference"] for part in everything_in(report) if isinstance(part, dict) and "reference" in part}
    assert referred == set(ids)
    assert len(ids) == len(set(ids))


def test_no_patient_is_made_up_and_nothing_is_empty(api, page_png):
    report = api.post("/v1/predict", content=page_png, headers=FHIR).json()
    parts = list(everything_in(report))
    assert not [part for part in parts if isinstance(part, dict) and {"subject", "patient"} & part.keys()]
    assert not [part for part in parts if part is None or part in ("", [], {})]  # FHIR R4, JSON representation


def test_a_picture_that_was_not_read_is_a_report_without_labels(api):
    stream = io.BytesIO()
    Image.new("RGB", (800, 600), "white").save(stream, "PNG")
    report = api.post("/v1/predict", content=stream.getvalue(), headers=FHIR).json()
    _, quality = report["contained"]
    assert quality["valueBoolean"] is False
    assert "not" in quality["note"][0]["text"]
    assert report["conclusion"].startswith("The picture was not read.")


def test_an_undecided_answer_is_indeterminate(bundle, page_png):
    answer = Predictor.load(bundle).predict(page_png).model_copy(update={"decision": "abstain"})
    report = fhir.report(answer)
    assert report["conclusion"].startswith("The model is undecided")
    assert {one["interpretation"][0]["coding"][0]["code"] for one in report["contained"][2:]} == {"IND"}


def test_a_problem_is_an_operation_outcome(api):
    reply = api.post("/v1/predict", content=b"Dear doctor", headers=FHIR)
    assert reply.status_code == 415
    assert reply.headers["content-type"] == "application/fhir+json"
    (issue,) = reply.json()["issue"]
    assert (issue["severity"], issue["code"]) == ("error", "not-supported")
    assert "the picture must be a PNG" in issue["diagnostics"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/fhir+json;q=0.5, application/json"])
def test_who_does_not_prefer_fhir_gets_the_answer(api, page_png, accept):
    assert "labels" in api.post("/v1/predict", content=page_png, headers={"Accept": accept}).json()
