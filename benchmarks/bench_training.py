"""Training as params.yaml has it: images a second, how long steps wait for batches, and how much of the peak is used.

`python -m benchmarks.bench_training` prints it, with `train.device=cuda` and the like as overrides: on a GPU, give
`train.loader_threads` until the wait is under 5 %. Pages are noise: what they show changes no speed.
"""

import json
import re
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.bench_intake import SPEC
from benchmarks.contest import note
from vizecg.batches import TrainingData, training_batch
from vizecg.config import override, read_params
from vizecg.losses import total_loss
from vizecg.models import build_model
from vizecg.recipe import Recipe
from vizecg.steps import params_models
from vizecg.training import resolve_device, train

PARAMS = Path(__file__).parent.parent / "params.yaml"
RECORDS, LABELS = 272, 5
# The first epoch waits for compilers, and on a GPU for its libraries.
EPOCHS = 3
# Dense bfloat16, from the vendor's data sheets; multiply and add are two.
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12}


def made_up() -> TrainingData:
    rng = np.random.default_rng(0)
    return TrainingData(
        pages=rng.integers(0, 256, (2 * RECORDS, SPEC.height_px, SPEC.width_px), dtype=np.uint8),
        page_row=np.arange(2 * RECORDS) // 2,
        page_copy=np.arange(2 * RECORDS) % 2,
        signals_uv=rng.integers(-500, 500, (RECORDS, 12, 1000)).astype(np.int16),
        sampling_hz=100,
        has_signal=np.ones(RECORDS, bool),
        labels=rng.integers(0, 2, (RECORDS, LABELS)).astype(np.uint8),
        codes=tuple(f"C{number}" for number in range(LABELS)),
        ecg_ids=np.arange(RECORDS),
        training_rows=np.arange(RECORDS - 16),
        validation_rows=np.arange(RECORDS - 16, RECORDS),
        digest="benchmark",
    )


def measure(recipe: Recipe) -> dict[str, Any]:
    """Of the last epochs of a short training."""
    data = made_up()
    clock: dict[int, list[float]] = defaultdict(list)
    trained = train(
        data,
        recipe.model_copy(update={"epochs": EPOCHS, "schedule": "joint"}),
        seed=0,
        on_step=lambda report: clock[report.epoch].append(time.perf_counter()),
    )
    warm = [clock[epoch] for epoch in range(2, EPOCHS + 1)]
    step_s = float(np.median(np.concatenate([np.diff(ticks) for ticks in warm])))
    images = len(data.training_rows) / len(warm[0])
    waiting_s = float(np.mean([report.waiting_s for report in trained.history[1:]]))
    found = {
        "images_per_s": round(images / step_s, 1),
        "step_ms": round(step_s * 1000, 2),
        "waiting_share": round(waiting_s / (step_s * len(warm[0])), 4),
        "gflop_per_image": round(flops_of_a_batch(recipe, data) / recipe.batch_size / 1e9, 3),
    }
    return found | share_of_peak(found, precision=trained.precision, device=resolve_device(recipe.device))


def flops_of_a_batch(recipe: Recipe, data: TrainingData) -> int:
    """Forward and backward, as torch counts them; norms and activations are not in it."""
    batch = training_batch(data, np.arange(recipe.batch_size), jitter=recipe.jitter, seed=0, epoch=0)
    model = build_model(recipe.model, labels=LABELS, seed=0)
    with FlopCounterMode(display=False) as counter:
        logits = model(torch.from_numpy(batch.image), torch.from_numpy(batch.signal_mv))
        loss = total_loss(
            logits,
            torch.from_numpy(batch.labels),
            classification_weight=1.0,
            distillation_weight=1.0,
            temperature=2.0,
            teacher="both",
        )
        loss.total.backward()
    return counter.get_total_flops()


def share_of_peak(found: dict[str, Any], *, precision: str, device: torch.device) -> dict[str, Any]:
    """Empty where the peak is not known: of CPUs, other cards, and number formats but bfloat16."""
    if device.type != "cuda" or precision != "bfloat16":
        return {}
    name = torch.cuda.get_device_name(device)
    peaks = [peak for card, peak in PEAK_FLOPS.items() if card in re.split("[ -]", name)]
    return (
        {"share_of_peak": round(found["images_per_s"] * found["gflop_per_image"] * 1e9 / peaks[0], 4)} if peaks else {}
    )


def recipe_of(path: Path) -> Recipe:
    params = read_params(path, models=params_models())["train"]
    return Recipe.model_validate(params.model_dump(exclude={"seed"}))


@pytest.mark.all_cores
def test_training() -> None:
    note({"name": "training as params.yaml has it", "figures": measure(recipe_of(PARAMS))})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PARAMS.name
        copyfile(PARAMS, path)
        override(path, sys.argv[1:], models=params_models())
        print(json.dumps(measure(recipe_of(path)), indent=2))
