"""PTB-XL's layout: its tables, the names of its files, what they say of each record."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vizecg.ptbxl.layout import find_layout, holds_table

if TYPE_CHECKING:
    from vizecg.recordings.offer import Asked, Offer, Reader

__all__ = ["PtbXlLayout", "find"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PtbXlLayout:
    """A folder as PhysioNet publishes PTB-XL: tables, sums, and a folder of WFDB records for each rate."""

    folder: Path
    asked: "Asked"

    def offers(self) -> "list[Offer]":
        """List the records in the order of their ecg_id."""
        from vizecg.ptbxl.table import read_table
        from vizecg.sums import read_sums

        return read_table(
            self.folder,
            sums=read_sums(self.folder),
            task=self.asked.task,
            source=self.asked.source,
            sampling_hz=self.asked.sampling_hz,
            limit=self.asked.limit,
        )

    def reader(self) -> "Reader":
        """Each record is held against its sums, its header and physics."""
        from vizecg.recordings.reading import read_records

        return partial(read_records, folder=self.folder, sampling_hz=self.asked.sampling_hz)


def find(folder: Path, *, asked: "Asked") -> PtbXlLayout | None:
    """The layout, when the folder holds PTB-XL's table at its top or one folder down.

    Raises:
        InputError: it holds more than one.
    """
    if not holds_table(folder):
        return None
    return PtbXlLayout(folder=find_layout(folder, what=asked.source), asked=asked)
