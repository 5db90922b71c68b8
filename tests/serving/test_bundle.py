import json
from pathlib import Path

import numpy as np
import pytest

from vizecg import bundle as bundles
from vizecg import bundling, model_card, publish, textbook
from vizecg.bundle import GoldenMismatch
from vizecg.errors import InputError
from vizecg.labels import TASKS
from vizecg.predictor import BrokenModel, Predictor
from vizecg.sources.source import PHYSIONET_URL

CODES = TASKS["superdiagnostic"].codes


def edit_json(name: str, **changes: object):
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return change


def test_the_same_inputs_make_the_same_bytes(bundle, make, tmp_path):
    again = make.bundle(tmp_path)
    names = {path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file()}
    assert names == {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    assert all((bundle / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_a_bundle_says_what_serving_must_match(bundle):
    digest, contract = bundles.read(bundle)
    assert digest == publish.read_manifest(bundle, kind="bundle", schema_version=1).digest
    assert tuple(entry.code for entry in contract.classes) == CODES
    assert contract.image.field_mm == (384 / 1.5, 288 / 1.5)
    assert contract.scores.macro_auroc == 0.9
    assert contract.simulated
    assert contract.operating_point.thresholds == (0.3, 0.35, 0.4, 0.45, 0.5)
    assert contract.operating_point.to_json() == (bundle / "operating_point.json").read_text()


def test_goldens_are_simulated_pages_whatever_the_model_was_trained_on(make, tmp_path):
    built = make.bundle(tmp_path, simulated=False)
    assert [golden.data for golden in bundles.read_goldens(built)] == textbook.textbook_pages(2)


def test_goldens_hold_with_the_code_they_were_made_with(bundle):
    bundles.check_goldens(Predictor.load(bundle), folder=bundle)


def test_another_network_behind_the_same_contract_is_noticed(bundle, second_bundle):
    with pytest.raises(GoldenMismatch, match=r"page-0 of .*: the network's logits differ by .*, allowed 0\.001"):
        bundles.check_goldens(Predictor.load(second_bundle), folder=bundle)


def test_an_intake_that_sees_something_else_is_noticed(forged):
    def shift(folder: Path) -> None:
        path = folder / "goldens" / "page-0.npy"
        np.save(path, np.roll(np.load(path), 3, axis=1))

    changed = forged(shift)
    with pytest.raises(GoldenMismatch, match=r"page-0 of .*: the intake's picture differs by .*, allowed 2"):
        bundles.check_goldens(Predictor.load(changed), folder=changed)


def test_another_calibration_is_noticed(forged, bundle):
    point = json.loads((bundle / "operating_point.json").read_text()) | {"bias": [0.5] * 5}
    changed = forged(edit_json("contract.json", operating_point=point))
    with pytest.raises(GoldenMismatch, match=r"the probabilities differ by .*, allowed 0.02"):
        bundles.check_goldens(Predictor.load(changed), folder=changed)


def test_a_bundle_without_goldens_proves_nothing_and_is_refused(forged):
    changed = forged(edit_json("goldens/goldens.json", pages=[]))
    with pytest.raises(InputError, match=r"goldens\.json: pages: .*register the model again"):
        bundles.check_goldens(Predictor.load(changed), folder=changed)


def test_a_golden_cannot_name_a_file_outside_the_bundle(forged, bundle):
    (page, *_) = json.loads((bundle / "goldens/goldens.json").read_text())["pages"]
    changed = forged(edit_json("goldens/goldens.json", pages=[{**page, "canonical": "../../secret.npy"}]))
    with pytest.raises(InputError, match=r"goldens\.json: pages\.0\.canonical"):
        bundles.read_goldens(changed)


def test_pickles_are_not_opened(forged):
    changed = forged(lambda folder: np.save(folder / "goldens/page-0.npy", np.array([{}], dtype=object)))
    with pytest.raises(InputError, match=r"page-0\.npy is not an array"):
        bundles.read_goldens(changed)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({"schema_version": 2}, r"contract\.json: schema_version: ", id="newer-schema"),
        pytest.param({"colour": "red"}, r"contract\.json: colour: extra inputs are not permitted", id="unknown-field"),
        pytest.param({"classes": []}, r"contract\.json: classes: ", id="no-classes"),
        pytest.param(
            {"classes": [{"code": code, "name": code} for code in reversed(CODES)]},
            r"the operating point is for \['NORM', .*\], the model for \['HYP', ",
            id="other-order",
        ),
    ],
)
def test_a_contract_that_is_not_understood_is_refused(forged, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        bundles.read(forged(edit_json("contract.json", **changes)))


def test_a_flipped_bit_is_noticed(bundle, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in bundle.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(bundle)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(data)
    with pytest.raises(InputError, match=r"model\.onnx is damaged: its SHA-256 is"):
        Predictor.load(copy)


def test_an_evaluation_of_another_model_is_refused(make, tmp_path):
    run, other = make.model_run(tmp_path / "run"), make.model_run(tmp_path / "other", seed=1)
    evaluation = make.evaluation(tmp_path / "evaluation", model_run=other)
    with pytest.raises(InputError, match=r"evaluation scores model run .*…, .*run is .*…; run evaluate again"):
        bundling.read_sources(run, evaluation=evaluation)


def test_an_evaluation_of_other_classes_is_refused(make, tmp_path):
    run = make.model_run(tmp_path / "run")
    evaluation = make.evaluation(tmp_path / "evaluation", model_run=run, classes=("NORM", "MI"))
    with pytest.raises(InputError, match=r"evaluation is for the classes \['NORM', 'MI'\], .*run for"):
        bundling.read_sources(run, evaluation=evaluation)


def test_a_model_that_gives_no_numbers_is_never_bundled(make, tmp_path):
    with pytest.raises(BrokenModel, match=r"the model gave logits that are not finite"):
        make.bundle(tmp_path, bias=float("nan"))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("simulated", [True, False])
def test_the_card_says_loudly_what_the_model_was_trained_on(make, tmp_path, simulated):
    card = (make.bundle(tmp_path, simulated=simulated) / "model_card.md").read_text()
    assert ("**SIMULATED.**" in card) is simulated
    assert "not a medical device" in card
    assert "0.900 (0.850 to 0.940)" in card
    assert "| MI | 0.350 |" in card


def test_a_bundle_from_before_there_were_tasks_is_of_the_superclasses(forged):
    def forget(staging):
        path = staging / "contract.json"
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "task"}))

    assert bundles.read(forged(forget))[1].task == "superdiagnostic"


