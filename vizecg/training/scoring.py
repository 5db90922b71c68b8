"""What a network answers about pages as they are, and how well."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vizecg import bootstrap
from vizecg.batches import TrainingData, plain_batches
from vizecg.models import Network
from vizecg.training.arithmetic import Arithmetic

_BATCH = 64

Scores = tuple[dict[str, float], dict[str, float | None]]


def answers(
    network: Network, data: TrainingData, *, pages: Sequence[int], arithmetic: Arithmetic
) -> dict[str, NDArray[np.float32]]:
    """Head -> logits of the pages in their order, or of those whose record has a signal, which that head reads."""
    with torch.no_grad():
        scored = [
            arithmetic.forward(network, batch).by_head()
            for batch in plain_batches(data, pages=pages, batch_size=_BATCH)
        ]
    found = {}
    for head in scored[0] if scored else ():
        if parts := [part.cpu().numpy() for batch in scored if (part := batch[head]) is not None]:
            found[head] = np.concatenate(parts)
    return found


def validate(network: Network, data: TrainingData, *, arithmetic: Arithmetic) -> Scores:
    """Score a network on all copies of all validation pages.

    Returns:
        Macro AUROC of every head that can be scored, and AUROC of every class of the scored head;
        both empty where no class has two sides.
    """
    pages = [page for row in data.validation_rows.tolist() for page in data.pages_of_row[row]]
    rows = data.page_row[pages]
    by_head: dict[str, float] = {}
    by_class: dict[str, float | None] = {}
    for head, logits in answers(network, data, pages=pages, arithmetic=arithmetic).items():
        answered = rows if head == network.head else rows[data.has_signal[rows]]
        if not bootstrap.covered(data.labels[answered], codes=data.codes):
            continue
        classes = bootstrap.auroc(data.labels[answered], logits)
        by_head[head] = float(np.nanmean(classes))
        if head == network.head:
            by_class = {code: _number(value) for code, value in zip(data.codes, classes.tolist(), strict=True)}
    return by_head, by_class


def macro_auroc(labels: NDArray[np.uint8], logits: NDArray[np.float32]) -> float | None:
    """Over the classes that have both sides; None where none has."""
    classes = bootstrap.auroc(labels, logits)
    return None if np.isnan(classes).all() else float(np.nanmean(classes))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
