"""`POST /v1/explain`: where on the page the model saw what it says."""

import base64
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from serving import examples
from serving.access import requires
from serving.negotiation import preferred
from serving.problems import ProblemError
from serving.routes import BODY, REFUSALS, REQUEST_ID_HEADER, TheService, read_and_kept, ready_model, worked
from serving.schemas import Explanation, Film, PagePicture
from serving.uploads import read_picture
from vizecg import explanation
from vizecg.intake import CanonicalSpec
from vizecg.keys import Scope
from vizecg.predictor import Reading

PNG: Final = "image/png"
JSON: Final = "application/json"

router = APIRouter()

Labels = Annotated[
    str | None, Query(description="codes of the labels to draw, with commas between: `MI,CD`; all without it")
]
_REPLY: Final[dict[str, Any]] = {
    "model": Explanation,
    "description": "The page with the evidence for each label drawn on it; as JSON, answer, page and films one by one",
    "content": {
        PNG: {"schema": {"type": "string", "format": "binary"}},
        JSON: {"example": examples.EXPLANATION},
    },
}


@router.post(
    "/v1/explain",
    summary="Show where on the page the model saw what it says",
    response_model=None,
    responses={200: _REPLY, **REFUSALS},
    openapi_extra={"requestBody": BODY, "parameters": [REQUEST_ID_HEADER]},
    dependencies=[requires(Scope.PREDICT)],
)
async def explain(request: Request, service: TheService, labels: Labels = None) -> Response:
    """A PNG for people, or with `Accept: application/json` the answer, the page and a film for each label.

    Orange speaks for a label, blue against it; each panel has a scale of its own. A rejected picture is shown with
    the reason.
    """
    served = ready_model(service)
    asked = _asked(labels, classes=served.predictor.operating_point.classes)
    service.queue.refuse_if_full()
    data = await read_picture(request, settings=service.settings)
    reading = await read_and_kept(request, service, served, data)
    draw = _parts if preferred(request, offered=(PNG, JSON)) == JSON else _sheet
    codes = explanation.drawn_labels(reading.answer, asked=asked)
    return await worked(service, partial(draw, reading, spec=served.predictor.model.spec, codes=codes))


def _asked(labels: str | None, *, classes: tuple[str, ...]) -> tuple[str, ...]:
    codes = tuple(code.strip() for code in (labels or "").split(",") if code.strip())
    for code in codes:
        if code not in classes:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "labels names a class that the model does not know",
                got=code[:64],
                allowed=", ".join(classes),
            )
    return codes


def _sheet(reading: Reading, *, spec: CanonicalSpec, codes: tuple[str, ...]) -> Response:
    return Response(explanation.sheet(reading, spec=spec, codes=codes), media_type=PNG)


def _parts(reading: Reading, *, spec: CanonicalSpec, codes: tuple[str, ...]) -> Response:
    width_px = explanation.PAGE_WIDTH_PX
    parts = Explanation(
        answer=reading.answer,
        page=PagePicture(
            width_px=width_px,
            height_px=round(spec.height_px * width_px / spec.width_px),
            data=_text(explanation.page_jpeg(reading, spec=spec)),
        ),
        films=tuple(
            Film(code=code, data=_text(png)) for code, png in explanation.films(reading, spec=spec, codes=codes).items()
        ),
    )
    return JSONResponse(parts.model_dump(mode="json"))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
