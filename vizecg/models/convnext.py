"""ConvNeXt's parts (Liu et al. 2022, "A ConvNet for the 2020s"), of any width and depth, at stride 32.

Layers are named as timm names them, so its weights fit by name.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE_PX: Final = 32
NORM_EPS: Final = 1e-6
_PATCH_PX: Final = 4
_KERNEL: Final = 7
_EXPANSION: Final = 4
_FIRST_SCALE: Final = 1e-6  # so that a deep stack starts as a shallow one


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each place of (B, channels, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPS)

    def forward(self, input: Tensor) -> Tensor:
        """(B, channels, h, w) -> the same."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PatchStem(nn.Sequential):
    """Squares of 4×4 pixels, each one vector; the page is filled up to whole tokens with blank paper."""

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, width, h, w), H and W rounded up to multiples of 32, over 4."""
        height, width = image.shape[2:]
        features = functional.pad(image, (0, -width % STRIDE_PX, 0, -height % STRIDE_PX))
        for layer in self:
            features = layer(features)
        return features


class ConvNextBlock(nn.Module):
    """A 7×7 convolution of each channel, then two layers over channels, scaled, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, _KERNEL, padding=_KERNEL // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.mlp = nn.ModuleDict(
            {
                "fc1": nn.Linear(channels, _EXPANSION * channels),
                "fc2": nn.Linear(_EXPANSION * channels, channels),
            }
        )
        self.gamma = nn.Parameter(torch.full((channels,), _FIRST_SCALE))

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) -> the same."""
        branch = self.norm(self.conv_dw(features).permute(0, 2, 3, 1))  # (B, h, w, channels)
        branch = self.mlp["fc2"](functional.gelu(self.mlp["fc1"](branch))) * self.gamma
        refined: Tensor = features + branch.permute(0, 3, 1, 2)
        return refined


class ConvNextStage(nn.Module):
    """Blocks of one width, after a norm and a 2×2 convolution that halves both sides; not so the first stage."""

    def __init__(self, channels_in: int, channels: int, *, blocks: int) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if channels_in != channels:
            self.downsample = nn.Sequential(ChannelNorm(channels_in), nn.Conv2d(channels_in, channels, 2, stride=2))
        self.blocks = nn.Sequential(*(ConvNextBlock(channels) for _ in range(blocks)))

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels_in, h, w) -> (B, channels, h / 2, w / 2)."""
        refined: Tensor = self.blocks(self.downsample(features))
        return refined


def patch_stem(in_channels: int, width: int) -> PatchStem:
    """The first layer and its norm."""
    return PatchStem(nn.Conv2d(in_channels, width, _PATCH_PX, stride=_PATCH_PX), ChannelNorm(width))


def convnext_stages(width: int, blocks: Sequence[int]) -> nn.Sequential:
    """Four stages, the width doubling at each."""
    if len(blocks) != 4:
        raise ValueError(f"stride {STRIDE_PX} takes 4 stages, got blocks {tuple(blocks)}")
    return nn.Sequential(
        *(ConvNextStage(width << max(0, at - 1), width << at, blocks=count) for at, count in enumerate(blocks))
    )


def draw_weights(network: nn.Module) -> None:
    """First weights as in the paper: a normal distribution of 0.02, cut off at 2; biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
