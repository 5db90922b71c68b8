"""The model as files: all that serving needs, and all that says what it may be used for.

| file | what it is |
|---|---|
| `contract.json` | what serving must match, see `Contract` |
| `model.onnx` | the network that is served |
| `model.safetensors` | its weights, with those that only training needs |
| `operating_point.json` | calibration, thresholds and abstain band, as evaluate wrote them |
| `goldens/` | bytes of pictures -> input of the model -> outputs |
| `model_card.md` | the same in words |
| `reference.json` | what pictures of today are held against, see `vizecg.reference`; older bundles have none |
| `manifest.json` | SHA-256 of every file; its own digest is the bundle's one name |

A bundle is compatible with the code of today when its goldens hold.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vizecg import intake, publish
from vizecg.errors import InputError
from vizecg.intake import CanonicalSpec
from vizecg.operating_point import OperatingPoint

if TYPE_CHECKING:
    from vizecg.predictor import Predictor

BUNDLE: Final = "bundle"
SCHEMA_VERSION: Final = 1
CONTRACT_FILE: Final = "contract.json"
ONNX_FILE: Final = "model.onnx"
WEIGHTS_FILE: Final = "model.safetensors"
OPERATING_POINT_FILE: Final = "operating_point.json"
MODEL_CARD_FILE: Final = "model_card.md"
GOLDENS_FILE: Final = "goldens/goldens.json"

Parsed = TypeVar("Parsed", bound=BaseModel)
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class GoldenMismatch(InputError):
    """The bundle does not answer today as it did when it was built."""


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class ClassEntry(_Schema):
    """One label."""

    code: str
    name: str


class ImageSize(_Schema):
    """The model's input, and how much paper it shows."""

    height_px: int = Field(gt=0)
    width_px: int = Field(gt=0)
    px_per_mm: float = Field(gt=0)
    field_mm: tuple[float, float] = Field(description="width, height")


class PaperScale(_Schema):
    """One way paper is printed."""

    mm_per_s: float = Field(gt=0)
    mm_per_mv: float = Field(gt=0)


class QualityLimits(_Schema):
    """What the intake refused when the bundle was built."""

    max_pixels: int = Field(gt=0)


class GoldenTolerance(_Schema):
    """How far today's answer may be from the golden one: another machine rounds differently."""

    gray_levels: float = Field(ge=0, description="mean absolute difference of the input, of 255")
    logits: float = Field(ge=0, description="of the stored input: the network alone")
    probabilities: float = Field(ge=0, description="of the bytes: intake, network and calibration")


class Headline(_Schema):
    """One score on the test fold with its 95 % interval."""

    macro_auroc: float | None
    low: float | None
    high: float | None
    records: int | None


class Inputs(_Schema):
    """Digests of what the bundle was made from."""

    model_run: Digest
    evaluation: Digest
    records: str | None
    pages: str | None


class Contract(_Schema):
    """What serving must match; the owner of it, never params.yaml."""

    schema_version: Literal[1]
    model_name: str
    # Bundles from before there were others say nothing.
    task: str = Field(default="superdiagnostic", description="what the classes are the classes of")
    classes: tuple[ClassEntry, ...] = Field(min_length=1)
    image: ImageSize
    paper_scales: tuple[PaperScale, ...]
    operating_point: OperatingPoint
    quality_limits: QualityLimits
    tolerance: GoldenTolerance
    intended_use: str
    simulated: bool
    scores: Headline
    inputs: Inputs
    packages: dict[str, str]

    @property
    def spec(self) -> CanonicalSpec:
        """What the intake is to make of a picture."""
        return CanonicalSpec(
            height_px=self.image.height_px, width_px=self.image.width_px, px_per_mm=self.image.px_per_mm
        )


class GoldenEntry(_Schema):
    """One page and what it gave when the bundle was built. Files lie beside `goldens.json`."""

    image: str = Field(pattern=r"^[a-z0-9-]+\.png$")
    canonical: str = Field(pattern=r"^[a-z0-9-]+\.npy$")
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]


