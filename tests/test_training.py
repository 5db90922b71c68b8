import dataclasses
import json
import math
import multiprocessing
import os
import signal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import map_coordinates

from vizecg.batches import (
    TrainingData,
    at_stream_rate,
    epoch_batches,
    jitter_page,
    jitter_signal,
    plain_batches,
    training_batch,
)
from vizecg.errors import InputError
from vizecg.intake import to_tensor
from vizecg.labels import LabelClass
from vizecg.learning import training_data
from vizecg.models import build_model
from vizecg.recipe import DistillationParams, JitterParams, ModelConfig, Recipe
from vizecg.records import RecordSet
from vizecg.training import TrainingDiverged, learning_rate_at, loop, resolve_device, resolve_precision, train
from vizecg.training.arithmetic import Arithmetic
from vizecg.training.loading import Portion, Reader
from vizecg.training.run import start

SMALL = ModelConfig(image_width=4, image_blocks=(1, 1, 1, 1), signal_width=8, signal_blocks=(1,), dim=16, heads=2)
RECIPE = Recipe(
    model=SMALL,
    epochs=3,
    batch_size=8,
    precision="float32",
    threads=1,
    distillation=DistillationParams(warmup_epochs=1, ramp_epochs=1),
)
STILL = JitterParams(shift_px=0, scale=0, ink=0, paper=0, signal_gain=0, signal_shift_s=0)


def made_up(*, records=24, copies=2, digest="made up"):
    """Pages with a dark bar and signals with a step, each where the label says."""
    rng = np.random.default_rng(0)
    labels = (rng.random((records, 5)) < 0.5).astype(np.uint8)
    pages = rng.integers(200, 256, (records * copies, 64, 96), dtype=np.uint8)
    signals_uv = rng.integers(-100, 100, (records, 12, 200)).astype(np.int16)
    for row in range(records):
        for label in np.flatnonzero(labels[row]):
            pages[row * copies : (row + 1) * copies, 8:56, 6 + 18 * label : 14 + 18 * label] = 30
            signals_uv[row, label] += 800
    return TrainingData(
        pages=pages,
        page_row=np.arange(records * copies) // copies,
        page_copy=np.arange(records * copies) % copies,
        signals_uv=signals_uv,
        sampling_hz=100,
        has_signal=np.ones(records, bool),
        labels=labels,
        codes=("NORM", "MI", "STTC", "CD", "HYP"),
        ecg_ids=1000 + np.arange(records),
        training_rows=np.arange(records - 8),
        validation_rows=np.arange(records - 8, records),
        digest=digest,
    )


@pytest.fixture(scope="module")
def data():
    return made_up()


@pytest.fixture(scope="module")
def undisturbed(data):
    """What the recipe makes of the data; nobody may change it."""
    return train(data, RECIPE, seed=0)


@pytest.fixture(scope="module")
def undisturbed_by_fours(data):
    """The same with four steps an epoch."""
    return train(data, BY_FOURS, seed=0)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small only wait for a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Killed(Exception):
    pass


def kill_after(epoch):
    def on_epoch(report):
        if report.epoch == epoch:
            raise Killed

    return on_epoch


def same_tensors(one, other):
    left, right = one.model.state_dict(), other.model.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def without_clock(history):
    return [dataclasses.replace(report, seconds=0, waiting_s=0) for report in history]


def a_trainer(data, recipe, **given):
    """Before its first step, on the CPU."""
    arithmetic = Arithmetic(device=torch.device("cpu"), precision="float32")
    job = loop.Job(data=data, recipe=recipe, seed=0, arithmetic=arithmetic, **given)
    network = build_model(recipe.model, labels=len(data.codes), seed=0)
    return loop.Trainer(job=job, run=start(network, recipe=recipe, device=arithmetic.device))


# What a training is


def test_a_small_batch_can_be_learned_by_heart():
    data = made_up(records=16, copies=1)
    recipe = RECIPE.model_copy(
        update={"epochs": 60, "jitter": STILL, "learning_rate": 0.01, "model": SMALL.model_copy(update={"dropout": 0})}
    )
    history = train(data, recipe, seed=0).history
    assert history[0].losses["image"] > 0.6
    assert history[-1].losses["image"] < 0.1
    assert history[-1].losses["signal"] < 0.1


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_training_killed_and_resumed_ends_with_the_same_tensors(data, undisturbed, tmp_path, killed_after):
    with pytest.raises(Killed):
        train(data, RECIPE, seed=0, checkpoint_dir=tmp_path, on_epoch=kill_after(killed_after))
    torch.manual_seed(99)  # another process has another state
    resumed = train(data, RECIPE, seed=0, checkpoint_dir=tmp_path)
    assert resumed.resumed_after == killed_after
    assert same_tensors(resumed, undisturbed)
    assert without_clock(resumed.history) == without_clock(undisturbed.history)
    assert (resumed.best_epoch, resumed.best_auroc) == (undisturbed.best_epoch, undisturbed.best_auroc)


