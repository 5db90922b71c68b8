"""What a prediction looks like to whoever asked for it: one schema for the API, its client and the command line."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

DISCLAIMER: Final = (
    "Research software, not a medical device: the answer must not guide the diagnosis or treatment of a patient."
)
SIMULATED_NOTE: Final = "This model was trained on simulated records: its answers have no medical meaning."

Decision = Literal["ok", "abstain", "reject"]


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ModelIdentity(_Schema):
    """Which model answered. A bundle that is served from a folder has no version, alias or run."""

    name: str
    version: str | None = None
    alias: str | None = None
    run_id: str | None = None
    git_sha: str | None = Field(default=None, description="commit of the code that trained it")
    data_digest: str | None = Field(default=None, description="of the record set it was trained on")
    bundle_digest: str
    simulated: bool = Field(description="the model was trained on simulated records")


class Finding(_Schema):
    """Something the intake noticed about the picture."""

    code: str
    severity: Literal["reject", "warning"]
    message: str


class Quality(_Schema):
    """What the picture is, before any model looks at it."""

    is_ecg: bool
    findings: tuple[Finding, ...] = ()
    px_per_mm: float | None = Field(description="scale of the uploaded picture; null where none was found")
    scale_assumed: bool = Field(description="nothing on the page confirmed the scale")
    rotation_deg: float


class Label(_Schema):
    """One diagnostic class and what the model says about it."""

    code: str
    name: str
    probability: float = Field(ge=0, le=1, description="calibrated")
    threshold: float = Field(ge=0, le=1, description="on the calibrated probability")
    positive: bool = Field(description="probability is at or above threshold")
    margin: float = Field(
        default_factory=lambda data: data["probability"] - data["threshold"],
        ge=-1,
        le=1,
        description="probability minus threshold: how far the label is from turning",
    )


class Answer(_Schema):
    """The reply to one picture."""

    request_id: str
    model: ModelIdentity
    decision: Decision = Field(
        description="ok: the labels may be read; abstain: the model is undecided; reject: not an ECG that can be read"
    )
    labels: tuple[Label, ...] = Field(description="in the model's order; empty when the picture was rejected")
    quality: Quality
    timing_ms: dict[str, float] = Field(description="milliseconds by phase, and in total")
    notes: tuple[str, ...] = Field(default=(), description="what must be known to read the answer")
    disclaimer: str = DISCLAIMER
