"""The page as tokens: a 2D ResNet or ConvNeXt at stride 32, a 1×1 convolution, and where each token lies."""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from torch import Tensor, nn
from torch.nn import functional

from vizecg.models.attention import positions_2d
from vizecg.models.convnext import STRIDE_PX, convnext_stages, draw_weights, patch_stem

_STEM_OF_PUBLISHED: Final = {"conv1": "stem.0", "bn1": "stem.1"}
_BLOCK_OF_PUBLISHED: Final = {
    "conv1": "first",
    "bn1": "first_norm",
    "conv2": "second",
    "bn2": "second_norm",
    "conv3": "third",
    "bn3": "third_norm",
    # Ours has the average before them.
    "downsample.0": "shortcut.1",
    "downsample.1": "shortcut.2",
}


class ResidualBlock2d(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al. 2016, the basic block)."""

    expansion: ClassVar = 1

    def __init__(self, channels_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, width, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        # The branch starts at zero, so a deep stack starts as a shallow one.
        nn.init.zeros_(self.second_norm.weight)
        self.shortcut = _shortcut(channels_in, width, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels_in, h, w) -> (B, width, h / stride, w / stride)."""
        branch = functional.relu(self.first_norm(self.first(features)))
        return functional.relu(self.second_norm(self.second(branch)) + self.shortcut(features))


class BottleneckBlock2d(nn.Module):
    """A 3×3 convolution between two of 1×1, the last 4 times as wide, beside a shortcut (He et al. 2016)."""

    expansion: ClassVar = 4

    def __init__(self, channels_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        channels_out = self.expansion * width
        self.first = nn.Conv2d(channels_in, width, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.third = nn.Conv2d(width, channels_out, 1, bias=False)
        self.third_norm = nn.BatchNorm2d(channels_out)
        nn.init.zeros_(self.third_norm.weight)
        self.shortcut = _shortcut(channels_in, channels_out, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels_in, h, w) -> (B, 4 * width, h / stride, w / stride)."""
        narrow = functional.relu(self.first_norm(self.first(features)))
        branch = functional.relu(self.second_norm(self.second(narrow)))
        return functional.relu(self.third_norm(self.third(branch)) + self.shortcut(features))


class ImageStream(nn.Module):
    """A body of any width; four stages of `blocks`, the width doubling at each."""

    def __init__(
        self,
        *,
        width: int,
        blocks: Sequence[int],
        dim: int,
        body: Literal["resnet", "convnext"] = "resnet",
        block: Literal["basic", "bottleneck"] = "basic",
    ) -> None:
        super().__init__()
        if len(blocks) != 4:
            raise ValueError(f"stride {STRIDE_PX} takes 4 stages, got blocks {tuple(blocks)}")
        self.dim = dim
        expansion = 1
        self.stem: nn.Sequential
        if body == "convnext":
            self.stem, self.stages = patch_stem(1, width), convnext_stages(width, blocks)
            draw_weights(self)
        else:
            kind = BottleneckBlock2d if block == "bottleneck" else ResidualBlock2d
            self.stem, self.stages = _resnet_stem(width), _resnet_stages(width, blocks, kind=kind)
            expansion = kind.expansion
        self.project = nn.Conv2d((width << 3) * expansion, dim, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, 1, H, W), ink 0..1 -> tokens (B, h * w, dim) row by row, and (h, w) = (H, W) / 32 rounded up."""
        features = self.project(self.stages(self.stem(image)))  # (B, dim, h, w)
        height, width = int(features.shape[2]), int(features.shape[3])
        where = positions_2d(height, width, dim=self.dim).to(features)
        return features.flatten(2).transpose(1, 2) + where, (height, width)


def published_resnet_name(name: str, *, blocks: Sequence[int]) -> str:
    """What torchvision and timm call `layer2.0.conv1.weight` is our `stages.3.first.weight`, if stage 1 has 3 blocks.

    Where the shortcut halves, theirs takes every other pixel and ours averages first; the weights are of one shape.
    """
    layer, _, rest = name.partition(".")
    if layer in _STEM_OF_PUBLISHED:
        return f"{_STEM_OF_PUBLISHED[layer]}.{rest}"
    if not (layer.removeprefix("layer").isdecimal() and rest.partition(".")[0].isdecimal()):
        return name
    block, _, inner = rest.partition(".")
    part = next((part for part in _BLOCK_OF_PUBLISHED if inner.startswith(f"{part}.")), None)
    if part is not None:
        inner = _BLOCK_OF_PUBLISHED[part] + inner.removeprefix(part)
    return f"stages.{sum(blocks[: int(layer.removeprefix('layer')) - 1]) + int(block)}.{inner}"


def _resnet_stem(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def _resnet_stages(
    width: int, blocks: Sequence[int], *, kind: type[ResidualBlock2d] | type[BottleneckBlock2d]
) -> nn.Sequential:
    made: list[nn.Module] = []
    channels = width
    for stage, count in enumerate(blocks):
        for block in range(count):
            made.append(kind(channels, width << stage, stride=2 if stage and not block else 1))
            channels = (width << stage) * kind.expansion
    return nn.Sequential(*made)


def _shortcut(channels_in: int, channels_out: int, *, stride: int) -> nn.Module:
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    # Averaged before the 1×1 convolution, so no pixel is thrown away (He et al. 2019, ResNet-D). A strided
    # 1×1 convolution of 8 channels also crashes torch 2.13's backward on CPUs, in channels_last.
    return nn.Sequential(
        nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if stride != 1 else nn.Identity(),
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
    )
