"""xresnet1d101: a ResNet-101 with the "bag of tricks", of one width, in one dimension.

Strodthoff et al. 2020 (`xresnet1d.py`), after He et al. 2019, "Bag of tricks for image
classification": three convolutions for a stem, an average before the shortcut's 1×1
convolution. Macro AUROC .928 on the five classes of PTB-XL. Kernels of 5 throughout.
"""

from itertools import pairwise
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from vizecg.models.baselines.heads import PooledHead, draw_weights, pool_time

STEM: Final = (32, 32, 64)
NARROW: Final = 64
EXPANSION: Final = 4
BLOCKS: Final = (3, 4, 23, 3)
KERNEL: Final = 5


def _convolution(channels_in: int, channels_out: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm1d(channels_out),
    )


class Bottleneck1d(nn.Module):
    """Narrow, convolve, widen, beside a shortcut."""

    def __init__(self, channels_in: int, *, stride: int) -> None:
        super().__init__()
        wide = NARROW * EXPANSION
        self.narrow = _convolution(channels_in, NARROW, kernel=1)
        self.middle = _convolution(NARROW, NARROW, kernel=KERNEL, stride=stride)
        self.widen = _convolution(NARROW, wide, kernel=1)
        self.pool = nn.AvgPool1d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.shortcut = nn.Identity() if channels_in == wide else _convolution(channels_in, wide, kernel=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels_in, T) -> (B, 256, T / stride)."""
        branch = functional.relu(self.middle(functional.relu(self.narrow(features))))
        return functional.relu(self.widen(branch) + self.shortcut(self.pool(features)))


class XResNet1d101(nn.Module):
    """(B, leads, T) in mV -> logits (B, labels)."""

    def __init__(self, *, leads: int, labels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *(
                nn.Sequential(_convolution(before, after, kernel=KERNEL, stride=1 if at else 2), nn.ReLU())
                for at, (before, after) in enumerate(pairwise((leads, *STEM)))
            ),
            nn.MaxPool1d(3, stride=2, padding=1),
        )
        wide = NARROW * EXPANSION
        blocks: list[nn.Module] = []
        for stage, count in enumerate(BLOCKS):
            for block in range(count):
                channels = wide if blocks else STEM[-1]
                blocks.append(Bottleneck1d(channels, stride=2 if stage and not block else 1))
        self.blocks = nn.Sequential(*blocks)
        self.head = PooledHead(2 * wide, labels=labels)
        draw_weights(self)

    def forward(self, signal_mv: Tensor) -> Tensor:
        """(B, leads, T) -> (B, labels)."""
        logits: Tensor = self.head(pool_time(self.blocks(self.stem(signal_mv))))
        return logits
