"""resnet1d_wang: three residual blocks of one width, wide kernels first.

Strodthoff et al. 2020 (`resnet1d.py`) after Wang, Yan and Oates 2017, "Time series
classification from scratch": macro AUROC .930 on the five classes of PTB-XL, the best
of that benchmark. A stem of 7 samples; kernels of 5 and 3; all 128 channels wide.
"""

from typing import Final

from torch import Tensor, nn

from vizecg.models.baselines.heads import PooledHead, draw_weights, pool_time
from vizecg.models.signal_stream import ResidualBlock1d

WIDTH: Final = 128
STRIDES: Final = (1, 2, 2)


class ResNet1dWang(nn.Module):
    """(B, leads, T) in mV -> logits (B, labels)."""

    def __init__(self, *, leads: int, labels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(leads, WIDTH, 7, padding=3, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.blocks = nn.Sequential(*(ResidualBlock1d(WIDTH, WIDTH, stride=stride) for stride in STRIDES))
        self.head = PooledHead(2 * WIDTH, labels=labels)
        draw_weights(self)

    def forward(self, signal_mv: Tensor) -> Tensor:
        """(B, leads, T) -> (B, labels)."""
        logits: Tensor = self.head(pool_time(self.blocks(self.stem(signal_mv))))
        return logits
