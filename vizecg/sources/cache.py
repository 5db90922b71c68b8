"""Folders made once from something that does not change, kept in the state folder and verified when used again."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from vizecg.errors import InputError
from vizecg.publish import publishing, verify

KEY_LENGTH: Final = 16
_KIND: Final = "source-folder"
_SCHEMA_VERSION: Final = 1


def cached(folder: Path, *, fill: Callable[[Path], None]) -> Path:
    """Fill a folder once; one that is damaged is filled again.

    Raises:
        Conflict: another process is filling it.
        Whatever `fill` raised; nothing is left then.
    """
    try:
        verify(folder, kind=_KIND, schema_version=_SCHEMA_VERSION)
    except InputError:
        with publishing(folder, kind=_KIND, schema_version=_SCHEMA_VERSION, flush=False) as staging:
            fill(staging)
    return folder
