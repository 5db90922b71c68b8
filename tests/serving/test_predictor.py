import io
import shutil

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from PIL import Image

from vizecg import bundle as bundles
from vizecg import intake
from vizecg.answer import SIMULATED_NOTE
from vizecg.intake import CanonicalSpec
from vizecg.labels import TASKS
from vizecg.predictor import BrokenModel, ImageModel, Predictor

CODES = TASKS["superdiagnostic"].codes

SPEC = CanonicalSpec()


@pytest.fixture(scope="module")
def predictor(bundle):
    return Predictor.load(bundle)


def as_png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_an_answer_is_what_the_reference_implementation_of_onnx_says(predictor, bundle, page_png):
    canonical = intake.normalise(intake.decode(page_png), spec=SPEC).canonical
    reference = ReferenceEvaluator(onnx.load(bundle / "model.onnx"))
    logits, evidence = reference.run(["logits", "evidence"], {"image": intake.to_tensor(canonical)})
    answer = predictor.predict(page_png)
    # The fixture's calibration is the identity.
    assert [label.probability for label in answer.labels] == pytest.approx(1 / (1 + np.exp(-logits[0])), abs=1e-5)
    np.testing.assert_allclose(predictor.model.run(canonical[np.newaxis]).evidence, evidence, atol=1e-4)
    assert answer.decision == "ok"
    assert [label.code for label in answer.labels] == list(CODES)
    assert all(label.positive == (label.probability >= label.threshold) for label in answer.labels)
    assert answer.labels[1].name == "myocardial infarction"


def test_pages_in_one_batch_and_one_by_one_give_the_same(predictor):
    rng = np.random.default_rng(3)
    pages = rng.integers(0, 256, (70, SPEC.height_px, SPEC.width_px), dtype=np.uint8)  # more than one batch
    together = predictor.model.logits(pages)
    one_by_one = np.concatenate([predictor.model.logits(pages[at : at + 1]) for at in range(len(pages))])
    np.testing.assert_allclose(together, one_by_one, atol=1e-4)
    assert together.shape == (70, 5)


def test_a_picture_that_is_no_ecg_is_rejected_with_the_reason_and_without_labels(predictor):
    answer = predictor.predict(as_png(np.full((600, 800, 3), 255, np.uint8)))
    assert answer.decision == "reject"
    assert answer.labels == ()
    assert not answer.quality.is_ecg
    assert "not_an_ecg" in {finding.code for finding in answer.quality.findings}
    assert "inference" not in answer.timing_ms


def test_it_abstains_when_no_label_is_clearly_positive(make, tmp_path, page_png):
    answer = Predictor.load(make.bundle(tmp_path, bias=-20.0)).predict(page_png)
    assert answer.decision == "abstain"
    assert [label.positive for label in answer.labels] == [False] * 5


def test_an_answer_names_its_model_and_says_that_it_is_simulated(predictor, bundle, page_png, make):
    named = predictor.known_as(version="4", alias="champion", run_id="abc", git_sha="0123abc")
    answer = named.predict(page_png, request_id="mine")
    assert answer.request_id == "mine"
    assert answer.model.model_dump() == {
        "name": "vizecgnet",
        "version": "4",
        "alias": "champion",
        "run_id": "abc",
        "git_sha": "0123abc",
        "data_digest": "1" * 64,
        "bundle_digest": make.digest(bundle),
        "simulated": True,
    }
    assert answer.notes == (SIMULATED_NOTE,)
    assert "not a medical device" in answer.disclaimer
    assert {"decode", "intake", "inference", "total"} == answer.timing_ms.keys()
    assert predictor.identity.version is None


def test_a_loaded_model_needs_its_files_no_more(bundle, tmp_path, page_png):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    predictor = Predictor.load(copy)
    shutil.rmtree(copy)
    assert predictor.predict(page_png).decision == "ok"


def test_no_numbers_are_no_answer(make, tmp_path, page_png):
    make.onnx(tmp_path / "nan.onnx", bias=float("nan"))
    model = ImageModel(tmp_path / "nan.onnx", SPEC)
    canonical = intake.normalise(intake.decode(page_png), spec=SPEC).canonical
    with pytest.raises(BrokenModel, match="the model gave logits that are not finite; it must not be served"):
        model.logits(canonical[np.newaxis])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"not a model", r"m\.onnx is not an ONNX model", id="text"),
        pytest.param(b"", r"m\.onnx ", id="empty"),
        pytest.param(None, r"m\.onnx is not there", id="missing"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(BrokenModel, match=sentence):
        ImageModel(tmp_path / "m.onnx", SPEC)


def test_a_truncated_model_is_refused(bundle, tmp_path):
    whole = (bundle / "model.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenModel, match=r"m\.onnx is not an ONNX model"):
        ImageModel(tmp_path / "m.onnx", SPEC)


def test_a_model_of_another_size_is_refused(make, tmp_path):
    make.onnx(tmp_path / "m.onnx", height_px=256)
    with pytest.raises(BrokenModel, match=r"m\.onnx takes .*256, 384.*expected image \(n, 1, 288, 384\)"):
        ImageModel(tmp_path / "m.onnx", SPEC)


def test_a_model_with_other_labels_than_its_contract_is_refused(forged, make):
    with pytest.raises(BrokenModel, match="has 3 labels, its contract 5; register the model again"):
        Predictor.load(forged(lambda folder: make.onnx(folder / "model.onnx", labels=3)))


def test_pages_of_another_size_are_a_fault_of_the_caller(predictor):
    with pytest.raises(ValueError, match=r"expected pages \(n, 288, 384\), got \(1, 10, 10\)"):
        predictor.model.logits(np.zeros((1, 10, 10), np.uint8))


def test_contract_and_file_agree_on_how_outputs_are_read(bundle):
    assert bundles.read(bundle)[1].operating_point == Predictor.load(bundle).operating_point


def test_a_margin_says_how_far_a_label_is_from_turning_also_for_answers_from_before_there_was_one(predictor, page_png):
    answer = predictor.predict(page_png)
    for label in answer.labels:
        assert label.margin == pytest.approx(label.probability - label.threshold)
        assert label.positive == (label.margin >= 0)
        older = label.model_dump(exclude={"margin"})
        assert type(label).model_validate(older) == label
