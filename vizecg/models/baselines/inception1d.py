"""inception1d: parallel kernels of 39, 19 and 9 samples, six deep.

Strodthoff et al. 2020 (`inception1d.py`), after Ismail Fawaz et al. 2020,
"InceptionTime": bottlenecks and branches of 32 channels, a shortcut over every three
blocks. Macro AUROC .921 on the five classes of PTB-XL.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vizecg.models.baselines.heads import PooledHead, draw_weights, pool_time

KERNELS: Final = (39, 19, 9)
BRANCH: Final = 32
WIDTH: Final = BRANCH * (len(KERNELS) + 1)
BLOCKS_A_SHORTCUT: Final = 3
SHORTCUTS: Final = 2


class InceptionBlock1d(nn.Module):
    """Each kernel on the same bottleneck, and one branch that looks at the maximum of three samples."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(channels_in, BRANCH, 1, bias=False)
        self.branches = nn.ModuleList(
            nn.Conv1d(BRANCH, BRANCH, kernel, padding=kernel // 2, bias=False) for kernel in KERNELS
        )
        self.of_maximum = nn.Conv1d(channels_in, BRANCH, 1, bias=False)
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels_in, T) -> (B, 128, T)."""
        narrow = self.bottleneck(features)
        maximum = functional.max_pool1d(features, 3, stride=1, padding=1)
        parts = [branch(narrow) for branch in self.branches]
        return functional.relu(self.norm(torch.cat([*parts, self.of_maximum(maximum)], dim=1)))


class ShortcutBlocks(nn.Module):
    """Three blocks beside a 1×1 convolution."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(InceptionBlock1d(WIDTH if block else channels_in) for block in range(BLOCKS_A_SHORTCUT))
        )
        self.shortcut = nn.Sequential(nn.Conv1d(channels_in, WIDTH, 1, bias=False), nn.BatchNorm1d(WIDTH))

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels_in, T) -> (B, 128, T)."""
        return functional.relu(self.blocks(features) + self.shortcut(features))


class Inception1d(nn.Module):
    """(B, leads, T) in mV -> logits (B, labels)."""

    def __init__(self, *, leads: int, labels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(ShortcutBlocks(WIDTH if at else leads) for at in range(SHORTCUTS)))
        self.head = PooledHead(2 * WIDTH, labels=labels)
        draw_weights(self)

    def forward(self, signal_mv: Tensor) -> Tensor:
        """(B, leads, T) -> (B, labels)."""
        logits: Tensor = self.head(pool_time(self.body(signal_mv)))
        return logits
