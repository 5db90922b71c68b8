"""What the signal networks of Strodthoff et al. 2020 share: how they pool, answer, and begin.

Source: "Deep learning for ECG analysis: benchmarks and insights from PTB-XL", IEEE JBHI
2021, and its repository, helme/ecg_ptbxl_benchmarking (`create_head1d` of
`basic_conv1d.py`; the head's 128 hidden units and dropout of `fastai_model.py`).
The repository cuts records into 2.5 s and takes the maximum over the pieces; here a
network reads all there is at once, which its pooling allows.
"""

from typing import Final

import torch
from torch import Tensor, nn

HIDDEN: Final = 128
DROPOUT: Final = 0.5


def pool_time(features: Tensor) -> Tensor:
    """Maximum and mean over time, side by side: (B, channels, T) -> (B, 2 * channels)."""
    return torch.cat([features.amax(2), features.mean(2)], dim=1)


class PooledHead(nn.Module):
    """Two layers, each behind a norm and dropout; the first drops half as much."""

    def __init__(self, features: int, *, labels: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.BatchNorm1d(features), nn.Dropout(DROPOUT / 2), nn.Linear(features, HIDDEN), nn.ReLU()
        )
        self.norm = nn.Sequential(nn.BatchNorm1d(HIDDEN), nn.Dropout(DROPOUT))
        self.score = nn.Linear(HIDDEN, labels)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, features) -> (B, labels)."""
        logits: Tensor = self.score(self.norm(self.hidden(pooled)))
        return logits


def draw_weights(network: nn.Module) -> None:
    """First weights as the repository draws them (`weight_init`): He et al. 2015 for all but the LSTM.

    It is applied last, so norms begin at 1 everywhere, those that end a residual branch too.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv1d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
