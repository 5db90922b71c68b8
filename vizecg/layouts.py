"""The forms in which a folder may hold records, told apart by what lies in it."""

from pathlib import Path

from vizecg.errors import InputError
from vizecg.recordings.offer import Asked, Layout


def layout_of(folder: Path, *, asked: Asked) -> Layout:
    """Find out in which form a folder holds records.

    Raises:
        InputError: in none that vizecg understands.
    """
    from vizecg import paper, ptbxl, snomed

    for known in (ptbxl, paper, snomed):
        layout: Layout | None = known.find(folder, asked=asked)
        if layout is not None:
            return layout
    raise InputError(
        f"{asked.source} is in no known layout: it holds neither PTB-XL's ptbxl_database.csv, nor page images beside "
        f"a labels.csv, nor WFDB records (.hea)"
    )
