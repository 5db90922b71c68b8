"""Train VizECGNet on pages and signals; keep the best epoch of fold 9, or the last, as tensors and as ONNX."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from vizecg.errors import InputError
from vizecg.recipe import Recipe

if TYPE_CHECKING:
    from vizecg.batches import TrainingData
    from vizecg.pages import PageSet
    from vizecg.records import RecordSet
    from vizecg.training import EpochReport, TeacherReport, TrainedModel


class Params(Recipe):
    """Section `train` of params.yaml."""

    seed: int = Field(ge=0)


def run(params: Params, *, verdict: Path, records: Path, pages: Path, model_run: Path) -> None:
    """Read record set and page set, train, write the model run; an interrupted training goes on where it was.

    Of several processes that torchrun has started, all train and one writes.
    """
    from vizecg.learning import training_data
    from vizecg.pages import read_page_set
    from vizecg.records import TRAIN_FOLDS, VALIDATION_FOLD, read_record_set
    from vizecg.training import joined, train

    record_set, page_set = read_record_set(records), read_page_set(pages)
    _refuse_unvalidated(verdict, record_set=record_set, page_set=page_set)
    data = training_data(record_set, page_set=page_set, training_folds=TRAIN_FOLDS, validation_folds=[VALIDATION_FOLD])
    checkpoints = model_run.parent / f".{model_run.name}.checkpoint"
    with joined(params.device) as team:
        _refuse_pretraining_together(params, processes=team.size)
        if team.leads:
            _lead(params, data=data, record_set=record_set, page_set=page_set, model_run=model_run, folder=checkpoints)
        else:
            train(data, _recipe(params), seed=params.seed, checkpoint_dir=checkpoints)


def _lead(
    params: Params,
    *,
    data: "TrainingData",
    record_set: "RecordSet",
    page_set: "PageSet",
    model_run: Path,
    folder: Path,
) -> None:
    """Train, show how it goes, write the model run; `folder` holds the checkpoints."""
    from vizecg import modelrun, publish
    from vizecg.pretraining import with_first_weights
    from vizecg.progress import training_progress
    from vizecg.settings import Settings
    from vizecg.tracking import live_run
    from vizecg.training import train

    with (
        publish.publishing(model_run, kind=modelrun.MODEL_RUN, schema_version=modelrun.SCHEMA_VERSION) as staging,
        live_run(Settings(), name="train", params=params.model_dump(mode="json")) as live,
        training_progress() as progress,
    ):

        def on_epoch(report: "EpochReport") -> None:
            progress.epoch(report)
            live(report.epoch, modelrun.numbers(report))

        recipe = with_first_weights(
            _recipe(params), record_set=record_set, page_set=page_set, folder=model_run.parent / ".pretrained"
        )
        trained = train(
            data,
            recipe,
            seed=params.seed,
            checkpoint_dir=folder,
            on_epoch=on_epoch,
            on_step=progress.step,
            on_teacher=_say_what_a_teacher_knows,
        )
        modelrun.write(staging, trained=trained, data=data, params=params, record_set=record_set, page_set=page_set)
    shutil.rmtree(folder, ignore_errors=True)
    _say_what_was_not_learned_from(data, page_set=page_set)
    _say_what_was_kept(trained, params=params)


def _refuse_pretraining_together(params: Params, *, processes: int) -> None:
    if params.pretraining is not None and processes > 1:
        raise InputError(
            f"train.pretraining is done by one process, and torchrun has started {processes}; pretrain in one, then "
            "name the file in models/.pretrained as train.model.init"
        )


def _recipe(params: Params) -> Recipe:
    return Recipe.model_validate(params.model_dump(exclude={"seed"}))


def _say_what_a_teacher_knows(report: "TeacherReport") -> None:
    score = "not scored" if report.auroc is None else f"macro AUROC {report.auroc:.3f}"
    found = ", found where a training was cut off" if report.restored else ""
    print(f"train: teacher {report.teacher} of {report.teachers}: {score} on what it did not learn from{found}")


def _say_what_was_kept(trained: "TrainedModel", *, params: Params) -> None:
    which = "best epoch" if params.select == "best_epoch" else "last epoch"
    score = "not scored" if trained.best_auroc is None else f"macro AUROC {trained.best_auroc:.3f}"
    print(f"train: {which} {trained.best_epoch} of {params.epochs}, fold 9 {score}")


def _say_what_was_not_learned_from(data: "TrainingData", *, page_set: "PageSet") -> None:
    left_out = int((~page_set.is_ecg).sum())
    if left_out:
        print(f"train: {left_out} pages are no ECG to the intake and were not learned from")
    on_paper = int((~data.has_signal[data.training_rows]).sum())
    if on_paper == len(data.training_rows):
        print("train: no training record has a signal, so the image head was trained alone, without distillation")
    elif on_paper:
        print(f"train: {on_paper} of {len(data.training_rows)} training records are on paper: no distillation for them")


def _refuse_unvalidated(verdict: Path, *, record_set: "RecordSet", page_set: "PageSet") -> None:
    try:
        said = json.loads(verdict.read_text(encoding="utf-8"))
        validated = (said["passed"], said["records"], said["pages"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{verdict} is no verdict of validate; run validate first") from None
    if validated != (True, record_set.digest, page_set.digest):
        raise InputError(f"{verdict} is about other records or pages than these; run validate again")
