"""Records drawn on the spot, and how a set of them is known wherever it lies."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from vizecg.errors import InputError
from vizecg.progress import LINE_EVERY_S
from vizecg.publish import sha256_of
from vizecg.sources.cache import KEY_LENGTH, cached
from vizecg.sources.pin import Pin, digest_of, require

SIMULATED: Final = "simulated"
SIMULATOR_VERSION: Final = 2
"""Raised when `vizecg.simulate` draws other records from the same seed."""

LOW_HZ: Final = 100
"""The rate that is always drawn; the other costs five times as much."""

NOTE_NAME: Final = "LICENSE.txt"
"""`vizecg simulate` puts its note beside the tables, under the name where PTB-XL has its licence."""
_NOTE_START: Final = b"SIMULATED RECORDS"
_NOTE_DEPTH: Final = 2
"""The note lies at the top or one folder down, as the table that it speaks of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSource:
    """Records drawn on the spot; they have no medical meaning."""

    records: int
    seed: int
    sampling_hz: int = 100

    @property
    def uri(self) -> str:
        """Its recipe, for there is no place."""
        return f"{SIMULATED}:records={self.records},seed={self.seed}"

    def pin(self) -> Pin:
        """Name the recipe, not the bytes: the last bit of a cosine differs between processors."""
        recipe = ["vizecg.simulate", SIMULATOR_VERSION, self.records, self.seed]
        return Pin(uri=self.uri, simulated=True, objects=self.records, digest=digest_of(recipe))

    def fetch(self, pinned: Pin, *, state_dir: Path, executor: Executor) -> Path:
        """Draw them, or find them drawn before by the same code."""
        require(pinned, found=self.pin())

        def draw(staging: Path) -> None:
            from vizecg.simulate import write_database

            write_database(
                staging,
                records=self.records,
                seed=self.seed,
                executor=executor,
                both_rates=self.sampling_hz != LOW_HZ,
                progress=_say_now_and_then(self.records),
            )

        key = digest_of([pinned.digest, self.sampling_hz, _simulator_code()])[:KEY_LENGTH]
        return cached(state_dir / SIMULATED / key, fill=draw)


def is_note(name: str) -> bool:
    """Whether a file of this relative name may be the simulator's note."""
    path = PurePosixPath(name)
    return path.name == NOTE_NAME and len(path.parts) <= _NOTE_DEPTH


def says_simulated(note: IO[bytes]) -> bool:
    """Whether a note is the simulator's."""
    return note.read(len(_NOTE_START)).upper() == _NOTE_START


def folder_is_simulated(folder: Path) -> bool:
    """Whether `vizecg simulate` wrote a folder: its note says so."""
    for path in (folder / NOTE_NAME, *sorted(folder.glob(f"*/{NOTE_NAME}"))):
        if path.is_file():
            with path.open("rb") as opened:
                if says_simulated(opened):
                    return True
    return False


def require_as_pinned(folder: Path, *, simulated: bool) -> Path:
    """See that a folder is what its pin says: simulated records never pass for real ones.

    Raises:
        InputError: the pin says otherwise.
    """
    if (found := folder_is_simulated(folder)) != simulated:
        kinds = {True: "simulated", False: "real"}
        raise InputError(
            f"data/source.json pins {kinds[simulated]} records, but those in {folder.name} are {kinds[found]}; "
            "run `vizecg source pin`"
        )
    return folder


def _say_now_and_then(total: int) -> Callable[[int], None]:
    said_s = time.monotonic()

    def say(drawn: int) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= LINE_EVERY_S:
            said_s = time.monotonic()
            print(f"simulated records: {drawn} of {total} drawn", file=sys.stderr, flush=True)

    return say


def _simulator_code() -> str:
    """Digest of the code that draws: a cache made by other code is another cache."""
    from vizecg import simulate

    files = sorted(Path(simulate.__path__[0]).rglob("*.py"))
    return digest_of([[path.name, sha256_of(path)] for path in files])
