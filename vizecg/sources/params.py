"""The part of `ingest` in params.yaml that says where records come from."""

from typing import Literal

from pydantic import Field, field_validator

from vizecg.config import Section
from vizecg.identity import MOST_SOURCES
from vizecg.labels import TASKS


class SimulatedParams(Section):
    """How many records the embedded default draws, and from which seed."""

    records: int = Field(ge=1, le=99_999)
    seed: int = Field(ge=0)


class FetchParams(Section):
    """How hard a network is tried; none of it changes what arrives."""

    connections: int = Field(ge=1, le=64)
    part_mb: int = Field(ge=1, le=1024)
    """Files are fetched in parts of this size; a kill costs at most one part of each connection."""
    tries: int = Field(ge=1, le=100)
    deadline_s: float = Field(gt=0)
    """After so long the fetch gives up, whatever is still trying; what has arrived stays."""


class S3Params(Section):
    """How an `s3://` source is reached; keys come from the environment, never from here."""

    endpoint_url: str | None
    region: str | None
    signed: bool
    """False for an open bucket, such as PhysioNet's; true takes the keys that boto3 finds."""


class SourceParams(Section):
    """Which source, or which ones to join, and which part of it."""

    source: str | tuple[str, ...]
    task: str
    limit: int | None = Field(ge=1)
    sampling_hz: Literal[100, 500]
    label_map: str | None
    fetch: FetchParams
    s3: S3Params
    simulated: SimulatedParams

    @field_validator("source")
    @classmethod
    def _named(cls, source: str | tuple[str, ...]) -> str | tuple[str, ...]:
        names = (source,) if isinstance(source, str) else source
        if not names or not all(names):
            raise ValueError("name a source, or a list of sources to join")
        if len(names) > MOST_SOURCES:
            raise ValueError(f"at most {MOST_SOURCES} sources can be joined")
        if len(set(names)) != len(names):
            raise ValueError("a source stands there twice; join each once")
        return source

    @field_validator("task")
    @classmethod
    def _known(cls, task: str) -> str:
        if task not in TASKS:
            raise ValueError(f"there is no such task; allowed are {', '.join(TASKS)}")
        return task

    @property
    def names(self) -> tuple[str, ...]:
        """The sources in the order they are joined."""
        return (self.source,) if isinstance(self.source, str) else self.source