def test_a_training_that_was_done_is_not_done_again(data, tmp_path):
    first = train(data, RECIPE, seed=0, checkpoint_dir=tmp_path)
    steps = []
    again = train(data, RECIPE, seed=0, checkpoint_dir=tmp_path, on_step=steps.append)
    assert steps == []
    assert same_tensors(first, again)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"recipe": RECIPE.model_copy(update={"learning_rate": 0.01})}, "recipe"),
        ({"data": made_up(digest="other")}, "data"),
        ({"data": dataclasses.replace(made_up(), training_rows=np.arange(15))}, "data"),
    ],
)
def test_a_checkpoint_of_another_run_is_not_continued_and_the_log_says_why(data, tmp_path, caplog, change, named):
    with pytest.raises(Killed):
        train(data, RECIPE, seed=0, checkpoint_dir=tmp_path, on_epoch=kill_after(1))
    arguments = {"data": data, "recipe": RECIPE, "seed": 0} | change
    short = arguments["recipe"].model_copy(update={"epochs": 3})
    trained = train(arguments["data"], short, seed=arguments["seed"], checkpoint_dir=tmp_path)
    assert trained.resumed_after == 0
    assert f"belongs to another run ({named} differ); starting anew" in caplog.text


def test_a_checkpoint_is_read_without_unpickling_code(data, tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code from a checkpoint was run",))

    torch.save({"identity": Evil()}, tmp_path / "last.pt")
    with pytest.raises(InputError, match=r"last\.pt is not a checkpoint of ours or is damaged; delete it"):
        train(data, RECIPE, seed=0, checkpoint_dir=tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", "cut"])
def test_a_damaged_checkpoint_is_named(data, tmp_path, content):
    path = tmp_path / "last.pt"
    with pytest.raises(Killed):
        train(data, RECIPE, seed=0, checkpoint_dir=tmp_path, on_epoch=kill_after(1))
    path.write_bytes(path.read_bytes()[:-2000] if content == "cut" else content)
    with pytest.raises(InputError, match=r"last\.pt is not a checkpoint of ours or is damaged; delete it"):
        train(data, RECIPE, seed=0, checkpoint_dir=tmp_path)


def test_the_seed_decides(data):
    recipe = RECIPE.model_copy(update={"epochs": 1})
    one, same, other = (train(data, recipe, seed=seed) for seed in (0, 0, 1))
    assert same_tensors(one, same)
    assert not same_tensors(one, other)


def test_training_leaves_torchs_generator_and_threads_as_they_were(data):
    torch.manual_seed(5)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train(data, RECIPE.model_copy(update={"epochs": 1, "threads": 2}), seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_model_returned_is_that_of_the_best_epoch(data, monkeypatch):
    scores = iter([0.6, 0.9, 0.7])
    snapshots = []

    def validate(averaged, *_, **__):
        snapshots.append({name: value.clone() for name, value in averaged.state_dict().items()})
        return {"image": next(scores)}, {}

    monkeypatch.setattr(loop, "validate", validate)
    trained = train(data, RECIPE, seed=0)
    assert (trained.best_epoch, trained.best_auroc) == (2, 0.9)
    assert [report.is_best for report in trained.history] == [True, True, False]
    assert all(torch.equal(value, snapshots[1][name]) for name, value in trained.model.state_dict().items())
    assert not trained.model.training


def test_reports_are_json_and_count_from_one(data):
    epochs, steps = [], []
    trained = train(data, RECIPE, seed=0, on_epoch=epochs.append, on_step=steps.append)
    assert tuple(epochs) == trained.history
    assert [report.epoch for report in epochs] == [1, 2, 3]
    assert [(report.epoch, report.step, report.steps) for report in steps[:3]] == [(1, 1, 2), (1, 2, 2), (2, 1, 2)]
    assert [report.distillation_weight for report in epochs] == [0, 1, 1]
    written = json.loads(json.dumps(epochs[-1].to_dict(), allow_nan=False))
    assert written["validation_auroc"].keys() == {"image", "signal", "fused"}
    assert written["class_auroc"].keys() == {"NORM", "MI", "STTC", "CD", "HYP"}


@pytest.mark.parametrize("part", ["signal", "smam", "cmam"])
def test_every_part_can_be_switched_off(data, part):
    recipe = RECIPE.model_copy(update={"epochs": 1, "model": SMALL.model_copy(update={part: False})})
    report = train(data, recipe, seed=0).history[0]
    assert ("signal" in report.validation_auroc) == (part != "signal")
    assert math.isfinite(report.losses["total"])


def test_without_averaging_the_weights_scored_are_those_learned(data):
    recipe = RECIPE.model_copy(update={"epochs": 1, "ema_decay": 0.0})
    trainer = a_trainer(data, recipe)
    trainer.train_epoch()
    averaged = trainer.run.averaged.state_dict()
    assert all(torch.equal(value, averaged[name]) for name, value in trainer.run.model.state_dict().items())


def test_bfloat16_learns_what_float32_learns(data):
    if resolve_precision("auto") != "bfloat16":
        pytest.skip("needs a CPU with AVX512-BF16 or AMX")
    losses = [
        train(data, RECIPE.model_copy(update={"precision": precision}), seed=0).history[-1].losses["total"]
        for precision in ("float32", "bfloat16")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


# What stops it


def test_a_gradient_that_is_no_number_stops_and_names_the_step_and_the_last_good_checkpoint(
    data, tmp_path, monkeypatch
):
    original, calls = loop.total_loss, []

    def breaks_in_epoch_two(*args, **kwargs):
        parts = original(*args, **kwargs)
        calls.append(parts)
        if len(calls) < 4:
            return parts
        return dataclasses.replace(parts, total=parts.total + torch.sqrt(0 * parts.total))  # its gradient is NaN

    monkeypatch.setattr(loop, "total_loss", breaks_in_epoch_two)
    with pytest.raises(TrainingDiverged) as raised:
        train(data, RECIPE, seed=0, checkpoint_dir=tmp_path)
    assert str(raised.value) == (
        "training diverged at epoch 2, step 2 of 2: loss or gradient is not finite; "
        f"last good checkpoint: {tmp_path / 'last.pt'}; lower train.learning_rate, now 0.002"
    )
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    assert content["numbers"]["epochs_done"] == 1
    assert all(torch.isfinite(value).all() for value in content["model"].values())


def test_a_loss_that_is_infinite_at_once_leaves_no_checkpoint(data, tmp_path, monkeypatch):
    original = loop.total_loss

    def breaks(*args, **kwargs):
        parts = original(*args, **kwargs)
        return dataclasses.replace(parts, total=parts.total + float("inf"))

    monkeypatch.setattr(loop, "total_loss", breaks)
    with pytest.raises(TrainingDiverged, match=r"at epoch 1, step 1 of 2: .*last good checkpoint: none"):
        train(data, RECIPE, seed=0, checkpoint_dir=tmp_path)
    assert not (tmp_path / "last.pt").exists()


def test_bfloat16_on_a_cpu_without_it_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert resolve_precision("auto") == "float32"
    with pytest.raises(InputError, match="this CPU has neither AVX512-BF16 nor AMX; use auto or float32"):
        resolve_precision("bfloat16")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pages": np.zeros((48, 64, 96), np.float32)}, r"pages must be uint8 \(pages, H, W\), got float32"),
        ({"labels": np.zeros((3, 5), np.uint8)}, "24 signals, but 3 labels, 24 ecg_ids and 24 that say"),
        ({"codes": ("NORM", "MI")}, r"labels must be \(records, 2 classes\), got \(24, 5\)"),
        ({"sampling_hz": 250}, "sampling_hz must be a whole multiple of 100, got 250"),
        ({"page_copy": np.zeros(3, int)}, "48 pages, but an index of 48 rows and 3"),
        ({"validation_rows": np.array([3, 20])}, "record 1003 is both in training and in validation"),
        ({"page_row": np.zeros(48, int)}, r"record 1001 has no page \(23 such\); render it first"),
        ({"validation_rows": np.array([20])}, "at least 2 records on either side, got 16 to learn from and 1 to"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(data, change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(data, **change)


def test_validation_records_that_score_no_class_are_refused(data):
    same = dataclasses.replace(data, labels=np.ones_like(data.labels))
    with pytest.raises(InputError, match="has both a positive and a negative among the 8 validation records"):
        train(same, RECIPE, seed=0)


# Records on paper


def on_paper(data, rows):
    has_signal = data.has_signal.copy()
    has_signal[rows] = False
    return dataclasses.replace(data, has_signal=has_signal)


def with_other_signals(data, rows):
    signals_uv = data.signals_uv.copy()
    signals_uv[rows] = np.random.default_rng(9).integers(-9000, 9000, signals_uv[rows].shape)
    return dataclasses.replace(data, signals_uv=signals_uv)


PAPER_ROWS = np.array([0, 3, 4, 9, 15, 17, 20])  # some to learn from, some to validate on


def test_what_stands_in_the_signal_row_of_a_record_on_paper_changes_nothing(data):
    mixed = on_paper(data, PAPER_ROWS)
    one, other = train(mixed, RECIPE, seed=0), train(with_other_signals(mixed, PAPER_ROWS), RECIPE, seed=0)
    assert same_tensors(one, other)
    assert without_clock(one.history) == without_clock(other.history)
    assert not same_tensors(one, train(with_other_signals(data, PAPER_ROWS), RECIPE, seed=0))


def test_a_batch_without_any_signal_teaches_the_image_head_alone(data):
    rows = data.training_rows[:8]
    paper = on_paper(data, rows)
    trainer = a_trainer(paper, RECIPE)
    run = trainer.run
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    batch = training_batch(paper, rows, jitter=STILL, seed=0, epoch=5)
    # Long after the warm-up of the distillation.
    losses = trainer.step([Portion(rows=rows, batch=batch)], epoch=5.0, steps=100)
    assert losses.keys() == {"total", "image"}
    assert losses["total"] == losses["image"]
    moved = {name for name, value in run.model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("image_head") for name in moved)
    assert not any(name.startswith("signal_side") for name in moved)


def test_a_set_entirely_on_paper_trains_the_image_head_alone_and_says_so(data, caplog):
    caplog.set_level("INFO")
    paper = on_paper(data, np.arange(24))
    trained = train(paper, RECIPE, seed=0)
    assert trained.model.signal_side is None
    assert all(report.losses.keys() == {"total", "image"} for report in trained.history)
    assert all(report.validation_auroc.keys() == {"image"} for report in trained.history)
    assert "no training record has a signal: the image head is trained alone, without distillation" in caplog.text
    alone = RECIPE.model_copy(update={"model": SMALL.model_copy(update={"signal": False})})
    assert same_tensors(trained, train(data, alone, seed=0))


def test_heads_that_see_the_signal_are_scored_on_the_records_that_have_one(data):
    mixed = on_paper(data, np.array([16, 18, 19]))  # of validation
    one = train(mixed, RECIPE, seed=0).history[-1].validation_auroc
    turned = data.labels.copy()
    turned[[16, 18, 19]] ^= 1
    other = train(dataclasses.replace(mixed, labels=turned), RECIPE, seed=0).history[-1].validation_auroc
    assert (one["signal"], one["fused"]) == (other["signal"], other["fused"])
    assert one["image"] != other["image"]


# Cut off within an epoch

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["vizecg.training", "vizecg.steps.train", "vizecg.records", "pytest"])
BY_FOURS = RECIPE.model_copy(update={"batch_size": 4})  # four steps an epoch


def stop_at(epoch, step, *, by):
    def on_step(report):
        if (report.epoch, report.step) == (epoch, step):
            by()

    return on_step


def raise_killed():
    raise Killed


def kill_minus_nine():
    os.kill(os.getpid(), signal.SIGKILL)


def trained_until_killed(folder, every):
    recipe = BY_FOURS.model_copy(update={"checkpoint_every_steps": every})
    train(made_up(), recipe, seed=0, checkpoint_dir=folder, on_step=stop_at(2, 3, by=kill_minus_nine))


@pytest.mark.parametrize("at", [(1, 1), (1, 3), (2, 2), (3, 4)])
def test_a_training_stopped_within_an_epoch_ends_with_the_same_tensors_and_losses(
    data, undisturbed_by_fours, tmp_path, at
):
    often = BY_FOURS.model_copy(update={"checkpoint_every_steps": 1})
    with pytest.raises(Killed):
        train(data, often, seed=0, checkpoint_dir=tmp_path, on_step=stop_at(*at, by=raise_killed))
    torch.manual_seed(99)  # another process has another state
    steps = []
    resumed = train(data, often, seed=0, checkpoint_dir=tmp_path, on_step=steps.append)
    done = (at[0] - 1) * 4 + (at[1] if at[1] < 4 else 3)  # after the last step comes the score, then the checkpoint
    assert len(steps) == 12 - done
    assert same_tensors(resumed, undisturbed_by_fours)
    assert without_clock(resumed.history) == without_clock(undisturbed_by_fours.history)


@pytest.mark.parametrize("every", [1, 3, None])
def test_a_training_killed_with_minus_nine_goes_on_from_its_last_checkpoint(
    data, undisturbed_by_fours, tmp_path, every
):
    process = CONTEXT.Process(target=trained_until_killed, args=(tmp_path, every))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    steps = []
    resumed = train(data, BY_FOURS, seed=0, checkpoint_dir=tmp_path, on_step=steps.append)
    assert (steps[0].epoch, steps[0].step) == {1: (2, 4), 3: (2, 3), None: (2, 1)}[every]
    assert same_tensors(resumed, undisturbed_by_fours)


def test_the_last_good_checkpoint_may_lie_within_an_epoch(data, tmp_path, monkeypatch):
    original, calls = loop.total_loss, []

    def breaks_at_step_three(*args, **kwargs):
        parts = original(*args, **kwargs)
        calls.append(parts)
        return dataclasses.replace(parts, total=parts.total * float("nan")) if len(calls) == 3 else parts

    monkeypatch.setattr(loop, "total_loss", breaks_at_step_three)
    often = BY_FOURS.model_copy(update={"checkpoint_every_steps": 2})
    with pytest.raises(TrainingDiverged, match=r"at epoch 1, step 3 of 4: .*last good checkpoint: .*last\.pt"):
        train(data, often, seed=0, checkpoint_dir=tmp_path)
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    assert content["numbers"]["steps_done"] == content["numbers"]["steps_in_epoch"] == 2


# One batch in several parts, read by several threads


@pytest.mark.parametrize("taught", [False, True])
def test_micro_batches_add_up_to_the_gradient_of_the_whole_batch(data, taught):
    mixed, rows = on_paper(data, PAPER_ROWS), np.arange(16)
    rng = np.random.default_rng(1)
    lessons = loop.Lessons(logits=rng.normal(size=(24, 5)).astype(np.float32), taught=mixed.has_signal)
    gradients, losses = [], []
    for accumulate in (1, 2, 3, 8):
        # Norms as in evaluation: a norm over its batch is another function of a smaller one.
        trainer = a_trainer(mixed, RECIPE, lessons=lessons if taught else None)
        trainer.run.model.eval()
        read = Reader(data=mixed, jitter=STILL, seed=0, epoch=0, accumulate=accumulate, with_pages=True)
        portions = read(rows)
        assert len(portions) == accumulate
        losses.append(trainer.step(portions, epoch=5.0, steps=100))
        gradients.append({name: value.grad for name, value in trainer.run.model.named_parameters()})
    for gradient, loss in zip(gradients[1:], losses[1:], strict=True):
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-4, atol=1e-6)
        assert loss == pytest.approx(losses[0], rel=1e-5)


def test_micro_batches_of_a_small_batch_never_hold_a_single_record(data):
    read = Reader(data=data, jitter=STILL, seed=0, epoch=0, accumulate=8, with_pages=True)
    assert [len(portion.rows) for portion in read(np.arange(5))] == [3, 2]
    assert [len(portion.rows) for portion in read(np.arange(2))] == [2]


def test_accumulation_takes_as_many_steps_as_without(data):
    steps = []
    train(data, RECIPE.model_copy(update={"accumulate": 3, "epochs": 1}), seed=0, on_step=steps.append)
    assert [(report.step, report.steps) for report in steps] == [(1, 2), (2, 2)]


def test_micro_batches_of_one_record_are_refused():
    with pytest.raises(ValidationError, match="accumulate 9 leaves micro-batches of a batch of 16 with fewer than 2"):
        Recipe(batch_size=16, accumulate=9)


@pytest.mark.parametrize("loader_threads", [0, 3])
def test_who_reads_the_batches_changes_nothing(data, undisturbed_by_fours, loader_threads):
    one = undisturbed_by_fours
    other = train(data, BY_FOURS.model_copy(update={"loader_threads": loader_threads}), seed=0)
    assert same_tensors(one, other)
    assert without_clock(one.history) == without_clock(other.history)


def test_a_page_that_cannot_be_read_stops_training_and_says_why(data):
    class Torn:
        shape, dtype = data.pages.shape, data.pages.dtype

        def __len__(self):
            return len(data.pages)

        def __getitem__(self, chosen):
            raise InputError("page 7 is torn")

    with pytest.raises(InputError, match="page 7 is torn"):
        train(dataclasses.replace(data, pages=Torn()), RECIPE, seed=0)


def test_waiting_for_batches_is_a_part_of_an_epoch(data):
    report = train(data, RECIPE.model_copy(update={"epochs": 1, "loader_threads": 0}), seed=0).history[0]
    assert 0 < report.waiting_s < report.seconds


# Which epoch


def test_the_last_epoch_may_be_taken_whatever_it_scores(data):
    last = RECIPE.model_copy(update={"select": "last"})
    trainer = a_trainer(data, last)
    for _ in range(3):
        trainer.train_epoch()
    trained = train(data, last, seed=0)
    averaged = trainer.run.averaged.state_dict()
    assert all(torch.equal(value, averaged[name]) for name, value in trained.model.state_dict().items())
    assert trained.best_epoch == 3
    assert trained.best_auroc == trained.history[-1].validation_auroc["image"]
    assert not any(report.is_best for report in trained.history)


def test_the_last_epoch_needs_nothing_to_validate_on(data):
    none = dataclasses.replace(data, validation_rows=np.array([], int))
    trained = train(none, RECIPE.model_copy(update={"select": "last"}), seed=0)
    assert trained.best_auroc is None
    assert trained.history[-1].validation_auroc == {}
    assert same_tensors(trained, train(data, RECIPE.model_copy(update={"select": "last"}), seed=0))
    with pytest.raises(
        InputError, match=r"among the 0 validation records.*or take the last epoch \(train.select=last\)"
    ):
        train(none, RECIPE, seed=0)


# Other losses


@pytest.mark.parametrize(
    "change",
    [
        {"classification": "asymmetric"},
        {"class_weights": "balanced"},
        {"distillation": DistillationParams(warmup_epochs=0, ramp_epochs=0, symmetric=True)},
        {"distillation": DistillationParams(warmup_epochs=0, ramp_epochs=0, feature_weight=1.0)},
    ],
)
def test_every_choice_of_loss_changes_what_is_learned(data, change):
    at_once = RECIPE.model_copy(
        update={"distillation": DistillationParams(warmup_epochs=0, ramp_epochs=0), "epochs": 1}
    )
    trained = train(data, at_once.model_copy(update=change), seed=0)
    assert not same_tensors(trained, train(data, at_once, seed=0))
    assert all(math.isfinite(value) for value in trained.history[-1].losses.values())


def test_the_feature_term_is_told_and_falls_as_it_is_learned(data):
    wanted = DistillationParams(warmup_epochs=0, ramp_epochs=0, feature_weight=5.0)
    losses = [
        report.losses for report in train(data, RECIPE.model_copy(update={"distillation": wanted}), seed=0).history
    ]
    assert losses[-1]["features"] < losses[0]["features"]


# Where


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match=r"train\.device is cuda, but torch sees no such GPU; use auto or cpu"):
        resolve_device("cuda")


# Nothing of a test patient


def test_of_a_record_set_folds_1_to_8_are_learned_from_in_all_copies_and_fold_10_in_none(tmp_path):
    folds = np.repeat(np.arange(1, 11), 4)
    table = pd.DataFrame({"ecg_id": np.arange(40), "patient_id": np.arange(40) // 2, "fold": folds})
    table = table.assign(has_signal=True, labelled=True, NORM=np.arange(40) % 2 == 0, MI=np.arange(40) % 3 == 0)
    record_set = RecordSet(
        folder=tmp_path,
        table=table,
        signals_uv=np.zeros((40, 12, 100), np.int16),
        sampling_hz=100,
        task="superdiagnostic",
        classes=(LabelClass(code="NORM", name="normal"), LabelClass(code="MI", name="infarction")),
        source={"simulated": True},
        counts={},
        digest="r",
    )
    pages = np.arange(120, dtype=np.uint8)[:, None, None] * np.ones((1, 32, 32), np.uint8)
    index = pd.DataFrame({"row": np.arange(120) // 3, "copy": np.arange(120) % 3})
    page_set = SimpleNamespace(
        is_ecg=np.ones(120, bool), index=index, stored=lambda numbers: pages[numbers], digest="p"
    )
    data = training_data(record_set, page_set=page_set, training_folds=range(1, 9), validation_folds=[9])
    assert set(folds[data.training_rows]) == set(range(1, 9))
    assert set(folds[data.validation_rows]) == {9}
    patients = table["patient_id"].to_numpy()
    assert not set(patients[data.training_rows]) & set(patients[folds >= 9])
    # What an epoch is shown, by the gray level that is a page's number: every copy in time, and no page of others.
    shown = set()
    for epoch in range(25):
        for rows in epoch_batches(data, batch_size=8, seed=0, epoch=epoch):
            batch = training_batch(data, rows, jitter=STILL, seed=0, epoch=epoch)
            shown |= set(np.rint(255 - 255 * batch.image[:, 0, 0, 0]).astype(int).tolist())
    assert shown == set(np.flatnonzero(folds[index["row"]] <= 8).tolist())


# Many classes, other rates


def test_classes_that_no_record_has_are_trained_and_have_no_score(data):
    labels = np.concatenate([data.labels, np.zeros((24, 66), np.uint8)], axis=1)
    many = dataclasses.replace(data, labels=labels, codes=tuple(f"C{k}" for k in range(71)))
    trained = train(many, RECIPE.model_copy(update={"epochs": 1}), seed=0)
    assert trained.model.image_head.score.out_features == 71
    (report,) = trained.history
    assert report.class_auroc["C70"] is None
    assert report.class_auroc["C0"] is not None
    assert all(math.isfinite(value) for value in (*report.losses.values(), *report.validation_auroc.values()))


def sine_mv(hertz, *, sampling_hz):
    return np.tile(np.sin(2 * np.pi * hertz * np.arange(10 * sampling_hz) / sampling_hz), (12, 1)).astype(np.float32)


def test_a_faster_recording_reaches_the_stream_as_if_recorded_at_its_rate():
    reduced = at_stream_rate(sine_mv(10, sampling_hz=500), sampling_hz=500)
    assert reduced.shape == (12, 1000)
    assert reduced.dtype == np.float32
    # Away from the ends, where the record is held as it is.
    np.testing.assert_allclose(reduced[:, 20:-20], sine_mv(10, sampling_hz=100)[:, 20:-20], atol=0.01)


def test_what_the_stream_cannot_hold_is_filtered_out_and_not_folded_back():
    # 80 Hz would look like 20 Hz if every fifth sample were taken.
    reduced = at_stream_rate(sine_mv(80, sampling_hz=500), sampling_hz=500)
    assert np.abs(reduced[:, 20:-20]).max() < 0.01


def test_the_level_of_a_lead_stays_at_its_ends():
    flat = np.full((12, 5000), 0.7, np.float32)
    np.testing.assert_allclose(at_stream_rate(flat, sampling_hz=500), 0.7, atol=0.002)


def test_a_set_of_500_hz_is_learned_from_at_100(data):
    fast = dataclasses.replace(data, sampling_hz=500, signals_uv=np.repeat(data.signals_uv, 5, axis=2))
    batch = training_batch(fast, np.array([1, 2]), jitter=JitterParams(), seed=0, epoch=0)
    assert batch.signal_mv.shape == (2, 12, 200)
    (plain,) = plain_batches(fast, pages=[2, 4], batch_size=4)
    assert plain.signal_mv.shape == (2, 12, 200)
    assert math.isfinite(train(fast, RECIPE.model_copy(update={"epochs": 1}), seed=0).best_auroc)


@pytest.mark.parametrize("sampling_hz", [100, 500])
def test_a_signal_moves_by_the_same_time_at_any_rate(sampling_hz):
    ramp = np.tile(np.arange(10 * sampling_hz, dtype=np.int16), (12, 1))
    still = JitterParams(signal_gain=0)
    shifts_s = []
    for seed in range(200):
        moved = jitter_signal(ramp, sampling_hz=sampling_hz, jitter=still, rng=np.random.default_rng(seed))
        shifts_s.append((moved[0, 5 * sampling_hz] * 1000 - 5 * sampling_hz) / sampling_hz)
    assert max(shifts_s) == pytest.approx(0.2, abs=0.02)
    assert min(shifts_s) == pytest.approx(-0.2, abs=0.02)


# Examples


def test_an_example_depends_on_seed_epoch_and_record_alone(data):
    def example(rows, *, of, seed=0, epoch=0):
        batch = training_batch(data, np.array(rows), jitter=JitterParams(), seed=seed, epoch=epoch)
        return batch.image[of], batch.signal_mv[of]

    alone, in_company = example([5], of=0), example([2, 5, 9], of=1)
    assert all(np.array_equal(one, other) for one, other in zip(alone, in_company, strict=True))
    for other in (example([5], of=0, epoch=1), example([5], of=0, seed=1)):
        assert not np.array_equal(alone[0], other[0])


def test_every_epoch_shows_every_training_record_once_and_no_other(data):
    batches = epoch_batches(data, batch_size=5, seed=0, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == data.training_rows.tolist()
    assert {len(batch) for batch in batches} <= {5, 6}
    other = epoch_batches(data, batch_size=5, seed=0, epoch=1)
    assert np.concatenate(batches).tolist() != np.concatenate(other).tolist()


def test_every_copy_of_a_record_gets_its_turn(data):
    shown = set()
    for epoch in range(12):
        image = training_batch(data, np.array([4]), jitter=STILL, seed=0, epoch=epoch).image[0]
        shown |= {copy for copy in (8, 9) if np.array_equal(image, to_tensor(data.pages[copy])[0])}
    assert shown == {8, 9}


def test_without_jitter_training_sees_what_the_service_sees(data):
    batch = training_batch(data, np.array([4]), jitter=STILL, seed=0, epoch=0)
    (plain,) = plain_batches(data, pages=[8], batch_size=4)
    assert np.array_equal(plain.image, to_tensor(data.pages[8]))
    assert np.array_equal(batch.signal_mv, plain.signal_mv)
    assert plain.signal_mv == pytest.approx(data.signals_uv[4:5] / 1000)
    assert plain.labels.tolist() == data.labels[4:5].tolist()


def test_a_page_is_never_mirrored():
    page = np.full((288, 384), 255, np.uint8)
    page[40:60, 60:90] = 0  # upper left
    strong = JitterParams(shift_px=12, scale=0.2, ink=0.5, paper=0.2)
    for seed in range(200):
        ink = jitter_page(page, jitter=strong, rng=np.random.default_rng(seed))
        rows, columns = np.nonzero(ink > ink.max() * 0.7)
        assert rows.mean() < 108
        assert columns.mean() < 192


@pytest.mark.parametrize("shape", [(288, 384), (5, 3), (1, 1)])
@pytest.mark.parametrize("jitter", [JitterParams(), JitterParams(shift_px=9, scale=0.3, ink=0.4, paper=0.1)])
def test_a_jittered_page_is_the_page_read_between_its_pixels(shape, jitter):
    page = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    drawn = np.random.default_rng(1)
    scales, shifts_px = (drawn.uniform(-most, most, 2) for most in (jitter.scale, jitter.shift_px))
    gain, paper = 1 + drawn.uniform(-jitter.ink, jitter.ink), drawn.uniform(-jitter.paper, jitter.paper)
    middles = [(side - 1) / 2 for side in shape]
    places_px = [
        (np.arange(side) - shift - middle) / (1 + scale) + middle
        for side, shift, scale, middle in zip(shape, shifts_px[::-1], scales[::-1], middles, strict=True)
    ]
    level = map_coordinates(
        page.astype(np.float64), np.meshgrid(*places_px, indexing="ij"), order=1, mode="grid-constant", cval=255
    )
    ink = jitter_page(page, jitter=jitter, rng=np.random.default_rng(1))
    np.testing.assert_allclose(ink, np.clip((255 - level) / 255 * gain + paper, 0, 1), atol=1e-5)


def test_jitter_stays_within_its_bounds():
    page = np.full((288, 384), 255, np.uint8)
    page[100:116, 184:200] = 0  # its centre is the page's: scaling leaves it where it is
    for seed in range(50):
        ink = jitter_page(page, jitter=JitterParams(), rng=np.random.default_rng(seed))
        assert ink.dtype == np.float32
        assert ink.min() >= 0
        assert 0.8 < ink.max() <= 1
        rows, columns = np.nonzero(ink > 0.5)
        assert abs(rows.mean() - 107.5) <= 4.6
        assert abs(columns.mean() - 191.5) <= 4.6


def test_a_signal_is_moved_and_scaled_but_never_turned():
    ramp = np.tile(np.arange(1000, dtype=np.int16), (12, 1))
    for seed in range(50):
        moved = jitter_signal(ramp, sampling_hz=100, jitter=JitterParams(), rng=np.random.default_rng(seed))
        gain = (moved[0, 700] - moved[0, 300]) / 400 * 1000
        assert 0.9 <= gain <= 1.1
        assert abs(moved[0, 500] * 1000 / gain - 500) <= 20.01
        assert (np.diff(moved, axis=1) >= 0).all()


def test_learning_rate_rises_and_falls():
    recipe = Recipe(learning_rate=0.1, warmup_fraction=0.1)
    rates = [learning_rate_at(step, steps=100, recipe=recipe) for step in range(100)]
    assert rates[:2] == pytest.approx([0.01, 0.02])
    assert max(rates) == rates[9] == rates[10] == 0.1
    assert rates[55] == pytest.approx(0.05)
    assert 0 < rates[-1] < 1e-4
    assert np.all(np.diff(rates[10:]) < 0)
