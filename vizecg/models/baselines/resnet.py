"""ResNet-18, -34 and -50 (He et al. 2016, "Deep residual learning for image recognition").

Layers are named as torchvision and timm name them, so weights trained on ImageNet fit as
they are (`train.model.init`). A block halves the picture in its 3×3 convolution, as in
both libraries.
"""

from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

WIDTH: Final = 64


class Block(nn.Module):
    """Convolutions beside a shortcut: two of 3×3, or one between two of 1×1 (`bottleneck`), then 4 times as wide."""

    def __init__(self, channels_in: int, width: int, *, stride: int, bottleneck: bool) -> None:
        super().__init__()
        wide = width * (4 if bottleneck else 1)
        if bottleneck:
            self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
            self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(wide)
        else:
            self.conv1 = nn.Conv2d(channels_in, width, 3, stride=stride, padding=1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.bottleneck = bottleneck
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != wide:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, wide, 1, stride=stride, bias=False), nn.BatchNorm2d(wide)
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels_in, h, w) -> (B, width or 4 * width, h / stride, w / stride)."""
        branch = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(features)))))
        if self.bottleneck:
            branch = self.bn3(self.conv3(functional.relu(branch)))
        return functional.relu(branch + self.downsample(features))


class ResNet(nn.Module):
    """(B, channels, H, W) -> logits by place."""

    def __init__(self, *, blocks: Sequence[int], bottleneck: bool, labels: int, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, WIDTH, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTH)
        channels = WIDTH
        for stage, count in enumerate(blocks):
            width, layers = WIDTH << stage, nn.Sequential()
            for block in range(count):
                layers.append(Block(channels, width, stride=2 if stage and not block else 1, bottleneck=bottleneck))
                channels = width * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", layers)
        self.stages = len(blocks)
        self.fc = nn.Linear(channels, labels)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, labels, H / 32, W / 32), whose mean is the logit.

        The published network averages the places before the last layer; that layer is
        linear, so averaging after it is the same.
        """
        features = functional.relu(self.bn1(self.conv1(image)))
        features = functional.max_pool2d(features, 3, stride=2, padding=1)
        for stage in range(self.stages):
            features = self.get_submodule(f"layer{stage + 1}")(features)
        by_place: Tensor = self.fc(features.permute(0, 2, 3, 1))  # (B, h, w, labels)
        return by_place.permute(0, 3, 1, 2)
