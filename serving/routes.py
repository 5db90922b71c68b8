"""What can be asked of the service."""

from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final

import anyio
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from serving import docs_page, examples
from serving.metrics import CONTENT_TYPE, Metrics
from serving.problems import MEDIA_TYPE, RETRY_AFTER_S, ProblemError, problem_of_picture
from serving.request_id import request_id_of
from serving.schemas import Health, ModelDescription, Problem, Readiness
from serving.settings import ServingSettings
from serving.uploads import FIELD, read_picture
from serving.watcher import Served, ServedModel
from vizecg.answer import Answer
from vizecg.intake import READ, ImageTooLarge, UnreadableImage, UnsupportedImage

router = APIRouter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the routes share, made when the app starts."""

    settings: ServingSettings
    model: ServedModel
    metrics: Metrics
    limiter: anyio.CapacityLimiter


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]


def _problem(description: str, detail: str, status: HTTPStatus) -> dict[str, Any]:
    example = examples.problem(detail, status=status)
    return {"model": Problem, "description": description, "content": {MEDIA_TYPE: {"example": example}}}


_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: _problem("The bytes cannot be read", "the picture ends early", HTTPStatus.BAD_REQUEST),
    413: _problem("Too many bytes or pixels", "the picture is too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    415: _problem("Not a kind of picture that is read", f"not a {READ} file", HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    422: _problem("Nothing was sent", "no picture was sent", HTTPStatus.UNPROCESSABLE_ENTITY),
    503: _problem("No model yet; see Retry-After", "no model is ready", HTTPStatus.SERVICE_UNAVAILABLE),
}
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_BODY: Final = {
    "required": True,
    "description": f"One picture of a printed ECG: multipart form field `{FIELD}`, or the bytes themselves. "
    "What it is, is decided by its first bytes, not by its name or type.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "string", "format": "binary"}},
            }
        },
        "image/png": _BINARY,
        "image/jpeg": _BINARY,
        "application/octet-stream": _BINARY,
    },
}
_REQUEST_ID_HEADER: Final = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "names the request in the reply, its header and the log; 1 to 128 of `A-Z a-z 0-9 . _ : -`",
    "schema": {"type": "string"},
}


@router.post(
    "/v1/predict",
    summary="Diagnose one picture of a printed ECG",
    response_description="The answer",
    responses={200: {"content": {"application/json": {"example": examples.ANSWER}}}, **_REFUSALS},
    openapi_extra={"requestBody": _BODY, "parameters": [_REQUEST_ID_HEADER]},
)
async def predict(request: Request, service: TheService) -> Answer:
    """A picture that can be decoded always gets an answer, with `decision` `ok`, `abstain` or `reject`."""
    served = _ready(service)  # held from here on: a swap meanwhile does not mix two models in one answer
    data = await read_picture(request, max_bytes=service.settings.max_body_bytes)
    # In a thread, for decoding and inference hold the CPU, and health must be answered meanwhile.
    work = partial(served.predictor.predict, data, request_id=request_id_of(request))
    try:
        answer = await anyio.to_thread.run_sync(work, limiter=service.limiter)
    except (UnreadableImage, UnsupportedImage, ImageTooLarge) as error:
        raise problem_of_picture(error) from None
    service.metrics.answered(answer)
    return answer


@router.get(
    "/v1/model", summary="The model that answers", response_description="What it is", responses={503: _REFUSALS[503]}
)
async def model(service: TheService) -> ModelDescription:
    """Its contract (classes, thresholds, size of the input, intended use) and its model card."""
    served = _ready(service)
    return ModelDescription(
        model=served.predictor.identity,
        contract=served.contract.model_dump(mode="json"),
        model_card=served.model_card,
    )


@router.get("/health", summary="Whether the process lives", response_description="It does")
async def health() -> Health:
    """Says nothing about models; see `/ready`."""
    return Health()


@router.get(
    "/ready",
    summary="Whether a model answers",
    response_description="It does",
    responses={503: {"model": Readiness, "description": "Not yet; see Retry-After"}},
)
async def ready(service: TheService) -> Readiness:
    """503 until a model has proven itself; `stale` while the registry cannot confirm that it is the right one."""
    readiness = service.model.readiness()
    if not readiness.ready:
        return JSONResponse(  # type: ignore[return-value] # the same schema under another status
            readiness.model_dump(), status_code=503, headers={"Retry-After": str(RETRY_AFTER_S)}
        )
    return readiness


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    response_class=PlainTextResponse,
    response_description="Text exposition format",
)
async def metrics(service: TheService) -> Response:
    """Everything this process has counted since it started."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The OpenAPI document as a page without scripts or outside links."""
    return HTMLResponse(docs_page.render(request.app.openapi(), address=str(request.base_url)))


@router.get("/", include_in_schema=False)
async def root() -> RedirectResponse:
    """Whoever opens the bare address wants to know what can be asked."""
    return RedirectResponse("/docs")


def _ready(service: Service) -> Served:
    served = service.model.current
    if served is None:
        reason = service.model.last_failure or "the first one is being loaded"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"no model is ready: {reason}")
    return served
