"""Any picture of a page -> the field that the model sees, at the model's scale, in even light and without grid.

One millimetre of paper becomes the same number of pixels whatever the upload's
resolution, and ink the same darkness whatever its printer; training pages and
served pictures both pass through here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.intake.files import Pixels
from vizecg.intake.grid import GridReading, extent_px_per_mm, read_grid
from vizecg.intake.traces import TraceReading, read_traces

# Measured and cleaned at this scale: a grid line of 0.1–0.3 mm is still a pixel, and a large upload no burden.
_WORKING_PX_PER_MM = 5.0
_NOT_WORTH_SHRINKING = 0.9
_MIN_PX_PER_MM = 1.0

# The light is taken from cells of 1 mm; the brightest within 9 mm is paper, whatever is drawn there.
_PAPER_WITHIN_MM = 9
_INK_PERCENTILE = 99.7
_GRID_PERCENTILE = 99.0
_NEAR_INK_MM = 1.2
# Canonical darkness of dense ink. Less than 255 leaves room for strokes that cross.
_DENSE_INK = 200.0
_DENSE_PERCENTILE = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalSpec:
    """The model's input: a field of paper about the middle of the page, at one scale on both axes."""

    height_px: int = 288
    width_px: int = 384
    px_per_mm: float = 1.5

    def __post_init__(self) -> None:
        for name in ("height_px", "width_px", "px_per_mm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"CanonicalSpec.{name} must be above 0, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something noticed about a picture: `reject` means that no model should answer for it."""

    code: Literal["not_an_ecg", "too_small", "no_grid"]
    severity: Literal["reject", "warning"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intake:
    """A picture as the model sees it, and what was found on the way."""

    canonical: NDArray[np.uint8]
    """(height, width) of the spec; ink is dark, everything else white."""

    findings: tuple[Finding, ...]
    px_per_mm: float
    """Scale of the picture as uploaded."""

    scale_assumed: bool
    """No grid was measured: the picture was taken for an A4 page from edge to edge."""

    rotation_deg: float
    """Anticlockwise turn of the page in the picture, undone."""

    contrast: int
    ink_share: float
    trace_columns_share: float

    @property
    def is_ecg(self) -> bool:
        """Whether it may be shown to a model."""
        return not any(finding.severity == "reject" for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Channels:
    """A picture in its lightest and darkest channel.

    Every printed grid but a black one is bright in some channel (pink and orange
    in red, blue in blue), so the lightest shows ink and the darkest shows the grid.
    """

    lightest: NDArray[np.uint8]
    darkest: NDArray[np.uint8]


def normalise(image: Pixels, *, spec: CanonicalSpec) -> Intake:
    """Measure the page in a picture and cut out the field that the model sees.

    The page is expected upright within three degrees and to fill the picture.

    Args:
        image: (height, width) gray or (height, width, 3) RGB.
        spec: size and scale of the field.

    Raises:
        ValueError: the image has another shape or is not uint8.
    """
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise ValueError(f"image must be (height, width) or (height, width, 3) uint8, got {image.shape} {image.dtype}")
    extent = extent_px_per_mm(*image.shape[:2])
    if min(image.shape[:2]) < 16:
        return _unusable(spec, px_per_mm=extent)
    working = _shrunk(image, factor=min(1.0, _WORKING_PX_PER_MM / extent))
    channels = _split(working)
    grid = read_grid(channels.darkest)
    scale = _supersampling(spec)
    field = _field(channels.lightest, grid=grid, spec=spec, scale=scale)
    ink, contrast = _ink(field, px_per_mm=spec.px_per_mm * scale)
    traces = read_traces(ink, contrast=contrast, px_per_mm=spec.px_per_mm * scale)
    px_per_mm = grid.px_per_mm * extent / extent_px_per_mm(*working.shape[:2])
    return Intake(
        canonical=_canonical(ink, spec=spec),
        findings=tuple(_findings(grid, traces, px_per_mm=px_per_mm)),
        px_per_mm=px_per_mm,
        scale_assumed=not grid.clear,
        rotation_deg=grid.rotation_deg,
        contrast=traces.contrast,
        ink_share=traces.ink_share,
        trace_columns_share=traces.trace_columns_share,
    )


def to_tensor(canonical: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(height, width) canonical -> (1, 1, height, width) model input: paper is 0, full ink is 1."""
    return ((255 - canonical).astype(np.float32) / np.float32(255))[None, None]


def _unusable(spec: CanonicalSpec, *, px_per_mm: float) -> Intake:
    return Intake(
        canonical=np.full((spec.height_px, spec.width_px), 255, np.uint8),
        findings=(_too_small(px_per_mm),),
        px_per_mm=px_per_mm,
        scale_assumed=True,
        rotation_deg=0.0,
        contrast=0,
        ink_share=0.0,
        trace_columns_share=0.0,
    )


def _too_small(px_per_mm: float) -> Finding:
    return Finding(
        code="too_small",
        severity="reject",
        message=f"the picture has {px_per_mm:.2f} pixels a millimetre of paper; "
        f"traces can be read from {_MIN_PX_PER_MM:g} upwards, well from 4: scan it at 100 dpi or more",
    )


def _findings(grid: GridReading, traces: TraceReading, *, px_per_mm: float) -> Iterator[Finding]:
    if px_per_mm < _MIN_PX_PER_MM:
        yield _too_small(px_per_mm)
    if traces.objection is not None:
        message = f"this does not look like a page of ECG traces: {traces.objection}"
        yield Finding(code="not_an_ecg", severity="reject", message=message)
    if not grid.clear:
        message = "no grid could be measured; the picture was taken for an A4 page from edge to edge"
        yield Finding(code="no_grid", severity="warning", message=message)


def _shrunk(image: Pixels, *, factor: float) -> Pixels:
    """Reduce to `factor`, first by whole pixels and then by the rest: several times faster than by area at once."""
    whole = int(1 / factor)
    height, width = image.shape[0] // whole, image.shape[1] // whole
    if whole > 1:
        top, left = image.shape[0] % whole // 2, image.shape[1] % whole // 2
        inner = image[top : top + height * whole, left : left + width * whole]
        image = np.asarray(cv2.resize(inner, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    rest = factor * whole
    if rest > _NOT_WORTH_SHRINKING:
        return image
    # Reading between pixels, as the resize below does, misses what a step of 1 / rest jumps over; this blur spreads it.
    spread = cv2.GaussianBlur(image, (3, 3), 0.5 * math.sqrt(1 / rest**2 - 1))
    size = (round(width * rest), round(height * rest))
    return np.asarray(cv2.resize(spread, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _split(image: Pixels) -> _Channels:
    if image.ndim == 2:
        return _Channels(lightest=image, darkest=image)
    red, green, blue = cv2.split(image)
    return _Channels(
        lightest=np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.uint8),
        darkest=np.asarray(cv2.min(cv2.min(red, green), blue), dtype=np.uint8),
    )


def _supersampling(spec: CanonicalSpec) -> int:
    """Pixels of the field for one canonical pixel: about the working scale, so that nothing is lost on the way."""
    return max(1, round(_WORKING_PX_PER_MM * 0.9 / spec.px_per_mm))


def _field(lightest: NDArray[np.uint8], *, grid: GridReading, spec: CanonicalSpec, scale: int) -> NDArray[np.uint8]:
    """Cut the field out of the picture's middle, upright, `scale` times as large as the spec."""
    width, height = spec.width_px * scale, spec.height_px * scale
    step = grid.px_per_mm / (spec.px_per_mm * scale)
    # An anticlockwise turn of the page, y downwards, takes (1, 0) to (cos, -sin).
    turn = np.deg2rad(grid.rotation_deg)
    linear = step * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    middle_of_picture = (np.array(lightest.shape[::-1]) - 1) / 2
    middle_of_field = (np.array([width, height]) - 1) / 2
    shift = middle_of_picture - linear @ middle_of_field
    cut = cv2.warpAffine(
        lightest,
        np.column_stack([linear, shift]),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=float(np.median(lightest[::8, ::8])),
    )
    return np.asarray(cut, dtype=np.uint8)


def _ink(field: NDArray[np.uint8], *, px_per_mm: float) -> tuple[NDArray[np.uint8], int]:
    """Coverage by ink, 0–255, and the contrast it had: light evened out, grid and grain cut off.

    The grid's darkness is measured on this very picture, away from ink: in a
    coloured upload hardly any is left, in a gray one it is most of the paper.
    """
    height, width = field.shape
    cells = cv2.resize(field, (round(width / px_per_mm), round(height / px_per_mm)), interpolation=cv2.INTER_AREA)
    paper = cv2.dilate(cells, np.ones((_PAPER_WITHIN_MM, _PAPER_WITHIN_MM), np.uint8))
    paper = cv2.GaussianBlur(paper, (0, 0), _PAPER_WITHIN_MM / 2)
    lit = cv2.divide(field, cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR), scale=255)
    darkness = 255 - np.asarray(lit, dtype=np.uint8)
    contrast = _percentile(darkness, _INK_PERCENTILE)
    near_px = round(_NEAR_INK_MM * px_per_mm) | 1
    near_ink = cv2.dilate(np.asarray(darkness > contrast // 2, dtype=np.uint8), np.ones((near_px, near_px), np.uint8))
    grid = _percentile(darkness, _GRID_PERCENTILE, where=np.asarray(near_ink == 0, dtype=np.uint8))
    levels = np.clip((np.arange(256) - grid) * (255 / max(contrast - grid, 1)), 0, 255)
    return np.asarray(cv2.LUT(darkness, np.rint(levels).astype(np.uint8)), dtype=np.uint8), contrast


def _percentile(values: NDArray[np.uint8], percent: float, *, where: NDArray[np.uint8] | None = None) -> int:
    """Smallest level that `percent` of the values (those where the mask is set) do not exceed; 0 where none are."""
    counts = np.cumsum(cv2.calcHist([values], [0], where, [256], [0, 256]))
    return int(np.searchsorted(counts, counts[-1] * percent / 100)) if counts[-1] > 0 else 0


def _canonical(ink: NDArray[np.uint8], *, spec: CanonicalSpec) -> NDArray[np.uint8]:
    """Reduce to the spec's size by area; dense ink gets one darkness, so that pen and printer do not matter."""
    reduced = np.asarray(cv2.resize(ink, (spec.width_px, spec.height_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    dense = _percentile(reduced, _DENSE_PERCENTILE, where=np.asarray(reduced > 20, dtype=np.uint8))
    gain = _DENSE_INK / dense if dense > 0 else 1.0
    darkness = np.clip(np.rint(np.arange(256) * gain), 0, 255)
    return np.asarray(cv2.LUT(reduced, (255 - darkness).astype(np.uint8)), dtype=np.uint8)
