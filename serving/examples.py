"""Examples in the OpenAPI document, made by the very schemas so that they cannot drift from them."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from serving import fhir
from serving.schemas import BatchAnswer, BatchItem, Explanation, Film, PagePicture, Problem
from vizecg.answer import Answer, Label, ModelIdentity, Quality
from vizecg.labels import SUPERDIAGNOSTIC

_REQUEST_ID: Final = "0f3a6c1e9b7d4c55a1d0"
_PROBABILITIES: Final = (0.04, 0.91, 0.62, 0.08, 0.11)
_THRESHOLDS: Final = (0.46, 0.35, 0.38, 0.33, 0.22)

ANSWER: Final[dict[str, Any]] = Answer(
    request_id=_REQUEST_ID,
    model=ModelIdentity(
        name="vizecgnet",
        version="3",
        alias="champion",
        run_id="5d1c0f6e",
        git_sha="0a1b" * 10,
        data_digest="3c" * 32,
        bundle_digest="9f" * 32,
        simulated=False,
    ),
    decision="ok",
    labels=tuple(
        Label(code=entry.code, name=entry.name, probability=probability, threshold=limit, positive=probability >= limit)
        for entry, probability, limit in zip(SUPERDIAGNOSTIC, _PROBABILITIES, _THRESHOLDS, strict=True)
    ),
    quality=Quality(is_ecg=True, findings=(), px_per_mm=4.0, scale_assumed=False, rotation_deg=0.0),
    timing_ms={"decode": 9.1, "intake": 6.4, "inference": 7.9, "total": 23.6},
).model_dump(mode="json")

EXPLANATION: Final[dict[str, Any]] = Explanation(
    answer=Answer.model_validate(ANSWER),
    page=PagePicture(width_px=960, height_px=720, data="/9j/4AAQSkZJRg…"),
    films=(Film(code="MI", data="iVBORw0KGgo…"),),
).model_dump(mode="json")


def problem(detail: str, *, status: HTTPStatus) -> dict[str, Any]:
    """One problem document."""
    return Problem(title=status.phrase, status=status, detail=detail, request_id=_REQUEST_ID).model_dump(
        exclude_none=True
    )


BATCH: Final[dict[str, Any]] = BatchAnswer(
    request_id=_REQUEST_ID,
    answered=1,
    refused=1,
    results=(
        BatchItem(index=0, answer=Answer.model_validate(ANSWER | {"request_id": f"{_REQUEST_ID}.0"})),
        BatchItem(
            index=1,
            problem=Problem(
                title="Bad Request",
                status=400,
                detail="the PNG file is broken or cut off",
                request_id=f"{_REQUEST_ID}.1",
            ),
        ),
    ),
).model_dump(mode="json", exclude_none=True)

CONFIRMED: Final[dict[str, Any]] = {"request_id": _REQUEST_ID, "labels": ["MI", "STTC"]}
FEEDBACK: Final[dict[str, Any]] = CONFIRMED | {"received_at": "2026-11-26T18:00:00Z", "bundle_digest": "9f" * 32}

ANSWERS: Final[dict[str, Any]] = {
    "application/json": {"example": ANSWER},
    fhir.MEDIA_TYPE: {
        "schema": {"type": "object"},
        "example": fhir.report(Answer.model_validate(ANSWER), issued=datetime(2026, 11, 26, 18, tzinfo=UTC)),
    },
}
INFER: Final[dict[str, Any]] = {
    "id": "scan-42",
    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["iVBORw0KGgo…"]}],
    "outputs": [{"name": "decision"}, {"name": "probability"}],
}
