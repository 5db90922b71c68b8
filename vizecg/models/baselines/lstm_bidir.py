"""lstm_bidir: two bidirectional layers of 256 units, read sample by sample.

Strodthoff et al. 2020 (`rnn1d.py`): macro AUROC .921 on the five classes of PTB-XL, with
a learning rate a tenth of the convolutional networks' and gradients clipped at 0.25.

Their pooling means to add where each direction ends, but takes the last sample of both,
where the backward one has only begun; here it is what they meant, of the same size.
"""

from typing import Final

import torch
from torch import Tensor, nn

from vizecg.models.baselines.heads import PooledHead, draw_weights

UNITS: Final = 256
LAYERS: Final = 2
SPREAD_MV: Final = 0.24
"""Standard deviation of PTB-XL's samples. The benchmark standardises its input, which gates need and norms do not."""


class BidirectionalLstm(nn.Module):
    """(B, leads, T) in mV -> logits (B, labels)."""

    def __init__(self, *, leads: int, labels: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(leads, UNITS, num_layers=LAYERS, bidirectional=True, batch_first=True)
        self.head = PooledHead(3 * 2 * UNITS, labels=labels)
        draw_weights(self)

    def forward(self, signal_mv: Tensor) -> Tensor:
        """(B, leads, T) -> (B, labels)."""
        states, _ = self.lstm(signal_mv.transpose(1, 2) / SPREAD_MV)  # (B, T, 2 * units)
        ends = torch.cat([states[:, -1, :UNITS], states[:, 0, UNITS:]], dim=1)
        logits: Tensor = self.head(torch.cat([states.mean(1), states.amax(1), ends], dim=1))
        return logits
