"""The page as tokens: a 2D ResNet at stride 32, a 1×1 convolution, and where each token lies."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from vizecg.models.attention import positions_2d

STRIDE_PX = 32


class ResidualBlock2d(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al. 2016, the basic block)."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels_out)
        # The branch starts at zero, so a deep stack starts as a shallow one.
        nn.init.zeros_(self.second_norm.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            # Averaged before the 1×1 convolution, so no pixel is thrown away (He et al. 2019, ResNet-D). A strided
            # 1×1 convolution of 8 channels also crashes torch 2.13's backward on CPUs, in channels_last.
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if stride != 1 else nn.Identity(),
                nn.Conv2d(channels_in, channels_out, 1, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels_in, h, w) -> (B, channels_out, h / stride, w / stride)."""
        branch = functional.relu(self.first_norm(self.first(features)))
        return functional.relu(self.second_norm(self.second(branch)) + self.shortcut(features))


class ImageStream(nn.Module):
    """ResNet of any width; four stages of `blocks`, the width doubling at each."""

    def __init__(self, *, width: int, blocks: Sequence[int], dim: int) -> None:
        super().__init__()
        if len(blocks) != 4:
            raise ValueError(f"stride {STRIDE_PX} takes 4 stages, got blocks {tuple(blocks)}")
        self.dim = dim
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        stages: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage and not block else 1
                stages.append(ResidualBlock2d(channels, width << stage, stride=stride))
                channels = width << stage
        self.stages = nn.Sequential(*stages)
        self.project = nn.Conv2d(channels, dim, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, 1, H, W), ink 0..1 -> tokens (B, h * w, dim) row by row, and (h, w) = (H, W) / 32 rounded up."""
        features = self.project(self.stages(self.stem(image)))  # (B, dim, h, w)
        height, width = int(features.shape[2]), int(features.shape[3])
        where = positions_2d(height, width, dim=self.dim).to(features)
        return features.flatten(2).transpose(1, 2) + where, (height, width)
