"""The loop: epochs of steps, scored, written down, and stopped when a number is none.

Knows neither schedules nor teachers: it is given a network and, where somebody has
taught before, what they said. All randomness is a function of (seed, epoch, ecg_id)
but dropout's, whose generator a checkpoint holds, so a training that was cut off ends,
on the same machine with the same number of threads, with the same tensors.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vizecg.batches import TrainingData, epoch_batches
from vizecg.losses import Lesson, LossParts, classification_loss, total_loss
from vizecg.recipe import Recipe
from vizecg.training import checkpoints
from vizecg.training.arithmetic import Arithmetic, generator_states, torch_seed
from vizecg.training.loading import Portion, Reader, Timed, read_ahead
from vizecg.training.portions import Portioned, means, whole
from vizecg.training.reports import EpochReport, StepReport, TrainingDiverged
from vizecg.training.run import Net, Run, start
from vizecg.training.scoring import validate


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What teachers trained before said of the records.

    Attributes:
        logits: float32 (records, labels); 0 where nobody was asked.
        taught: (records,) bool, where somebody was.
    """

    logits: NDArray[np.float32]
    taught: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training: all that stays.

    Attributes:
        identity: a checkpoint of another one is not continued.
        checkpoint: where to write it.
        lessons: what there is to learn beside the labels and from the network's own heads.
        with_pages: whether the network reads them.
    """

    data: TrainingData
    recipe: Recipe
    seed: int
    arithmetic: Arithmetic
    identity: dict[str, str] = field(default_factory=dict)
    checkpoint: Path | None = None
    lessons: Lessons | None = None
    with_pages: bool = True


def fit(
    network: Net,
    job: Job,
    *,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> tuple[Run[Net], int]:
    """Train a fresh network to the end of its recipe.

    Returns:
        The run, its averaged weights those of the epoch selected, and how many epochs were
        taken from a checkpoint.

    Raises:
        TrainingDiverged: the loss is not finite; names epoch, step and the last good checkpoint.
    """
    run = start(network, recipe=job.recipe, device=job.arithmetic.device)
    trainer = Trainer(job=job, run=run, on_step=on_step)
    if job.checkpoint is not None:
        team = job.arithmetic.team
        trainer.saved = checkpoints.restore(run, job.checkpoint, identity=job.identity, team=team)
    resumed_after = run.epochs_done
    while run.epochs_done < job.recipe.epochs:
        report = trainer.train_epoch()
        trainer.save()
        if on_epoch is not None and job.arithmetic.team.leads:
            on_epoch(report)
    if job.recipe.select == "best_epoch":
        run.averaged.load_state_dict(run.best_state)
    return run, resumed_after


@dataclass(slots=True, kw_only=True)
class Trainer(Generic[Net]):
    """A job and the run that changes; `saved` says whether a checkpoint of it is on disk."""

    job: Job
    run: Run[Net]
    on_step: Callable[[StepReport], None] | None = None
    saved: bool = False
    loss: Callable[..., LossParts] = field(init=False)

    def __post_init__(self) -> None:
        recipe, distillation = self.job.recipe, self.job.recipe.distillation
        self.loss = partial(
            total_loss,
            classification_weight=recipe.classification_weight,
            temperature=distillation.temperature,
            teacher=distillation.teacher,
            symmetric=distillation.symmetric,
            feature_weight=distillation.feature_weight,
            classification=classification_loss(recipe, labels=self.job.data.labels[self.job.data.training_rows]),
        )

    def train_epoch(self) -> EpochReport:
        """Learn from every training record that this epoch has not shown yet, then score."""
        began_s = time.monotonic()
        job, run, epoch = self.job, self.run, self.run.epochs_done
        rows_of = epoch_batches(job.data, batch_size=job.recipe.batch_size, seed=job.seed, epoch=epoch)
        run.model.train()
        with (
            torch_seed(*self._key(epoch), device=job.arithmetic.device, states=run.generators),
            read_ahead(self._reader(epoch), rows_of[run.steps_in_epoch :], threads=job.recipe.loader_threads) as read,
        ):
            batches = Timed(read)
            for portions in batches:
                self._learn(portions, steps=len(rows_of))
        return self._finish_epoch(began_s=began_s, waiting_s=batches.waiting_s)

    def save(self) -> None:
        """Write the run down, where it is to be written down."""
        if self.job.checkpoint is not None:
            team = self.job.arithmetic.team
            checkpoints.save(self.run, self.job.checkpoint, identity=self.job.identity, team=team)
            self.saved = True

    def _key(self, epoch: int) -> tuple[int, ...]:
        """Of dropout; processes that drop the same features of different records would learn less."""
        rank = self.job.arithmetic.team.rank
        return (self.job.seed, epoch, rank) if rank else (self.job.seed, epoch)

    def _reader(self, epoch: int) -> Reader:
        job = self.job
        return Reader(
            data=job.data,
            jitter=job.recipe.jitter,
            seed=job.seed,
            epoch=epoch,
            accumulate=job.recipe.accumulate,
            with_pages=job.with_pages,
            team=job.arithmetic.team,
        )

    def _learn(self, portions: list[Portion], *, steps: int) -> None:
        """One step, noted, told, and written down where it is time."""
        run, recipe = self.run, self.job.recipe
        losses = self.step(portions, epoch=run.epochs_done + run.steps_in_epoch / steps, steps=recipe.epochs * steps)
        if losses is None:
            raise self._diverged(f"epoch {run.epochs_done + 1}, step {run.steps_in_epoch + 1} of {steps}")
        run.parts.append(losses)
        run.steps_in_epoch += 1
        every = recipe.checkpoint_every_steps
        # After the last step of an epoch comes its score, and then the epoch is written down.
        if every and run.steps_done % every == 0 and run.steps_in_epoch < steps:
            run.generators = generator_states(self.job.arithmetic.device)
            self.save()
        self._tell(steps=steps, loss=losses["total"])

    def step(self, portions: list[Portion], *, epoch: float, steps: int) -> dict[str, float] | None:
        """One update; None, and no update, when loss or gradient is not finite.

        Args:
            portions: of one batch; their gradients are summed, each weighed by its share of the records.
            epoch: done so far, fractions allowed.
            steps: of the whole training.
        """
        run, recipe = self.run, self.job.recipe
        learning_rate = learning_rate_at(run.steps_done, steps=steps, recipe=recipe)
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate
        run.optimizer.zero_grad(set_to_none=True)
        losses = self._backward(portions, distillation_weight=recipe.distillation_weight_at(epoch))
        team = self.job.arithmetic.team
        team.sum_gradients(run.model.parameters())
        norm = nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip_norm)
        if not (math.isfinite(losses["total"]) and math.isfinite(float(norm))):
            return None
        run.optimizer.step()
        team.average_statistics(run.model)
        run.steps_done += 1
        run.average(decay=recipe.ema_decay)
        return losses

    def _backward(self, portions: list[Portion], *, distillation_weight: float) -> dict[str, float]:
        """Gradients of a whole batch, and the parts of its loss."""
        arithmetic = self.job.arithmetic
        records = sum(arithmetic.team.gathered(sum(len(portion.rows) for portion in portions)))
        found: list[Portioned] = []
        for portion in portions:
            lesson = self._lesson(portion.rows)
            parts = self.loss(
                arithmetic.forward(self.run.model, portion.batch),
                arithmetic.tensor(portion.batch.labels),
                has_signal=arithmetic.some(portion.batch.has_signal),
                distillation_weight=distillation_weight,
                lesson=lesson,
            )
            (parts.total * (len(portion.rows) / records)).backward()  # type: ignore[no-untyped-call]
            seeing = portion.batch.has_signal.sum() if lesson is None else len(lesson.logits)
            found.append(Portioned(losses=parts.to_dict(), records=len(portion.rows), seeing=int(seeing)))
        return whole([portion for each in arithmetic.team.gathered(found) for portion in each])

    def _lesson(self, rows: NDArray[np.integer[Any]]) -> Lesson | None:
        lessons, arithmetic = self.job.lessons, self.job.arithmetic
        if lessons is None:
            return None
        taught = lessons.taught[rows]
        return Lesson(logits=arithmetic.tensor(lessons.logits[rows[taught]]), taught=arithmetic.tensor(taught))

    def _tell(self, *, steps: int, loss: float) -> None:
        if self.on_step is not None and self.job.arithmetic.team.leads:
            epoch, epochs = self.run.epochs_done + 1, self.job.recipe.epochs
            self.on_step(StepReport(epoch=epoch, epochs=epochs, step=self.run.steps_in_epoch, steps=steps, loss=loss))

    def _diverged(self, where: str) -> TrainingDiverged:
        last_good = self.job.checkpoint if self.saved else "none"
        return TrainingDiverged(
            f"training diverged at {where}: loss or gradient is not finite; last good checkpoint: {last_good}; "
            f"lower train.learning_rate, now {self.job.recipe.learning_rate:g}"
        )

    def _finish_epoch(self, *, began_s: float, waiting_s: float) -> EpochReport:
        """Score the averaged weights, keep them if they are the best, note the epoch."""
        run, recipe = self.run, self.job.recipe
        scores = validate(run.averaged, self.job.data, arithmetic=self.job.arithmetic)
        by_head, by_class = self.job.arithmetic.team.told(scores)
        is_best = recipe.select == "best_epoch" and run.note_best(by_head[run.averaged.head])
        report = EpochReport(
            epoch=run.epochs_done + 1,
            losses=means(run.parts),
            distillation_weight=recipe.distillation_weight_at(run.epochs_done + 1),
            learning_rate=float(run.optimizer.param_groups[0]["lr"]),
            validation_auroc=by_head,
            class_auroc=by_class,
            is_best=is_best,
            seconds=round(time.monotonic() - began_s, 3),
            waiting_s=round(waiting_s, 3),
        )
        run.end_epoch(report)
        return report


def learning_rate_at(step: int, *, steps: int, recipe: Recipe) -> float:
    """Straight up over the first `warmup_fraction` of all steps, then half a cosine down to 0."""
    warmup = max(1, round(recipe.warmup_fraction * steps))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    return recipe.learning_rate * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2
