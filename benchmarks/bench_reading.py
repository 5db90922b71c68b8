"""Training examples: canonical pages and light jitter, against a folder of PNGs, and beside a training step."""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.bench_intake import SPEC
from benchmarks.contest import Contest, note
from benchmarks.peers import HZ
from vizecg import camera, intake
from vizecg.batches import TrainingData, training_batch
from vizecg.config import read_params
from vizecg.page import draw_page
from vizecg.pages import StoredPages
from vizecg.recipe import Recipe
from vizecg.steps import params_models

RECORDS, COPIES, BATCH = 96, 2, 32


@pytest.fixture(scope="module")
def pages(signals: list[np.ndarray]) -> np.ndarray:
    """(pages, height, width) as the standard recipe makes them: one as printed, one scanned, of each record."""
    made = []
    for number in range(RECORDS):
        page = draw_page(signals[number % len(signals)], sampling_hz=HZ, px_per_mm=4)
        scan = camera.photograph(page.rgb, preset="scan", rng=np.random.default_rng(number), px_per_mm=4)
        made += [intake.normalise(picture, spec=SPEC).canonical for picture in (page.rgb, intake.decode(scan))]
    return np.stack(made)


@pytest.fixture(scope="module")
def data(pages: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    shard = tmp_path_factory.mktemp("pages") / "shard-000.npy"
    np.save(shard, pages)
    rng = np.random.default_rng(0)
    return TrainingData(
        pages=StoredPages(shards=[np.load(shard, mmap_mode="r")], numbers=np.arange(len(pages)), spec=SPEC),
        page_row=np.arange(len(pages)) // COPIES,
        page_copy=np.arange(len(pages)) % COPIES,
        signals_uv=rng.integers(-500, 500, (RECORDS, 12, 1000)).astype(np.int16),
        sampling_hz=100,
        has_signal=np.ones(RECORDS, bool),
        labels=rng.integers(0, 2, (RECORDS, 5)).astype(np.uint8),
        codes=("NORM", "MI", "STTC", "CD", "HYP"),
        ecg_ids=np.arange(RECORDS),
        training_rows=np.arange(RECORDS - 16),
        validation_rows=np.arange(RECORDS - 16, RECORDS),
        digest="benchmark",
    )


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    params = read_params(Path(__file__).parent.parent / "params.yaml", models=params_models())
    return Recipe(**params["train"].model_dump(exclude={"seed"}))


def test_images_against_a_folder_of_pngs(
    contest: Contest, data: TrainingData, pages: np.ndarray, recipe: Recipe, tmp_path: Path
) -> None:
    for number, page in enumerate(pages):
        Image.fromarray(page).save(tmp_path / f"{number}.png")
    without_signals = replace(data, has_signal=np.zeros(RECORDS, bool))

    def ours(epoch: int) -> np.ndarray:
        rows = data.training_rows[:BATCH]
        return training_batch(without_signals, rows, jitter=recipe.jitter, seed=0, epoch=epoch).image

    def peer(epoch: int) -> np.ndarray:
        rng = np.random.default_rng(epoch)
        return np.stack([jittered(tmp_path / f"{number}.png", rng) for number in rng.integers(len(pages), size=BATCH)])

    def jittered(path: Path, rng: np.random.Generator) -> np.ndarray:
        with Image.open(path) as image:
            scales, shifts = 1 + rng.uniform(-0.03, 0.03, 2), rng.uniform(-4, 4, 2)
            moved = image.transform(
                image.size,
                Image.Transform.AFFINE,
                (1 / scales[0], 0, shifts[0], 0, 1 / scales[1], shifts[1]),
                resample=Image.Resampling.BILINEAR,
                fillcolor=255,
            )
        return np.clip((255 - np.asarray(moved, np.float32)) / 255 * rng.uniform(0.85, 1.15), 0, 1)[None]

    contest(
        f"{BATCH} training pages read and jittered",
        ours,
        list(range(8)),
        peer=("PNG folder, Pillow", peer),
        rounds=20,
        times=4,
        at_least=10,
    )


def test_share_of_a_training_step(data: TrainingData, recipe: Recipe) -> None:
    from vizecg.training import train

    clock: list[float] = []
    once = recipe.model_copy(update={"epochs": 3, "threads": 1})
    train(data, once, seed=0, on_step=lambda _: clock.append(time.perf_counter()))
    # Between two reports of one epoch lie one batch and one step of it.
    per_epoch = len(clock) // once.epochs
    step_s = np.median([later - one for at, (one, later) in enumerate(pairwise(clock), start=1) if at % per_epoch])
    without_signals = replace(data, has_signal=np.zeros(RECORDS, bool))
    rows = data.training_rows[: len(data.training_rows) // per_epoch]
    image_s = np.inf
    for epoch in range(20):
        began = time.perf_counter()
        training_batch(without_signals, rows, jitter=recipe.jitter, seed=0, epoch=epoch)
        image_s = min(image_s, time.perf_counter() - began)
    share = image_s / step_s
    note(
        {
            "name": "pages read and jittered, as a share of a training step",
            "figures": {"share": round(float(share), 4), "step_ms": round(step_s * 1000, 1), "wanted_below": 0.05},
        }
    )