@pytest.fixture
def contract(bundle):
    return bundles.read(bundle)[1]


def card_of(contract, *, uri, simulated=False):
    metrics = {"auroc": 0.9}
    scores = {"records": 9, "macro": metrics, "macro_classes": ["MI"], "classes": dict.fromkeys(CODES, metrics)}
    contract = contract.model_copy(update={"simulated": simulated})
    return model_card.write(contract, scores=scores, description={"source": {"uri": uri}})


@pytest.mark.parametrize("uri", ["folder:hospital", "archive:hospital.zip", "https://example.org/ecg/"])
def test_the_card_names_the_source_and_claims_nothing_about_it(contract, uri):
    card = card_of(contract, uri=uri)
    assert f"trained on records of {uri} with the signal" in card
    assert f"Trained and scored on one source ({uri}); nothing is known about others." in card
    assert "PTB-XL" not in card
    assert "Germany" not in card


def test_the_card_says_ptbxl_of_the_records_from_physionet(contract):
    card = card_of(contract, uri=PHYSIONET_URL)
    assert f"one source ({PHYSIONET_URL}; PTB-XL: Germany, 1989–1996)" in card


def test_the_card_names_every_source_that_was_joined(contract):
    parts = [{"uri": "folder:hospital", "simulated": False}, {"uri": "simulated:records=9,seed=7", "simulated": True}]
    source = {"uri": "folder:hospital + simulated:records=9,seed=7", "parts": parts}
    metrics = {"auroc": 0.9}
    scores = {"records": 9, "macro": metrics, "macro_classes": ["MI"], "classes": dict.fromkeys(CODES, metrics)}
    card = model_card.write(
        contract.model_copy(update={"simulated": True}), scores=scores, description={"source": source}
    )
    assert "trained on records of folder:hospital + simulated:records=9,seed=7 with the signal" in card
    assert "Trained and scored on 2 sources (folder:hospital; simulated hearts); nothing is known about others." in card


def test_the_card_of_simulated_records_names_no_source(contract):
    card = card_of(contract, uri="archive:made.zip", simulated=True)
    assert "trained on simulated records with the signal" in card
    assert "Trained and scored on simulated hearts, which have no medical meaning at all;" in card
    assert "made.zip" not in card


def test_more_goldens_than_there_are_textbook_pages_are_refused():
    with pytest.raises(ValueError, match=r"textbook pages must be from 1 to 8, got 9"):
        textbook.textbook_pages(9)
