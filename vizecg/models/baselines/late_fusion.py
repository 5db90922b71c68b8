"""Late fusion: a network for the page and one for the signal, their logits averaged.

The usual way of reading two modalities without one looking at the other. Either learns
from its own loss too, or the quicker one (the signal) leaves the other little to learn.
"""

from typing import ClassVar

from torch import Tensor, nn

from vizecg.models.network import Logits, Network, whole_batch
from vizecg.recipe import ModelConfig


class LateFusion(Network):
    """Reads page and signal, so it can never be served."""

    head: ClassVar = "fused"
    scores: ClassVar = ("image_network.fc", "signal_network.head.score")
    published: ClassVar = ("image_network.",)

    def __init__(self, config: ModelConfig, *, image_network: nn.Module, signal_network: nn.Module) -> None:
        super().__init__(config)
        self.image_network = image_network
        self.signal_network = signal_network

    def forward(self, image: Tensor, signal_mv: Tensor, has_signal: Tensor | None = None) -> Logits:
        """See `Network.forward`; raises ValueError where a record has no signal."""
        signals = whole_batch(signal_mv, batch=len(image), has_signal=has_signal)
        of_image, of_signal = self.image_network(image).mean((2, 3)), self.signal_network(signals)
        return Logits(scored=(of_image + of_signal) / 2, head=self.head, parts=(of_image, of_signal))

    def name_of_published(self, name: str) -> str:
        """See `Network.name_of_published`: they are the image network's."""
        return f"image_network.{name}"
