"""Examples in the OpenAPI document, made by the very schemas so that they cannot drift from them."""

from http import HTTPStatus
from typing import Any, Final

from serving.schemas import Problem
from vizecg.answer import Answer, Label, ModelIdentity, Quality
from vizecg.labels import SUPERDIAGNOSTIC

_REQUEST_ID: Final = "0f3a6c1e9b7d4c55a1d0"
_PROBABILITIES: Final = (0.04, 0.91, 0.62, 0.08, 0.11)
_THRESHOLDS: Final = (0.46, 0.35, 0.38, 0.33, 0.22)

ANSWER: Final[dict[str, Any]] = Answer(
    request_id=_REQUEST_ID,
    model=ModelIdentity(
        name="vizecgnet", version="3", alias="champion", run_id="5d1c0f6e", bundle_digest="9f" * 32, simulated=False
    ),
    decision="ok",
    labels=tuple(
        Label(code=entry.code, name=entry.name, probability=probability, threshold=limit, positive=probability >= limit)
        for entry, probability, limit in zip(SUPERDIAGNOSTIC, _PROBABILITIES, _THRESHOLDS, strict=True)
    ),
    quality=Quality(is_ecg=True, findings=(), px_per_mm=4.0, scale_assumed=False, rotation_deg=0.0),
    timing_ms={"decode": 9.1, "intake": 6.4, "inference": 7.9, "total": 23.6},
).model_dump(mode="json")


def problem(detail: str, *, status: HTTPStatus) -> dict[str, Any]:
    """One problem document."""
    return Problem(title=status.phrase, status=status, detail=detail, request_id=_REQUEST_ID).model_dump(
        exclude_none=True
    )
