"""First weights as a file: made by a command, found by the step, and shipped for real records."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from vizecg import demo, steps, training
from vizecg.config import PARAMS_FILE, override, read_params
from vizecg.first_weights import KEPT, SHIPPED, pretrain_and_write, shipped_for
from vizecg.models import build_model
from vizecg.places import SIMULATED
from vizecg.pretraining import with_first_weights
from vizecg.publish import sha256_of
from vizecg.recipe import PretrainingParams, Recipe
from vizecg.steps.render import page_recipe

ROOT = Path(__file__).parent.parent
ASKED = PretrainingParams(records=10, seed=5, copies=1, epochs=1, workers=0)
TINY = ["render.px_per_mm=1.0", "train.threads=1"] + [
    f"train.model.{part}" for part in ("image_width=2", "dim=8", "heads=2", "signal_width=4")
]


def changed(folder, *assignments):
    """A checkout's params.yaml with other numbers, and the weights that lie in it."""
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / PARAMS_FILE, folder / PARAMS_FILE)
    override(folder / PARAMS_FILE, assignments, models=steps.params_models())
    (folder / SHIPPED.parent).mkdir(exist_ok=True)
    shutil.copy(ROOT / SHIPPED, folder / SHIPPED)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Weights of a tiny network, written by the command into the folder of its params.yaml."""
    folder = changed(tmp_path_factory.mktemp("pretrain") / "checkout", *TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pretrain_and_write(folder / "first.safetensors", ASKED)
    return folder


def test_what_the_command_writes_fills_the_network_of_params_yaml(written):
    train = read_params(written / PARAMS_FILE, models=steps.params_models())["train"]
    weights = load_file(written / "first.safetensors")
    own = build_model(train.model, labels=5, seed=0).state_dict()
    assert {name: value.shape for name, value in weights.items()} == {
        name: tuple(value.shape) for name, value in own.items()
    }
    drawn = build_model(train.model, labels=5, seed=1).state_dict()  # what pretraining itself began with
    assert not np.array_equal(weights["image_head.score.weight"], drawn["image_head.score.weight"].numpy())


def test_the_step_train_finds_what_the_command_has_made(written, monkeypatch):
    params = read_params(written / PARAMS_FILE, models=steps.params_models())
    pages = page_recipe(params["render"])
    recipe = Recipe.model_validate({**params["train"].model_dump(exclude={"seed"}), "pretraining": ASKED})
    monkeypatch.setattr(training, "train", None)
    begun = with_first_weights(
        recipe,
        record_set=SimpleNamespace(task="superdiagnostic", codes=("NORM", "MI", "STTC", "CD", "HYP"), sampling_hz=100),
        page_set=SimpleNamespace(spec=pages.spec, recipe={"upload_px_per_mm": pages.upload_px_per_mm}),
        folder=written / KEPT,
    )
    assert begun.model.init.sha256 == sha256_of(written / "first.safetensors")


def test_the_weights_in_the_checkout_fit_its_network_and_are_those_its_page_describes():
    init = shipped_for(ROOT)
    assert init.path == str(SHIPPED)
    said = (ROOT / SHIPPED.parent / "README.md").read_text()
    assert set(re.findall(r"[0-9a-f]{64}", said)) == {init.sha256}
    assert (ROOT / SHIPPED).stat().st_size < 5e6


@pytest.mark.parametrize("task", ["superdiagnostic", "rhythm"])
def test_they_serve_any_task(tmp_path, task):
    assert shipped_for(changed(tmp_path, f"ingest.task={task}")) is not None


@pytest.mark.parametrize(
    "asked",
    [
        "train.model.image_width=32",
        "train.model.architecture=resnet18",
        "train.pretraining={records: 100, seed: 1, epochs: 1}",
        f"train.model.init={{path: own.safetensors, sha256: '{'0' * 64}'}}",
    ],
)
def test_another_network_or_other_first_weights_do_without_them(tmp_path, asked):
    assert shipped_for(changed(tmp_path, asked)) is None


def test_a_checkout_without_them_trains_from_drawn_weights(tmp_path):
    folder = changed(tmp_path)
    (folder / SHIPPED).unlink()
    assert shipped_for(folder) is None


def test_real_records_begin_with_them_and_simulated_ones_do_not(tmp_path, monkeypatch):
    asked = {}

    def clone_for(_, *, data, overrides, **__):
        asked[data] = overrides

    monkeypatch.setattr(demo, "clone_for", clone_for)
    console = SimpleNamespace(print=lambda _: None)
    for data in (SIMULATED, "physionet", str(tmp_path)):
        demo._prepare_place(changed(tmp_path), data=data, settings=None, console=console)
    named = [f'train.model.init={{path: {SHIPPED}, sha256: "{sha256_of(ROOT / SHIPPED)}"}}']
    assert asked == {SIMULATED: [], "physionet": named, str(tmp_path): named}
    override(tmp_path / PARAMS_FILE, named, models=steps.params_models())
