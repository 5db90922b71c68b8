"""A hospital measures a model on its own pages: every page counted, every number with its interval, nobody named."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import roc_auc_score

from vizecg.bundle import BUNDLE
from vizecg.cli import cli
from vizecg.errors import InputError
from vizecg.external import evaluate_images
from vizecg.page import STYLES, draw_page
from vizecg.predictor import Predictor

ROOT = Path(__file__).parent.parent
PATIENT = "Erika Mustermann"
PAGES = 24


def page(seed):
    rng = np.random.default_rng(seed)
    time_s = np.arange(1000) / 100
    beat = np.exp(-((((time_s * rng.uniform(0.9, 1.6)) % 1 - 0.4) / 0.03) ** 2))
    signal = beat * rng.uniform(0.3, 2, (12, 1)) + 0.02 * rng.normal(size=(12, 1000))
    return draw_page(signal, sampling_hz=100, style=STYLES["standard"], px_per_mm=4.0).rgb


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle of an untrained network: what it says is noise, and the same noise every time."""
    import importlib.util

    path = ROOT / "tests" / "serving" / "conftest.py"
    spec = importlib.util.spec_from_file_location("serving_conftest", path)
    assert spec is not None
    assert spec.loader is not None
    serving = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serving)
    return serving.build_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospital") / "scans"
    folder.mkdir()
    rng = np.random.default_rng(5)
    rows = []
    for number in range(PAGES):
        Image.fromarray(page(number)).save(folder / f"{number:02d}.png")
        labels = ";".join(code for code in ("NORM", "MI", "CD") if rng.random() < 0.5) or "STTC"
        rows.append((f"{number:02d}.png", f"{PATIENT} {number // 2}", labels, "f" if number % 2 else "m"))
    Image.fromarray(np.full((900, 1200, 3), 250, np.uint8)).save(folder / "blank.png")
    (folder / "note.png").write_text("no picture")
    rows += [("blank.png", "x", "MI", "f"), ("note.png", "y", "MI", ""), ("gone.png", "z", "", "")]
    with (folder / "labels.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([("file", "patient_id", "labels", "sex"), *rows])
    return folder


@pytest.fixture(scope="module")
def report(images, bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "external"
    labels = images / "labels.csv"
    found = evaluate_images(images, labels=labels, label_map=None, bundle=bundle, out=out, threads=1)
    return out, found


def test_every_page_is_counted_once(report):
    _, found = report
    pages = found["pages"]
    assert pages["listed"] == PAGES + 3 == sum(pages[name] for name in ("ok", "abstain", "reject", "unreadable"))
    assert (pages["unreadable"], pages["reject"], pages["unlabelled"]) == (2, 1, 1)
    assert pages["patients"] == PAGES // 2 + 3
    assert pages["reasons"]["image_unreadable"] == pages["reasons"]["missing_file"] == 1
    assert found["records"] == PAGES


def test_scores_are_those_of_the_answers_that_the_service_would_give(report, images, bundle):
    out, found = report
    predictor = Predictor.load(bundle, threads=1)
    with (images / "labels.csv").open() as opened:
        rows = list(csv.DictReader(opened))[:PAGES]
    said = [predictor.predict((images / row["file"]).read_bytes()) for row in rows]
    mi = [next(label.probability for label in answer.labels if label.code == "MI") for answer in said]
    written = ["MI" in row["labels"].split(";") for row in rows]
    assert found["classes"]["MI"]["auroc"] == pytest.approx(roc_auc_score(written, mi), abs=1e-6)
    low, high = (found["classes"]["MI"][name] for name in ("auroc_low", "auroc_high"))
    assert low < found["classes"]["MI"]["auroc"] < high
    assert json.loads((out / "metrics.json").read_text()) == found
    table = pd.read_parquet(out / "predictions.parquet")
    np.testing.assert_allclose(table["probability_MI"][:PAGES], mi, atol=1e-6)


def test_a_case_without_an_answer_is_a_case_that_was_not_found(report):
    _, found = report
    scored = found["classes"]["MI"]
    hits = scored["recall"] * scored["positives"]
    assert found["sensitivity_with_rejected"]["MI"] == pytest.approx(hits / (scored["positives"] + 2))


def test_classes_with_too_few_pages_are_named_and_left_out_of_the_mean(report):
    out, found = report
    few = {code for code, each in found["classes"].items() if min(each["positives"], each["negatives"]) < 10}
    assert set(found["left_out"]) == few
    assert set(found["macro_classes"]) == set(found["classes"]) - few
    page = (out / "index.html").read_text()
    assert few
    for code in few:
        assert f"{code}: {found['classes'][code]['positives']} positive records, at least 10 are needed" in page


def test_small_groups_are_named_and_not_scored(report):
    _, found = report
    assert found["groups"]["sex male"] == {"records": PAGES // 2}


def test_nobody_is_named_in_the_report(report):
    out, _ = report
    for path in out.rglob("*"):
        if path.is_file():
            assert b"Mustermann" not in path.read_bytes(), path


def test_the_page_stands_alone(report):
    out, found = report
    page = (out / "index.html").read_text()
    assert f"Of {PAGES + 3} pages of {PAGES // 2 + 3} patients the model answered {PAGES}" in page
    assert f"{found['macro']['auroc']:.2f}" in page
    assert "http" not in page.replace("data:image/png", "")
    assert "<script" not in page
    assert page.count("<img") == 4


def test_the_command_says_what_it_found(images, bundle, tmp_path):
    done = CliRunner().invoke(
        cli, ["evaluate", "--images", str(images), "--bundle", str(bundle), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"evaluate: {PAGES + 3} pages, 1 rejected, 2 unreadable; macro AUROC 0.")
    assert (tmp_path / "out" / "index.html").is_file()


def test_the_step_of_that_name_is_still_there(tmp_path):
    done = CliRunner().invoke(cli, ["evaluate", "--records", str(tmp_path)])
    assert done.exit_code == 2
    assert "Missing option '--pages'" in done.output


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,patient_id,labels\nblank.png,p,MI\n", "no page is both labelled and answered"),
        ("file,patient_id,labels\n00.png,p,AFIB\n", "no page is both labelled and answered"),
        ("file,patient_id,labels\n00.png,p,flu\n", r"line 2 has the label 'flu', which is in no label map"),
    ],
)
def test_labels_that_measure_nothing_are_refused(images, bundle, tmp_path, table, message):
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        evaluate_images(
            images, labels=tmp_path / "labels.csv", label_map=None, bundle=bundle, out=tmp_path / "out", threads=1
        )
    assert not (tmp_path / "out").exists()


def test_a_damaged_bundle_is_one_sentence(images, bundle, tmp_path):
    import shutil

    broken = shutil.copytree(bundle, tmp_path / BUNDLE)
    (broken / "model.onnx").write_bytes(b"x")
    command = [sys.executable, "-m", "vizecg", "evaluate", "--images", str(images), "--bundle", str(broken)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "model.onnx is damaged" in done.stderr
    assert "Traceback" not in done.stderr
