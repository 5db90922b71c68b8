"""What a training tells while it runs, and what it hands back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vizecg.errors import VizecgError
from vizecg.models import Network


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
        class_auroc: label -> AUROC of the scored head.
        is_best: the scored head's macro AUROC is above that of all epochs before; never where
            the last epoch is taken whatever it scores.
        seconds: training and validation; not reproducible.
        waiting_s: of those, how long steps waited for their batch; not reproducible.
    """

    epoch: int
    losses: Mapping[str, float]
    distillation_weight: float
    learning_rate: float
    validation_auroc: Mapping[str, float]
    class_auroc: Mapping[str, float | None]
    is_best: bool
    seconds: float
    waiting_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherReport:
    """One teacher of schedule `frozen` is done; both counts start at 1.

    Attributes:
        teacher: which.
        teachers: how many there will be.
        auroc: macro AUROC on the training records it did not learn from; None where no class can be scored.
        restored: read from the cache of a training that was cut off.
    """

    teacher: int
    teachers: int
    auroc: float | None
    restored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """The model that was selected, in evaluation mode, on the CPU.

    Attributes:
        model: averaged weights (EMA) of that epoch; without a signal side where no record
            has a signal or the teachers were trained before.
        best_epoch: the epoch selected, counted from 1.
        best_auroc: macro AUROC of the scored head on the validation records in that epoch; None
            where the last epoch was taken and no class can be scored.
        history: every epoch, those before a resume included.
        resumed_after: whole epochs taken from a checkpoint; 0 when started from nothing.
        precision: of the arithmetic in training.
        teacher_auroc: macro AUROC of the frozen teachers' logits on the training records, each
            by teachers that did not learn from it; None without such teachers.
    """

    model: Network
    best_epoch: int
    best_auroc: float | None
    history: tuple[EpochReport, ...]
    resumed_after: int
    precision: str
    teacher_auroc: float | None = None
