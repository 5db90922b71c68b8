"""Teachers trained before the student: who learns from whom, and what is kept."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from vizecg.batches import TrainingData
from vizecg.config import override, read_params
from vizecg.errors import InputError
from vizecg.models import build_model
from vizecg.recipe import DistillationParams, ModelConfig, Recipe, TeachersParams
from vizecg.steps import params_models
from vizecg.training import train
from vizecg.training.arithmetic import Arithmetic
from vizecg.training.teachers import answers_about, parts_by_patient, teach

CPU = Arithmetic(device=torch.device("cpu"), precision="float32")
RECIPE = Recipe(
    model=ModelConfig(image_width=2, signal_width=4, signal_blocks=(1,), dim=8, heads=2),
    schedule="frozen",
    teachers=TeachersParams(crossfit=2, epochs=2),
    select="last",
    epochs=2,
    batch_size=8,
    precision="float32",
    device="cpu",
    threads=1,
)
TRAINING, VALIDATION, TEST = np.arange(24), np.arange(24, 32), np.arange(32, 40)


def with_teachers(**changed):
    return RECIPE.model_copy(update={"teachers": RECIPE.teachers.model_copy(update=changed)})


@pytest.fixture(scope="module")
def data():
    """40 records of 20 patients, two pages each: to learn from, to validate on, and the rest of nobody's business."""
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 3)) < 0.5).astype(np.uint8)
    signals_uv = rng.integers(-100, 100, (40, 12, 100)).astype(np.int16)
    signals_uv[:, :3] += 800 * labels[:, :, None].astype(np.int16)
    return TrainingData(
        pages=rng.integers(0, 256, (80, 32, 64), dtype=np.uint8),
        page_row=np.arange(80) // 2,
        page_copy=np.arange(80) % 2,
        signals_uv=signals_uv,
        sampling_hz=100,
        has_signal=np.ones(40, bool),
        labels=labels,
        codes=("NORM", "MI", "HYP"),
        ecg_ids=100 + np.arange(40),
        training_rows=TRAINING,
        validation_rows=VALIDATION,
        digest="made up",
        patient_ids=np.arange(40) // 2,
    )


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def taught(data, recipe=RECIPE, **given):
    return teach(data, recipe, seed=0, arithmetic=CPU, **given)


def with_other(data, rows):
    """Other labels, signals and pages in these rows, and nothing else."""
    rng = np.random.default_rng(9)
    labels, signals_uv, pages = data.labels.copy(), data.signals_uv.copy(), np.array(data.pages)
    labels[rows] ^= 1
    signals_uv[rows] = rng.integers(-5000, 5000, signals_uv[rows].shape)
    own = np.isin(data.page_row, rows)
    pages[own] = rng.integers(0, 256, pages[own].shape)
    return dataclasses.replace(data, labels=labels, signals_uv=signals_uv, pages=pages)


def same_tensors(one, other):
    left, right = one.model.state_dict(), other.model.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# Who learns from whom


@pytest.mark.parametrize("reads", ["signal", "image"])
def test_no_record_is_taught_by_a_teacher_that_learned_from_its_patient(data, reads):
    recipe = with_teachers(reads=reads)
    before = taught(data, recipe).logits
    patient = np.array([6, 7])
    turned = data.labels.copy()
    turned[patient] ^= 1
    after = taught(dataclasses.replace(data, labels=turned), recipe).logits
    changed = (before != after).any(axis=1)
    assert not changed[patient].any()
    # Those of the other part did learn from this patient.
    (part,) = (part for part in parts_by_patient(data, TRAINING, parts=2, seed=0) if 6 in part)
    assert changed[np.setdiff1d(TRAINING, part)].all()
    assert not changed[part].any()


@pytest.mark.parametrize("parts", [2, 5, 12])
def test_parts_hold_every_training_record_once_and_no_patient_twice(data, parts):
    split = parts_by_patient(data, TRAINING, parts=parts, seed=3)
    assert sorted(np.concatenate(split).tolist()) == TRAINING.tolist()
    patients = [set(data.patient_ids[part].tolist()) for part in split]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 12
    assert max(map(len, patients)) - min(map(len, patients)) <= 1
    other = parts_by_patient(data, TRAINING, parts=parts, seed=4)
    assert any(not np.array_equal(one, another) for one, another in zip(split, other, strict=True))


