"""A signal network given what the page shows, and no more: the fair rival of a model that reads pages.

Every strip of the page style is a channel of its own, in its own seconds, and blank
beyond: of the standard page twelve windows of 2.5 s, and ten seconds of lead II. So
what was recorded together stands together, beats of the rhythm strip tell what falls
when, and leads of different seconds are never added up in a kernel. Cutting the strips
into equal pieces side by side saves the blank paper, but mixes heartbeats of different
phase, and read worse in two trainings of two (docs/models.md).
"""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional

from vizecg.batches import STREAM_HZ
from vizecg.labels import LEADS
from vizecg.page.catalogue import STANDARD
from vizecg.page.style import Strip, Style


def printed_strips(style: Style) -> tuple[Strip, ...]:
    """Every strip of a page, row by row: the channels."""
    return tuple(chain.from_iterable(style.rows))


class AsPrinted(nn.Module):
    """(B, 12, T) in mV at `STREAM_HZ` -> logits (B, labels) of a network whose channels are the strips on paper."""

    def __init__(self, network: nn.Module, *, style: Style = STANDARD) -> None:
        super().__init__()
        self.network = network
        strips = printed_strips(style)
        spans = [
            (round(strip.start_s * STREAM_HZ), round((strip.start_s + strip.duration_s) * STREAM_HZ))
            for strip in strips
        ]
        time = torch.arange(max(stop for _, stop in spans))
        self.leads: Tensor
        self.printed: Tensor
        self.register_buffer("leads", torch.tensor([LEADS.index(strip.lead) for strip in strips]), persistent=False)
        # (strips, samples), 1 where there is ink
        shown = torch.stack([(time >= start) & (time < stop) for start, stop in spans]).float()
        self.register_buffer("printed", shown, persistent=False)

    def on_paper(self, signal_mv: Tensor) -> Tensor:
        """(B, 12, T) -> (B, strips, samples); where a record ends before its strip, the paper is blank."""
        samples = self.printed.shape[1]
        filled = functional.pad(signal_mv, (0, max(0, samples - signal_mv.shape[2])))
        return filled[:, self.leads, :samples] * self.printed

    def forward(self, signal_mv: Tensor) -> Tensor:
        """(B, 12, T) -> (B, labels)."""
        logits: Tensor = self.network(self.on_paper(signal_mv))
        return logits
