"""Calibrated and scored out of fold: ten networks are scored, one is served, and nobody is told otherwise."""

import json
import shutil
from html import unescape

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score

from vizecg import evaluation, modelrun, publish, training
from vizecg.errors import Conflict, InputError
from vizecg.executors import InlineExecutor
from vizecg.export import export_onnx, save_weights
from vizecg.intake import CanonicalSpec
from vizecg.labels import TASKS
from vizecg.models import build_model
from vizecg.operating_point import OperatingPoint
from vizecg.out_of_fold import CACHE_NAME
from vizecg.pages import PAGE_SET, SCHEMA_VERSION, PageRecipe, draw_pages, read_page_set, write_pages
from vizecg.recipe import Recipe
from vizecg.records import FOLDS, Age, Provenance, Record, read_record_set, writing_record_set
from vizecg.simulate.recording import record
from vizecg.steps.evaluate import Params, RobustnessParams, run

TASK = TASKS["superdiagnostic"]
CODES = TASK.codes
STATEMENTS = {"NORM": "NORM", "MI": "IMI", "STTC": "NDT", "CD": "CLBBB", "HYP": "LVH"}
HEIGHT_PX, WIDTH_PX = 96, 160
RECIPE = PageRecipe(
    style="standard",
    camera="scan",
    copies=1,
    upload_px_per_mm=3.0,
    seed=7,
    spec=CanonicalSpec(height_px=HEIGHT_PX, width_px=WIDTH_PX, px_per_mm=0.6),
)
TRAINED = Recipe.model_validate(
    {"model": {"image_width": 2, "dim": 8, "heads": 2, "signal": False}, "epochs": 1, "batch_size": 16, "threads": 1}
)
PARAMS = Params(
    protocol="cross",
    robustness=RobustnessParams(
        records=None, styles=("standard",), cameras=("clean",), controls=False, executor="threads"
    ),
    min_positives=2,
    min_scored=1,
    abstain_margin=0.0,
    resamples=100,
    seed=7,
    threads=1,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Records in all ten folds, one of each class, their pages, and a model of them."""
    folder = tmp_path_factory.mktemp("judging")
    source = Provenance(uri="folder:made-up", simulated=True, digest="d" * 64)
    with writing_record_set(folder / "records", task=TASK, sampling_hz=100, samples=1000, source=source) as writer:
        for fold in FOLDS:
            for k, (code, statement) in enumerate(STATEMENTS.items()):
                ecg_id = 5 * fold + k
                heart = record((statement,), patient=(4, ecg_id), visit=(4, ecg_id))
                writer.add(an_entry(ecg_id, fold=fold, code=code), signals_uv=heart.low_uv.astype(np.int16))
    record_set = read_record_set(folder / "records")
    with (
        InlineExecutor() as executor,
        publish.publishing(folder / "pages", kind=PAGE_SET, schema_version=SCHEMA_VERSION) as staging,
    ):
        rows = range(len(record_set))
        pages = draw_pages(record_set, rows=rows, copies=[0], recipe=RECIPE, executor=executor)
        write_pages(staging, pages, total=len(rows), recipe=RECIPE, records_digest=record_set.digest)
    write_model_run(folder / "run", records=record_set.digest, pages=read_page_set(folder / "pages").digest)
    return folder


def an_entry(ecg_id, *, fold, code):
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


def write_model_run(folder, *, records, pages):
    model = build_model(TRAINED.model, labels=len(CODES), seed=3).eval()
    description = {
        "image": {"height_px": HEIGHT_PX, "width_px": WIDTH_PX, "px_per_mm": 0.6},
        "recipe": {"style": "standard", "camera": "scan", "copies": 1, "upload_px_per_mm": 3.0, "seed": 7},
        "params": {**TRAINED.model_dump(mode="json"), "seed": 5},
        "records": records,
        "pages": pages,
        "task": TASK.name,
        "classes": [{"code": entry.code, "name": entry.name} for entry in TASK.classes],
    }
    with publish.publishing(folder, kind=modelrun.MODEL_RUN, schema_version=modelrun.SCHEMA_VERSION) as staging:
        (staging / modelrun.DESCRIPTION_FILE).write_text(json.dumps(description))
        export_onnx(model, staging / modelrun.ONNX_FILE, image_height_px=HEIGHT_PX, image_width_px=WIDTH_PX)
        save_weights(model, staging / modelrun.WEIGHTS_FILE)


def evaluate(place, *, name="evaluation", params=PARAMS, **other):
    paths = {"records": place / "records", "pages": place / "pages", "model_run": place / "run"}
    run(params, **{**paths, **other}, evaluation=place / name, metrics=place / f"{name}.json")
    return place / name


@pytest.fixture(scope="module")
def done(place):
    return evaluate(place)


@pytest.fixture(scope="module")
def scores(done):
    return json.loads((done / "metrics.json").read_text())


@pytest.fixture(scope="module")
def predictions(done):
    return pd.read_parquet(done / "predictions.parquet")


def columns_of(predictions, name):
    return predictions[[f"{name}_{code}" for code in CODES]].to_numpy()


def test_every_record_is_scored_once_by_what_was_said_out_of_its_fold(scores, predictions, place):
    record_set = read_record_set(place / "records")
    assert predictions["ecg_id"].tolist() == record_set.table["ecg_id"].tolist()
    assert predictions["fold"].tolist() == record_set.table["fold"].tolist()
    assert scores["records"] == 50
    called = columns_of(predictions, "probability") >= columns_of(predictions, "threshold")
    for k, code in enumerate(CODES):
        found = scores["classes"][code]
        assert found["auroc"] == pytest.approx(roc_auc_score(predictions[code], predictions[f"probability_{code}"]))
        assert found["f1"] == pytest.approx(f1_score(predictions[code], called[:, k]))
    wrong = (called != predictions[list(CODES)].to_numpy().astype(bool)).any(axis=1)
    assert scores["exact_match"] == pytest.approx(1 - wrong.mean())


def refitted(predictions, chosen):
    """The operating point of these answers."""
    asked = evaluation.Asked(
        codes=CODES,
        rows=np.flatnonzero(chosen),
        labels=predictions.loc[chosen, list(CODES)].to_numpy(),
        logits=columns_of(predictions[chosen], "logit"),
        refused=(),
    )
    return evaluation.fit_operating_point(asked, min_positives=2, abstain_margin=0.0, fitted_on={})


def test_what_is_served_is_fitted_on_the_answers_of_all_ten_and_each_fold_is_read_without_its_own(done, predictions):
    served = OperatingPoint.read(done / "operating_point.json")
    assert served.fitted_on["protocol"] == "cross"
    assert (served.fitted_on["folds"], served.fitted_on["records"]) == (list(FOLDS), 50)
    assert refitted(predictions, predictions["fold"] > 0).thresholds == pytest.approx(served.thresholds)
    (used,) = np.unique(columns_of(predictions[predictions["fold"] == 3], "threshold"), axis=0)
    assert refitted(predictions, predictions["fold"] != 3).thresholds == pytest.approx(used)


def test_the_network_that_is_served_is_held_against_them_on_the_fold_it_has_not_seen(scores, predictions, place):
    model = evaluation.read_model(place / "run", threads=1)
    asked = evaluation.ask(model, record_set=read_record_set(place / "records"), fold=10)
    theirs = predictions[predictions["fold"] == 10]
    ours = np.mean([roc_auc_score(asked.labels[:, k], asked.logits[:, k]) for k in range(5)])
    others = np.mean([roc_auc_score(theirs[code], theirs[f"probability_{code}"]) for code in CODES])
    found = scores["served_network"]
    assert found["records"] == 5
    assert found["macro"]["auroc"] == pytest.approx(ours)
    assert found["out_of_fold_macro"]["auroc"] == pytest.approx(others)
    assert found["difference"] == pytest.approx(ours - others)
    said = refitted(predictions, predictions["fold"] != 10).probabilities(asked.logits)
    brier = np.mean([brier_score_loss(asked.labels[:, k], said[:, k]) for k in range(5)])
    assert found["macro"]["brier"] == pytest.approx(brier), "read by a calibration that knows nothing of the fold"


def test_every_number_says_which_records_it_is_of(scores, done):
    assert scores["protocol"] == "cross"
    assert "fold" not in scores
    assert scores["measured_on"]["macro"] == "folds 1 to 10, out of fold"
    assert scores["measured_on"]["robustness"] == "fold 10, by the network that is served"
    page = unescape((done / "evaluation.html").read_text())
    assert "this is the score of the recipe. The network that is served is none of the ten" in page
    assert "records of folds 1 to 10, out of fold" in page
    assert "Macro AUROC, served minus out of fold:" in page
    assert page.count("Asked of fold 10, by the network that is served.") == 1
    assert "chosen on fold 9" not in page


def test_one_network_and_two_folds_are_called_that(place):
    folder = evaluate(
        place, name="by-folds", params=PARAMS.model_copy(update={"protocol": "folds"}), pages=place / "no"
    )
    scores = json.loads((folder / "metrics.json").read_text())
    assert (scores["protocol"], scores["fold"], scores["records"]) == ("folds", 10, 5)
    assert scores["measured_on"]["macro"] == "fold 10"
    assert "served_network" not in scores
    page = (folder / "evaluation.html").read_text()
    assert "One network: it learned from folds 1 to 8" in page
    assert "The network that is served" not in page


@pytest.mark.usefixtures("done")
def test_another_threshold_rule_trains_nothing_again(place, monkeypatch, capsys):
    monkeypatch.setattr(training, "train", None)
    other = PARAMS.model_copy(update={"calibration": "temperature"})
    folder = evaluate(place, name="other", params=other)
    assert len(set(OperatingPoint.read(folder / "operating_point.json").slope)) == 1
    assert "fold 10 of 10: was there" in capsys.readouterr().out


def test_the_same_again_is_the_same_bytes(place, done):
    again = evaluate(place, name="again")
    assert (again / "manifest.json").read_bytes() == (done / "manifest.json").read_bytes()


def test_two_at_a_time_are_a_conflict(place):
    with (
        publish.locked(place / CACHE_NAME),
        pytest.raises(Conflict, match=r"\.answers is being written by another run"),
    ):
        evaluate(place, name="second")
    assert not (place / "second").exists()


def test_pages_that_the_model_did_not_learn_from_are_refused(place, tmp_path):
    with publish.publishing(
        tmp_path / "run", kind=modelrun.MODEL_RUN, schema_version=modelrun.SCHEMA_VERSION
    ) as staging:
        shutil.copytree(place / "run", staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        description = json.loads((staging / modelrun.DESCRIPTION_FILE).read_text())
        (staging / modelrun.DESCRIPTION_FILE).write_text(json.dumps({**description, "pages": "others"}))
    with pytest.raises(InputError, match="the model learned from other pages than these; run train again"):
        evaluate(place, name="refused", model_run=tmp_path / "run")
