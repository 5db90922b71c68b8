"""First weights from simulated records: who has them, that they are made once, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file

from vizecg import training
from vizecg.comparing import Contender
from vizecg.errors import InputError
from vizecg.intake import CanonicalSpec
from vizecg.labels import TASKS
from vizecg.models import build_model
from vizecg.pages import read_page_set
from vizecg.pretraining import refuse_other_classes, with_first_weights
from vizecg.recipe import Recipe
from vizecg.records import read_record_set
from vizecg.steps import train as train_step

TASK = TASKS["superdiagnostic"]
ASKED = {"records": 12, "seed": 5, "copies": 2, "epochs": 2, "workers": 0}
MODEL = {"image_width": 2, "dim": 8, "heads": 2, "signal_width": 4}
RECIPE = Recipe.model_validate({"model": MODEL, "pretraining": ASKED, "epochs": 1, "batch_size": 4, "threads": 1})
# As much of the two sets as decides how simulated ones are made.
RECORDS = SimpleNamespace(task=TASK.name, codes=TASK.codes, sampling_hz=100)
PAGES = SimpleNamespace(
    spec=CanonicalSpec(height_px=204, width_px=275, px_per_mm=1.0), recipe={"upload_px_per_mm": 3.0}
)
SETS = {"record_set": RECORDS, "page_set": PAGES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pretrained")


@pytest.fixture(scope="module")
def begun(folder):
    return with_first_weights(RECIPE, folder=folder, **SETS)


def test_the_network_begins_with_what_it_learned_from_simulated_patients(begun, folder):
    assert begun.pretraining is None
    (kept,) = folder.glob("pretrained-*.safetensors")
    network = build_model(begun.model, labels=5, seed=9)
    for name, value in load_file(kept).items():
        assert np.array_equal(network.state_dict()[name].numpy(), value), name
    drawn = build_model(RECIPE.model, labels=5, seed=1)
    moved = [
        name for name, value in drawn.named_parameters() if not np.array_equal(value.detach(), load_file(kept)[name])
    ]
    assert {name.split(".")[0] for name in moved} >= {"image_stream", "image_head", "signal_side"}


def test_it_learns_from_pages_of_all_styles_and_from_nobody_real(begun, folder):
    (place,) = folder.glob("simulated-*")
    record_set, page_set = read_record_set(place / "records"), read_page_set(place / "pages")
    assert record_set.simulated
    assert len(record_set) == 12
    copies = page_set.index[page_set.index["copy"] > 0]
    assert set(page_set.index[page_set.index["copy"] == 0]["style"]) == {"standard"}
    assert copies["style"].nunique() > 3
    assert copies["camera"].nunique() > 1
    assert begun.model.init is not None


def test_it_is_made_once_and_by_another_network_from_the_same_pages(begun, folder, monkeypatch):
    monkeypatch.setattr("vizecg.steps.render.run", None)
    monkeypatch.setattr("vizecg.steps.ingest.run", None)
    other = Recipe.model_validate({**RECIPE.model_dump(), "model": {"architecture": "resnet1d_wang"}, "epochs": 3})
    assert with_first_weights(other, folder=folder, **SETS).model.init != begun.model.init
    monkeypatch.setattr(training, "train", None)
    assert with_first_weights(RECIPE, folder=folder, **SETS) == begun


def test_weights_that_were_lost_come_out_the_same(begun, folder):
    (folder / begun.model.init.path).unlink()
    assert with_first_weights(RECIPE, folder=folder, **SETS) == begun


def test_without_the_switch_nothing_is_made(tmp_path):
    recipe = RECIPE.model_copy(update={"pretraining": None})
    assert with_first_weights(recipe, folder=tmp_path / "none", **SETS) == recipe
    assert not (tmp_path / "none").exists()


def test_students_of_teachers_trained_before_are_pretrained_without_any(folder):
    frozen = RECIPE.model_copy(update={"schedule": "frozen"})
    begun = with_first_weights(frozen, folder=folder, **SETS)
    weights = load_file(begun.model.init.path)
    assert not [name for name in weights if name.startswith("signal_side")]


def test_classes_of_a_label_map_of_ones_own_cannot_be_simulated():
    foreign = SimpleNamespace(task=TASK.name, codes=("AF", "NORM"), sampling_hz=100)
    with pytest.raises(InputError, match=r"these records \['AF', 'NORM'\]; set train\.pretraining to null"):
        refuse_other_classes(foreign)


def test_first_weights_come_from_one_place():
    init = {"path": "weights.safetensors", "sha256": "0" * 64}
    with pytest.raises(ValidationError, match=r"first weights come from pretraining or from model\.init"):
        Recipe.model_validate({"model": {"init": init}, "pretraining": ASKED})


def test_shuffled_labels_are_learned_by_who_knows_nothing():
    with pytest.raises(InputError, match=r"contenders\.chance: shuffled labels .* add pretraining: null"):
        Contender(labels="shuffled").recipe(RECIPE, name="chance")
    recipe = Contender(labels="shuffled", changes={"pretraining": None}).recipe(RECIPE, name="chance")
    assert recipe.pretraining is None


def test_training_does_not_pass_over_a_pretraining_that_was_not_done():
    with pytest.raises(InputError, match=r"what is to be pretrained is pretrained before"):
        training.train(None, RECIPE, seed=0)


def test_several_processes_do_not_pretrain_side_by_side():
    params = SimpleNamespace(pretraining=ASKED)
    with pytest.raises(InputError, match=r"pretraining is done by one process, and torchrun has started 2"):
        train_step._refuse_pretraining_together(params, processes=2)
    train_step._refuse_pretraining_together(params, processes=1)
