"""The Open Inference Protocol, version 2 (KServe, Triton, MLServer), for pictures as BYTES.

Errors have its own form, `{"error": …}`; `serving.problems` sees to that for all below `/v2`.
"""

import base64
import binascii
from http import HTTPStatus
from importlib.metadata import version as version_of_package
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving import examples
from serving.access import key_of, requires
from serving.problems import RETRY_AFTER_S, ProblemError
from serving.request_id import request_id_of
from serving.routes import Service, TheService, read_and_kept, ready_model
from serving.uploads import read_bytes
from serving.watcher import Served
from vizecg.answer import Answer
from vizecg.intake import READ
from vizecg.keys import Scope

INPUT: Final = "image"
_NO_PROBABILITY: Final = -1.0
"""Of a picture that was rejected: JSON has no NaN, and 0 would say that it surely is not there."""
_LONGEST_NAME: Final = 120
_OUTPUTS: Final = ("decision", "probability", "positive", "classes", "answer")

Name = Annotated[str, Path(description="of the model, as `/v1/model` says it")]


class _Tensor(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] = Field(description="each picture's file in base64")


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str


class InferRequest(BaseModel):
    """Pictures to be read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str | None = None
    inputs: list[_Tensor] = Field(min_length=1, max_length=1)
    outputs: list[_Asked] | None = None


_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "content": {"application/json": {"example": {"error": detail}}}}
    for status, description, detail in (
        (400, "Not a request of this protocol, or a picture that cannot be read", "picture 0: the PNG file is broken"),
        (404, "No such model or version", "there is no model 'resnet'"),
        (408, "The body took too long", "the request did not arrive within 120 s"),
        (413, "Too much", "the request holds 40 pictures, at most 32 are allowed"),
        (503, "No model yet; see Retry-After", "no model is ready"),
    )
}
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {"schema": {"type": "object"}, "example": examples.INFER},
    },
}

_KNOWN: Final = requires(Scope.PREDICT, Scope.ADMIN)

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])


@router.get("", summary="What this server is", response_description="Name and version", dependencies=[_KNOWN])
async def server() -> dict[str, Any]:
    """No extensions: pictures come as base64 in JSON."""
    return {"name": "vizecg", "version": version_of_package("vizecg"), "extensions": []}


@router.get("/health/live", summary="Whether the server lives", response_description="It does")
async def live() -> dict[str, bool]:
    """As `/health`."""
    return {"live": True}


@router.get(
    "/health/ready", summary="Whether the server is ready", response_description="It is", responses={503: _ERRORS[503]}
)
async def server_ready(service: TheService) -> JSONResponse:
    """As `/ready`."""
    return _readiness({"ready": service.model.current is not None})


@router.get(
    "/models/{name}", summary="What a model takes and gives", responses={404: _ERRORS[404]}, dependencies=[_KNOWN]
)
@router.get(
    "/models/{name}/versions/{version}",
    summary="The same of one version",
    responses={404: _ERRORS[404]},
    dependencies=[_KNOWN],
)
async def metadata(service: TheService, name: Name, version: str | None = None) -> dict[str, Any]:
    """One model in one version: the one that answers now."""
    served = _named(service, name, version)
    classes = len(served.predictor.operating_point.classes)
    return {
        "name": served.predictor.identity.name,
        "versions": [_version_of(served)] if _version_of(served) else [],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "decision", "datatype": "BYTES", "shape": [-1]},
            {"name": "probability", "datatype": "FP64", "shape": [-1, classes]},
            {"name": "positive", "datatype": "BOOL", "shape": [-1, classes]},
            {"name": "classes", "datatype": "BYTES", "shape": [classes]},
            {"name": "answer", "datatype": "BYTES", "shape": [-1]},
        ],
    }


@router.get(
    "/models/{name}/ready", summary="Whether a model is ready", responses={404: _ERRORS[404]}, dependencies=[_KNOWN]
)
@router.get(
    "/models/{name}/versions/{version}/ready",
    summary="Whether a version is",
    responses={404: _ERRORS[404]},
    dependencies=[_KNOWN],
)
async def model_ready(service: TheService, name: Name, version: str | None = None) -> JSONResponse:
    """Only what answers now is ready."""
    served = _named(service, name, version)
    return _readiness({"name": served.predictor.identity.name, "ready": True})


@router.post(
    "/models/{name}/infer",
    summary="Read pictures",
    responses=_ERRORS,
    openapi_extra={"requestBody": _BODY},
    dependencies=[requires(Scope.PREDICT)],
)
@router.post(
    "/models/{name}/versions/{version}/infer",
    summary="Read pictures with one version",
    responses=_ERRORS,
    openapi_extra={"requestBody": _BODY},
    dependencies=[requires(Scope.PREDICT)],
)
async def infer(request: Request, service: TheService, name: Name, version: str | None = None) -> dict[str, Any]:
    """One tensor `image` of BYTES, each the base64 of a picture's file.

    `probability` of a rejected picture is -1; `answer` is that of `/v1/predict`, as JSON text.
    """
    served = _named(service, name, version)
    service.queue.refuse_if_full()
    asked = await _read(request, service)
    _check_outputs(asked.outputs)
    pictures = _pictures(asked.inputs[0], service)
    service.access.spend(key_of(request), cost=len(pictures) - 1)  # the first was counted at the door
    base = request_id_of(request)[:_LONGEST_NAME]
    answers = [
        await _answer(request, service, served, picture, index=index, request_id=f"{base}.{index}")
        for index, picture in enumerate(pictures)
    ]
    reply: dict[str, Any] = {"model_name": served.predictor.identity.name, "model_version": _version_of(served)}
    if asked.id is not None:
        reply["id"] = asked.id
    return reply | {"outputs": _chosen(_outputs(answers, served), asked.outputs)}


def _readiness(content: dict[str, Any]) -> JSONResponse:
    if content["ready"]:
        return JSONResponse(content)
    return JSONResponse(content, status_code=503, headers={"Retry-After": str(RETRY_AFTER_S)})


def _version_of(served: Served) -> str:
    return served.predictor.identity.version or ""


def _named(service: Service, name: str, version: str | None) -> Served:
    served = ready_model(service)
    identity = served.predictor.identity
    if name != identity.name:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no model {name[:64]!r}, there is {identity.name!r}")
    if version is not None and version != identity.version:
        here = identity.version or "none, it is served from a folder"
        raise ProblemError(HTTPStatus.NOT_FOUND, f"version {version[:64]!r} does not answer; the one that does: {here}")
    return served


async def _read(request: Request, service: Service) -> InferRequest:
    if "inference-header-content-length" in request.headers:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "binary tensor data is not supported; send base64 in `data`")
    settings = service.settings
    body = await read_bytes(request, max_bytes=settings.max_batch_bytes, within_s=settings.body_s, what="request")
    try:
        return InferRequest.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the body"
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"{where}: {fault['msg'].lower()}") from None


def _pictures(tensor: _Tensor, service: Service) -> list[bytes]:
    most = service.settings.max_batch_files
    if (tensor.name, tensor.datatype) != (INPUT, "BYTES"):
        raise _bad(f"the input must be {INPUT!r} of BYTES, got {tensor.name[:64]!r} of {tensor.datatype[:16]!r}")
    data = tensor.data
    if tensor.shape not in ([len(data)], [len(data), 1]) or not data:
        raise _bad(f"shape {tensor.shape[:4]} does not fit {len(data)} pictures; expected [n] with n at least 1")
    if len(data) > most:
        detail = f"the request holds {len(data)} pictures, at most {most} are allowed"
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    # With shape [n, 1] some clients nest the elements.
    flat = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in data]
    return [_unpacked(item, index=index, service=service) for index, item in enumerate(flat)]


def _unpacked(item: object, *, index: int, service: Service) -> bytes:
    try:
        picture = base64.b64decode(item if isinstance(item, str) else "?", validate=True)
    except (binascii.Error, ValueError):
        raise _bad(f"picture {index} is not base64 of a {READ} file") from None
    if len(picture) > service.settings.max_body_bytes:
        detail = f"picture {index} is larger than {service.settings.max_body_bytes} bytes"
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    return picture


async def _answer(
    request: Request, service: Service, served: Served, picture: bytes, *, index: int, request_id: str
) -> Answer:
    try:
        return (await read_and_kept(request, service, served, picture, request_id=request_id)).answer
    except ProblemError as error:
        client_fault = error.status < HTTPStatus.INTERNAL_SERVER_ERROR
        too_large = error.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        status = HTTPStatus.BAD_REQUEST if client_fault and not too_large else error.status
        raise ProblemError(status, f"picture {index}: {error.detail}", headers=error.headers) from None


def _outputs(answers: list[Answer], served: Served) -> list[dict[str, Any]]:
    classes = served.predictor.operating_point.classes
    n, k = len(answers), len(classes)
    rows = [answer.labels or (None,) * k for answer in answers]
    flat = [label for row in rows for label in row]
    return [
        _tensor("decision", "BYTES", [n], [answer.decision for answer in answers]),
        _tensor("probability", "FP64", [n, k], [label.probability if label else _NO_PROBABILITY for label in flat]),
        _tensor("positive", "BOOL", [n, k], [label is not None and label.positive for label in flat]),
        _tensor("classes", "BYTES", [k], list(classes)),
        _tensor("answer", "BYTES", [n], [answer.model_dump_json() for answer in answers]),
    ]


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def _check_outputs(asked: list[_Asked] | None) -> None:
    for one in asked or ():
        if one.name not in _OUTPUTS:
            raise _bad(f"there is no output {one.name[:64]!r}; there are {', '.join(_OUTPUTS)}")


def _chosen(outputs: list[dict[str, Any]], asked: list[_Asked] | None) -> list[dict[str, Any]]:
    known = {output["name"]: output for output in outputs}
    return outputs if asked is None else [known[one.name] for one in asked]


def _bad(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail)
