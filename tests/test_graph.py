"""Four names are one name: module, stage, section of params.yaml, Prefect task."""

import inspect
import shlex
from pathlib import Path

import grimp
import pytest
import yaml

from vizecg import steps
from vizecg.config import read_params

ROOT = Path(__file__).parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]


def paths_of(entries: list) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def options_of(stage: str) -> dict[str, str]:
    words = shlex.split(STAGES[stage]["cmd"])
    # Without `exec` some shells stay between DVC and the step, which then outlives a killed DVC.
    assert words[:5] == ["exec", "python", "-m", "vizecg", stage]
    return dict(zip(words[5::2], words[6::2], strict=True))


def test_stages_are_the_steps_in_their_order():
    assert list(STAGES) == list(steps.NAMES)
    assert {path.stem for path in (ROOT / "vizecg" / "steps").glob("[a-z]*.py")} == set(steps.NAMES)


def test_params_yaml_is_valid_and_has_a_section_for_each_step_the_gates_the_comparison_and_the_monitor():
    read = read_params(ROOT / "params.yaml", models=steps.params_models())
    assert list(read) == [*steps.NAMES, "promote", "compare", "monitor"]


def test_params_yaml_names_every_parameter():
    written = yaml.safe_load((ROOT / "params.yaml").read_text())
    # What a contender does not change is said in section train.
    contenders = written["compare"]["contenders"]
    written["compare"]["contenders"] = {
        name: {"changes": {}, "labels": "written", **entry} for name, entry in contenders.items()
    }
    read = read_params(ROOT / "params.yaml", models=steps.params_models())
    for name, section in read.items():
        assert written[name] == section.model_dump(mode="json"), f"section {name} leaves a default unsaid"


@pytest.mark.parametrize("stage", steps.NAMES)
def test_a_stage_hands_every_path_of_its_step(stage):
    parameters = inspect.signature(steps.step(stage).run).parameters
    wanted = {f"--{name.replace('_', '-')}" for name in parameters if name != "params"}
    assert set(options_of(stage)) == wanted


@pytest.mark.parametrize("stage", steps.NAMES)
def test_dvc_knows_every_path_that_a_stage_reads_or_writes(stage):
    known = paths_of(STAGES[stage]["deps"]) + paths_of(STAGES[stage].get("outs", []))
    known += paths_of(STAGES[stage].get("metrics", []))
    assert set(options_of(stage).values()) <= set(known)


@pytest.mark.parametrize("stage", steps.NAMES)
def test_a_stage_depends_on_its_own_code_and_parameters(stage):
    assert f"vizecg/steps/{stage}.py" in STAGES[stage]["deps"]
    assert STAGES[stage]["params"] == [stage]


@pytest.mark.parametrize("stage", steps.NAMES)
def test_every_dependency_is_in_the_checkout_or_made_by_an_earlier_stage(stage):
    earlier = steps.NAMES[: steps.NAMES.index(stage)]
    made = [path for name in earlier for path in paths_of(STAGES[name].get("outs", []))]
    for path in STAGES[stage]["deps"]:
        inside = any(path == out or path.startswith(f"{out}/") for out in made)
        assert inside or (ROOT / path).exists(), f"{stage} depends on {path}, which nothing makes"


@pytest.mark.parametrize("file", PIPELINE["metrics"])
def test_metrics_files_lie_in_an_output(file):
    outs = [path for stage in STAGES.values() for path in paths_of(stage.get("outs", []))]
    assert any(file.startswith(f"{out}/") for out in outs)


# Changes no content, only how work is started, split, shown and stored; MLflow is a view of the files.
PLUMBING = {
    *("__init__", "cli", "config", "environment", "errors", "executors", "process", "progress", "publish"),
    *("registry", "settings", "steps", "tracking", "workspace"),
}


# Imported too, but acts on the stage only through the files an earlier stage has written with it: when it changes and
# those files do not, there is nothing to do again.
DRAWING = {"camera", "page", "pages"}
RECORDS = {"labels", "records", "signals", "statements"}
THROUGH_FILES: dict[str, set[str]] = {
    "ingest": set(),
    "render": RECORDS,
    "validate": {"camera", "intake", "labels", "page", "pages", "records", "statements"},
    "train": DRAWING | RECORDS,
    # Of `batches` these two know the rate that a rival reads at; a rival that reads signals reaches neither.
    "evaluate": {"batches", "export", "modelrun", "models", "recipe", *RECORDS},
    "register": {
        *(
            "audit",
            "batches",
            "bootstrap",
            "calibration",
            "camera",
            "checks",
            "comparison",
            "controls",
            "metrics",
            "modelrun",
        ),
        *("pages", "recipe", "robustness", "slices", "webpage", *RECORDS),
    },
}


@pytest.mark.parametrize("stage", steps.NAMES)
def test_a_stage_depends_on_all_the_code_that_can_change_its_bytes(stage):
    graph = grimp.build_graph("vizecg", exclude_type_checking_imports=True)
    step = f"vizecg.steps.{stage}"
    used = set()
    waiting = [step]
    while waiting:
        module = waiting.pop()
        for imported in graph.find_modules_directly_imported_by(module):
            room = imported.split(".")[1] if "." in imported else "__init__"
            if imported not in used and room not in PLUMBING:
                used.add(imported)
                waiting.append(imported)
    rooms = {module.split(".")[1] for module in used}
    listed = {Path(path).stem for path in STAGES[stage]["deps"] if path.startswith("vizecg/")}
    unexplained = rooms - listed - {"steps"} - THROUGH_FILES[stage]
    assert not unexplained, f"{stage} does not depend on {sorted(unexplained)}"


@pytest.mark.parametrize("stage", steps.NAMES)
def test_what_is_said_to_act_through_files_is_a_dependency_of_an_earlier_stage(stage):
    earlier = steps.NAMES[: steps.NAMES.index(stage)]
    listed = {Path(path).stem for name in earlier for path in STAGES[name]["deps"] if path.startswith("vizecg/")}
    assert THROUGH_FILES[stage] <= listed
