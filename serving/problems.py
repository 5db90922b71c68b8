"""Errors of the API as problem details (RFC 9457): what, got, allowed, and the request they belong to."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from serving import fhir
from serving.decoding import NoDecoder, Undecodable
from serving.head import allowed
from serving.headers import SECURITY_HEADERS
from serving.negotiation import preferred
from serving.request_id import HEADER, request_id_of
from serving.schemas import Problem
from vizecg.intake import ImageTooLarge, UnreadableImage, UnsupportedImage

log = logging.getLogger("vizecg.serving")

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2


class ProblemError(Exception):
    """Anything the caller is to be told, with the status it goes out under."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        got: str | int | None = None,
        allowed: str | int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.got = got
        self.allowed = allowed
        self.headers = dict(headers or {})


PICTURE_FAULTS: Final = (UnreadableImage, UnsupportedImage, ImageTooLarge, Undecodable, NoDecoder)


def problem_of_picture(
    error: UnreadableImage | UnsupportedImage | ImageTooLarge | Undecodable | NoDecoder,
) -> ProblemError:
    """Which status a picture is refused with."""
    status = HTTPStatus.BAD_REQUEST
    if isinstance(error, ImageTooLarge):
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    elif isinstance(error, UnsupportedImage):
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    elif isinstance(error, Undecodable):
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    elif isinstance(error, NoDecoder):
        status = HTTPStatus.SERVICE_UNAVAILABLE
    return ProblemError(status, str(error))


def install(app: FastAPI) -> None:
    """Give every error of an app this form."""

    @app.exception_handler(ProblemError)
    async def refused(request: Request, error: ProblemError) -> Response:
        return respond(request, error)

    @app.exception_handler(HTTPException)
    async def refused_by_framework(request: Request, error: HTTPException) -> Response:
        status, sent = HTTPStatus(error.status_code), dict(error.headers or {})
        problem = ProblemError(status, f"{request.method} {request.url.path}: {status.phrase.lower()}; see /docs")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            sent["Allow"] = allowed(sent["Allow"])
            problem.got, problem.allowed = request.method, sent["Allow"]
        return respond(request, problem, headers=sent)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        return respond(request, ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, faults))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, _: ClientDisconnect) -> Response:
        return respond(request, ProblemError(HTTPStatus.BAD_REQUEST, "the request ended before its body did"))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        # The route as declared, and nothing that the caller sent: that may name a patient.
        route = getattr(request.scope.get("route"), "path", "no route")
        log.exception("request %s failed at %s %s", request_id_of(request), request.method, route, exc_info=error)
        detail = "the service failed on this request; its log says why under the request id"
        # This reply is made outside all other middleware.
        return respond(request, ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail), headers=SECURITY_HEADERS)


def document(error: ProblemError, *, request_id: str) -> Problem:
    """An error as it is sent."""
    return Problem(
        title=error.status.phrase,
        status=error.status,
        detail=error.detail,
        got=error.got,
        allowed=error.allowed,
        request_id=request_id,
    )


def respond(request: Request, error: ProblemError, *, headers: Mapping[str, str] | None = None) -> Response:
    """Write a problem."""
    request_id = request_id_of(request)
    kind, content = _written(request, document(error, request_id=request_id))
    sent = {**error.headers, **(headers or {}), HEADER: request_id}
    if error.status is HTTPStatus.SERVICE_UNAVAILABLE:
        sent["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse(content, status_code=error.status, headers=sent, media_type=kind)


def _written(request: Request, problem: Problem) -> tuple[str, dict[str, Any]]:
    """Media type and content, in the form that whoever asked there expects."""
    if request.url.path == "/v2" or request.url.path.startswith("/v2/"):
        return "application/json", {"error": problem.detail}
    if preferred(request, offered=(MEDIA_TYPE, fhir.MEDIA_TYPE)) == fhir.MEDIA_TYPE:
        return fhir.MEDIA_TYPE, fhir.outcome(problem)
    return MEDIA_TYPE, problem.model_dump(exclude_none=True)
