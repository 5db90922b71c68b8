"""One run for one training and its evaluation, made from their files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vizecg import modelrun, publish
from vizecg.bundle import Contract
from vizecg.errors import InputError
from vizecg.labels import slug
from vizecg.protocol import words_of
from vizecg.settings import Settings
from vizecg.tracking.connection import (
    Point,
    asking,
    client,
    ensure_experiment,
    flat_numbers,
    flat_params,
    log_metrics,
    log_params,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SCORES_FILE: Final = "metrics.json"
RUN_TAG: Final = "run_digest"
EVALUATION_TAG: Final = "evaluation_digest"
COMPLETE_TAG: Final = "complete"
LIVE_TAG: Final = "live"
NOTE_TAG: Final = "mlflow.note.content"

# Numbers of the scores' file that count nothing.
_NO_SCORES: Final = frozenset({"schema_version", "fold"})
# What people open in MLflow. Weights are not: the bundle has those that count.
_READABLE: Final = frozenset({".csv", ".html", ".json", ".jsonl", ".md", ".png", ".svg", ".txt", ".yaml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A run as the files have it."""

    name: str
    params: Mapping[str, str]
    points: tuple[Point, ...]
    tags: Mapping[str, str]
    folders: Mapping[str, Path]
    """Artifact path -> folder of which the readable files are shown."""
    datasets: Mapping[str, str] = field(default_factory=dict)
    """What it was made from -> digest."""
    source_uri: str = "unknown"


def ensure_run(settings: Settings, *, model_run: Path, evaluation: Path) -> str:
    """Find the run of a training and its evaluation, or build it from their files.

    The live view of this training, or a run that was cut off half-way, is
    completed when all it holds is part of the record, else a new one is made.

    Args:
        settings: which MLflow.
        model_run: the artefact of train.
        evaluation: the artefact of evaluate, with `metrics.json`, figures and tables.

    Returns:
        The run's id.

    Raises:
        InputError: a folder is missing or damaged, or MLflow does not answer.
    """
    record = read_record(model_run, evaluation=evaluation)
    mlflow = client(settings)
    with asking(settings):
        experiment_id = ensure_experiment(mlflow, settings)
        same = {tag: record.tags[tag] for tag in (RUN_TAG, EVALUATION_TAG)}
        begun = runs_with(mlflow, experiment_id, tags=same)
        if complete := [run for run in begun if run.data.tags.get(COMPLETE_TAG) == "true"]:
            return str(complete[-1].info.run_id)
        begun += [run for run in runs_with(mlflow, experiment_id, tags={LIVE_TAG: "true"}) if run not in begun]
        run_id = _take_over(mlflow, begun, record=record) or new_run(mlflow, experiment_id, name=record.name)
        _fill(mlflow, run_id, record=record)
    return run_id


def attach(settings: Settings, *, run_id: str, files: Sequence[Path], place: str) -> None:
    """Keep files with a run, under `place`; those that are there already stay as they are.

    Raises:
        InputError: MLflow does not answer.
    """
    mlflow = client(settings)
    with asking(settings):
        there = {Path(entry.path).name for entry in mlflow.list_artifacts(run_id, place)}
        for path in files:
            if path.is_file() and path.name not in there:
                mlflow.log_artifact(run_id, str(path), place)


def tag_run(settings: Settings, *, run_id: str, tags: Mapping[str, str]) -> None:
    """Write tags on a run; one that is there already stays as it is.

    Raises:
        InputError: MLflow does not answer.
    """
    mlflow = client(settings)
    with asking(settings):
        there = mlflow.get_run(run_id).data.tags
        if new := {name: value for name, value in tags.items() if name not in there}:
            set_tags(mlflow, run_id, new)


def ensure_bare_run(settings: Settings, *, digest: str, contract: Contract) -> str:
    """Find or make a run that holds a bundle and nothing else: one whose training is not on this machine."""
    tags = {"bundle_digest": digest, "bare": "true"}
    mlflow = client(settings)
    with asking(settings):
        experiment_id = ensure_experiment(mlflow, settings)
        if found := runs_with(mlflow, experiment_id, tags=tags):
            return str(found[-1].info.run_id)
        run_id = new_run(mlflow, experiment_id, name=f"bundle {digest[:12]}")
        note = "A bundle that was registered without the files of its training."
        set_tags(mlflow, run_id, {**tags, NOTE_TAG: note, "simulated": str(contract.simulated).lower()})
        mlflow.set_terminated(run_id)
    return run_id


def new_run(mlflow: "MlflowClient", experiment_id: str, *, name: str) -> str:
    """Begin a run."""
    return str(mlflow.create_run(experiment_id, run_name=name).info.run_id)


