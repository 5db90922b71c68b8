"""Two processes on loopback train what one process trains."""

import multiprocessing
import os

import numpy as np
import pytest
import torch

from vizecg.batches import TrainingData
from vizecg.errors import InputError
from vizecg.recipe import DistillationParams, JitterParams, ModelConfig, Recipe, TeachersParams
from vizecg.training import joined, train
from vizecg.training.loop import Trainer

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["vizecg.training", "pytest"])
PROCESSES = 2
RECIPE = Recipe(
    model=ModelConfig(image_width=2, signal_width=4, signal_blocks=(1,), dim=8, heads=2, dropout=0),
    distillation=DistillationParams(warmup_epochs=0, ramp_epochs=1),
    teachers=TeachersParams(crossfit=2, epochs=1),
    jitter=JitterParams(),
    select="last",
    epochs=2,
    batch_size=8,
    precision="float32",
    device="cpu",
    threads=1,
    loader_threads=0,
)


def made_up():
    rng = np.random.default_rng(0)
    labels = (rng.random((32, 3)) < 0.5).astype(np.uint8)
    has_signal = np.ones(32, bool)
    has_signal[::5] = False
    return TrainingData(
        pages=rng.integers(0, 256, (32, 32, 64), dtype=np.uint8),
        page_row=np.arange(32),
        page_copy=np.zeros(32, int),
        signals_uv=rng.integers(-500, 500, (32, 12, 100)).astype(np.int16),
        sampling_hz=100,
        has_signal=has_signal,
        labels=labels,
        codes=("NORM", "MI", "HYP"),
        ecg_ids=np.arange(32),
        training_rows=np.arange(24),
        validation_rows=np.arange(24, 32),
        digest="made up",
        patient_ids=np.arange(32) // 2,
    )


class Killed(Exception):
    pass


def member(rank, port, recipe, folder, killed_at):
    """What one process does; its tensors, and the losses it was told, go to a file."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(PROCESSES)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    if killed_at:
        original = Trainer.save

        def save(self):
            original(self)
            if self.run.steps_done == killed_at:
                raise Killed

        Trainer.save = save
    told = []
    with joined("cpu") as team:
        assert (team.rank, team.size) == (rank, PROCESSES)
        try:
            trained = train(made_up(), recipe, seed=0, checkpoint_dir=folder / "kept", on_epoch=told.append)
        except Killed:
            return
    content = {"state": trained.model.state_dict(), "losses": [dict(report.losses) for report in trained.history]}
    torch.save(
        content | {"told": len(told), "auroc": trained.best_auroc, "teacher_auroc": trained.teacher_auroc},
        folder / f"{rank}.pt",
    )


def trained_by_two(recipe, folder, *, port, killed_at=None):
    """What each process has in the end."""
    team = [CONTEXT.Process(target=member, args=(rank, port, recipe, folder, killed_at)) for rank in range(PROCESSES)]
    for process in team:
        process.start()
    for process in team:
        process.join(300)
        assert process.exitcode == 0
    return [torch.load(path, weights_only=True) for path in sorted(folder.glob("[01].pt"))]


def agree(one, other):
    return all(torch.equal(value, other["state"][name]) for name, value in one["state"].items())


def test_two_processes_learn_what_one_learns_in_two_micro_batches(tmp_path, own_port):
    one, other = trained_by_two(RECIPE, tmp_path, port=own_port())
    assert agree(one, other)
    assert (one["told"], other["told"]) == (2, 0)
    alone = train(made_up(), RECIPE.model_copy(update={"accumulate": 2}), seed=0)
    # But for the statistics of the norms, which are averaged over processes and not taken in turn.
    learned = dict(alone.model.named_parameters())
    together = {name: value for name, value in one["state"].items() if name in learned}
    torch.testing.assert_close(
        together, {name: value.detach() for name, value in learned.items()}, rtol=1e-3, atol=1e-5
    )
    for mine, theirs in zip(one["losses"], alone.history, strict=True):
        assert mine == pytest.approx(theirs.losses, rel=1e-4)


def test_two_processes_teach_and_learn_from_the_same_teachers(tmp_path, own_port):
    one, other = trained_by_two(RECIPE.model_copy(update={"schedule": "frozen"}), tmp_path, port=own_port())
    assert agree(one, other)
    assert one["auroc"] == other["auroc"]
    assert one["teacher_auroc"] == other["teacher_auroc"]
    assert len(list((tmp_path / "kept" / "teachers").glob("*.safetensors"))) == 2


@pytest.mark.slow
def test_two_processes_stopped_within_an_epoch_end_with_the_same_tensors(tmp_path, own_port):
    dropping = RECIPE.model_copy(
        update={"checkpoint_every_steps": 1, "model": RECIPE.model.model_copy(update={"dropout": 0.3})}
    )
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = trained_by_two(dropping, tmp_path / "whole", port=own_port())
    assert trained_by_two(dropping, tmp_path / "cut", port=own_port(), killed_at=2) == []
    resumed = trained_by_two(dropping, tmp_path / "cut", port=own_port())
    assert all(torch.equal(value, whole[0]["state"][name]) for name, value in resumed[0]["state"].items())
    assert resumed[0]["losses"] == whole[0]["losses"]


def test_more_processes_than_a_batch_has_pairs_are_refused(monkeypatch):
    from vizecg.training import arithmetic
    from vizecg.training.processes import Team

    monkeypatch.setattr(arithmetic, "current_team", lambda: Team(size=8))
    with pytest.raises(InputError, match=r"8 processes with train\.accumulate 1 leave each fewer than 2 records of a"):
        train(made_up(), RECIPE, seed=0)
