"""Where a training computes and how precisely; and torch's own state, put back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vizecg.batches import Batch
from vizecg.errors import InputError
from vizecg.models import Logits
from vizecg.recipe import Device, Precision, Recipe
from vizecg.training.processes import ALONE, Team, current_team


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Device, number format and processes of a training."""

    device: torch.device
    precision: str
    team: Team = ALONE

    def forward(self, network: nn.Module, batch: Batch) -> Logits:
        """Logits in float32, whatever the network computed in: a bfloat16 loss has three digits."""
        image, signal_mv = self.tensor(batch.image), self.tensor(batch.signal_mv)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits: Logits = network(image, signal_mv, self.some(batch.has_signal))
        return logits.float()

    def tensor(self, array: NDArray[np.generic]) -> Tensor:
        """The array on the device."""
        return torch.from_numpy(array).to(self.device)

    def some(self, mask: NDArray[np.bool_]) -> Tensor | None:
        """The mask, or None where it leaves nothing out: then nothing needs to be picked out."""
        return None if mask.all() else self.tensor(mask)


def resolve_arithmetic(recipe: Recipe) -> Arithmetic:
    """What `device` and `precision` of the recipe mean on this machine.

    Raises:
        InputError: it has not what was asked for.
    """
    device = resolve_device(recipe.device)
    precision = resolve_precision(recipe.precision, device=device)
    return Arithmetic(device=device, precision=precision, team=current_team())


def resolve_device(device: Device) -> torch.device:
    """`auto` is the first GPU where there is one.

    Raises:
        InputError: a GPU is asked for and torch sees none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device is cuda, but torch sees no such GPU; use auto or cpu")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def resolve_precision(precision: Precision, *, device: torch.device | None = None) -> str:
    """`auto` is bfloat16 where the hardware multiplies it: elsewhere it gains nothing.

    Args:
        precision: of the recipe.
        device: where; the CPU if not given.

    Raises:
        InputError: bfloat16 is asked for and the hardware cannot.
    """
    if device is not None and device.type == "cuda":
        able, lack = torch.cuda.is_bf16_supported(), "this GPU has no bfloat16"
    else:
        capabilities = torch.cpu.get_capabilities()
        able = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
        lack = "this CPU has neither AVX512-BF16 nor AMX"
    if precision == "bfloat16" and not able:
        raise InputError(f"train.precision is bfloat16, but {lack}; use auto or float32")
    return "bfloat16" if precision != "float32" and able else "float32"


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def torch_seed(*key: int, device: torch.device, states: list[Tensor]) -> Iterator[None]:
    """Dropout draws from torch's own generators: give them a seed made of `key`, and put them back afterwards.

    Args:
        key: what the seed is a function of.
        device: whose generator is meant, beside the CPU's.
        states: of the generators, to go on from where an earlier block was cut off; empty starts from the seed.
    """
    cuda = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        if states:
            torch.random.set_rng_state(states[0])
            for state in states[1:]:
                torch.cuda.set_rng_state(state)
        yield


def generator_states(device: torch.device) -> list[Tensor]:
    """Of the CPU's generator, and of the GPU's if `device` is one."""
    states = [torch.random.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state())
    return states