@pytest.mark.parametrize("schedule", ["joint", "frozen"])
@pytest.mark.parametrize("reads", ["signal", "image"])
def test_nothing_of_a_validation_or_test_patient_reaches_student_or_teacher(data, schedule, reads):
    recipe = with_teachers(reads=reads).model_copy(update={"schedule": schedule})
    elsewhere = with_other(data, np.concatenate([VALIDATION, TEST]))
    one, other = (train(given, recipe, seed=0) for given in (data, elsewhere))
    assert same_tensors(one, other)
    assert [report.losses for report in one.history] == [report.losses for report in other.history]
    assert one.teacher_auroc == other.teacher_auroc
    assert not same_tensors(one, train(with_other(data, TRAINING[:2]), recipe, seed=0))


def test_only_training_records_are_taught_about(data):
    lessons = taught(data)
    assert np.flatnonzero(lessons.taught).tolist() == TRAINING.tolist()
    assert (lessons.logits[~lessons.taught] == 0).all()


def test_a_signal_teacher_says_nothing_of_a_record_on_paper_and_an_image_teacher_does(data):
    has_signal = data.has_signal.copy()
    has_signal[[1, 4]] = False
    mixed = dataclasses.replace(data, has_signal=has_signal)
    assert np.flatnonzero(~taught(mixed).taught[:24]).tolist() == [1, 4]
    assert taught(mixed, with_teachers(reads="image")).taught[:24].all()
    assert train(mixed, RECIPE, seed=0).history[-1].losses.keys() == {"total", "image", "distillation"}


def test_without_any_signal_the_student_learns_alone_unless_teachers_read_pages(data, caplog):
    caplog.set_level("INFO")
    paper = dataclasses.replace(data, has_signal=np.zeros(40, bool))
    alone = train(paper, RECIPE, seed=0)
    assert "no training record has a signal: the image head is trained alone, without distillation" in caplog.text
    assert alone.teacher_auroc is None
    assert alone.history[-1].losses.keys() == {"total", "image"}
    control = train(paper, with_teachers(reads="image"), seed=0)
    assert control.history[-1].losses.keys() == {"total", "image", "distillation"}


# What the student learns


def test_the_student_of_frozen_teachers_has_no_signal_side_and_listens_from_the_first_step(data):
    trained = train(data, RECIPE, seed=0)
    assert trained.model.signal_side is None
    assert [report.distillation_weight for report in trained.history] == [1.0, 1.0]
    deaf = RECIPE.model_copy(update={"distillation": DistillationParams(weight=0)})
    told = []
    alone = train(data, deaf, seed=0, on_teacher=told.append)
    assert told == []
    assert alone.teacher_auroc is None
    assert not same_tensors(trained, alone)
    without_signal = deaf.model_copy(
        update={"schedule": "joint", "model": RECIPE.model.model_copy(update={"signal": False})}
    )
    assert same_tensors(alone, train(data, without_signal, seed=0))


def test_teachers_are_scored_on_what_they_did_not_learn_from(data):
    reports = []
    trained = train(data, with_teachers(epochs=6), seed=0, on_teacher=reports.append)
    lessons = taught(data, with_teachers(epochs=6))
    expected = roc_auc_score(data.labels[TRAINING], lessons.logits[TRAINING], average="macro")
    assert trained.teacher_auroc == pytest.approx(expected)
    assert [(report.teacher, report.teachers, report.restored) for report in reports] == [(1, 2, False), (2, 2, False)]
    assert all(0 <= report.auroc <= 1 for report in reports)


def test_members_are_averaged_and_each_is_another_network(data, tmp_path):
    lessons = taught(data, with_teachers(members=3), folder=tmp_path)
    files = [load_file(path)["logits"] for path in (tmp_path / "teachers").glob("*.safetensors")]
    assert len(files) == 6
    np.testing.assert_allclose(lessons.logits.sum(axis=0), sum(part.sum(axis=0) for part in files) / 3, rtol=1e-4)
    assert len({part.tobytes() for part in files}) == 6
    assert not np.array_equal(lessons.logits, taught(data).logits)


def test_an_image_teacher_answers_for_a_record_with_the_mean_over_its_copies(data):
    network = build_model(RECIPE.model.model_copy(update={"signal": False}), labels=3, seed=0).eval()
    with torch.no_grad():
        each = network.predict_image(torch.from_numpy(1 - data.pages[[14, 15, 6, 7]][:, None] / np.float32(255)))
    said = answers_about(network, data, rows=np.array([7, 3]), arithmetic=CPU)
    np.testing.assert_allclose(said, (each[::2] + each[1::2]).numpy() / 2, rtol=1e-4, atol=1e-5)


# What is kept


class Killed(Exception):
    pass


def kill_after(count):
    def on_teacher(report):
        if report.teacher == count:
            raise Killed

    return on_teacher


