"""VizECGNet's signal side by itself: the teacher of schedule `frozen`, and a rival that reads whole signals."""

from typing import ClassVar

from torch import Tensor

from vizecg.models.network import Logits, Network, whole_batch
from vizecg.models.vizecgnet import SignalSide
from vizecg.recipe import ModelConfig


class SignalTeacher(Network):
    """VizECGNet's signal stream, its SMAM and their head, without any page."""

    head: ClassVar = "signal"
    scores: ClassVar = ("answer.score",)

    def __init__(self, config: ModelConfig, *, labels: int) -> None:
        super().__init__(config)
        side = SignalSide(config.model_copy(update={"cmam": False}), labels=labels)
        self.stream, self.smam, self.answer = side.stream, side.smam, side.head

    def forward(self, image: Tensor, signal_mv: Tensor, has_signal: Tensor | None = None) -> Logits:
        """Logits of (batch, 12, T) mV; no record of the batch may be without a signal."""
        signal_mv = whole_batch(signal_mv, batch=len(image), has_signal=has_signal)
        return Logits(scored=self.answer(self.smam(self.stream(signal_mv))), head="signal")
