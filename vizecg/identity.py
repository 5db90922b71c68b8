"""Numbers for records and patients that come with names, and the side of the split a patient is on.

All are functions of the name alone: when a source grows, nobody gets another
number and nobody moves from training to test.
"""

import hashlib
from typing import Final

from vizecg.errors import InputError

ID_BITS: Final = 48
ID_END: Final = 2**ID_BITS
"""Ids of one source end here, so that those of up to 32 joined sources stay below 2^53 and survive a float."""
MOST_SOURCES: Final = 32


def id_of(name: str) -> int:
    """Give a name its number, below `ID_END`; among 100,000 names two share one with a chance of 1 in 56,000."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[: ID_BITS // 8], "big")


def fold_of(patient: str) -> int:
    """Draw the fold of a patient, 1 to 10, each as likely: for sources that come without folds."""
    return int.from_bytes(hashlib.sha256(f"fold {patient}".encode()).digest()[:8], "big") % 10 + 1


def joined_id(local: int, *, position: int) -> int:
    """Make an id of one source unique among joined sources; the first source keeps its own.

    Raises:
        InputError: there are more sources than ids can tell apart.
    """
    if not 0 <= position < MOST_SOURCES:
        raise InputError(f"ingest.source joins more than {MOST_SOURCES} sources; join fewer")
    return local + position * ID_END