def read_record(model_run: Path, *, evaluation: Path) -> Record:
    """Read what a run is to show.

    Raises:
        InputError: a folder is missing, damaged, or not what its step writes.
    """
    run_digest = publish.verify(
        model_run, kind=modelrun.MODEL_RUN, schema_version=modelrun.SCHEMA_VERSION
    ).digest  # fmt: skip
    evaluation_digest = _verified_digest(evaluation)
    model = _json(model_run / modelrun.DESCRIPTION_FILE)
    scores = {name: value for name, value in _json(evaluation / SCORES_FILE).items() if name not in _NO_SCORES}
    # A slash would make two levels of `LAO/LAE`.
    scores["classes"] = {slug(code): said for code, said in scores.get("classes", {}).items()}
    simulated = bool(model["simulated"])
    about = "Trained on simulated records: nothing here has a medical meaning." if simulated else ""
    where = words_of(scores).scored_on
    return Record(
        name=f"train {run_digest[:12]}",
        params=flat_params(model["params"]),
        points=(*_history(model_run / modelrun.HISTORY_FILE), *((*entry, 0) for entry in flat_numbers(scores).items())),
        tags={
            RUN_TAG: run_digest,
            EVALUATION_TAG: evaluation_digest,
            "simulated": str(simulated).lower(),
            "data_source": str(model["source"]["uri"]),
            "task": str(model["task"]),
            "best_epoch": str(model["best_epoch"]),
            "precision": str(model["precision"]),
            "mlflow.source.name": "vizecg train",
            NOTE_TAG: f"{about} Evaluated on {where}; `_low` and `_high` are the ends of 95 % intervals.".strip(),
        },
        folders={"model_run": model_run, "evaluation": evaluation},
        datasets={name: str(model[name]) for name in ("records", "pages")},
        source_uri=str(model["source"]["uri"]),
    )


def _take_over(mlflow: "MlflowClient", begun: "list[Run]", *, record: Record) -> str | None:
    """Choose the run that holds most of the record and nothing else; others like it are of no more use."""
    fitting = [(size, run) for run in begun if (size := _size_if_part(mlflow, run, record=record)) is not None]
    fitting.sort(key=lambda entry: (entry[0], entry[1].info.start_time))
    for _, run in fitting[:-1]:
        mlflow.delete_run(run.info.run_id)
    return str(fitting[-1][1].info.run_id) if fitting else None


def _size_if_part(mlflow: "MlflowClient", run: "Run", *, record: Record) -> int | None:
    """How many numbers of the record a run holds; None when it holds another's, or none by which to tell."""
    if any(record.params.get(name) != value for name, value in run.data.params.items()):
        return None
    points = _points(mlflow, run)
    ours = run.data.tags.get(RUN_TAG) == record.tags[RUN_TAG]
    return len(points) if points <= set(record.points) and (points or ours) else None


def _points(mlflow: "MlflowClient", run: "Run") -> set[Point]:
    histories = (mlflow.get_metric_history(run.info.run_id, name) for name in run.data.metrics)
    return {(metric.key, metric.value, metric.step) for history in histories for metric in history}


def _fill(mlflow: "MlflowClient", run_id: str, *, record: Record) -> None:
    """Add what a run lacks of its record. The tag that says it is complete comes last."""
    run = mlflow.get_run(run_id)
    set_tags(mlflow, run_id, {"mlflow.runName": record.name, **record.tags})
    log_params(mlflow, run_id, record.params)
    there = _points(mlflow, run)
    missing = [point for point in record.points if point not in there]
    log_metrics(mlflow, run_id, missing)
    for place, folder in record.folders.items():
        log_readable(mlflow, run_id, folder=folder, place=place)
    _log_datasets(mlflow, run_id, record=record)
    if LIVE_TAG in run.data.tags:
        mlflow.delete_tag(run_id, LIVE_TAG)
    mlflow.set_terminated(run_id)
    mlflow.set_tag(run_id, COMPLETE_TAG, "true")


def log_readable(mlflow: "MlflowClient", run_id: str, *, folder: Path, place: str) -> None:
    """Keep what people open of a folder with a run, under `place`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _READABLE:
            inside = path.parent.relative_to(folder).as_posix()
            mlflow.log_artifact(run_id, str(path), f"{place}/{inside}" if inside != "." else place)


def _log_datasets(mlflow: "MlflowClient", run_id: str, *, record: Record) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": record.source_uri})
    inputs = [
        DatasetInput(
            # As people see it elsewhere; the whole digest is in the run's `model.json`.
            dataset=Dataset(name=name, digest=digest[:12], source_type="vizecg", source=source),
            tags=[InputTag(key="mlflow.data.context", value="training")],
        )
        for name, digest in record.datasets.items()
    ]
    mlflow.log_inputs(run_id, datasets=inputs)


def runs_with(mlflow: "MlflowClient", experiment_id: str, *, tags: Mapping[str, str]) -> "list[Run]":
    """Runs that carry all these tags, oldest first."""
    wanted = " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items())
    return list(mlflow.search_runs([experiment_id], wanted, order_by=["attributes.start_time ASC"]))


def set_tags(mlflow: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """Write tags, all at once."""
    from mlflow.entities import RunTag

    mlflow.log_batch(run_id, tags=[RunTag(key=name, value=value) for name, value in tags.items()])


def _history(path: Path) -> list[Point]:
    points = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            content = json.loads(line)
            epoch = int(content.pop("epoch"))
        except (ValueError, KeyError, AttributeError):
            raise InputError(f"{path} line {number} is not one epoch of a training; run train again") from None
        points += [(name, value, epoch) for name, value in flat_numbers(content).items()]
    return points


def _verified_digest(folder: Path) -> str:
    """Verify a published folder of whichever kind."""
    said = _json(folder / publish.MANIFEST_NAME)
    kind, version = str(said.get("kind")), int(said.get("schema_version", 0))
    return publish.verify(folder, kind=kind, schema_version=version).digest


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is not there; produce {path.parent} first") from None
    except (OSError, ValueError):
        raise InputError(f"{path} is not JSON; produce {path.parent} again") from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path} must hold names and values, got {type(content).__name__}; produce {path.parent} again"
        )
    return content
