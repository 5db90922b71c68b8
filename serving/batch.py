"""`POST /v1/predict/batch`: several pictures in one request, each with an answer or a problem of its own."""

import logging
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request

from serving import examples
from serving.access import key_of, requires
from serving.problems import ProblemError, document
from serving.request_id import request_id_of
from serving.routes import REFUSALS, REQUEST_ID_HEADER, Service, TheService, read_and_kept, ready_model
from serving.schemas import BatchAnswer, BatchItem
from serving.uploads import FIELD, read_pictures
from serving.watcher import Served
from vizecg.keys import Scope

log = logging.getLogger("vizecg.serving")
router = APIRouter()

# With `.31` behind it, it is still a name that the service takes.
_LONGEST_NAME: Final = 120
_FILES: Final = {"type": "array", "items": {"type": "string", "format": "binary"}}
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": f"A multipart form with a file in each of its fields `{FIELD}`.",
    "content": {
        "multipart/form-data": {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _FILES}}}
    },
}


@router.post(
    "/v1/predict/batch",
    summary="Diagnose several pictures",
    response_description="An answer or a problem for each, in their order",
    response_model_exclude_none=True,
    responses={200: {"content": {"application/json": {"example": examples.BATCH}}}, **REFUSALS},
    openapi_extra={"requestBody": _BODY, "parameters": [REQUEST_ID_HEADER]},
    dependencies=[requires(Scope.PREDICT)],
)
async def predict_batch(request: Request, service: TheService) -> BatchAnswer:
    """One picture that cannot be read fails none of the others; each has a name of its own, `REQUEST-ID.INDEX`."""
    served = ready_model(service)  # one model for all of them
    service.queue.refuse_if_full()
    pictures = await read_pictures(request, settings=service.settings)
    service.access.spend(key_of(request), cost=len(pictures) - 1)  # the first was counted at the door
    name = request_id_of(request)[:_LONGEST_NAME]
    # One after the other, so that requests of others are answered between them.
    results = [
        await _result(request, service, served, picture, index=index, request_id=f"{name}.{index}")
        for index, picture in enumerate(pictures)
    ]
    answered = sum(result.answer is not None for result in results)
    return BatchAnswer(
        request_id=request_id_of(request), answered=answered, refused=len(results) - answered, results=tuple(results)
    )


async def _result(
    request: Request, service: Service, served: Served, picture: bytes | ProblemError, *, index: int, request_id: str
) -> BatchItem:
    try:
        if isinstance(picture, ProblemError):
            raise picture
        reading = await read_and_kept(request, service, served, picture, request_id=request_id)
    except ProblemError as error:
        return BatchItem(index=index, problem=document(error, request_id=request_id))
    except Exception as error:  # a fault of ours on one picture is none of the others'
        log.exception("request %s failed in a batch", request_id, exc_info=error)
        detail = "the service failed on this picture; its log says why under the request id"
        problem = document(ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail), request_id=request_id)
        return BatchItem(index=index, problem=problem)
    return BatchItem(index=index, answer=reading.answer)
