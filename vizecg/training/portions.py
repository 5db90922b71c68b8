"""Losses of portions put together: of a batch, and of an epoch."""

from dataclasses import dataclass
from typing import Final

_OF_ALL_RECORDS: Final = ("total", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Portioned:
    """Losses of a portion; `seeing` is how many of its records a signal or a teacher's answer is known of."""

    losses: dict[str, float]
    records: int
    seeing: int


def whole(portions: list[Portioned]) -> dict[str, float]:
    """Each part of the loss of a batch, over the records of all its portions that it is of."""
    if len(portions) == 1:
        return portions[0].losses
    found = {}
    for name in dict.fromkeys(name for portion in portions for name in portion.losses):
        having = [portion for portion in portions if name in portion.losses]
        counts = [portion.records if name in _OF_ALL_RECORDS else portion.seeing for portion in having]
        values = (count * portion.losses[name] for count, portion in zip(counts, having, strict=True))
        found[name] = sum(values) / sum(counts)
    return found


def means(parts: list[dict[str, float]]) -> dict[str, float]:
    """Each part of the loss of an epoch, over its steps that had it."""
    names = dict.fromkeys(name for part in parts for name in part)
    having = {name: [part[name] for part in parts if name in part] for name in names}
    return {name: sum(values) / len(values) for name, values in having.items()}
