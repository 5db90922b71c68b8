"""ConvNeXt-T (Liu et al. 2022, "A ConvNet for the 2020s"): 3, 3, 9 and 3 blocks, 96 to 768 channels.

Layers are named as timm names them, so weights trained on ImageNet fit as they are
(`train.model.init`). Left out is stochastic depth, a part of the original's training.
"""

from typing import Final

from torch import Tensor, nn

from vizecg.models.convnext import NORM_EPS, convnext_stages, draw_weights, patch_stem

WIDTH: Final = 96
BLOCKS: Final = (3, 3, 9, 3)


class PlaceHead(nn.Module):
    """Norm and last layer, for each place."""

    def __init__(self, channels: int, *, labels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.fc = nn.Linear(channels, labels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, labels, h, w), whose mean is the logit.

        The published head normalises the mean of all places. Dividing each place, less
        its mean over channels, by the deviation of that mean gives the same in the mean.
        """
        places = features.float().permute(0, 2, 3, 1)  # (B, h, w, channels)
        pooled = places.mean((1, 2), keepdim=True)
        deviation = (pooled.var(-1, correction=0, keepdim=True) + self.norm.eps).sqrt()
        normed = (places - places.mean(-1, keepdim=True)) / deviation * self.norm.weight + self.norm.bias
        by_place: Tensor = self.fc(normed)
        return by_place.permute(0, 3, 1, 2)


class ConvNextT(nn.Module):
    """(B, channels, H, W) -> logits by place."""

    def __init__(self, *, labels: int, in_channels: int = 1) -> None:
        super().__init__()
        self.stem = patch_stem(in_channels, WIDTH)
        self.stages = convnext_stages(WIDTH, BLOCKS)
        self.head = PlaceHead(WIDTH << 3, labels=labels)
        draw_weights(self)

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, labels, H / 32, W / 32), whose mean is the logit."""
        by_place: Tensor = self.head(self.stages(self.stem(image)))
        return by_place
