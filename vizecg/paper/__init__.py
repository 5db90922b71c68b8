"""A hospital's own paper: a folder of page images and a table that says who was recorded and what was found."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vizecg.errors import InputError

if TYPE_CHECKING:
    from vizecg.recordings.offer import Asked, Offer, Reader

__all__ = ["LABELS_NAME", "LABEL_MAP_NAME", "PaperLayout", "find"]

LABELS_NAME: Final = "labels.csv"
LABEL_MAP_NAME: Final = "label_map.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperLayout:
    """Images below a folder, named by its labels.csv; without signals."""

    folder: Path
    asked: "Asked"

    def offers(self) -> "list[Offer]":
        """List the pages in the order of the table."""
        from vizecg.paper.table import label_map_of, read_labels

        label_map = label_map_of(self.folder, chosen=self.asked.label_map)
        offers = read_labels(self.folder / LABELS_NAME, label_map=label_map, asked=self.asked)
        _say_what_is_left_out(self.folder, named={offer.files.file for offer in offers}, source=self.asked.source)
        return offers[: self.asked.limit]

    def reader(self) -> "Reader":
        """Each page is unpacked once, to see that it can be, and kept without what its file says beside the picture."""
        from vizecg.paper.pages import read_pages

        return partial(read_pages, folder=self.folder)


def find(folder: Path, *, asked: "Asked") -> PaperLayout | None:
    """The layout, when a labels.csv lies at the top of the folder or one folder down.

    Raises:
        InputError: more than one does.
    """
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = [place for place in places if (place / LABELS_NAME).is_file()]
    if len(found) > 1:
        raise InputError(f"{asked.source} holds more than one {LABELS_NAME} at its top or one folder down; keep one")
    return PaperLayout(folder=found[0], asked=asked) if found else None


def _say_what_is_left_out(folder: Path, *, named: set[str], source: str) -> None:
    tables = {LABELS_NAME, LABEL_MAP_NAME}
    present = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    plain = {path.as_posix() for path in present if not any(part.startswith(".") for part in path.parts)}
    if left := sorted(plain - named - tables):
        print(f"{source}: {len(left)} files that {LABELS_NAME} does not name are left out, the first is {left[0]}")
