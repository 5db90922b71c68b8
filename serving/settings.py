"""What the service needs to know: environment variables with prefix `VIZECG_`, beside those of every program."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from vizecg.settings import CHAMPION, LARGEST_PICTURE_BYTES, Settings

DEFAULT_PORT: Final = 8000
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")


class ServingSettings(Settings):
    """Read once, by whoever starts the service; handed on as an argument."""

    host: str = Field(default="127.0.0.1", description="address to listen on; loopback by default")
    port: int | None = Field(default=None, ge=0, le=65535, description="none: 8000, or the next free one")
    workers: int = Field(default=1, ge=1, le=64, description="processes that answer on the port")
    alias: str = Field(default=CHAMPION, description="which alias of the registered model is served")
    poll_s: float = Field(default=3.0, gt=0, description="how often the registry is asked what the alias means")
    retry_limit_s: float = Field(default=60.0, gt=0, description="longest pause between attempts at a broken version")
    max_body_bytes: int = Field(default=LARGEST_PICTURE_BYTES, gt=0)
    max_batch_files: int = Field(default=32, ge=1, description="pictures in one batch")
    max_batch_bytes: int = Field(default=100_000_000, gt=0, description="of all pictures in one batch")
    uploads_mb: float = Field(
        default=400.0, gt=0, description="of bodies of all requests in the memory of one process; beyond it 503 at once"
    )
    predictions_at_once: int = Field(default=2, ge=1, description="pictures worked on at the same time")
    threads: int = Field(default=1, ge=1, description="threads of one inference")
    predictions_waiting: int = Field(default=32, ge=0, description="pictures that may wait; beyond it 503 at once")
    decode_memory_bytes: int = Field(
        default=1_500_000_000, gt=0, description="of unpacking one picture, in its process, beyond what that takes idle"
    )
    decode_cpu_s: float = Field(default=8.0, gt=0, description="time on the CPU of unpacking one picture")
    decode_wall_s: float = Field(default=20.0, gt=0, description="time on the clock of unpacking one picture")
    body_s: float = Field(default=120.0, gt=0, description="how long the body of a request may take to arrive")
    api_keys_file: Path | None = Field(
        default=None, description="who may ask (`vizecg keys new`); none: anybody on this machine, and nobody else"
    )
    requests_per_minute: float = Field(
        default=600.0, ge=0, description="of one key and one process, in the long run; 0: no limit"
    )
    burst: int = Field(default=60, ge=1, description="requests of one key and one process at once")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="whose pages may ask from a browser, as https://host, with commas between; none"
    )
    docs: bool = Field(default=True, description="whether /docs and /openapi.json are there")
    audit: Literal["required", "best-effort", "off"] = Field(
        default="required", description="whether an answer that cannot be kept is refused, given, or none is kept"
    )
    audit_dir: Path | None = Field(default=None, description="folder of the audit trail; none: audit in state_dir")
    audit_file_bytes: int = Field(default=64_000_000, gt=0, description="a longer file is followed by the next")
    audit_flush: Literal["line", "file"] = Field(
        default="line", description="wait for the disk at each line, or only when a file ends"
    )
    log: Literal["json", "text"] = Field(default="json", description="form of the log on standard error")
    drain_s: int = Field(default=10, ge=0, description="how long accepted requests may take after SIGTERM")
    worker_silent_s: float = Field(
        default=30.0, ge=1, description="of several workers: how long one may do nothing at all before it is replaced"
    )
    feedback_dir: Path | None = Field(
        default=None, description="where confirmed diagnoses go; none: in the state folder"
    )

    shadow: str | None = Field(
        default=None, description="alias of a version that is asked beside the one that answers, as `challenger`"
    )
    shadow_share: float = Field(default=0.1, gt=0, le=1, description="of the pictures it is asked about")
    shadow_waiting: int = Field(default=16, ge=1, description="pictures that may wait for it; more are dropped")

    @property
    def feedback_folder(self) -> Path:
        """Confirmed diagnoses, see `vizecg.feedback`."""
        return self.feedback_dir or self.state_dir / "feedback"

    @property
    def audit_folder(self) -> Path:
        """Where the audit trail lies."""
        return self.audit_dir or self.state_dir / "audit"

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        return tuple(given.replace(",", " ").split()) if isinstance(given, str) else given

    @field_validator("cors_origins")
    @classmethod
    def _named_one_by_one(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin; write https://host or https://host:port, one by one")
        return origins


def read_settings(**given: object) -> ServingSettings:
    """Settings from the environment, but for what is given and not None.

    Raises:
        InputError: a value is not allowed.
    """
    known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return ServingSettings(**known)