class Goldens(_Schema):
    """All of them; a bundle without any proves nothing."""

    pages: tuple[GoldenEntry, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One golden, read."""

    name: str
    data: bytes
    canonical: NDArray[np.uint8]
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def read(folder: Path) -> tuple[str, Contract]:
    """Verify a bundle and read what it promises.

    Returns:
        Its digest, and its contract.

    Raises:
        InputError: a file is missing, extra or damaged, or the contract is not one of this version.
    """
    digest = publish.verify(folder, kind=BUNDLE, schema_version=SCHEMA_VERSION).digest
    contract = _parse(Contract, folder / CONTRACT_FILE)
    codes = tuple(entry.code for entry in contract.classes)
    if tuple(contract.operating_point.classes) != codes:
        raise InputError(
            f"{folder / CONTRACT_FILE}: the operating point is for {list(contract.operating_point.classes)}, "
            f"the model for {list(codes)}; register the model again"
        )
    return digest, contract


def read_goldens(folder: Path) -> list[Golden]:
    """Read the goldens of a verified bundle.

    Raises:
        InputError: they are not as this version writes them.
    """
    place = (folder / GOLDENS_FILE).parent
    return [
        Golden(
            name=entry.image.removesuffix(".png"),
            data=_bytes(place / entry.image),
            canonical=_array(place / entry.canonical),
            logits=np.array(entry.logits),
            probabilities=np.array(entry.probabilities),
        )
        for entry in _parse(Goldens, folder / GOLDENS_FILE).pages
    ]


def check_goldens(predictor: "Predictor", *, folder: Path) -> None:
    """Hold today's code and this model to what the bundle gave when it was built.

    Raises:
        GoldenMismatch: the sentence says which golden, and whether the intake,
            the network or the calibration is off.
    """
    tolerance = read(folder)[1].tolerance
    for golden in read_goldens(folder):
        canonical = intake.normalise(intake.open_upload(golden.data), spec=predictor.model.spec).canonical
        _check_golden(golden, canonical, predictor=predictor, tolerance=tolerance, folder=folder)


def _check_golden(
    golden: Golden, canonical: NDArray[np.uint8], *, predictor: "Predictor", tolerance: GoldenTolerance, folder: Path
) -> None:
    def refuse(what: str, worst: float, allowed: float) -> None:
        if not worst <= allowed:  # NaN is no agreement
            raise GoldenMismatch(
                f"{golden.name} of {folder}: {what} by {worst:.4g}, allowed {allowed:g}; "
                "this bundle does not fit today's code or machine, register the model again"
            )

    same_shape = canonical.shape == golden.canonical.shape
    gray = _mean_difference(canonical, golden.canonical) if same_shape else float("inf")
    refuse("the intake's picture differs", gray, tolerance.gray_levels)
    stored = predictor.model.logits(golden.canonical[np.newaxis])[0]
    refuse("the network's logits differ", _worst(stored, golden.logits), tolerance.logits)
    logits = predictor.model.logits(canonical[np.newaxis])
    probabilities = predictor.operating_point.probabilities(logits)[0]
    refuse("the probabilities differ", _worst(probabilities, golden.probabilities), tolerance.probabilities)


def _worst(got: NDArray[np.floating[Any]], expected: NDArray[np.float64]) -> float:
    return float(np.abs(got - expected).max()) if got.shape == expected.shape else float("inf")


def _mean_difference(got: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    return float(np.abs(got.astype(np.int16) - expected).mean())


def _parse(schema: type[Parsed], path: Path) -> Parsed:
    try:
        return schema.model_validate_json(_bytes(path))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "its content"
        raise InputError(f"{path}: {where}: {fault['msg'].lower()}; register the model again") from None


def _array(path: Path) -> NDArray[np.uint8]:
    try:
        array: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        raise InputError(f"{path} is not an array; register the model again") from None
    if array.dtype != np.uint8 or array.ndim != 2:
        raise InputError(f"{path} holds {array.dtype} {array.shape}, expected uint8 (height, width)")
    return array


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is not there; register the model again") from None
