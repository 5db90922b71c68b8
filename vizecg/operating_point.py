"""How a model's logits are read: calibration, thresholds, and when it says that it does not know.

Written by evaluate, copied into the bundle by register, applied by whoever predicts.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vizecg.errors import InputError

SCHEMA_VERSION: Final = 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One slope, above 0, and one bias for each class."""

    slope: tuple[float, ...]
    bias: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.slope) != len(self.bias) or not self.slope:
            raise ValueError(f"a slope and a bias for each class, got {len(self.slope)} and {len(self.bias)}")
        if not all(np.isfinite(value) and value > 0 for value in self.slope):
            raise ValueError(f"every slope must be finite and above 0, got {self.slope}")
        if not all(np.isfinite(value) for value in self.bias):
            raise ValueError(f"every bias must be finite, got {self.bias}")

    def apply(self, logits: ArrayLike) -> Floats:
        """(…, classes) logits -> probabilities, same shape."""
        return sigmoid(np.asarray(logits, dtype=np.float64) * self.slope + self.bias)


def sigmoid(logits: Floats) -> Floats:
    """Logistic function without overflow: σ(z) = (1 + tanh(z / 2)) / 2."""
    return (1 + np.tanh(logits / 2)) / 2


class OperatingPoint(BaseModel):
    """Everything between logits and labels, for one model.

    A label is positive when its calibrated probability is at or above its threshold.
    The model abstains on a record when no label is clearly positive: none reaches its
    threshold + `abstain_margin`. Normal is a label too, so every ECG should have one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    classes: tuple[str, ...] = Field(min_length=1)
    slope: tuple[float, ...]
    bias: tuple[float, ...]
    thresholds: tuple[float, ...]
    pooled_thresholds: tuple[str, ...] = Field(default=(), description="classes that share one threshold")
    abstain_margin: float = Field(ge=0, lt=1)
    fitted_on: dict[str, Any] = Field(
        description="records, positives by class, fold, digests: where the numbers are from"
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        lengths = {name: len(getattr(self, name)) for name in ("classes", "slope", "bias", "thresholds")}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"one slope, bias and threshold for each class, got {lengths}")
        if len(set(self.classes)) != len(self.classes) or not set(self.pooled_thresholds) <= set(self.classes):
            raise ValueError(f"classes must be distinct and hold the pooled ones, got {self.classes}")
        if not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ValueError(f"every threshold must be between 0 and 1, got {self.thresholds}")
        Calibration(slope=self.slope, bias=self.bias)
        return self

    @property
    def calibration(self) -> Calibration:
        """Slope and bias of each class."""
        return Calibration(slope=self.slope, bias=self.bias)

    def probabilities(self, logits: ArrayLike) -> Floats:
        """(records, classes) logits -> calibrated probabilities."""
        table = np.asarray(logits, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(self.classes):
            raise ValueError(f"logits must be (records, {len(self.classes)}), got {table.shape}")
        return self.calibration.apply(table)

    def positives(self, probabilities: ArrayLike) -> NDArray[np.bool_]:
        """(…, classes) -> which labels are given."""
        table: Floats = np.asarray(probabilities, dtype=np.float64)
        return table >= np.asarray(self.thresholds)

    def abstains(self, probabilities: ArrayLike) -> NDArray[np.bool_]:
        """(records, classes) -> (records,): no label is clearly positive."""
        table: Floats = np.asarray(probabilities, dtype=np.float64)
        clear = table >= np.asarray(self.thresholds) + self.abstain_margin
        return np.logical_not(clear.any(axis=-1))

    def to_json(self) -> str:
        """Indented, ends with a newline; equal content is equal bytes."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str) -> Self:
        """Read what `to_json` wrote.

        Args:
            text: the JSON.
            source: named in the error.

        Raises:
            InputError: not JSON, of another schema version, or numbers that do not fit together.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "content"
            raise InputError(f"{source} is no operating point: {where}: {first['msg']}; run evaluate again") from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            InputError: it is not there or is no operating point.
        """
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            raise InputError(f"{path} is not there; run evaluate first") from None
        return cls.from_json(text, source=str(path))
