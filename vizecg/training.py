"""Training on arrays in memory (or mapped): pages, signals and labels in, the best model out.

Knows no step, no folder but the one for checkpoints, and no MLflow: whoever calls it
hears of every step and epoch. All randomness is a function of (seed, epoch, ecg_id),
so a checkpoint needs no generator's state, and a training that was cut off ends, on
the same machine with the same number of threads, with the same tensors.
"""

import copy
import hashlib
import io
import logging
import math
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vizecg import bootstrap
from vizecg.batches import Batch, TrainingData, epoch_batches, plain_batches, training_batch
from vizecg.errors import InputError, VizecgError
from vizecg.losses import total_loss
from vizecg.models import Logits, VizECGNet, build_model
from vizecg.publish import write_atomically
from vizecg.recipe import Precision, Recipe

logger = logging.getLogger(__name__)

CHECKPOINT_NAME: Final = "last.pt"
_VALIDATION_BATCH: Final = 64
_NUMBERS: Final = ("steps_done", "epochs_done", "best_epoch", "best_auroc")


class TrainingDiverged(VizecgError):
    """Loss or gradient is no longer a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimiser step; both counts start at 1."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """One epoch, counted from 1.

    Attributes:
        losses: mean of each part over the epoch's steps that had it, see `losses.LossParts`.
        distillation_weight: λ2 at its end.
        learning_rate: at its end.
        validation_auroc: head -> macro AUROC over the classes that have both sides among the
            records it can answer for; a head that can be scored on none is left out.
        class_auroc: label -> AUROC of the image head.
        is_best: the image head's macro AUROC is above that of all epochs before.
        seconds: training and validation; not reproducible.
    """

    epoch: int
    losses: Mapping[str, float]
    distillation_weight: float
    learning_rate: float
    validation_auroc: Mapping[str, float]
    class_auroc: Mapping[str, float | None]
    is_best: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """The model of the best epoch, in evaluation mode.

    Attributes:
        model: averaged weights (EMA) of the best epoch; without a signal side where no record has a signal.
        best_epoch: counted from 1.
        best_auroc: macro AUROC of the image head on the validation records.
        history: every epoch, those before a resume included.
        resumed_after: epochs taken from a checkpoint; 0 when started from nothing.
        precision: of the arithmetic in training.
    """

    model: VizECGNet
    best_epoch: int
    best_auroc: float
    history: tuple[EpochReport, ...]
    resumed_after: int
    precision: str


def train(
    data: TrainingData,
    recipe: Recipe,
    *,
    seed: int,
    checkpoint_dir: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainedModel:
    """Train VizECGNet and return its best epoch by macro AUROC of the image head on the validation records.

    Args:
        data: see `TrainingData`.
        recipe: see `Recipe`.
        seed: of weights, order, jitter and dropout.
        checkpoint_dir: written after every epoch, before `on_epoch`. A checkpoint of the
            same data, recipe, seed and torch that lies there is continued; one of another
            run is replaced, and the log says so.
        on_epoch: hears of every epoch trained now, not of those restored.
        on_step: hears of every step.

    Raises:
        TrainingDiverged: the loss is not finite; names epoch, step and the last good checkpoint.
        InputError: no class can be scored on the validation records; the checkpoint cannot
            be read; bfloat16 is asked of a CPU without it.
    """
    _refuse_unscorable(data)
    recipe = _without_teacher(recipe) if not data.has_signal[data.training_rows].any() else recipe
    precision = resolve_precision(recipe.precision)
    path = None if checkpoint_dir is None else checkpoint_dir / CHECKPOINT_NAME
    identity = _identity(data, recipe, seed=seed, precision=precision)
    with _threads(recipe.threads):
        run = _start(recipe, labels=len(data.codes), seed=seed)
        if path is not None:
            _restore(run, path, identity=identity)
        resumed_after = run.epochs_done
        trainer = _Trainer(data=data, recipe=recipe, seed=seed, precision=precision, run=run, on_step=on_step)
        while run.epochs_done < recipe.epochs:
            report = trainer.train_epoch(run.epochs_done, checkpoint=path)
            if path is not None:
                _save(run, path, identity=identity)
            if on_epoch is not None:
                on_epoch(report)
        run.averaged.load_state_dict(run.best_state)
    return TrainedModel(
        model=run.averaged,
        best_epoch=run.best_epoch,
        best_auroc=run.best_auroc,
        history=tuple(run.history),
        resumed_after=resumed_after,
        precision=precision,
    )


def resolve_precision(precision: Precision) -> str:
    """`auto` is bfloat16 where the CPU multiplies it in hardware: elsewhere it gains nothing.

    Raises:
        InputError: bfloat16 is asked for and the CPU cannot.
    """
    capabilities = torch.cpu.get_capabilities()
    able = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    if precision == "bfloat16" and not able:
        raise InputError(
            "train.precision is bfloat16, but this CPU has neither AVX512-BF16 nor AMX; use auto or float32"
        )
    return "bfloat16" if precision != "float32" and able else "float32"


def learning_rate_at(step: int, *, steps: int, recipe: Recipe) -> float:
    """Straight up over the first `warmup_fraction` of all steps, then half a cosine down to 0."""
    warmup = max(1, round(recipe.warmup_fraction * steps))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    return recipe.learning_rate * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


@dataclass(slots=True)
class _Run:
    """What changes while training: all that a checkpoint holds."""

    model: VizECGNet
    averaged: VizECGNet
    optimizer: torch.optim.Optimizer
    best_state: dict[str, Tensor]
    steps_done: int = 0
    epochs_done: int = 0
    best_epoch: int = 0
    best_auroc: float = -math.inf
    history: list[EpochReport] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Trainer:
    """One training: what stays, and the run that changes."""

    data: TrainingData
    recipe: Recipe
    seed: int
    precision: str
    run: _Run
    on_step: Callable[[StepReport], None] | None

    def train_epoch(self, epoch: int, *, checkpoint: Path | None) -> EpochReport:
        """Learn from every training record once, then score; `epoch` counts from 0."""
        began_s = time.monotonic()
        rows_of = epoch_batches(self.data, batch_size=self.recipe.batch_size, seed=self.seed, epoch=epoch)
        parts = []
        self.run.model.train()
        with _torch_seed(self.seed, epoch):
            for step, rows in enumerate(rows_of):
                batch = training_batch(self.data, rows, jitter=self.recipe.jitter, seed=self.seed, epoch=epoch)
                losses = self._step(batch, epoch=epoch + step / len(rows_of), steps=self.recipe.epochs * len(rows_of))
                if losses is None:
                    raise self._diverged(f"epoch {epoch + 1}, step {step + 1} of {len(rows_of)}", checkpoint=checkpoint)
                parts.append(losses)
                self._tell(epoch=epoch, step=step, steps=len(rows_of), loss=losses["total"])
        return self._finish_epoch(epoch, losses=_means(parts), began_s=began_s)

    def _step(self, batch: Batch, *, epoch: float, steps: int) -> dict[str, float] | None:
        """One update; None, and no update, when loss or gradient is not finite."""
        learning_rate = learning_rate_at(self.run.steps_done, steps=steps, recipe=self.recipe)
        for group in self.run.optimizer.param_groups:
            group["lr"] = learning_rate
        logits = self._forward(self.run.model, batch)
        distillation = self.recipe.distillation
        loss = total_loss(
            logits,
            torch.from_numpy(batch.labels),
            has_signal=_some(batch.has_signal),
            classification_weight=self.recipe.classification_weight,
            distillation_weight=distillation.weight_at(epoch),
            temperature=distillation.temperature,
            teacher=distillation.teacher,
        )
        self.run.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.run.model.parameters(), self.recipe.clip_norm)
        if not (math.isfinite(float(loss.total.detach())) and math.isfinite(float(norm))):
            return None
        self.run.optimizer.step()
        self.run.steps_done += 1
        _average(self.run, decay=self.recipe.ema_decay)
        return loss.to_dict()

    def _forward(self, model: VizECGNet, batch: Batch) -> Logits:
        """Logits in float32, whatever the network computed in: a bfloat16 loss has three digits."""
        image, signal_mv = torch.from_numpy(batch.image), torch.from_numpy(batch.signal_mv)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits: Logits = model(image, signal_mv, _some(batch.has_signal))
        return logits.float()

    def _tell(self, *, epoch: int, step: int, steps: int, loss: float) -> None:
        if self.on_step is not None:
            report = StepReport(epoch=epoch + 1, epochs=self.recipe.epochs, step=step + 1, steps=steps, loss=loss)
            self.on_step(report)

    def _diverged(self, where: str, *, checkpoint: Path | None) -> TrainingDiverged:
        last_good = checkpoint if checkpoint is not None and self.run.epochs_done else "none"
        return TrainingDiverged(
            f"training diverged at {where}: loss or gradient is not finite; last good checkpoint: {last_good}; "
            f"lower train.learning_rate, now {self.recipe.learning_rate:g}"
        )

    def _finish_epoch(self, epoch: int, *, losses: dict[str, float], began_s: float) -> EpochReport:
        """Score the averaged weights, keep them if they are the best, note the epoch."""
        run = self.run
        by_head, by_class = self._validate()
        score = by_head["image"]
        is_best = score > run.best_auroc
        if is_best:
            run.best_state, run.best_epoch, run.best_auroc = _snapshot(run.averaged), epoch + 1, score
        run.epochs_done = epoch + 1
        report = EpochReport(
            epoch=epoch + 1,
            losses=losses,
            distillation_weight=self.recipe.distillation.weight_at(epoch + 1),
            learning_rate=float(run.optimizer.param_groups[0]["lr"]),
            validation_auroc=by_head,
            class_auroc=by_class,
            is_best=is_best,
            seconds=round(time.monotonic() - began_s, 3),
        )
        run.history.append(report)
        return report

    def _validate(self) -> tuple[dict[str, float], dict[str, float | None]]:
        """Macro AUROC of every head, and AUROC of every class of the image head, over all copies of all pages."""
        data = self.data
        pages = [page for row in data.validation_rows.tolist() for page in data.pages_of_row[row]]
        with torch.no_grad():
            scored = [
                self._forward(self.run.averaged, batch).by_head()
                for batch in plain_batches(data, pages=pages, batch_size=_VALIDATION_BATCH)
            ]
        rows = data.page_row[pages]
        by_head: dict[str, float] = {}
        by_class: dict[str, float | None] = {}
        for head in scored[0]:
            answered = rows if head == "image" else rows[data.has_signal[rows]]
            logits = [part.numpy() for batch in scored if (part := batch[head]) is not None]
            if not logits or not bootstrap.covered(data.labels[answered], codes=data.codes):
                continue
            classes = bootstrap.auroc(data.labels[answered], np.concatenate(logits))
            by_head[head] = float(np.nanmean(classes))
            if head == "image":
                by_class = {code: _number(value) for code, value in zip(data.codes, classes.tolist(), strict=True)}
        return by_head, by_class


def _refuse_unscorable(data: TrainingData) -> None:
    if not bootstrap.covered(data.labels[data.validation_rows], codes=data.codes):
        raise InputError(
            f"no class of {list(data.codes)} has both a positive and a negative among the {len(data.validation_rows)} "
            "validation records, so no epoch can be called best; give more records (ingest)"
        )


def _without_teacher(recipe: Recipe) -> Recipe:
    """The image head alone: without any signal, the signal side would stay as it was drawn."""
    if recipe.model.signal:
        logger.info("no training record has a signal: the image head is trained alone, without distillation")
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"signal": False})})


def _some(has_signal: NDArray[np.bool_]) -> Tensor | None:
    """The mask, or None where every record has a signal: then nothing needs to be picked out."""
    return None if has_signal.all() else torch.from_numpy(has_signal)


def _start(recipe: Recipe, *, labels: int, seed: int) -> _Run:
    model = build_model(recipe.model, labels=labels, seed=seed)
    model.image_stream.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    # Decaying a bias or the scale of a norm only moves it away from where the data wants it.
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
    )
    return _Run(model=model, averaged=averaged, optimizer=optimizer, best_state=_snapshot(averaged))


def _average(run: _Run, *, decay: float) -> None:
    """Move the averaged weights towards the new ones; a young average forgets faster (Tarvainen and Valpola 2017)."""
    kept = min(decay, run.steps_done / (run.steps_done + 9.0))
    with torch.no_grad():
        for mean, now in zip(run.averaged.state_dict().values(), run.model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - kept)
            else:
                mean.copy_(now)


def _snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _means(parts: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    having = {name: [part[name] for part in parts if name in part] for name in names}
    return {name: sum(values) / len(values) for name, values in having.items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _torch_seed(*key: int) -> Iterator[None]:
    """Dropout draws from torch's own generator: give it a seed made of `key`, and put it back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        yield


