"""One model, asked as the service asks it: files in, scores out, nothing of fold 10 before the end."""

import json
import shutil
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, hamming_loss, recall_score, roc_auc_score

from vizecg import evaluation, modelrun, publish, steps
from vizecg.calibration import ThresholdRule
from vizecg.config import override, read_params
from vizecg.errors import InputError
from vizecg.export import export_onnx, save_weights
from vizecg.labels import TASKS
from vizecg.models import build_model
from vizecg.operating_point import OperatingPoint
from vizecg.recipe import ModelConfig
from vizecg.records import Age, Provenance, Record, read_record_set, writing_record_set
from vizecg.reference import read_reference
from vizecg.simulate.recording import record
from vizecg.steps.evaluate import Params, RobustnessParams, run

TASK = TASKS["superdiagnostic"]
CODES = TASK.codes
STATEMENTS = {"NORM": "NORM", "MI": "IMI", "STTC": "NDT", "CD": "CLBBB", "HYP": "LVH"}
PER_CLASS = 4
NO_PAGES = Path("no-pages")  # only a protocol that trains reads them
ROBUSTNESS = RobustnessParams(records=None, styles=("standard", "6x2"), cameras=("clean", "scan"), executor="threads")
PARAMS = Params(
    robustness=ROBUSTNESS, min_positives=2, min_scored=1, abstain_margin=0.0, resamples=100, seed=7, threads=1
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation") / "records"
    source = Provenance(uri="folder:made-up", simulated=True, digest="d" * 64)
    with writing_record_set(folder, task=TASK, sampling_hz=100, samples=1000, source=source) as writer:
        ecg_id = 0
        for fold in (9, 10):
            for code, statement in STATEMENTS.items():
                for _ in range(PER_CLASS):
                    ecg_id += 1
                    heart = record((statement,), patient=(1, ecg_id), visit=(1, ecg_id))
                    writer.add(an_entry(ecg_id, fold=fold, code=code), signals_uv=heart.low_uv.astype(np.int16))
    return folder


def an_entry(ecg_id: int, *, fold: int, code: str) -> Record:
    return Record(
        ecg_id=ecg_id,
        source="folder:made-up",
        name=f"record {ecg_id}",
        patient_id=ecg_id,
        age=Age.of(50.0),
        sex="male",
        site="0",
        device="made up",
        recorded_at=None,
        fold=fold,
        classes=(code,),
    )


def write_model_run(folder, *, records_digest):
    config = ModelConfig(image_width=4, image_blocks=(1, 1, 1, 1), dim=16, heads=2, signal=False)
    model = build_model(config, labels=len(CODES), seed=3).eval()
    recipe = {"style": "standard", "camera": "scan", "copies": 1, "upload_px_per_mm": 3.0, "seed": 7}
    description = {
        "image": {"height_px": 144, "width_px": 256, "px_per_mm": 1.0},
        "recipe": recipe,
        "records": records_digest,
        "task": TASK.name,
        "classes": [{"code": entry.code, "name": entry.name} for entry in TASK.classes],
    }
    with publish.publishing(folder, kind=modelrun.MODEL_RUN, schema_version=modelrun.SCHEMA_VERSION) as staging:
        (staging / modelrun.DESCRIPTION_FILE).write_text(json.dumps(description))
        export_onnx(model, staging / modelrun.ONNX_FILE, image_height_px=144, image_width_px=256)
        save_weights(model, staging / modelrun.WEIGHTS_FILE)


@pytest.fixture(scope="module")
def model_run(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "run"
    write_model_run(folder, records_digest=read_record_set(records).digest)
    return folder


@pytest.fixture(scope="module")
def done(records, model_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    run(
        PARAMS,
        records=records,
        pages=NO_PAGES,
        model_run=model_run,
        evaluation=folder / "evaluation",
        metrics=folder / "metrics.json",
    )
    return folder


def test_scores_are_those_of_the_stored_predictions(done):
    scores = json.loads((done / "metrics.json").read_text())
    table = pd.read_parquet(done / "evaluation" / "predictions.parquet")
    assert scores["records"] == len(table) == 5 * PER_CLASS
    for code in CODES:
        expected = roc_auc_score(table[code], table[f"probability_{code}"])
        assert scores["classes"][code]["auroc"] == pytest.approx(expected, abs=1e-6)
    assert scores["simulated"] is True


def test_later_pictures_are_held_against_the_pages_that_were_scored(done):
    table = pd.read_parquet(done / "evaluation" / "predictions.parquet")
    reference = read_reference(done / "evaluation" / "reference.json")
    assert (reference.pictures, reference.rejected, reference.scale_from) == (len(table), 0, {"grid": len(table)})
    for code in CODES:
        said = reference.probabilities[code].array()
        assert said == pytest.approx(np.sort(table[f"probability_{code}"]), abs=1e-5)
    # Drawn at 3 px/mm with 10 mm/mV.
    assert reference.images["px_per_mm"].array() == pytest.approx(3.0, abs=0.01)
    assert set(reference.images["mm_per_mv"].array()) == {10.0}


def test_only_fold_10_is_scored_and_only_fold_9_sets_the_operating_point(done, records):
    record_set = read_record_set(records)
    table = pd.read_parquet(done / "evaluation" / "predictions.parquet")
    folds = record_set.table.set_index("ecg_id")["fold"]
    assert set(folds.loc[table["ecg_id"]]) == {10}
    point = OperatingPoint.read(done / "evaluation" / "operating_point.json")
    assert point.fitted_on["fold"] == 9
    assert point.fitted_on["positives"] == dict.fromkeys(CODES, PER_CLASS)


@pytest.fixture(scope="module")
def fold_9(records, model_run):
    return evaluation.ask(evaluation.read_model(model_run, threads=1), record_set=read_record_set(records), fold=9)


def test_labels_of_fold_10_cannot_move_the_operating_point(done, fold_9):
    point = evaluation.fit_operating_point(fold_9, min_positives=2, abstain_margin=0.0, fitted_on={})
    written = OperatingPoint.read(done / "evaluation" / "operating_point.json")
    assert (point.slope, point.bias, point.thresholds) == (written.slope, written.bias, written.thresholds)


def test_calibration_and_thresholds_are_those_that_were_asked_for(fold_9):
    point = evaluation.fit_operating_point(
        fold_9,
        min_positives=2,
        abstain_margin=0.0,
        fitted_on={},
        calibration="temperature",
        threshold=ThresholdRule(rule="sensitivity", at=0.75),
    )
    assert point.bias == (0.0,) * 5
    assert len(set(point.slope)) == 1
    called = point.positives(point.probabilities(fold_9.logits))
    # Three of the four positives of each class are the least that reach it.
    assert recall_score(fold_9.labels, called, average=None).min() >= 0.75


def test_whole_records_and_single_classes_are_two_accuracies(done):
    scores = json.loads((done / "metrics.json").read_text())
    table = pd.read_parquet(done / "evaluation" / "predictions.parquet")
    point = OperatingPoint.read(done / "evaluation" / "operating_point.json")
    called = table[[f"probability_{code}" for code in CODES]].to_numpy() >= np.asarray(point.thresholds)
    labels = table[list(CODES)].to_numpy()
    assert scores["exact_match"] == pytest.approx(accuracy_score(labels, called))
    assert scores["mean_per_class_accuracy"] == pytest.approx(1 - hamming_loss(labels, called))
    assert scores["exact_match_low"] <= scores["exact_match"] <= scores["exact_match_high"]
    assert scores["left_out"] == {}
    answered = ~point.abstains(table[[f"probability_{code}" for code in CODES]])
    assert scores["abstain"]["answered_share"] == pytest.approx(answered.mean())


def test_tables_for_analysts_are_there(done):
    folder = done / "evaluation"
    slices = json.loads((folder / "slices.json").read_text())["slices"]
    by_name = {(entry["kind"], entry["value"]): entry for entry in slices}
    assert by_name["age", "50-59"]["reason"] == f"{5 * PER_CLASS} records, at least 30 are needed"
    assert {kind for kind, _ in by_name} == {"sex", "age", "device", "site", "quality"}
    summary = json.loads((done / "metrics.json").read_text())["slices"]
    assert summary["too_small"] == len(slices) == len(pd.read_csv(folder / "slices.csv"))
    assert set(pd.read_csv(folder / "threshold_sweep.csv")["class"]) == set(CODES)
    assert pd.read_csv(folder / "risk_coverage.csv")["answered_share"].iloc[0] == 1


def test_a_fixed_sensitivity_is_asked_for_in_params_yaml(tmp_path):
    path = tmp_path / "params.yaml"
    shutil.copy(Path(__file__).parent.parent / "params.yaml", path)
    models = steps.params_models()
    override(path, ["evaluate.threshold.rule=sensitivity", "evaluate.threshold.at=0.9"], models=models)
    chosen = read_params(path, models=models)["evaluate"]
    assert chosen.threshold == ThresholdRule(rule="sensitivity", at=0.9)
    with pytest.raises(
        InputError, match=r"evaluate\.threshold: at is None, and the rule sensitivity needs one, such as 0\.9"
    ):
        override(path, ["evaluate.threshold.at=null"], models=models)
    with pytest.raises(InputError, match=r"evaluate\.calibration is 'platt'.*'slope_and_biases' or 'temperature'"):
        override(path, ["evaluate.calibration=platt"], models=models)


def test_other_pages_of_the_same_records_are_scored_against_the_clean_standard_page(done):
    cells = pd.read_csv(done / "evaluation" / "robustness.csv")
    assert list(zip(cells["style"], cells["camera"], strict=True)) == [
        ("standard", "clean"),
        ("standard", "scan"),
        ("6x2", "clean"),
        ("6x2", "scan"),
    ]
    scores = json.loads((done / "metrics.json").read_text())
    # The reference is the page that the whole fold is scored on, and here every record takes part.
    assert cells["auroc"][0] == pytest.approx(scores["macro"]["auroc"], abs=1e-6)
    assert cells["difference"].tolist() == pytest.approx((cells["auroc"] - cells["auroc"][0]).tolist(), abs=2e-6)
    assert scores["robustness"]["6x2, scan"]["difference"] == pytest.approx(cells["difference"][3], abs=1e-6)


def test_the_controls_are_asked_and_the_page_tells_their_answers(done):
    content = json.loads((done / "evaluation" / "controls.json").read_text())
    assert [control["name"] for control in content["controls"]] == [
        "without traces",
        "without header",
        "evidence by deletion",
    ]
    erased = content["controls"][0]
    assert erased["held"] is (erased["low"] <= 0.5 <= erased["high"])
    assert [page["expected"] for page in content["textbook"]] == [["NORM"], ["MI"], ["CD"]]
    page = (done / "evaluation" / "evaluation.html").read_text()
    assert "Does it look at the traces?" in page
    assert all(escape(control["question"]) in page for control in content["controls"])


def test_an_unknown_style_of_the_matrix_is_refused_before_anything_is_asked(records, model_run, tmp_path):
    params = PARAMS.model_copy(update={"robustness": RobustnessParams(styles=("papyrus",))})
    with pytest.raises(InputError, match=r"evaluate\.robustness: there is no style 'papyrus'; known: \['12x1'"):
        run(
            params,
            records=records,
            pages=NO_PAGES,
            model_run=model_run,
            evaluation=tmp_path / "e",
            metrics=tmp_path / "m.json",
        )


def test_curves_and_figures_are_there_and_say_simulated(done):
    folder = done / "evaluation"
    for code in CODES:
        assert pd.read_csv(folder / f"roc_{code}.csv")["true_positive_rate"].between(0, 1).all()
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert figures >= {
        f"{name}.png"
        for name in (
            *("roc", "precision_recall", "reliability", "probabilities", "thresholds", "confusion", "classes"),
            *("risk_coverage", "robustness"),
        )
    }


@pytest.mark.slow  # test_judging asks it of an evaluation that draws fewer pages
def test_evaluating_again_gives_the_same_bytes(done, records, model_run, tmp_path):
    run(
        PARAMS,
        records=records,
        pages=NO_PAGES,
        model_run=model_run,
        evaluation=tmp_path / "again",
        metrics=tmp_path / "metrics.json",
    )
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (done / "evaluation" / "manifest.json").read_bytes()
    assert (tmp_path / "metrics.json").read_bytes() == (done / "metrics.json").read_bytes()


def test_a_model_of_other_records_is_refused(records, tmp_path):
    write_model_run(tmp_path / "run", records_digest="of others")
    with pytest.raises(InputError, match=r"was trained on other records than .* holds; run train again"):
        run(
            PARAMS,
            records=records,
            pages=NO_PAGES,
            model_run=tmp_path / "run",
            evaluation=tmp_path / "evaluation",
            metrics=tmp_path / "metrics.json",
        )
    assert not (tmp_path / "evaluation").exists()


def test_a_fold_without_labelled_records_is_named(model_run, tmp_path):
    source = Provenance(uri="folder:made-up", simulated=True, digest="d" * 64)
    with writing_record_set(tmp_path / "records", task=TASK, sampling_hz=100, samples=1000, source=source) as writer:
        writer.add(an_entry(1, fold=1, code="NORM"), signals_uv=np.zeros((12, 1000), np.int16))
    model = evaluation.read_model(model_run, threads=1)
    with pytest.raises(InputError, match="fold 9 holds no labelled record"):
        evaluation.ask(model, record_set=read_record_set(tmp_path / "records"), fold=9)
