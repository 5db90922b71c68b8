"""What the API answers beside predictions (those are `vizecg.answer`)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vizecg.answer import ModelIdentity

RegistryState = Literal["up", "down", "not used", "not asked yet"]


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Problem(_Schema):
    """An error as RFC 9457 has it, served as `application/problem+json`."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="one sentence: what, got, allowed")
    got: str | int | None = Field(default=None, description="what was sent, as far as it can be told")
    allowed: str | int | None = Field(default=None, description="what would be accepted")
    request_id: str


class Health(_Schema):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(_Schema):
    """Whether a model answers, and whether it is known to be the one that should."""

    ready: bool
    model: ModelIdentity | None
    registry: RegistryState
    stale: bool = Field(description="the last verified copy answers because the registry did not")
    last_failure: str | None = Field(
        description="what the latest attempt to follow the alias failed of; the log says more"
    )


class ModelDescription(_Schema):
    """The model that answers now."""

    model: ModelIdentity
    contract: dict[str, Any] = Field(description="contract.json of its bundle")
    model_card: str = Field(description="Markdown")
