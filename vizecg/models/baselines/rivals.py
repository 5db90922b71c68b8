"""The rivals as networks of the house: what each reads, and which of its answers is scored."""

from typing import ClassVar

from torch import Tensor, nn

from vizecg.models.network import Logits, Network, PageNetwork, whole_batch
from vizecg.recipe import ModelConfig


class SignalRival(Network):
    """Answers from the signal alone; the page is not looked at."""

    head: ClassVar = "signal"
    scores: ClassVar = ("network.head.score", "network.score", "network.network.head.score")

    def __init__(self, config: ModelConfig, network: nn.Module) -> None:
        super().__init__(config)
        self.network = network

    def forward(self, image: Tensor, signal_mv: Tensor, has_signal: Tensor | None = None) -> Logits:
        """See `Network.forward`; raises ValueError where a record has no signal."""
        signals = whole_batch(signal_mv, batch=len(image), has_signal=has_signal)
        return Logits(scored=self.network(signals), head=self.head)


class ImageRival(PageNetwork):
    """Answers from the page alone; a signal is not looked at."""

    scores: ClassVar = ("network.fc", "network.head.fc")

    def __init__(self, config: ModelConfig, network: nn.Module) -> None:
        super().__init__(config)
        self.network = network

    def forward(
        self,
        image: Tensor,
        signal_mv: Tensor,  # noqa: ARG002 (one interface for all)
        has_signal: Tensor | None = None,  # noqa: ARG002 (one interface for all)
    ) -> Logits:
        """See `Network.forward`."""
        return Logits(scored=self.predict_image(image))

    def explain_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See `PageNetwork.explain_image`."""
        evidence = self.network(image)
        return evidence.mean((2, 3)), evidence
