"""The same page in training and in serving: what the model saw, and what it said, over all styles and cameras."""

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from serving.app import create_app
from serving.settings import ServingSettings
from vizecg import bundle as bundles
from vizecg import bundling, intake, publish
from vizecg.camera.presets import PRESETS
from vizecg.evaluation import read_model
from vizecg.export import export_onnx, save_weights
from vizecg.models import build_model
from vizecg.operating_point import OperatingPoint
from vizecg.page import STYLES, draw_page
from vizecg.pages import SCHEMA_VERSION, PageRecipe, PageSet, draw_upload, read_page_set, take_in, write_pages
from vizecg.publish import publishing
from vizecg.recipe import ModelConfig
from vizecg.simulate import recordings

PAGE_SET = "page-set"
HEARTS = 20
CONFIG = ModelConfig(image_width=4, image_blocks=(1, 1, 1, 1), signal_width=8, signal_blocks=(1,), dim=16, heads=2)
FP32 = 1e-5
FEW = 2 * len(STYLES)
MANY = 500


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A small VizECGNet as torch has it, and what is made of it on the way into service."""

    network: torch.nn.Module
    run: Path
    evaluation: Path
    bundle: Path


@pytest.fixture(scope="module")
def trained(make, tmp_path_factory) -> Trained:
    place = tmp_path_factory.mktemp("trained")
    network = _with_norms_of(build_model(CONFIG, labels=5, seed=0), _hearts_mv(8))
    template = make.model_run(place / "template")
    with publishing(place / "run", kind="model-run", schema_version=2) as staging:
        shutil.copyfile(template / "model.json", staging / "model.json")
        description = json.loads((staging / "model.json").read_text())
        description["recipe"] = {"style": "drawn", "camera": "drawn", "copies": 2, "upload_px_per_mm": 4.0, "seed": 7}
        (staging / "model.json").write_text(publish.to_json(description))
        size = {f"image_{side}_px": description["image"][f"{side}_px"] for side in ("height", "width")}
        export_onnx(network, staging / "model.onnx", **size)
        save_weights(network, staging / "model.safetensors")
    evaluation = make.evaluation(place / "evaluation", model_run=place / "run")
    tolerance = bundles.GoldenTolerance(gray_levels=2.0, logits=1e-3, probabilities=0.02)
    with publishing(place / "bundle", kind=bundles.BUNDLE, schema_version=bundles.SCHEMA_VERSION) as staging:
        bundling.build(staging, model_run=place / "run", evaluation=evaluation, goldens=1, tolerance=tolerance)
    return Trained(network=network, run=place / "run", evaluation=evaluation, bundle=place / "bundle")


def _hearts_mv(number: int) -> list[np.ndarray]:
    return [heart.low_uv / 1000.0 for heart in recordings(records=number, seed=9)]


def _with_norms_of(network: torch.nn.Module, signals_mv: list[np.ndarray]) -> torch.nn.Module:
    """Weights as drawn, norms as after an epoch on these pages: otherwise all pages have one answer."""
    drawn = [draw_page(signal_mv, sampling_hz=100, px_per_mm=4.0).rgb for signal_mv in signals_mv]
    seen = [intake.normalise(rgb, spec=intake.CanonicalSpec()).canonical for rgb in drawn]
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # a plain mean over the batches there were
    with torch.no_grad():
        network.train().predict_image(torch.from_numpy(np.concatenate([intake.to_tensor(page) for page in seen])))
    return network.eval()


def drawn_and_stored(folder: Path, pages: int) -> tuple[list[bytes], PageSet]:
    """Files of as many pages, styles and cameras in turn, and the page set that the pipeline makes of them."""
    hearts_mv, cameras, files, taken = _hearts_mv(HEARTS), list(PRESETS), [], []
    plain = PageRecipe(
        style="standard", camera="clean", copies=2, upload_px_per_mm=4.0, seed=7, spec=intake.CanonicalSpec()
    )
    for number in range(pages):
        # As many styles as have no factor in common with the cameras: all pairs come before one comes again.
        recipe = replace(plain, style=list(STYLES)[number % len(STYLES)], camera=cameras[number % len(cameras)])
        upload = draw_upload(hearts_mv[number % HEARTS], sampling_hz=100, ecg_id=number, copy=1, recipe=recipe)
        files.append(upload.data)
        taken.append(take_in(upload, row=number, ecg_id=number, copy=1, spec=recipe.spec))
    with publishing(folder, kind=PAGE_SET, schema_version=SCHEMA_VERSION) as staging:
        write_pages(staging, iter(taken), total=pages, recipe=plain, records_digest="r")
    return files, read_page_set(folder)


@pytest.mark.servers
@pytest.mark.parametrize("pages", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_page_is_the_same_picture_and_has_the_same_answer_in_training_and_over_http(trained, serve, tmp_path, pages):
    files, page_set = drawn_and_stored(tmp_path / "pages", pages)
    canonical = page_set.canonical(np.arange(pages))
    scored = read_model(trained.run, threads=1).network.logits(canonical)
    with torch.inference_mode():
        images = torch.from_numpy(np.concatenate([intake.to_tensor(page) for page in canonical]))
        learned = torch.cat([trained.network.predict_image(part) for part in images.split(32)]).numpy()
    point = OperatingPoint.read(trained.evaluation / bundles.OPERATING_POINT_FILE)
    settings = ServingSettings(bundle=trained.bundle, state_dir=tmp_path / "state")
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        answers = [client.post("/v1/predict", content=data).raise_for_status().json() for data in files]
    assert _seen_by(tmp_path / "state") == [hashlib.sha256(page.tobytes()).hexdigest() for page in canonical]
    pictures = {page.tobytes() for page in canonical}
    assert len(pictures) > 0.9 * pages, "one picture for all pages would agree as well"

    taken = page_set.index["is_ecg"].to_numpy()
    assert [answer["decision"] != "reject" for answer in answers] == taken.tolist()
    assert taken.mean() > 0.8
    said = np.array([[label["probability"] for label in answer["labels"]] for answer in answers if answer["labels"]])
    assert said.shape == (taken.sum(), 5)
    assert (said.std(axis=0) > 100 * FP32).all(), "one answer for all pages would agree as well"
    for logits in (scored, learned):
        np.testing.assert_allclose(said, point.probabilities(logits)[taken], rtol=0, atol=FP32)


def _seen_by(state: Path) -> list[str]:
    """Digests of the pages that the model of a service saw, as its audit trail has them."""
    lines = [json.loads(line) for path in state.glob("audit/*.jsonl") for line in path.read_text().splitlines()]
    return [line["canonical_sha256"] for line in lines if line["kind"] == "prediction"]
