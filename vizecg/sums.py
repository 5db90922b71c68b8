"""SHA256SUMS.txt: what a folder states of its own files, and names that stay inside it."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from vizecg.errors import InputError
from vizecg.publish import sha256_of

SUMS_NAME: Final = "SHA256SUMS.txt"

_SUM_LINE: Final = re.compile(r"(?P<sum>[0-9a-fA-F]{64})[ \t]+\*?(?P<name>\S.*)")


def read_sums(folder: Path) -> dict[str, str]:
    """Read what a folder states of itself: file name -> SHA-256, in hex.

    Raises:
        InputError: the folder states nothing, or a line is not a sum.
    """
    path = folder / SUMS_NAME
    try:
        return parse_sums(path.read_text(encoding="utf-8"), where=str(path))
    except FileNotFoundError:
        raise InputError(
            f"{folder} has no {SUMS_NAME}, so nothing in it can be checked; "
            "PTB-XL has one, `sha256sum` makes one: a line of sum and name for each file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def parse_sums(text: str, *, where: str) -> dict[str, str]:
    """Read the lines that `sha256sum` writes.

    Raises:
        InputError: a line is not of that form.
    """
    sums = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        found = _SUM_LINE.fullmatch(line.strip())
        if not found:
            raise InputError(f"{where} line {number} is not a SHA-256 and a file name: {line[:80]!r}")
        sums[found["name"].removeprefix("./")] = found["sum"].lower()
    return sums


def check_sum(folder: Path, name: str, *, sums: Mapping[str, str]) -> Path:
    """Check one of the tables.

    Raises:
        InputError: it is missing, not listed, or not the one that is listed.
    """
    path = folder / name
    if not path.is_file():
        raise InputError(f"{folder} has no {name}; a folder in PTB-XL's layout holds one")
    if name not in sums:
        raise InputError(f"{folder / SUMS_NAME} does not list {name}, so it cannot be trusted")
    if (got := sha256_of(path)) != sums[name]:
        raise InputError(f"{path} is damaged: its SHA-256 is {got[:12]}…, {SUMS_NAME} says {sums[name][:12]}…")
    return path


def stays_inside(name: str) -> bool:
    """Whether a relative name leads nowhere but down."""
    path = PurePosixPath(name)
    plain = bool(name) and "\\" not in name and "\0" not in name and ":" not in name
    return plain and not path.is_absolute() and ".." not in path.parts
