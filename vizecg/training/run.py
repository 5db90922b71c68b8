"""What changes while training: all that a checkpoint holds."""

import copy
import math
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from vizecg.models import Network
from vizecg.recipe import Recipe
from vizecg.training.reports import EpochReport

Net = TypeVar("Net", bound=Network)


@dataclass(slots=True)
class Run(Generic[Net]):
    """One training as far as it has come.

    Attributes:
        averaged: exponential mean of the weights; what is scored and handed back.
        best_state: of `averaged` in the best epoch.
        steps_in_epoch: of the epoch that is not done yet.
        parts: losses of those steps.
        generators: states of torch's generators after them; empty between epochs.
    """

    model: Net
    averaged: Net
    optimizer: torch.optim.Optimizer
    best_state: dict[str, Tensor]
    steps_done: int = 0
    epochs_done: int = 0
    best_epoch: int = 0
    best_auroc: float = -math.inf
    steps_in_epoch: int = 0
    parts: list[dict[str, float]] = field(default_factory=list)
    generators: list[Tensor] = field(default_factory=list)
    history: list[EpochReport] = field(default_factory=list)

    def average(self, *, decay: float) -> None:
        """Move the averaged weights towards the new ones.

        A young average forgets faster (Tarvainen and Valpola 2017).
        """
        kept = min(decay, self.steps_done / (self.steps_done + 9.0))
        with torch.no_grad():
            for mean, now in zip(self.averaged.state_dict().values(), self.model.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(now, 1 - kept)
                else:
                    mean.copy_(now)

    def note_best(self, score: float) -> bool:
        """Keep the averaged weights if they score better than all before; says whether they do."""
        if score <= self.best_auroc:
            return False
        self.best_state, self.best_auroc = snapshot(self.averaged), score
        self.best_epoch = self.epochs_done + 1
        return True

    def end_epoch(self, report: EpochReport) -> None:
        """The epoch is done: nothing of it is left open."""
        self.history.append(report)
        self.epochs_done = report.epoch
        self.steps_in_epoch, self.parts, self.generators = 0, [], []


def start(network: Net, *, recipe: Recipe, device: torch.device) -> Run[Net]:
    """A run of a fresh network, which is moved to the device."""
    # channels_last: convolutions of one channel in and few out are faster so, on CPU and GPU.
    model = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    # Decaying a bias or the scale of a norm only moves it away from where the data wants it.
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
    )
    return Run(model=model, averaged=averaged, optimizer=optimizer, best_state=snapshot(averaged))


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and statistics."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
