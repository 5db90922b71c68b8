"""What a model's pages were like when it was evaluated: what pictures of today are held against.

Every measure's values are sorted by themselves, so that no row of the file is one patient's, and no more than
a thousand are kept: the file travels with the bundle.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vizecg.audit import ImageStatistics
from vizecg.errors import InputError
from vizecg.publish import to_json, write_atomically

REFERENCE_FILE: Final = "reference.json"
SCALE_FROM: Final = "scale_from"
MOST_VALUES: Final = 1000
_DIGITS: Final = 6

NUMBERS: Final = tuple(name for name in ImageStatistics.model_fields if name != SCALE_FROM)
"""Measures of a picture that are numbers."""

Value = Annotated[float, Field(allow_inf_nan=False)]


class Values(BaseModel):
    """One measure of all pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[Value, ...] = Field(description="ascending")
    missing: int = Field(ge=0, description="how many pictures gave no number; thinned like the values")

    def array(self) -> NDArray[np.float64]:
        """(pictures,), NaN where there was no number."""
        return np.concatenate([np.asarray(self.values, dtype=np.float64), np.full(self.missing, np.nan)])


class Reference(BaseModel):
    """The pictures of one time, and what a model said of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    of: str = Field(description="which pictures, in words")
    pictures: int = Field(ge=1)
    rejected: int = Field(ge=0, description="of these, those that were no readable ECG")
    scale_from: dict[str, int] = Field(description="what the scale was read from -> pictures")
    images: dict[str, Values] = Field(description="measure -> values")
    probabilities: dict[str, Values] = Field(description="class -> calibrated probability, of those not rejected")


def describe(
    *, of: str, images: Sequence[ImageStatistics], rejected: int, probabilities: Mapping[str, ArrayLike]
) -> Reference:
    """Keep of pictures what others can be held against.

    Args:
        of: which pictures these are.
        images: what the intake measured of each, at least one.
        rejected: how many of them were no readable ECG.
        probabilities: class -> (pictures that were not rejected,).
    """
    return Reference(
        of=of,
        pictures=len(images),
        rejected=rejected,
        scale_from=dict(sorted(Counter(image.scale_from for image in images).items())),
        images={name: _thinned([getattr(image, name) for image in images]) for name in NUMBERS},
        probabilities={code: _thinned(np.asarray(said).tolist()) for code, said in probabilities.items()},
    )


def read_reference(path: Path) -> Reference | None:
    """Read what was kept; None where nothing was: bundles from before there was a reference have none.

    Raises:
        InputError: the file is none of this version.
    """
    try:
        return Reference.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "its content"
        raise InputError(f"{path} is no reference: {where}: {fault['msg'].lower()}; register the model again") from None


def write_reference(path: Path, reference: Reference) -> None:
    """Write it; equal content is equal bytes."""
    write_atomically(path, to_json(reference.model_dump(mode="json")))


def _thinned(values: Sequence[float | None]) -> Values:
    there = np.sort(np.asarray([value for value in values if value is not None], dtype=np.float64))
    share = min(1.0, MOST_VALUES / max(1, len(values)))
    kept = there
    if share < 1:  # evenly spaced ranks: the distribution stays, the size does not
        kept = there[np.linspace(0, len(there) - 1, round(share * len(there))).round().astype(int)]
    # Absolutely too: what is 0 but for rounding must not come out as two different numbers.
    rounded = tuple(round(float(f"{value:.{_DIGITS}g}"), _DIGITS) for value in kept.tolist())
    return Values(values=rounded, missing=round(share * (len(values) - len(there))))
