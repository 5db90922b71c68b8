"""What every network has in common, whatever it reads: VizECGNet and its rivals are trained and scored alike.

One head of a network is scored. Where that head reads the page alone, the network is a
`PageNetwork`: it can be exported, and asked what it saw where.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vizecg.errors import InputError
from vizecg.recipe import ModelConfig

Head = Literal["image", "signal", "fused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logits:
    """Before sigmoid, in the order of the task's classes.

    Attributes:
        scored: (batch, labels), what epochs are chosen by and models compared by. Of VizECGNet it
            is the image head: served, and distilled into.
        head: what `scored` reads.
        signal: a teaching head, (records of the batch that have a signal, labels); None where there
            is none, or the network has no such head beside the scored one.
        fused: as `signal`.
        parts: each as `scored`; learned beside it, neither scored nor teachers.
        image_features: (batch, dim), mean of the image tokens; None where there is no signal to compare it with.
        signal_features: (records that have a signal, dim), mean of the signal tokens.
    """

    scored: Tensor
    head: Head = "image"
    signal: Tensor | None = None
    fused: Tensor | None = None
    parts: tuple[Tensor, ...] = ()
    image_features: Tensor | None = None
    signal_features: Tensor | None = None

    def teachers(self) -> dict[str, Tensor | None]:
        """Heads that may teach the scored one -> their logits."""
        return {"signal": self.signal, "fused": self.fused}

    def by_head(self) -> dict[str, Tensor | None]:
        """Head -> its logits, the scored one first."""
        beside = {name: value for name, value in self.teachers().items() if name != self.head}
        return {self.head: self.scored, **beside}

    def float(self) -> "Logits":
        """The same in float32."""
        return Logits(**{field.name: _float(getattr(self, field.name)) for field in fields(self)})


class Network(nn.Module, ABC):
    """Any architecture: image and signal in, `Logits` out.

    Attributes:
        config: what it was built from.
        head: what the scored head reads.
        scores: first parts of the names of the layers that answer label by label: they alone
            depend on how many labels there are.
        published: first parts of the names of the layers that published weights fill.
    """

    head: ClassVar[Head] = "image"
    scores: ClassVar[tuple[str, ...]]
    published: ClassVar[tuple[str, ...]] = ("network.",)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, image: Tensor, signal_mv: Tensor, has_signal: Tensor | None = None) -> Logits:
        """All heads.

        Args:
            image: (B, 1, H, W), ink positive in 0..1.
            signal_mv: (B', 12, T), leads in the order of `labels.LEADS`, of the B' records that have a signal.
            has_signal: (B,) which those are; without it, all.
        """

    def name_of_published(self, name: str) -> str | None:
        """Our name of a weight in a file with published names; None where we have no such layer."""
        return f"network.{name}"


class PageNetwork(Network):
    """A network whose scored head reads the page and nothing else."""

    @abstractmethod
    def explain_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and what each place of the page added to them.

        Returns:
            logits (B, labels), and evidence (B, labels, H / 32, W / 32), whose mean over
            the page is the logit, exactly.
        """

    def predict_image(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) -> logits (B, labels) of the scored head."""
        logits, _ = self.explain_image(image)
        return logits


def page_network(network: Network) -> PageNetwork:
    """Narrow down to what can answer from a page alone.

    Raises:
        InputError: it needs the signal.
    """
    if not isinstance(network, PageNetwork):
        raise InputError(
            f"{network.config.architecture} reads the signal, so it can answer no uploaded page: it is a rival to "
            "compare with, never exported or served; train.model.architecture vizecgnet is what is served"
        )
    return network


def refuse_missing_signal(
    config: ModelConfig, *, has_signal: NDArray[np.bool_], ecg_ids: NDArray[np.integer[Any]]
) -> None:
    """Stop before a network that needs the signal is trained on, or asked about, records without.

    Args:
        config: of the network.
        has_signal: (records,) of all it will see.
        ecg_ids: (records,) to name one by.

    Raises:
        InputError: it needs the signal, and a record has none.
    """
    if config.needs_signal and not has_signal.all():
        missing = np.flatnonzero(~has_signal)
        raise InputError(
            f"{config.architecture} reads the signal, and {len(missing)} of {len(has_signal)} records are on paper, "
            f"such as record {ecg_ids[missing[0]]}; leave them out (ingest.source), or choose a "
            "train.model.architecture that reads pages"
        )


def whole_batch(signal_mv: Tensor, *, batch: int, has_signal: Tensor | None) -> Tensor:
    """Hand the signals of a batch on, if each of its records has one.

    Raises:
        ValueError: one has none; `refuse_missing_signal` says so before training begins.
    """
    if len(signal_mv) != batch or (has_signal is not None and not bool(torch.all(has_signal))):
        raise ValueError(f"every record of a batch needs its signal here, got {len(signal_mv)} for {batch} records")
    return signal_mv


def _float(value: Any) -> Any:  # noqa: ANN401 (any field of Logits)
    if isinstance(value, tuple):
        return tuple(_float(part) for part in value)
    return value.float() if isinstance(value, Tensor) else value
