"""Training on arrays in memory (or mapped): pages, signals and labels in, one model out.

Knows no step, no folder but the one for checkpoints, and no MLflow: whoever calls it
hears of every step, epoch and teacher.
"""

from vizecg.training.arithmetic import resolve_arithmetic, resolve_device, resolve_precision
from vizecg.training.checkpoints import CHECKPOINT_NAME, code_digest
from vizecg.training.loop import learning_rate_at
from vizecg.training.processes import joined
from vizecg.training.reports import EpochReport, StepReport, TeacherReport, TrainedModel, TrainingDiverged
from vizecg.training.schedules import train
from vizecg.training.scoring import answers

__all__ = [
    "CHECKPOINT_NAME",
    "EpochReport",
    "StepReport",
    "TeacherReport",
    "TrainedModel",
    "TrainingDiverged",
    "answers",
    "code_digest",
    "joined",
    "learning_rate_at",
    "resolve_arithmetic",
    "resolve_device",
    "resolve_precision",
    "train",
]
