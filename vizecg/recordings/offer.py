"""What a folder of records offers to ingest, whatever its layout.

A layout lists its records first, which is quick and ends at once when the folder
is not what it claims; then each is read by itself, in any process, and ends as a
reading or as a refusal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vizecg.labels import Task
from vizecg.records import Reason, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What ingest wants of a folder.

    Attributes:
        source: URI of the source it came from, for every record to keep.
        task: whose classes records are labelled with.
        sampling_hz: rate the set is to have.
        limit: only so many records, in the layout's own order; None for all.
        label_map: CSV that maps foreign labels to classes; None for the layout's own.
    """

    source: str
    task: Task
    sampling_hz: int
    limit: int | None
    label_map: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A record as its folder lists it, not read yet: without quality flags.

    `files` is whatever the layout's reader needs to find it; small, for it travels to a worker.
    """

    record: Record
    files: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A record that holds.

    `signals_uv` is (12, samples) in `labels.LEADS` order; None for a record on paper, whose
    page `upload` is then, as PNG or JPEG.
    """

    signals_uv: NDArray[np.int16] | None
    upload: bytes | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A record that does not hold, and why."""

    reason: Reason
    detail: str


Reader = Callable[[Sequence[Any]], list[Reading | Refusal]]
"""Reads a few records by their `Offer.files`, one result each, in their order; travels to a worker."""


class Layout(Protocol):
    """A folder in a form that vizecg understands."""

    def offers(self) -> list[Offer]:
        """List its records in a fixed order.

        Raises:
            InputError: a table of the folder cannot be believed.
        """
        ...

    def reader(self) -> Reader:
        """What reads the records it offers; never raises for what is in one record's files."""
        ...