def _identity(data: TrainingData, recipe: Recipe, *, seed: int, precision: str) -> dict[str, str]:
    """What must be the same for a checkpoint to be continued; by name, so the log can say what is not."""
    return {
        "data": data.digest,
        "recipe": recipe.model_dump_json(),
        "seed": str(seed),
        "precision": precision,
        "torch": str(torch.__version__),
        "code": _code_digest(),
    }


def _code_digest() -> str:
    """Of the modules that decide what a step of training does."""
    here = Path(__file__).parent
    modules = [
        *sorted((here / "models").glob("*.py")),
        *(here / f"{name}.py" for name in ("batches", "losses", "training")),
    ]
    return hashlib.sha256(b"".join(module.read_bytes() for module in modules)).hexdigest()


def _save(run: _Run, path: Path, *, identity: dict[str, str]) -> None:
    content = {
        "identity": identity,
        "model": run.model.state_dict(),
        "averaged": run.averaged.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "best_state": run.best_state,
        "numbers": {name: getattr(run, name) for name in _NUMBERS},
        "history": [report.to_dict() for report in run.history],
    }
    written = io.BytesIO()
    torch.save(content, written)
    write_atomically(path, written.getvalue())


def _restore(run: _Run, path: Path, *, identity: dict[str, str]) -> None:
    if not path.exists():
        return
    try:
        content = torch.load(path, weights_only=True)
        found = content["identity"]
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, pickle.UnpicklingError):
        # What torch raises depends on where the bytes stop making sense.
        raise InputError(f"{path} is not a checkpoint of ours or is damaged; delete it to start anew") from None
    if other := sorted(name for name in identity if found.get(name) != identity[name]):
        logger.warning("%s belongs to another run (%s differ); starting anew", path, ", ".join(other))
        return
    run.model.load_state_dict(content["model"])
    run.averaged.load_state_dict(content["averaged"])
    run.optimizer.load_state_dict(content["optimizer"])
    run.best_state = content["best_state"]
    for name in _NUMBERS:
        setattr(run, name, content["numbers"][name])
    run.history = [EpochReport(**report) for report in content["history"]]
