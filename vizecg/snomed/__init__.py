"""Folders of 12-lead WFDB records with SNOMED CT codes in their headers, as the PhysioNet challenges publish them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vizecg.recordings.offer import Asked, Offer, Reader

__all__ = ["SnomedLayout", "find"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnomedLayout:
    """A folder of any depth; the header of a record says who was recorded and what was found."""

    folder: Path
    asked: "Asked"

    def offers(self) -> "list[Offer]":
        """List the records in the order of their names."""
        from vizecg.snomed.headers import list_records

        return list_records(self.folder, asked=self.asked)

    def reader(self) -> "Reader":
        """Each record is resampled to the rate of the set, and held against its header and physics."""
        from vizecg.recordings.foreign import read_foreign

        return partial(read_foreign, folder=self.folder, sampling_hz=self.asked.sampling_hz)


def find(folder: Path, *, asked: "Asked") -> SnomedLayout | None:
    """The layout, when a WFDB header lies anywhere in the folder."""
    return SnomedLayout(folder=folder, asked=asked) if any(folder.rglob("*.hea")) else None
