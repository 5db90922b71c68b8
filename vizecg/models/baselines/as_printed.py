"""A signal network given what the page shows, and no more: the fair rival of a model that reads pages.

Every strip of the page style is cut into pieces as long as its shortest one, and each
piece is a channel. Of the standard page: twelve windows of 2.5 s, and ten seconds of
lead II in four pieces, each beside the leads of its own column. So all the channels are
full of ink, a network sees as many leads at once as it was made for, its kernels span
the time they were made for, and what was recorded together stands together. The other way,
ten seconds with each lead blank outside its window, gives the same information, three
quarters of it blank paper that norms and means run over.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vizecg.batches import STREAM_HZ
from vizecg.labels import LEADS
from vizecg.page.catalogue import STANDARD
from vizecg.page.style import Style

_BLANK_MV: Final = 0.0


def printed_pieces(style: Style) -> tuple[tuple[int, int], ...]:
    """Row of the lead, and first sample, of every piece, row by row of the page; at `STREAM_HZ`."""
    samples = piece_samples(style)
    return tuple(
        (LEADS.index(strip.lead), round(strip.start_s * STREAM_HZ) + at)
        for row in style.rows
        for strip in row
        for at in range(0, round(strip.duration_s * STREAM_HZ), samples)
    )


def piece_samples(style: Style) -> int:
    """Length of every piece at `STREAM_HZ`: that of the shortest strip."""
    return round(min(strip.duration_s for row in style.rows for strip in row) * STREAM_HZ)


class AsPrinted(nn.Module):
    """(B, 12, T) in mV at `STREAM_HZ` -> logits (B, labels) of a network of `channels` that sees what is on paper."""

    def __init__(self, network: nn.Module, *, style: Style = STANDARD) -> None:
        super().__init__()
        self.network = network
        pieces, samples = printed_pieces(style), piece_samples(style)
        leads, starts = (torch.tensor(values)[:, None] for values in zip(*pieces, strict=True))
        self.leads: Tensor
        self.samples: Tensor
        self.register_buffer("leads", leads, persistent=False)  # (pieces, 1)
        self.register_buffer("samples", starts + torch.arange(samples), persistent=False)  # (pieces, samples)

    def on_paper(self, signal_mv: Tensor) -> Tensor:
        """(B, 12, T) -> (B, pieces, samples); where a record ends before its strip, the paper is blank."""
        missing = int(self.samples.max()) + 1 - signal_mv.shape[2]
        filled = functional.pad(signal_mv, (0, max(0, missing)), value=_BLANK_MV)
        return filled[:, self.leads, self.samples]

    def forward(self, signal_mv: Tensor) -> Tensor:
        """(B, 12, T) -> (B, labels)."""
        logits: Tensor = self.network(self.on_paper(signal_mv))
        return logits
