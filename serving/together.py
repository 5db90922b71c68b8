"""What a worker knows of those with whom it answers on one port: where all of them count, and which of them it is."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import values

from vizecg.errors import Conflict, InputError
from vizecg.publish import locked

BEGUN: Final = b"+"
"""What a worker tells its supervisor once it answers; anything else is why it cannot."""
ALIVE: Final = b"."
"""What it tells from then on, for as long as its event loop turns."""
_MOST_SERVICES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """One worker of several.

    Attributes:
        folder: where each keeps its counts.
        place: its number among them, from 0. Whoever replaces it has the same and counts on from where it ended.
        replaces: whether it takes the place of one that has ended.
    """

    folder: Path
    place: int
    replaces: bool = False

    def count_together(self) -> None:
        """Keep the counts of this process in the folder; before the first metric is made."""
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self.folder)  # where prometheus_client looks
        values.ValueClass = values.MultiProcessValue(lambda: self.place)  # type: ignore[no-untyped-call] # theirs


@contextmanager
def counting_folder(state_dir: Path) -> Iterator[Path]:
    """An empty folder for the counts of one service, taken from all others as long as the block lasts.

    Raises:
        InputError: it cannot be written.
    """
    with ExitStack() as held:
        try:
            folder = _taken(state_dir / "metrics", held)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(
                f"{state_dir / 'metrics'} cannot be written, where workers count together: {reason}; mend that, name "
                "another state folder in VIZECG_STATE_DIR, or serve with one worker"
            ) from None
        yield folder


def forget_gauges(folder: Path, *, place: int) -> None:
    """Take what a worker that has ended had now, not what it has counted."""
    for path in folder.glob(f"gauge_*_{place}.db"):
        path.unlink(missing_ok=True)


def _taken(place: Path, held: ExitStack) -> Path:
    for number in range(_MOST_SERVICES):
        folder = place / f"service-{number}"
        try:
            held.enter_context(locked(folder))
        except Conflict:
            continue
        return folder
    raise OSError(f"{_MOST_SERVICES} services count there already")
