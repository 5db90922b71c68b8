"""What the API answers beside predictions (those are `vizecg.answer`)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vizecg.answer import Answer, ModelIdentity

AccessState = Literal["API keys", "open on loopback"]
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
    stale: bool = Field(
        description="a version answers that the registry does not name: it is silent, or what it names cannot be had"
    )
    access: AccessState = Field(description="whether callers need an API key, or anybody on this machine may ask")
    last_failure: str | None = Field(
        description="what the latest attempt to follow the alias failed of; the log says more"
    )


class ModelDescription(_Schema):
    """The model that answers now."""

    model: ModelIdentity
    contract: dict[str, Any] = Field(description="contract.json of its bundle")
    model_card: str = Field(description="Markdown")


class PagePicture(_Schema):
    """The part of the page that the model sees, upright and in its own colours."""

    media_type: Literal["image/jpeg"] = "image/jpeg"
    width_px: int
    height_px: int
    data: str = Field(description="the file, in base64")


class Film(_Schema):
    """Where on the page one label was seen: orange speaks for it, blue against it, as PNG with opacity.

    To be stretched over the page and multiplied with it. Each film has a scale of its own.
    """

    code: str
    media_type: Literal["image/png"] = "image/png"
    data: str = Field(description="the file, in base64")


class Explanation(_Schema):
    """An answer with what it was seen by."""

    answer: Answer
    page: PagePicture
    films: tuple[Film, ...] = Field(description="none of a picture that was rejected")


class BatchItem(_Schema):
    """What became of one file: an answer or a problem."""

    index: int = Field(description="of the file in the form, from 0")
    answer: Answer | None = None
    problem: Problem | None = None


class BatchAnswer(_Schema):
    """The reply to several pictures, in their order; one model answered all of them."""

    request_id: str
    answered: int
    refused: int
    results: tuple[BatchItem, ...]
