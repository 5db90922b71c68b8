"""Teachers of schedule `frozen`: trained before the student, cross-fitted, their logits kept.

A network is nearly certain about the records it learned from, so its logits on them
are hard labels again and teach nothing. Therefore training records are split by patient
into parts, and each part is taught by networks that learned from the other parts alone.
Validation records take part on neither side.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from vizecg.batches import TrainingData
from vizecg.errors import InputError
from vizecg.models import Network, SignalTeacher, build_model
from vizecg.publish import write_atomically
from vizecg.recipe import DistillationParams, Recipe, TeachersParams
from vizecg.training.arithmetic import Arithmetic, torch_seed
from vizecg.training.checkpoints import CHECKPOINT_NAME, identity_of
from vizecg.training.loop import Job, Lessons, fit
from vizecg.training.reports import TeacherReport
from vizecg.training.scoring import answers, macro_auroc

CPU: Final = torch.device("cpu")
TEACHERS_FOLDER: Final = "teachers"
# Streams of random numbers that must differ although the seed is the same.
_SPLIT_STREAM, _TEACHER_STREAM = range(10, 12)

Rows = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Teacher:
    """One of the ensemble: learns from `data.training_rows`, is asked about `asked`."""

    number: int
    data: TrainingData
    asked: Rows
    seed: int


def teach(
    data: TrainingData,
    recipe: Recipe,
    *,
    seed: int,
    arithmetic: Arithmetic,
    folder: Path | None = None,
    on_teacher: Callable[[TeacherReport], None] | None = None,
) -> Lessons:
    """What teachers say of every training record that they did not learn from.

    The logits of several members are averaged, which is the normalised geometric mean of
    their probabilities (Hinton et al. 2015, section 2, has it beside the arithmetic one).

    Args:
        data: its validation records are not touched.
        recipe: of the student; `teachers` says how many and what they read.
        seed: of the student; teachers have seeds made of it.
        arithmetic: on what to compute.
        folder: where finished teachers' logits are kept and found again.
        on_teacher: hears of each that is done.

    Raises:
        InputError: there are fewer patients than parts, or nobody knows whose the records
            are; logits that were kept are damaged.
        TrainingDiverged: a teacher's loss is not finite.
    """
    teachers = list(_teachers(data, recipe.teachers, seed=seed))
    summed = np.zeros(data.labels.shape, np.float64)
    taught = np.zeros(len(data.labels), np.bool_)
    for teacher in teachers:
        logits, restored = _logits_of(teacher, teacher_recipe(recipe), arithmetic=arithmetic, folder=folder)
        summed[teacher.asked] += logits
        taught[teacher.asked] = True
        if on_teacher is not None and arithmetic.team.leads:
            auroc = macro_auroc(data.labels[teacher.asked], logits)
            report = TeacherReport(teacher=teacher.number, teachers=len(teachers), auroc=auroc, restored=restored)
            on_teacher(report)
    return Lessons(logits=(summed / recipe.teachers.members).astype(np.float32), taught=taught)


def teacher_recipe(recipe: Recipe) -> Recipe:
    """How one teacher is trained: as the student, from labels alone, to the end of its own epochs.

    What is said of teaching is left at its defaults: it changes no teacher, so one that
    was trained for another temperature is found again.
    """
    return recipe.model_copy(
        update={
            "schedule": "joint",
            "distillation": DistillationParams(weight=0),
            "teachers": TeachersParams(reads=recipe.teachers.reads),
            "model": recipe.model.model_copy(update={"signal": recipe.teachers.reads == "signal"}),
            "epochs": recipe.teachers.epochs,
            "select": "last",
        }
    )


def parts_by_patient(data: TrainingData, rows: Rows, *, parts: int, seed: int) -> list[Rows]:
    """Split rows so that all of a patient's fall into one part; patients are shuffled, then dealt out in turn.

    Raises:
        InputError: there are fewer patients than parts, or `patient_ids` are not given.
    """
    if data.patient_ids is None:
        raise InputError("teachers are cross-fitted by patient, but the training data has no patient_ids; give them")
    patients, patient_of = np.unique(data.patient_ids[rows], return_inverse=True)
    if len(patients) < parts:
        raise InputError(
            f"train.teachers.crossfit is {parts}, but the {len(rows)} records to be taught about are of "
            f"{len(patients)} patients; lower it, at least to their number, or give more records (ingest)"
        )
    part_of_patient = np.empty(len(patients), np.int64)
    order = np.random.default_rng([_SPLIT_STREAM, seed]).permutation(len(patients))
    part_of_patient[order] = np.arange(len(patients)) % parts
    return [rows[part_of_patient[patient_of] == part] for part in range(parts)]


def answers_about(network: Network, data: TrainingData, *, rows: Rows, arithmetic: Arithmetic) -> NDArray[np.float32]:
    """Logits of each record, (rows, labels): of its signal, or the mean over the copies of its page."""
    pages = [data.pages_of_row[row] for row in rows.tolist()]
    if isinstance(network, SignalTeacher):
        pages = [copies[:1] for copies in pages]  # they share the signal
    flat = [page for copies in pages for page in copies]
    logits = answers(network, data, pages=flat, arithmetic=arithmetic)[network.head]
    starts = np.cumsum([0, *(len(copies) for copies in pages[:-1])])
    counts = np.array([[len(copies)] for copies in pages])
    mean: NDArray[np.float32] = (np.add.reduceat(logits, starts) / counts).astype(np.float32)
    return mean


def _teachers(data: TrainingData, params: TeachersParams, *, seed: int) -> Iterator[_Teacher]:
    readable = data.training_rows
    if params.reads == "signal":
        readable = readable[data.has_signal[readable]]
    nobody = np.empty(0, np.int64)
    for part, asked in enumerate(parts_by_patient(data, readable, parts=params.crossfit, seed=seed)):
        others = replace(data, training_rows=readable[~np.isin(readable, asked)], validation_rows=nobody)
        for member in range(params.members):
            key = np.random.SeedSequence([_TEACHER_STREAM, seed, part, member])
            number = part * params.members + member + 1
            yield _Teacher(number=number, data=others, asked=asked, seed=int(key.generate_state(1)[0]))


def _logits_of(
    teacher: _Teacher, recipe: Recipe, *, arithmetic: Arithmetic, folder: Path | None
) -> tuple[NDArray[np.float32], bool]:
    """(asked, labels), and whether they were found in the folder."""
    identity = identity_of(teacher.data, recipe, seed=teacher.seed, arithmetic=arithmetic)
    identity["asked"] = hashlib.sha256(np.asarray(teacher.asked, np.int64).tobytes()).hexdigest()
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    kept = None if folder is None else folder / TEACHERS_FOLDER / f"{digest}.safetensors"
    if kept is not None and arithmetic.team.told(kept.exists()):
        return _read(kept, shape=(len(teacher.asked), len(teacher.data.codes))), True
    checkpoint = None if folder is None else folder / TEACHERS_FOLDER / CHECKPOINT_NAME
    job = Job(
        data=teacher.data,
        recipe=recipe,
        seed=teacher.seed,
        arithmetic=arithmetic,
        identity=identity,
        checkpoint=checkpoint,
        with_pages=not recipe.model.signal,
    )
    run, _ = fit(_network(recipe, labels=len(teacher.data.codes), seed=teacher.seed), job)
    logits = answers_about(run.averaged, teacher.data, rows=teacher.asked, arithmetic=arithmetic)
    logits = arithmetic.team.told(logits)
    if kept is not None and checkpoint is not None and arithmetic.team.leads:
        _keep(kept, logits)
        checkpoint.unlink(missing_ok=True)
    return logits, False


def _network(recipe: Recipe, *, labels: int, seed: int) -> Network:
    if not recipe.model.signal:
        return build_model(recipe.model, labels=labels, seed=seed)
    with torch_seed(seed, device=CPU, states=[]):
        return SignalTeacher(recipe.model, labels=labels)


def _keep(path: Path, logits: NDArray[np.float32]) -> None:
    from safetensors.numpy import save

    write_atomically(path, save({"logits": logits}, metadata={"sha256": _sha256(logits)}))


def _read(path: Path, *, shape: tuple[int, int]) -> NDArray[np.float32]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as opened:
            logits: NDArray[np.float32] = opened.get_tensor("logits")
            said = (opened.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        said = None
    if said is None or said != _sha256(logits) or logits.shape != shape:
        raise InputError(f"{path} holds no teacher's logits or is damaged; delete it to train that teacher again")
    return logits


def _sha256(logits: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(logits).tobytes()).hexdigest()