def test_a_training_killed_among_its_teachers_goes_on_with_those_that_are_done(data, tmp_path):
    recipe = with_teachers(crossfit=3)
    undisturbed = train(data, recipe, seed=0)
    with pytest.raises(Killed):
        train(data, recipe, seed=0, checkpoint_dir=tmp_path, on_teacher=kill_after(2))
    reports = []
    resumed = train(data, recipe, seed=0, checkpoint_dir=tmp_path, on_teacher=reports.append)
    assert [report.restored for report in reports] == [True, True, False]
    assert same_tensors(resumed, undisturbed)
    assert resumed.teacher_auroc == undisturbed.teacher_auroc


def test_teachers_are_found_again_for_another_student_and_not_for_other_data(data, tmp_path):
    def restored(given, recipe):
        reports = []
        teach(given, recipe, seed=0, arithmetic=CPU, folder=tmp_path, on_teacher=reports.append)
        return [report.restored for report in reports]

    assert restored(data, RECIPE) == [False, False]
    warmer = RECIPE.model_copy(update={"distillation": DistillationParams(temperature=4), "epochs": 5})
    assert restored(data, warmer) == [True, True]
    assert restored(dataclasses.replace(data, digest="other"), RECIPE) == [False, False]
    assert restored(data, with_teachers(epochs=1)) == [False, False]
    fewer = dataclasses.replace(data, training_rows=TRAINING[:20])
    assert restored(fewer, RECIPE) == [False, False]


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_damaged_logits_are_named(data, tmp_path, damage):
    taught(data, folder=tmp_path)
    path = sorted((tmp_path / "teachers").glob("*.safetensors"))[0]
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-3] ^= 1
    path.write_bytes({"cut": content[:-5], "flipped": content, "text": b"text"}[damage])
    with pytest.raises(InputError, match=r"safetensors holds no teacher's logits or is damaged; delete it to train"):
        taught(data, folder=tmp_path)


# What is refused


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"distillation": {"symmetric": True}},
            "distillation.symmetric needs a teacher that still learns: schedule joint, not frozen",
        ),
        ({"distillation": {"feature_weight": 0.5}}, "distillation.feature_weight needs schedule joint"),
        ({"model": {"signal": False}}, "schedule frozen learns from signals, which model.signal switches off"),
    ],
)
def test_a_lesson_that_frozen_teachers_cannot_give_is_refused(changed, message):
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate({"schedule": "frozen", **changed})
    Recipe.model_validate({"schedule": "joint", **changed})


PARAMS = Path(__file__).parent.parent / "params.yaml"


def params_after(folder, *assignments):
    copied = folder / PARAMS.name
    copied.write_bytes(PARAMS.read_bytes())
    override(copied, assignments, models=params_models())
    return read_params(copied, models=params_models())["train"]


@pytest.mark.parametrize(
    "assignments",
    [
        ["train.schedule=frozen"],
        ["train.schedule=frozen", "train.teachers.reads=image"],
        ["train.schedule=frozen", "train.teachers.members=3", "train.teachers.crossfit=10"],
        ["train.distillation.symmetric=true"],
        ["train.distillation.feature_weight=0.5"],
        ["train.classification=asymmetric"],
        ["train.class_weights=balanced"],
        ["train.select=last"],
        ["train.accumulate=4"],
        ["train.checkpoint_every_steps=50"],
    ],
)
def test_every_choice_is_an_override_of_the_shipped_parameters(tmp_path, assignments):
    assert params_after(tmp_path, *assignments) != params_after(tmp_path)


def test_what_does_not_go_together_is_said_in_one_sentence(tmp_path):
    with pytest.raises(InputError) as refused:
        params_after(tmp_path, "train.schedule=frozen", "train.distillation.symmetric=true")
    assert str(refused.value) == (
        f"{tmp_path / 'params.yaml'}: train: "
        "distillation.symmetric needs a teacher that still learns: schedule joint, not frozen"
    )


def test_more_parts_than_patients_are_refused(data):
    with pytest.raises(InputError, match=r"crossfit is 13, but the 24 records .* are of 12 patients; lower it"):
        taught(data, with_teachers(crossfit=13))


def test_records_of_nobody_known_cannot_be_cross_fitted(data):
    with pytest.raises(InputError, match="cross-fitted by patient, but the training data has no patient_ids"):
        taught(dataclasses.replace(data, patient_ids=None))


def test_a_patient_on_both_sides_is_refused(data):
    shared = data.patient_ids.copy()
    shared[30] = 3
    with pytest.raises(InputError, match=r"patient 3 has records both in training and in validation \(1 such"):
        dataclasses.replace(data, patient_ids=shared)
    with pytest.raises(InputError, match="40 records, but 3 patient_ids"):
        dataclasses.replace(data, patient_ids=np.arange(3))
