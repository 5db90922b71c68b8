"""The residual network of Ribeiro et al. 2020, trained there on two million Brazilian records.

"Automatic diagnosis of the 12-lead ECG using a deep neural network", Nature
Communications 11, 1760, and antonior92/automatic-ecg-diagnosis: four units of 128, 196,
256 and 320 filters, norm and activation after the sum but not on the shortcut's way
(He et al. 2016, "Identity mappings").

There, 4,096 samples at 400 Hz are halved twice in each unit: 100, 25, 6.25 and 1.6 values
a second. We read 100 Hz, so the first unit keeps its rate and every unit ends at the
original's. Kernels have 17 samples, as in the authors' later PyTorch version, instead of
16, which has no middle. Ten seconds leave 16 places, as there; other lengths are pooled to 16.
"""

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

FILTERS: Final = (64, 128, 196, 256, 320)
STRIDES: Final = (1, 4, 4, 4)
PLACES: Final = 16
KERNEL: Final = 17
DROPOUT: Final = 0.8


def _same(channels_in: int, channels_out: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution of T samples that leaves T / stride, rounded up; an even kernel reaches further ahead."""
    ahead = kernel // 2
    return nn.Sequential(
        nn.ConstantPad1d((kernel - 1 - ahead, ahead), 0.0),
        nn.Conv1d(channels_in, channels_out, kernel, stride=stride, bias=False),
    )


class ResidualUnit(nn.Module):
    """Two convolutions; what comes in has two forms, before (`plain`) and after norm and activation."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.first = _same(channels_in, channels_out, kernel=kernel)
        self.first_norm = nn.BatchNorm1d(channels_out)
        self.second = _same(channels_out, channels_out, kernel=kernel, stride=stride)
        self.second_norm = nn.BatchNorm1d(channels_out)
        self.pool = nn.MaxPool1d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.shortcut = nn.Conv1d(channels_in, channels_out, 1, bias=False)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, features: Tensor, plain: Tensor) -> tuple[Tensor, Tensor]:
        """Both (B, channels_in, T) -> both (B, channels_out, T / stride)."""
        branch = self.dropout(functional.relu(self.first_norm(self.first(features))))
        summed = self.second(branch) + self.shortcut(self.pool(plain))
        return self.dropout(functional.relu(self.second_norm(summed))), summed


class RibeiroResNet(nn.Module):
    """(B, leads, T) in mV -> logits (B, labels)."""

    def __init__(self, *, leads: int, labels: int, kernel: int = KERNEL) -> None:
        super().__init__()
        self.stem = nn.Sequential(_same(leads, FILTERS[0], kernel=kernel), nn.BatchNorm1d(FILTERS[0]), nn.ReLU())
        self.units = nn.ModuleList(
            ResidualUnit(before, after, kernel=kernel, stride=stride)
            for before, after, stride in zip(FILTERS[:-1], FILTERS[1:], STRIDES, strict=True)
        )
        self.places = nn.AdaptiveAvgPool1d(PLACES)
        self.score = nn.Linear(PLACES * FILTERS[-1], labels)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, signal_mv: Tensor) -> Tensor:
        """(B, leads, T) -> (B, labels)."""
        features = plain = self.stem(signal_mv)
        for unit in self.units:
            features, plain = unit(features, plain)
        logits: Tensor = self.score(self.places(features).flatten(1))
        return logits
