"""What is kept of each prediction: enough to answer again and to see pictures drift, nothing to see a patient by."""

import hashlib
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import cv2
from pydantic import AwareDatetime, BaseModel, ConfigDict

from vizecg.answer import Decision, ModelIdentity
from vizecg.intake import Intake
from vizecg.predictor import Reading

PREDICTION: Final = "prediction"


class _Schema(BaseModel):
    # `seq` and `previous` are the chain's.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class FindingLine(_Schema):
    """A finding without its words."""

    code: str
    severity: str


class OutputLine(_Schema):
    """One class: the calibrated probability, its threshold and what followed."""

    code: str
    probability: float
    threshold: float
    positive: bool


class ImageStatistics(_Schema):
    """What the intake measured, for the watch on drift. None where it was no number."""

    px_per_mm: float | None
    scale_from: str
    rotation_deg: float | None
    light: float | None
    evenness: float | None
    edge_mm: float | None
    """Sharpness: how far it is from paper to ink."""
    contrast: float | None
    ink_share: float | None
    trace_columns_share: float | None
    mm_per_mv: float | None
    mm_per_s: float | None
    canonical_mean: float | None
    """Of the gray values that the model saw, 0 to 255."""
    canonical_std: float | None


class PredictionLine(_Schema):
    """One answer."""

    kind: Literal["prediction"] = PREDICTION
    time: AwareDatetime
    request_id: str
    key_id: str | None
    input_sha256: str
    input_bytes: int
    model: ModelIdentity
    settings_sha256: str
    decision: Decision
    outputs: tuple[OutputLine, ...]
    findings: tuple[FindingLine, ...]
    image: ImageStatistics
    canonical_sha256: str | None = None
    """Of the page as the model saw it, gray values row by row; None in lines from before it was kept."""
    total_ms: float


def line_of(
    reading: Reading, *, input_sha256: str, input_bytes: int, key_id: str | None, settings_sha256: str, now: datetime
) -> dict[str, Any]:
    """Describe an answer.

    Args:
        reading: the answer and what it is from.
        input_sha256: of the picture's bytes as they were received.
        input_bytes: their number.
        key_id: whose request it was.
        settings_sha256: of the settings it was answered under.
        now: with its time zone.
    """
    answer = reading.answer
    line = PredictionLine(
        time=now,
        request_id=answer.request_id,
        key_id=key_id,
        input_sha256=input_sha256,
        input_bytes=input_bytes,
        model=answer.model,
        settings_sha256=settings_sha256,
        decision=answer.decision,
        outputs=tuple(OutputLine.model_validate(label, from_attributes=True) for label in answer.labels),
        findings=tuple(FindingLine(code=one.code, severity=one.severity) for one in answer.quality.findings),
        image=statistics_of(reading.taken),
        canonical_sha256=hashlib.sha256(reading.taken.canonical.tobytes()).hexdigest(),
        total_ms=answer.timing_ms["total"],
    )
    return line.model_dump(mode="json")


def statistics_of(taken: Intake) -> ImageStatistics:
    """Take the numbers of a picture."""
    names = set(ImageStatistics.model_fields) - {"scale_from", "canonical_mean", "canonical_std"}
    mean, deviation = cv2.meanStdDev(taken.canonical)  # ten times as fast as numpy's
    numbers: Mapping[str, float | None] = {
        **{name: getattr(taken, name) for name in names},
        "canonical_mean": float(mean.item()),
        "canonical_std": float(deviation.item()),
    }
    return ImageStatistics.model_validate(
        {
            "scale_from": taken.scale_from,
            **{name: None if value is None or not math.isfinite(value) else value for name, value in numbers.items()},
        }
    )
