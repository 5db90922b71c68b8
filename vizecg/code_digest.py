"""What our own code was when something was made: what is kept by its identity is made anew when the code changes."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# What decides results beside modules: the tables of styles and grids, and those of labels.
_SUFFIXES: Final = frozenset({".py", ".csv"})
DRAWING: Final = ("camera", "intake", "page", "pages")
"""What decides how a page looks and how it is taken in."""


def digest_of_code(parts: Sequence[str], *, package: Path = Path(__file__).parent) -> str:
    """SHA-256 of modules and packages, in the order of their names.

    Args:
        parts: names of modules (`losses`) and packages (`camera`) directly in `package`.
        package: folder that holds them.

    Raises:
        FileNotFoundError: there is none of that name, so nothing would be noticed.
    """
    digest = hashlib.sha256()
    for part in sorted(parts):
        inside = sorted(path for path in (package / part).rglob("*") if path.suffix in _SUFFIXES)
        sources = inside or [package / f"{part}.py"]
        for path in sources:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()
