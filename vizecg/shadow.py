"""What a challenger said beside the champion about the same uploads: appended by a service, read by the gates.

One JSON line a picture, in a file for each month: which two bundles, and the codes of the labels that one found and the
other did not. Nothing of the picture and nothing of the request is in it.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from vizecg.line_files import append_line, lines_of


class Comparison(BaseModel):
    """Two answers about one picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: AwareDatetime
    champion: str = Field(description="digest of the bundle that answered")
    challenger: str = Field(description="digest of the bundle that was asked beside it")
    differing: tuple[str, ...] = Field(description="codes that are positive for one of the two alone")
    largest_difference: float = Field(ge=0, le=1, description="between their probabilities of one label")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How often a challenger and a champion said the same.

    Attributes:
        pictures: that both answered.
        differing: code -> pictures on which they differ; codes that are not named never did.
        damaged: lines of the record that could not be read.
    """

    pictures: int
    differing: Mapping[str, int]
    damaged: int = 0

    def share(self, code: str) -> float:
        """Pictures on which both say the same of a label, as a share; `pictures` is above 0."""
        return 1 - self.differing.get(code, 0) / self.pictures


def append(folder: Path, entry: Comparison) -> None:
    """Add one line, whole or not at all; not flushed, for the loss of a few changes no share.

    Raises:
        OSError: it cannot be written; nothing of it stays.
    """
    line = json.dumps(entry.model_dump(mode="json"), sort_keys=True)
    append_line(folder / f"shadow-{entry.time:%Y-%m}.jsonl", line, flush=False)


def read(folder: Path, *, champion: str, challenger: str) -> Agreement | None:
    """Count what two bundles, by their digests, said of the same pictures; None when they were never compared."""
    pictures, damaged, differing = 0, 0, Counter[str]()
    for line in lines_of(folder, "shadow-*.jsonl"):
        try:
            entry = Comparison.model_validate_json(line)
        except ValidationError:
            damaged += 1
            continue
        if (entry.champion, entry.challenger) == (champion, challenger):
            pictures += 1
            differing.update(entry.differing)
    return Agreement(pictures=pictures, differing=differing, damaged=damaged) if pictures else None
