"""Several processes that train one network, as torchrun starts them: gloo between CPUs, nccl between GPUs.

Each computes its share of every batch, as a micro-batch of it, so the sum of their
gradients is what one process has with as many micro-batches. Norms see their share
alone, as they do there; their running statistics are averaged over the processes, where
one process takes one micro-batch after the other.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import nn

from vizecg.recipe import Device

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Which of how many processes this is; alone, every method gives back what it is given."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Writes files and tells progress."""
        return self.rank == 0

    def share(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        """This process's part of a batch."""
        shares: list[NDArray[np.integer[Any]]] = np.array_split(rows, self.size)
        return shares[self.rank]

    def gathered(self, value: Value) -> list[Value]:
        """What each process has, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def told(self, value: Value) -> Value:
        """What the leader has."""
        if self.size == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Over all processes; where none has a gradient there is none: what did not learn is not decayed."""
        if self.size == 1:
            return
        learning = list(parameters)
        present = torch.tensor([float(one.grad is not None) for one in learning], device=learning[0].device)
        torch.distributed.all_reduce(present)
        gradients = []
        for one, count in zip(learning, present.tolist(), strict=True):
            if count:
                one.grad = torch.zeros_like(one) if one.grad is None else one.grad
                gradients.append(one.grad)
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])  # one message for all
        torch.distributed.all_reduce(flat)
        for gradient, summed in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
            gradient.copy_(summed.view(gradient.shape))

    def average_statistics(self, model: nn.Module) -> None:
        """Of the norms: every process ends with the mean over all."""
        for buffer in model.buffers() if self.size > 1 else ():
            if buffer.is_floating_point():
                torch.distributed.all_reduce(buffer)
                buffer /= self.size


ALONE: Final = Team()


def current_team() -> Team:
    """Of the process group there is, else this process alone."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return ALONE
    return Team(rank=torch.distributed.get_rank(), size=torch.distributed.get_world_size())


@contextmanager
def joined(device: Device) -> Iterator[Team]:
    """Meet the other processes that torchrun has started, and part from them afterwards; alone where it has not."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield current_team()
    finally:
        torch.distributed.destroy_process_group()
