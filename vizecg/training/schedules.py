"""What is trained in which order: all at once, or the teachers first and the student from them."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vizecg import bootstrap
from vizecg.batches import TrainingData
from vizecg.errors import InputError
from vizecg.models import Network, build_model, refuse_missing_signal
from vizecg.recipe import Recipe
from vizecg.training.arithmetic import Arithmetic, resolve_arithmetic, torch_threads
from vizecg.training.checkpoints import CHECKPOINT_NAME, identity_of
from vizecg.training.loop import Job, Lessons, fit
from vizecg.training.reports import EpochReport, StepReport, TeacherReport, TrainedModel
from vizecg.training.run import Run
from vizecg.training.scoring import macro_auroc
from vizecg.training.teachers import teach

logger = logging.getLogger(__name__)


def train(
    data: TrainingData,
    recipe: Recipe,
    *,
    seed: int,
    checkpoint_dir: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    on_teacher: Callable[[TeacherReport], None] | None = None,
) -> TrainedModel:
    """Train a network; return its best epoch by macro AUROC of the scored head on the validation records, or its last.

    Args:
        data: see `TrainingData`.
        recipe: see `Recipe`.
        seed: of weights, order, jitter and dropout.
        checkpoint_dir: written after every epoch, before `on_epoch`, and every so many
            steps, before `on_step`. A checkpoint of the same data, recipe, seed and torch that
            lies there is continued; one of another run is replaced, and the log says so.
        on_epoch: hears of every epoch trained now, not of those restored.
        on_step: hears of every step.
        on_teacher: hears of every teacher of schedule `frozen`, those restored included.

    Raises:
        TrainingDiverged: the loss is not finite; names epoch, step and the last good checkpoint.
        InputError: no class can be scored on the validation records although the best epoch is
            wanted; the network reads the signal and a record has none; the checkpoint cannot be
            read; teachers cannot be cross-fitted; the machine lacks the device or precision asked for.
    """
    if recipe.pretraining is not None:
        raise InputError("what is to be pretrained is pretrained before (vizecg.pretraining), and named as model.init")
    _refuse_unscorable(data, recipe=recipe)
    seen = np.concatenate([data.training_rows, data.validation_rows])
    refuse_missing_signal(recipe.model, has_signal=data.has_signal[seen], ecg_ids=data.ecg_ids[seen])
    recipe = _possible(recipe, data=data)
    arithmetic = resolve_arithmetic(recipe)
    _refuse_small_shares(data, recipe=recipe, processes=arithmetic.team.size)
    with torch_threads(recipe.threads):
        lessons = None
        if recipe.schedule == "frozen":
            if recipe.distillation.weight:
                lessons = teach(
                    data, recipe, seed=seed, arithmetic=arithmetic, folder=checkpoint_dir, on_teacher=on_teacher
                )
            recipe = _alone(recipe)
        job = _job(data, recipe, seed=seed, arithmetic=arithmetic, folder=checkpoint_dir, lessons=lessons)
        student = build_model(recipe.model, labels=len(data.codes), seed=seed)
        run, resumed_after = fit(student, job, on_epoch=on_epoch, on_step=on_step)
    return _trained(run, job=job, resumed_after=resumed_after)


def _job(
    data: TrainingData,
    recipe: Recipe,
    *,
    seed: int,
    arithmetic: Arithmetic,
    folder: Path | None,
    lessons: Lessons | None,
) -> Job:
    identity = identity_of(data, recipe, seed=seed, arithmetic=arithmetic)
    return Job(
        data=data,
        recipe=recipe,
        seed=seed,
        arithmetic=arithmetic,
        identity=identity,
        checkpoint=None if folder is None else folder / CHECKPOINT_NAME,
        lessons=lessons,
        with_pages=recipe.model.reads_pages,
    )


def _trained(run: Run[Network], *, job: Job, resumed_after: int) -> TrainedModel:
    best, lessons = job.recipe.select == "best_epoch", job.lessons
    return TrainedModel(
        model=run.averaged.cpu(),
        best_epoch=run.best_epoch if best else run.epochs_done,
        best_auroc=run.best_auroc if best else run.history[-1].validation_auroc.get(run.averaged.head),
        history=tuple(run.history),
        resumed_after=resumed_after,
        precision=job.arithmetic.precision,
        teacher_auroc=None
        if lessons is None
        else macro_auroc(job.data.labels[lessons.taught], lessons.logits[lessons.taught]),
    )


def _refuse_unscorable(data: TrainingData, *, recipe: Recipe) -> None:
    scorable = bootstrap.covered(data.labels[data.validation_rows], codes=data.codes)
    if recipe.select == "best_epoch" and not scorable:
        raise InputError(
            f"no class of {list(data.codes)} has both a positive and a negative among the {len(data.validation_rows)} "
            "validation records, so no epoch can be called best; give more records (ingest) "
            "or take the last epoch (train.select=last)"
        )


def _refuse_small_shares(data: TrainingData, *, recipe: Recipe, processes: int) -> None:
    smallest = min(recipe.batch_size, len(data.training_rows)) // (processes * recipe.accumulate)
    if processes > 1 and smallest < 2:
        raise InputError(
            f"{processes} processes with train.accumulate {recipe.accumulate} leave each fewer than 2 records "
            f"of a batch of {recipe.batch_size}; raise train.batch_size or start fewer"
        )


def _possible(recipe: Recipe, *, data: TrainingData) -> Recipe:
    """Without any signal, the signal side would stay as it was drawn, and there is no teacher that reads one."""
    if data.has_signal[data.training_rows].any():
        return recipe
    taught_by_images = recipe.schedule == "frozen" and recipe.teachers.reads == "image"
    if recipe.model.architecture == "vizecgnet" and recipe.model.signal and not taught_by_images:
        logger.info("no training record has a signal: the image head is trained alone, without distillation")
    if recipe.teachers.reads == "signal":
        recipe = recipe.model_copy(update={"schedule": "joint"})
    return _alone(recipe)


def _alone(recipe: Recipe) -> Recipe:
    """The image head without a signal side; a rival has none."""
    if recipe.model.architecture != "vizecgnet":
        return recipe
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"signal": False})})
