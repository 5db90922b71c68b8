"""PTB-XL's layout: which files a folder holds.

Layout and columns as published: Wagner et al., "PTB-XL, a large publicly
available electrocardiography dataset" (version 1.0.3), PhysioNet 2022.
"""

from pathlib import Path
from typing import Final

from vizecg.errors import InputError

TABLE_NAME: Final = "ptbxl_database.csv"
STATEMENTS_NAME: Final = "scp_statements.csv"

FILENAME_COLUMN: Final = {100: "filename_lr", 500: "filename_hr"}
FOLDER_OF_RATE: Final = {100: "records100", 500: "records500"}


def holds_table(folder: Path) -> bool:
    """Whether PTB-XL's table lies in a folder, at its top or one folder down."""
    return any(folder.glob(TABLE_NAME)) or any(folder.glob(f"*/{TABLE_NAME}"))


def find_layout(folder: Path, *, what: str) -> Path:
    """Find the folder with the table: `folder` itself, or the only one in it that has one.

    Raises:
        InputError: there is none, or more than one.
    """
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = [place for place in places if (place / TABLE_NAME).is_file()]
    if len(found) != 1:
        problem = "no" if not found else "more than one"
        raise InputError(
            f"{what} holds {problem} {TABLE_NAME} at its top or one folder down; is it in PTB-XL's layout?"
        )
    return found[0]
