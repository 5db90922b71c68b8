"""Recipe files: what is refused, and that a whole one runs in a clone and leaves the checkout as it was."""

import shutil
from pathlib import Path

import pytest
import yaml

from vizecg.config import override, read_params
from vizecg.errors import InputError
from vizecg.places import source_of
from vizecg.recipe_runs import assignments_of, read_recipe
from vizecg.steps import params_models

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def written(folder, content):
    path = folder / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_parameter_of_our_recipes_is_one_of_params_yaml(path, tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    recipe = read_recipe(path)
    override(tmp_path / "params.yaml", assignments_of(recipe), models=params_models())
    changed = yaml.safe_load((tmp_path / "params.yaml").read_text())
    for name, value in recipe.params.items():
        node = changed
        for part in name.split("."):
            node = node[part]
        assert node == value, name


def test_there_are_recipes_for_the_sample_and_its_ablations_and_for_all_of_ptbxl():
    assert {path.stem for path in RECIPES} == {"full", "sample", "sample-ablations"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("about: [", r"mine\.yaml is not YAML"),
        ({"about": "x", "jobs": ["retrain"]}, r"mine\.yaml: params: Field required; it holds about, jobs and params"),
        ({"about": "x", "jobs": [], "params": {}}, r"mine\.yaml: jobs:"),
        ({"about": "x", "jobs": ["promote"], "params": {}}, r"mine\.yaml: jobs\.0: Input should be 'compare' or"),
        ({"about": "x", "jobs": ["retrain"], "params": {}, "seed": 1}, r"mine\.yaml: seed: Extra inputs"),
    ],
)
def test_what_is_no_recipe_is_refused(content, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_recipe(written(tmp_path, content))


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"recipe .*none\.yaml cannot be read"):
        read_recipe(tmp_path / "none.yaml")


def test_values_of_every_kind_reach_params_yaml_as_they_are(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    params = {
        "render.style": "drawn",
        "train.model.image_blocks": [2, 2, 2, 2],
        "train.checkpoint_every_steps": None,
        "train.learning_rate": 1e-5,
        "ingest.source": "/a folder/with #signs: and 'quotes'",
        "compare.contenders": {"vizecgnet": {}, "signals, long": {"changes": {"epochs": 40}}},
    }
    recipe = read_recipe(written(tmp_path, {"about": "x", "jobs": ["compare"], "params": params}))
    override(tmp_path / "params.yaml", assignments_of(recipe), models=params_models())
    changed = read_params(tmp_path / "params.yaml", models=params_models())
    assert changed["render"].style == "drawn"
    assert changed["train"].model.image_blocks == (2, 2, 2, 2)
    assert changed["train"].learning_rate == pytest.approx(1e-5)
    assert changed["ingest"].source == params["ingest.source"]
    assert list(changed["compare"].contenders) == ["vizecgnet", "signals, long"]
    assert changed["compare"].contenders["signals, long"].changes == {"epochs": 40}


def test_a_source_is_named_as_in_the_demo():
    assert source_of("simulated") == ("simulated", ['ingest.source="simulated"'])
    with pytest.raises(InputError, match=r"DATA=nowhere: there is no such folder or archive; allowed: physionet"):
        source_of("nowhere")


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.xdist_group("pipeline")
def test_a_recipe_runs_in_a_clone_and_the_checkout_stays_as_it_is(checkout):
    recipe = {
        "about": "as small as can be",
        "jobs": ["compare", "retrain"],
        "params": {
            "compare.folds": [1, 2],
            "compare.min_scored": 1,
            "compare.other_pages": [{"style": "standard", "camera": "photo"}],
            "compare.contenders": {"vizecgnet": {}, "signal": {"changes": {"model.architecture": "resnet1d_wang"}}},
            "train.epochs": 1,
        },
    }
    path = written(checkout.folder / ".state", recipe)
    before = checkout.git("status", "--porcelain")
    said = checkout.vizecg("recipe", str(path)).stdout
    assert checkout.git("status", "--porcelain") == before
    clone = checkout.folder / ".state" / "workspaces" / "mine-simulated"
    table = (clone / "reports" / "comparison" / "comparison.md").read_text()
    assert "| vizecgnet | standard | photo |" in table
    assert (clone / "models" / "bundle" / "manifest.json").is_file()
    assert "vizecg retrain --no-promote: " in said
    assert "nothing has changed" in checkout.vizecg("recipe", str(path)).stdout, "a second run skips what is done"


@pytest.mark.servers
@pytest.mark.xdist_group("pipeline")
def test_a_recipe_with_an_unknown_parameter_ends_before_anything_runs(checkout):
    path = written(checkout.folder / ".state", {"about": "x", "jobs": ["retrain"], "params": {"train.epoch": 1}})
    done = checkout.vizecg("recipe", str(path), check=False)
    assert done.returncode == 2
    assert "has no parameter 'train.epoch'" in done.stderr
    assert "Traceback" not in done.stderr
