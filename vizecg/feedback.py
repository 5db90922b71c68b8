"""Confirmed diagnoses for answers given: appended by the service, read by whoever watches the model.

One JSON line each, in a file for each month. Codes and names of requests only: there is no field for free text, which
would sooner or later hold a patient.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from vizecg.line_files import append_line, lines_of

RequestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$", description="of the answer")]


class Feedback(BaseModel):
    """What turned out to be true of one picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: RequestId
    labels: tuple[str, ...] = Field(description="codes of all classes that hold; empty when none does")
    received_at: AwareDatetime
    bundle_digest: str = Field(description="the model whose classes these are, which served when it was received")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRead:
    """All that a folder holds, oldest first, and how many lines were no feedback."""

    entries: tuple[Feedback, ...]
    damaged: int


def append(folder: Path, entry: Feedback) -> None:
    """Add one line, whole or not at all, whoever else adds at the same time.

    Raises:
        OSError: it cannot be written; nothing of it stays.
    """
    line = json.dumps(entry.model_dump(mode="json"), sort_keys=True)
    append_line(folder / f"feedback-{entry.received_at:%Y-%m}.jsonl", line)


def read(folder: Path) -> FeedbackRead:
    """Read all of a folder; a folder that is not there holds nothing."""
    entries, damaged = [], 0
    for line in lines_of(folder, "feedback-*.jsonl"):
        try:
            entries.append(Feedback.model_validate_json(line))
        except ValidationError:
            damaged += 1
    return FeedbackRead(entries=tuple(entries), damaged=damaged)
