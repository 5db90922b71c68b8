"""Answers in HL7 FHIR R4: a DiagnosticReport that holds its Observations and the Device that made them.

The picture names no patient, so the report names none: whoever files it adds the subject.
"""

from datetime import UTC, datetime
from typing import Any, Final

from serving.schemas import Problem
from vizecg.answer import Answer, Label

MEDIA_TYPE: Final = "application/fhir+json"
_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"
_MADE_BY_A_MACHINE: Final = {
    "system": f"{_TERMINOLOGY}/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}
_META: Final = {"security": [_MADE_BY_A_MACHINE], "tag": [_MADE_BY_A_MACHINE]}
_EKG_STUDY: Final = {"coding": [{"system": "http://loinc.org", "code": "11524-6", "display": "EKG study"}]}
_CARDIAC: Final = {
    "coding": [
        {"system": f"{_TERMINOLOGY}/v2-0074", "code": "EC", "display": "Electrocardiac (e.g., EKG, EEC, Holter)"}
    ]
}
_INTERPRETATIONS: Final = {"POS": "Positive", "NEG": "Negative", "IND": "Indeterminate"}
_ISSUES: Final = {
    400: "structure",
    401: "login",
    403: "forbidden",
    404: "not-found",
    408: "timeout",
    413: "too-long",
    415: "not-supported",
    422: "required",
    429: "throttled",
    503: "transient",
}


def report(answer: Answer, *, issued: datetime | None = None) -> dict[str, Any]:
    """Write an answer as a DiagnosticReport.

    Args:
        answer: of one picture.
        issued: when it was given; now without it.
    """
    observations = [_quality(answer), *(_observation(label, answer=answer) for label in answer.labels)]
    return {
        "resourceType": "DiagnosticReport",
        "meta": _META,
        "contained": [_device(answer), *observations],
        "identifier": [{"system": "urn:vizecg:request", "value": answer.request_id}],
        "status": "preliminary",
        "category": [_CARDIAC],
        "code": _EKG_STUDY,
        "issued": (issued or datetime.now(UTC)).isoformat(timespec="milliseconds"),
        "result": [{"reference": f"#{one['id']}"} for one in observations],
        "conclusion": _conclusion(answer),
    }


def outcome(problem: Problem) -> dict[str, Any]:
    """Write a problem as an OperationOutcome."""
    code = _ISSUES.get(problem.status, "exception" if problem.status >= 500 else "processing")
    issue = {"severity": "error", "code": code, "diagnostics": f"{problem.detail} (request {problem.request_id})"}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def _device(answer: Answer) -> dict[str, Any]:
    model = answer.model
    versions = [("bundle digest", model.bundle_digest), ("registry version", model.version), ("git sha", model.git_sha)]
    return {
        "resourceType": "Device",
        "id": "model",
        "identifier": [{"system": "urn:vizecg:bundle", "value": model.bundle_digest}],
        "deviceName": [{"name": model.name, "type": "model-name"}],
        "type": {"text": "AI model that reads pictures of printed ECGs"},
        "version": [{"type": {"text": kind}, "value": value} for kind, value in versions if value],
        "note": [{"text": text} for text in (*answer.notes, answer.disclaimer)],
    }


def _quality(answer: Answer) -> dict[str, Any]:
    """Whether the picture could be read, and what was noticed about it."""
    observation: dict[str, Any] = {
        **_of_this_model("quality"),
        "code": {"text": "The picture can be read as an ECG"},
        "valueBoolean": answer.decision != "reject",
    }
    if answer.quality.findings:
        observation["note"] = [
            {"text": f"{finding.severity}: {finding.message}"} for finding in answer.quality.findings
        ]
    return observation


def _observation(label: Label, *, answer: Answer) -> dict[str, Any]:
    verdict = "IND" if answer.decision == "abstain" else "POS" if label.positive else "NEG"
    coded = {
        "system": f"{_TERMINOLOGY}/v3-ObservationInterpretation",
        "code": verdict,
        "display": _INTERPRETATIONS[verdict],
    }
    position = answer.labels.index(label)
    return {
        **_of_this_model(f"label-{position}"),
        "code": {
            "coding": [{"system": "urn:vizecg:class", "code": label.code, "display": label.name}],
            "text": f"Probability of {label.name}",
        },
        "valueQuantity": {"value": round(label.probability, 4), "system": "http://unitsofmeasure.org", "code": "1"},
        "interpretation": [{"coding": [coded]}],
        "referenceRange": [{"high": {"value": round(label.threshold, 4)}, "text": "below it the label is not given"}],
    }


def _of_this_model(name: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "preliminary",
        "device": {"reference": "#model"},
    }


def _conclusion(answer: Answer) -> str:
    named = ", ".join(label.name for label in answer.labels if label.positive) or "none of the model's classes"
    said = {
        "ok": f"The model finds: {named}.",
        "abstain": "The model is undecided: no label is clearly positive.",
        "reject": "The picture was not read.",
    }[answer.decision]
    return " ".join((said, *answer.notes, answer.disclaimer))
