"""Where a label was seen: in the right place, in the right colour, readable, and only for labels that are known."""

import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from vizecg import explanation, intake
from vizecg.evidence_map import field_of, film, overlaid
from vizecg.predictor import Predictor


@pytest.fixture
def api(service):
    with httpx.Client(base_url=service, trust_env=False, timeout=20) as opened:
        yield opened


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def tinted(sheet: np.ndarray) -> float:
    """Share of pixels that are clearly orange or blue."""
    red, blue = sheet[..., 0].astype(int), sheet[..., 2].astype(int)
    return float((abs(red - blue) > 60).mean())


def test_a_sheet_has_a_panel_for_each_label_asked_for(api, page_png):
    everything = api.post("/v1/explain", content=page_png)
    assert everything.headers["content-type"] == "image/png"
    one, two, five = (
        pixels_of(api.post(f"/v1/explain{query}", content=page_png).content)
        for query in ("?labels=MI", "?labels=MI,CD", "")
    )
    assert one.shape[1] > 960  # alone, as large as can be
    assert two.shape[0] < five.shape[0] - 1000  # three rows of two instead of one
    assert tinted(five) > 0.02
    np.testing.assert_array_equal(five, pixels_of(everything.content))


def test_a_label_is_drawn_where_the_network_says(bundle, page_png):
    predictor = Predictor.load(bundle)
    reading = predictor.read(page_png)
    canonical = reading.taken.canonical
    expected = predictor.model.run(canonical[np.newaxis]).evidence[0]
    np.testing.assert_allclose(reading.evidence, expected, rtol=1e-5)
    assert [label.code for label in reading.answer.labels][1] == "MI"
    cell_h, cell_w = (side // grid for side, grid in zip(canonical.shape, expected.shape[1:], strict=True))
    row, column = np.unravel_index(np.abs(expected[1]).argmax(), expected[1].shape)
    drawn = film(expected[1], size_px=canonical.shape[::-1])
    strongest = np.unravel_index(drawn[..., 3].argmax(), canonical.shape)
    assert strongest[0] // cell_h == row
    assert strongest[1] // cell_w == column
    is_for = expected[1, row, column] > 0
    assert (drawn[strongest][0] > drawn[strongest][2]) == is_for


def test_a_film_multiplied_with_the_page_is_the_overlay():
    rng = np.random.default_rng(5)
    page = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    evidence = rng.normal(size=(6, 8)).astype(np.float32)
    layer = film(evidence, size_px=(80, 60)).astype(np.float64) / 255
    colour, opacity = layer[..., :3], layer[..., 3:]
    # Source over with blend mode multiply, as CSS has it (W3C Compositing and Blending, section 10).
    blended = page * ((1 - opacity) + opacity * colour)
    np.testing.assert_allclose(overlaid(page, evidence), blended, atol=1.5)


@pytest.mark.parametrize("enlarged", [1, 3])
def test_the_page_is_shown_upright_and_where_the_model_sees_it(page_png, enlarged):
    page = Image.open(io.BytesIO(page_png)).convert("RGB")
    turned = page.resize((page.width * enlarged, page.height * enlarged)).rotate(-7, expand=True, fillcolor="white")
    stream = io.BytesIO()
    turned.save(stream, "PNG")
    picture = intake.open_upload(stream.getvalue())
    spec = intake.CanonicalSpec()
    taken = intake.normalise(picture, spec=spec)
    field = field_of(picture, taken, spec=spec, width_px=spec.width_px)
    # Ink is where the canonical picture has it: dark there on average, light elsewhere.
    ink = taken.canonical < 100
    luminance = field.min(axis=2).astype(float)
    assert luminance[ink].mean() < luminance[~ink].mean() - 60


def test_the_parts_are_the_answer_the_page_and_a_film_for_each_label(api, page_png):
    parts = api.post("/v1/explain?labels=CD", content=page_png, headers={"accept": "application/json"}).json()
    answer = api.post("/v1/predict", content=page_png).json()
    assert parts["answer"]["labels"] == answer["labels"]
    page = pixels_of(base64.b64decode(parts["page"]["data"]))
    assert page.shape == (parts["page"]["height_px"], parts["page"]["width_px"], 3)
    (only,) = parts["films"]
    assert only["code"] == "CD"
    assert pixels_of(base64.b64decode(only["data"])).shape[2] == 4


def test_a_rejected_picture_is_shown_with_the_reason_and_without_evidence(api):
    stream = io.BytesIO()
    Image.new("RGB", (800, 600), "white").save(stream, "PNG")
    sheet = api.post("/v1/explain?labels=MI", content=stream.getvalue())
    assert sheet.status_code == 200
    assert tinted(pixels_of(sheet.content)) == 0
    parts = api.post("/v1/explain", content=stream.getvalue(), headers={"accept": "application/json"}).json()
    assert parts["answer"]["decision"] == "reject"
    assert parts["films"] == []


def test_a_label_that_the_model_does_not_know_is_422_with_those_it_knows(api, page_png):
    response = api.post("/v1/explain?labels=MI,AFIB", content=page_png)
    assert response.status_code == 422
    problem = response.json()
    assert problem["detail"] == "labels names a class that the model does not know"
    assert (problem["got"], problem["allowed"]) == ("AFIB", "NORM, MI, STTC, CD, HYP")


def test_what_is_no_picture_is_refused_as_everywhere(api):
    assert api.post("/v1/explain", content=b"Dear doctor").status_code == 415


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "image/png"),
        ("*/*", "image/png"),
        ("application/json", "application/json"),
        ("image/*;q=0.5, application/json", "application/json"),
        ("application/json;q=0.1, image/png", "image/png"),
        ("text/html", "image/png"),
        ("application/json;q=nonsense, */*;q=0.1", "image/png"),
    ],
)
def test_the_caller_chooses_the_form(service, page_png, accept, kind):
    headers = {"accept": accept} if accept else {}
    with httpx.Client(base_url=service, trust_env=False, timeout=20) as client:
        if not accept:
            del client.headers["accept"]
        response = client.post("/v1/explain?labels=MI", content=page_png, headers=headers)
    assert response.headers["content-type"] == kind


def test_of_many_labels_those_nearest_to_their_thresholds_are_drawn(bundle, page_png):
    answer = Predictor.load(bundle).predict(page_png)
    many = tuple(
        answer.labels[0].model_copy(update={"code": f"C{at}", "probability": at / 40, "threshold": 0.5})
        for at in range(40)
    )
    drawn = explanation.drawn_labels(answer.model_copy(update={"labels": many}))
    assert drawn == tuple(f"C{at}" for at in range(28, 40))
