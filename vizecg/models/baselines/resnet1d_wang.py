"""resnet1d_wang: a plain residual network on the twelve signals.

Wang, Yan and Oates, "Time series classification from scratch with deep neural
networks" (IJCNN 2017), as the PTB-XL benchmark runs it (Strodthoff et al. 2020):
three residual blocks of constant width, wide kernels, pooling by mean and maximum.
"""

from typing import Final

import torch
from torch import Tensor, nn

WIDTH: Final = 128
STEM_KERNEL: Final = 7
KERNELS: Final = (5, 3)
STRIDES: Final = (1, 2, 2)


class ResNet1dWang(nn.Module):
    """(batch, 12, T) millivolts of any length -> (batch, classes) logits."""

    def __init__(self, *, classes: int, leads: int = 12, dropout: float = 0.5) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(leads, WIDTH, STEM_KERNEL, padding=STEM_KERNEL // 2, bias=False),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(*(_Block(stride=stride) for stride in STRIDES))
        self.head = nn.Sequential(nn.BatchNorm1d(2 * WIDTH), nn.Dropout(dropout), nn.Linear(2 * WIDTH, classes))

    def forward(self, signal_mv: Tensor) -> Tensor:
        """Logits of each class."""
        features = self.blocks(self.stem(signal_mv))
        pooled = torch.cat([features.mean(dim=2), features.amax(dim=2)], dim=1)
        logits: Tensor = self.head(pooled)
        return logits


class _Block(nn.Module):
    def __init__(self, *, stride: int) -> None:
        super().__init__()
        first, second = KERNELS
        self.body = nn.Sequential(
            nn.Conv1d(WIDTH, WIDTH, first, stride=stride, padding=first // 2, bias=False),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.Conv1d(WIDTH, WIDTH, second, padding=second // 2, bias=False),
            nn.BatchNorm1d(WIDTH),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 1, stride=stride, bias=False), nn.BatchNorm1d(WIDTH))

    def forward(self, features: Tensor) -> Tensor:
        summed: Tensor = torch.relu(self.body(features) + self.shortcut(features))
        return summed
