"""`POST /v1/feedback`: what turned out to be true, for whoever watches the model."""

import logging
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final

import anyio
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from serving import examples
from serving.access import requires
from serving.problems import ProblemError
from serving.routes import REFUSALS, TheService, ready_model, refusal
from serving.uploads import read_bytes
from vizecg import feedback
from vizecg.feedback import Feedback, RequestId
from vizecg.keys import Scope

log = logging.getLogger("vizecg.serving")
router = APIRouter()

_MOST_BYTES: Final = 16_384
_MOST_LABELS: Final = 128


class Confirmed(BaseModel):
    """A confirmed diagnosis for a request. There is no field for text: it would sooner or later hold a patient."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={"example": examples.CONFIRMED})

    request_id: RequestId
    labels: Annotated[tuple[str, ...], Field(max_length=_MOST_LABELS)] = Field(
        description="codes of all classes of the model that hold; empty when none does"
    )


_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {"application/json": {"schema": Confirmed.model_json_schema()}},
}
_REFUSALS: Final = {
    **{status: REFUSALS[status] for status in REFUSALS if status != 415},
    422: refusal(
        "Not as the schema has it, or a class that the model does not know",
        "labels names a class that the model does not know",
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    507: refusal("It could not be written", "it could not be written", HTTPStatus.INSUFFICIENT_STORAGE),
}


@router.post(
    "/v1/feedback",
    summary="Say what was confirmed for an answer",
    status_code=HTTPStatus.CREATED,
    response_description="As it was written",
    responses={201: {"content": {"application/json": {"example": examples.FEEDBACK}}}, **_REFUSALS},
    openapi_extra={"requestBody": _BODY},
    dependencies=[requires(Scope.FEEDBACK)],
)
async def confirm(request: Request, service: TheService) -> Feedback:
    """Appended to a file, never changed: a later line for the same request stands beside the earlier one.

    The service keeps no answers, so whether a request id was ever answered is for the reader to find out.
    """
    served = ready_model(service)
    confirmed = _parsed(
        await read_bytes(request, max_bytes=_MOST_BYTES, within_s=service.settings.body_s, what="feedback")
    )
    _check_codes(confirmed.labels, classes=served.predictor.operating_point.classes)
    entry = Feedback(
        request_id=confirmed.request_id,
        labels=confirmed.labels,
        received_at=datetime.now(UTC),
        bundle_digest=served.predictor.identity.bundle_digest,
    )
    try:
        await anyio.to_thread.run_sync(partial(feedback.append, service.settings.feedback_folder, entry))
    except OSError as error:
        log.error("feedback cannot be written: %s", error)
        detail = "the feedback could not be written; the log of the service says why"
        raise ProblemError(HTTPStatus.INSUFFICIENT_STORAGE, detail) from None
    return entry


def _parsed(data: bytes) -> Confirmed:
    try:
        return Confirmed.model_validate_json(data)
    except ValidationError as error:
        # Where and why, and nothing of what was sent: that may be what must not come in.
        faults = "; ".join(f"{_place(fault)}: {fault['msg']}" for fault in error.errors(include_input=False))
        allowed = "request_id, labels"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, faults.lower(), allowed=allowed) from None


def _place(fault: ErrorDetails) -> str:
    """The name of a field of ours, never one that the caller made up."""
    return "a field" if fault["type"] == "extra_forbidden" else ".".join(map(str, fault["loc"]))


def _check_codes(labels: tuple[str, ...], *, classes: tuple[str, ...]) -> None:
    unknown = [code for code in labels if code not in classes]
    if unknown:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "labels names a class that the model does not know",
            got=unknown[0][:64],
            allowed=", ".join(classes),
        )
    if len(set(labels)) != len(labels):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "labels names a class twice", allowed=", ".join(classes))
