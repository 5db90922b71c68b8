"""Twelve leads as tokens: a 1D ResNet with wide kernels and where each token lies in time.

After resnet1d_wang of Strodthoff et al. 2020 (Wang et al. 2017): kernels of 7 in the
stem, 5 and 3 in the blocks, one block a stage. The stem has stride 2 here, which
halves the work and still leaves 20 ms a sample at 100 Hz, the rate it always reads:
`batches` reduces what was recorded faster, so a kernel spans the same time.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from vizecg.models.attention import positions_1d


class ResidualBlock1d(nn.Module):
    """A convolution of 5 and one of 3 samples beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels_in, channels_out, 5, stride=stride, padding=2, bias=False)
        self.first_norm = nn.BatchNorm1d(channels_out)
        self.second = nn.Conv1d(channels_out, channels_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm1d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv1d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm1d(channels_out)
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels_in, T) -> (B, channels_out, T / stride)."""
        branch = functional.relu(self.first_norm(self.first(features)))
        return functional.relu(self.second_norm(self.second(branch)) + self.shortcut(features))


class SignalStream(nn.Module):
    """1D ResNet of one width throughout; every stage but the first halves the rate."""

    def __init__(self, *, leads: int, width: int, blocks: Sequence[int], dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.stem = nn.Sequential(
            nn.Conv1d(leads, width, 7, stride=2, padding=3, bias=False), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.stages = nn.Sequential(
            *(
                ResidualBlock1d(width, width, stride=2 if stage and not block else 1)
                for stage, count in enumerate(blocks)
                for block in range(count)
            )
        )
        self.project = nn.Conv1d(width, dim, 1)

    def forward(self, signal_mv: Tensor) -> Tensor:
        """(B, leads, T) in mV -> tokens (B, t, dim) in order of time."""
        features = self.project(self.stages(self.stem(signal_mv)))  # (B, dim, t)
        where = positions_1d(int(features.shape[2]), dim=self.dim).to(features)
        tokens: Tensor = features.transpose(1, 2) + where
        return tokens
