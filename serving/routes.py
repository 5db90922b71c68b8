"""What can be asked of the service."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from serving import docs_page, examples, fhir
from serving.access import Access, key_of, requires
from serving.audit import AuditTrail
from serving.decoding import Decoders
from serving.limits import WorkQueue
from serving.metrics import CONTENT_TYPE, Metrics
from serving.negotiation import preferred
from serving.plain_route import PlainRoute
from serving.problems import MEDIA_TYPE, PICTURE_FAULTS, RETRY_AFTER_S, ProblemError, problem_of_picture
from serving.request_id import request_id_of
from serving.schemas import Health, ModelDescription, Problem, Readiness
from serving.settings import ServingSettings
from serving.shadow import Shadow
from serving.uploads import FIELD, read_picture
from serving.watcher import Served, ServedModel
from vizecg.answer import Answer
from vizecg.intake import READ
from vizecg.keys import Scope
from vizecg.predictor import Reading

router = APIRouter()
asked_often = APIRouter(route_class=PlainRoute)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the routes share, made when the app starts."""

    settings: ServingSettings
    model: ServedModel
    metrics: Metrics
    queue: WorkQueue
    decoders: Decoders
    access: Access
    audit: AuditTrail
    shadow: Shadow | None


async def _service(request: Request) -> Service:  # a plain function would be run in a thread
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]


def refusal(description: str, detail: str, status: HTTPStatus) -> dict[str, Any]:
    """Document one status a route may refuse with."""
    example = examples.problem(detail, status=status)
    return {"model": Problem, "description": description, "content": {MEDIA_TYPE: {"example": example}}}


ACCESS_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    401: refusal("No API key that stands", "the API key is unknown", HTTPStatus.UNAUTHORIZED),
    403: refusal("A key that is not for this", "it needs the scope predict", HTTPStatus.FORBIDDEN),
    429: refusal("Too often; see Retry-After", "this API key asks too often", HTTPStatus.TOO_MANY_REQUESTS),
}
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: refusal("The bytes cannot be read", "the picture ends early", HTTPStatus.BAD_REQUEST),
    408: refusal("The body took too long", "the picture did not arrive within 120 s", HTTPStatus.REQUEST_TIMEOUT),
    413: refusal("Too many bytes or pixels", "the picture is too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    415: refusal("Not a kind of picture that is read", f"not a {READ} file", HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    422: refusal(
        "Nothing was sent, or a picture that cannot be decoded within limits",
        "no picture was sent",
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    503: refusal(
        "No model yet, or too much to do; see Retry-After", "no model is ready", HTTPStatus.SERVICE_UNAVAILABLE
    ),
    **ACCESS_REFUSALS,
}
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
BODY: Final = {
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
REQUEST_ID_HEADER: Final = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "names the request in the reply, its header and the log; 1 to 128 of `A-Z a-z 0-9 . _ : -`",
    "schema": {"type": "string"},
}


@asked_often.post(
    "/v1/predict",
    summary="Diagnose one picture of a printed ECG",
    response_model=Answer,
    response_description="The answer",
    responses={200: {"content": examples.ANSWERS}, **REFUSALS},
    openapi_extra={"requestBody": BODY, "parameters": [REQUEST_ID_HEADER]},
    dependencies=[requires(Scope.PREDICT)],
)
async def predict(request: Request, service: TheService) -> Answer | Response:
    """A picture that can be decoded always gets an answer, with `decision` `ok`, `abstain` or `reject`.

    With `Accept: application/fhir+json` it is a FHIR R4 DiagnosticReport, and an error an OperationOutcome.
    """
    served = ready_model(service)  # held from here on: a swap meanwhile does not mix two models in one answer
    service.queue.refuse_if_full()
    data = await read_picture(request, settings=service.settings)
    answer = (await read_and_kept(request, service, served, data)).answer
    if preferred(request, offered=("application/json", fhir.MEDIA_TYPE)) == fhir.MEDIA_TYPE:
        return JSONResponse(fhir.report(answer), media_type=fhir.MEDIA_TYPE)
    return answer


@router.get(
    "/v1/model",
    summary="The model that answers",
    response_description="What it is",
    responses={503: REFUSALS[503], **ACCESS_REFUSALS},
    dependencies=[requires(Scope.PREDICT, Scope.ADMIN)],
)
async def model(service: TheService) -> ModelDescription:
    """Its contract (classes, thresholds, size of the input, intended use) and its model card."""
    served = ready_model(service)
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
    readiness = service.model.readiness(access=service.access.state)
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
    responses=ACCESS_REFUSALS,
    dependencies=[requires(Scope.ADMIN)],
)
async def metrics(service: TheService) -> Response:
    """Everything this process has counted since it started."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request, service: TheService) -> HTMLResponse:
    """The OpenAPI document as a page without scripts or outside links."""
    if not service.settings.docs:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return HTMLResponse(docs_page.render(request.app.openapi(), address=str(request.base_url)))


def ready_model(service: Service) -> Served:
    """The model that answers now.

    Raises:
        ProblemError: 503, there is none yet.
    """
    served = service.model.current
    if served is None:
        reason = service.model.last_failure or "the first one is being loaded"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"no model is ready: {reason}")
    return served


async def read_and_kept(
    request: Request, service: Service, served: Served, data: bytes, *, request_id: str | None = None
) -> Reading:
    """Read one picture, keep the answer in the audit trail and count it: every route that answers asks here.

    Args:
        request: whose key is kept with the answer.
        service: where it is kept and counted.
        served: the model that answers.
        data: the picture.
        request_id: of this picture, where the request holds several.

    Raises:
        ProblemError: the picture is refused, there is too much to do, or the answer cannot be kept.
    """
    key, name = key_of(request), request_id or request_id_of(request)
    digest = cache(lambda: sha256(data).hexdigest())
    # Of our own bytes, not of those that the decoder has; but while it works, for which another core may be free.
    unpack = partial(service.decoders.unpack, meanwhile=digest if service.audit.kept else None)

    def work() -> Reading:
        reading = served.predictor.read(data, request_id=name, unpack=unpack)
        key_id = None if key is None else key.id
        service.audit.note(reading, input_sha256=digest, input_bytes=len(data), key_id=key_id)
        return reading

    reading = await worked(service, work)
    service.metrics.answered(reading.answer)
    if service.shadow is not None:
        service.shadow.offer(reading)
    return reading


async def worked(service: Service, work: Callable[[], Result]) -> Result:
    """Do what holds the CPU, decoding and inference, in a thread: health must be answered meanwhile.

    Raises:
        ProblemError: the picture is refused.
    """
    try:
        return await service.queue.run(work)
    except PICTURE_FAULTS as error:
        raise problem_of_picture(error) from None
