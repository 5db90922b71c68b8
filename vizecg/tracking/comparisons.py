"""A comparison in MLflow: one parent run with the table, and one run below it for every contender."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vizecg.settings import Settings
from vizecg.tracking.connection import asking, client, ensure_experiment, flat_numbers, log_metrics
from vizecg.tracking.runs import COMPLETE_TAG, NOTE_TAG, log_readable, new_run, runs_with, set_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

COMPARISON_TAG: Final = "comparison_digest"
_PARENT: Final = "mlflow.parentRunId"


def ensure_comparison(settings: Settings, *, folder: Path, digest: str) -> str:
    """Find the run of a comparison, or make it from its files; one that was cut off is made anew.

    Args:
        settings: which MLflow.
        folder: the artefact of compare.
        digest: of its manifest.

    Returns:
        The parent run's id.

    Raises:
        InputError: MLflow does not answer.
    """
    content = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    mlflow = client(settings)
    with asking(settings):
        experiment_id = ensure_experiment(mlflow, settings)
        begun = runs_with(mlflow, experiment_id, tags={COMPARISON_TAG: digest})
        if complete := [run for run in begun if run.data.tags.get(COMPLETE_TAG) == "true"]:
            return str(complete[-1].info.run_id)
        for run in begun:
            mlflow.delete_run(run.info.run_id)
        return _make(mlflow, experiment_id, folder=folder, digest=digest, content=content)


def _make(mlflow: "MlflowClient", experiment_id: str, *, folder: Path, digest: str, content: dict[str, Any]) -> str:
    parent = new_run(mlflow, experiment_id, name=f"compare {digest[:12]}")
    # Its children carry the tag too, so that all of a comparison that was cut off are found.
    same = {COMPARISON_TAG: digest, "simulated": str(content["simulated"]).lower()}
    note = (folder / "comparison.md").read_text(encoding="utf-8")
    set_tags(mlflow, parent, {**same, NOTE_TAG: note})
    log_readable(mlflow, parent, folder=folder, place="comparison")
    log_metrics(mlflow, parent, [(*entry, 0) for entry in flat_numbers(_differences(content)).items()])
    for name, entry in content["contenders"].items():
        child = new_run(mlflow, experiment_id, name=name)
        set_tags(mlflow, child, {**same, _PARENT: parent, "reads": entry["reads"]})
        macro = {metric: _ends(metric, estimate) for metric, estimate in entry["macro"].items()}
        numbers = flat_numbers({"macro": {key: value for ends in macro.values() for key, value in ends.items()}})
        log_metrics(mlflow, child, [(*number, 0) for number in numbers.items()])
        mlflow.set_terminated(child)
        mlflow.set_tag(child, "done", "true")
    mlflow.set_terminated(parent)
    mlflow.set_tag(parent, COMPLETE_TAG, "true")
    return parent


def _differences(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "minus": {
            name: {
                metric: {"difference": part["difference"], "low": part["low"], "high": part["high"]}
                for metric, part in found["macro"].items()
            }
            for name, found in content["differences"].items()
        }
    }


def _ends(metric: str, estimate: dict[str, float | None]) -> dict[str, float | None]:
    return {metric: estimate["value"], f"{metric}_low": estimate["low"], f"{metric}_high": estimate["high"]}
