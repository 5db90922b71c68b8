"""Any picture of a page -> the field that the model sees, at the model's scale, in even light and without grid.

One millimetre of paper becomes the same number of pixels whatever the upload's
resolution, angle and direction, and ink the same darkness whatever its printer;
training pages and served pictures both pass through here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.intake.files import DEFAULT_LIMITS, DecodeLimits, Picture, Pixels, open_picture
from vizecg.intake.findings import Finding, findings_of, several_pages, too_small
from vizecg.intake.geometry import (
    Homography,
    applied,
    inverse,
    local_scale,
    local_turn_deg,
    quarter_turning,
    rectifying,
    scaling,
    shifting,
    warped,
)
from vizecg.intake.glare import glare_share
from vizecg.intake.grid import A4_MM, GridReading, extent_px_per_mm, read_grid
from vizecg.intake.ink import Ink, percentile, read_ink, split
from vizecg.intake.paper import Paper, find_paper
from vizecg.intake.pulse import PULSE_PX_PER_MM, PulseReading, scale_by_pulses
from vizecg.intake.skew import read_skew_deg
from vizecg.intake.traces import TraceReading, read_traces
from vizecg.intake.upright import find_upright, possible_turns

# Paper and grid are measured at this scale or up to the larger one: a grid line of 0.1–0.3 mm is still a pixel, and a
# large upload no burden. Whole numbers of pixels are averaged fastest, so most uploads end between the two.
_WORKING_PX_PER_MM, _MOST_PX_PER_MM = 3.75, 5.6
# A JPEG is unpacked at this scale or more; what was smoothed by the cosine transform bears less reduction.
_UNPACKED_PX_PER_MM: Final = 4.4
# Ink is read at this scale or a little more: a pen of 0.3 mm is still a pixel.
_INK_PX_PER_MM: Final = 2.9
_RIM_MM: Final = 5.0
_FEWEST_PX: Final = 16
# A grid's pitch is measured at this scale or less, once the paper was found: a square of 1 mm has three pixels.
_FLAT_PX_PER_MM: Final = 3.4
_LARGEST_PAGE_MM: Final = 420.0
_LETTER_MM: Final = (279.4, 215.9)
# Canonical darkness of dense ink. Less than 255 leaves room for strokes that cross.
_DENSE_INK: Final = 200.0
_DENSE_PERCENTILE: Final = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalSpec:
    """The model's input: a field of paper about the middle of the chart, at one scale on both axes."""

    height_px: int = 288
    width_px: int = 384
    px_per_mm: float = 1.5
    grid: Literal["removed", "kept"] = "removed"

    def __post_init__(self) -> None:
        for name in ("height_px", "width_px", "px_per_mm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"CanonicalSpec.{name} must be above 0, got {getattr(self, name)!r}")
        if self.grid not in {"removed", "kept"}:
            raise ValueError(f"CanonicalSpec.grid must be 'removed' or 'kept', got {self.grid!r}")

    @property
    def field_mm(self) -> tuple[float, float]:
        """Width and height on paper."""
        return (self.width_px / self.px_per_mm, self.height_px / self.px_per_mm)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intake:
    """A picture as the model sees it, and what was found on the way."""

    canonical: NDArray[np.uint8]
    """(height, width) of the spec; ink is dark, everything else white."""

    findings: tuple[Finding, ...]
    px_per_mm: float
    """Scale of the picture as uploaded, in its grid's millimetres, at the chart's middle."""

    scale_from: Literal["grid", "pulse", "paper", "picture"]
    """What the scale was read from; `picture` took it for an A4 page from edge to edge."""

    rotation_deg: float
    """Anticlockwise turn of the page in the picture, undone; from -180 to 180."""

    corners_px: NDArray[np.float64] | None
    """(4, 2) the paper's corners in the upload, clockwise from the page's own top left; None: it fills the picture."""

    homography: Homography
    """(3, 3) from pixels of the upload to pixels of `canonical`."""

    mm_per_mv: float | None
    """By the calibration pulses; of the limb leads, where the chest has its own. None where there are none."""

    chest_mm_per_mv: float | None
    mm_per_s: float | None
    light: float
    """Brightness of the paper, 0–1."""

    evenness: float
    """The darkest place of the paper over its brightest."""

    edge_mm: float
    """How far it is from paper to ink at a sharp edge."""

    contrast: int
    ink_share: float
    trace_columns_share: float

    @property
    def is_ecg(self) -> bool:
        """Whether it may be shown to a model."""
        return not any(finding.severity == "reject" for finding in self.findings)

    @property
    def scale_assumed(self) -> bool:
        """No grid was measured."""
        return self.scale_from != "grid"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Flat:
    """The sheet seen from straight above, as far as its edges tell."""

    darkest: NDArray[np.uint8]
    """(height, width) the channel that shows the grid."""

    working: NDArray[np.uint8]
    """The channel that shows the ink, as it lies in the picture: a page is read from it in one step."""

    to_working: Homography
    paper: Paper | None

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.darkest.shape
        return width, height


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Page:
    """The sheet at a known scale, with the way back."""

    lightest: NDArray[np.uint8]
    to_flat: Homography
    grid: GridReading


def open_upload(data: bytes, *, limits: DecodeLimits = DEFAULT_LIMITS) -> Picture:
    """Unpack an upload as finely as `normalise` looks at it: it makes the same of this as of all pixels of the file.

    Raises:
        UnreadableImage, UnsupportedImage, ImageTooLarge: as `decode`.
    """
    long_px, short_px = (math.ceil(side_mm * _UNPACKED_PX_PER_MM) for side_mm in A4_MM)
    picture = open_picture(data, limits=limits, enough_px=(long_px, short_px))
    return picture if _is_too_narrow(*picture.upload_px) else replace(picture, pixels=_shrunk(picture.pixels))


def normalise(image: Pixels | Picture, *, spec: CanonicalSpec) -> Intake:
    """Find the page in a picture, measure it, and cut out the field that the model sees.

    Args:
        image: (height, width) gray or (height, width, 3) RGB, or what `open_upload` unpacked.
        spec: size and scale of the field.

    Raises:
        ValueError: the image has another shape or is not uint8.
    """
    picture = image if isinstance(image, Picture) else Picture.of(image)
    pixels, (upload_width, upload_height) = picture.pixels, picture.upload_px
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(
            f"image must be (height, width) or (height, width, 3) uint8, got {pixels.shape} {pixels.dtype}"
        )
    if _is_too_narrow(upload_width, upload_height):
        sides_px = sorted((upload_width, upload_height), reverse=True)
        return _unusable(spec, px_per_mm=min(px / mm for px, mm in zip(sides_px, A4_MM, strict=True)))
    working = _shrunk(pixels)
    factors = (working.shape[1] / upload_width, working.shape[0] / upload_height)
    flat = _flattened(working)
    scale = spec.px_per_mm * _supersampling(spec)
    page, scale_from = _measured(flat, px_per_mm=scale)
    ink = read_ink(page.lightest, px_per_mm=scale)
    upright = find_upright(_reduced(ink.drawn, factor=PULSE_PX_PER_MM / scale))
    turns = upright.quarter_turns
    drawn = np.ascontiguousarray(np.rot90(ink.drawn, turns))
    if flat.paper is not None:
        _clear_rim(drawn, px_per_mm=scale)
    traces = read_traces(drawn, contrast=ink.contrast, px_per_mm=scale, field_mm=spec.field_mm)
    height, width = page.lightest.shape
    field = _field_in(drawn.shape, traces=traces, spec=spec)
    # Field -> upright page -> page -> flat -> working -> upload.
    to_upload = (
        scaling(1 / factors[0], 1 / factors[1])
        @ flat.to_working
        @ page.to_flat
        @ inverse(quarter_turning(turns, width=width, height=height))
        @ field
        @ scaling(_supersampling(spec), _supersampling(spec))
    )
    middle = np.array([(spec.width_px - 1) / 2, (spec.height_px - 1) / 2])
    px_per_mm = spec.px_per_mm * local_scale(to_upload, middle)
    shown = drawn if spec.grid == "removed" else np.ascontiguousarray(np.rot90(_with_grid(ink), turns))
    cut_off = traces.cut_off or (flat.paper is not None and flat.paper.cut_off)
    glare = glare_share(flat.darkest, px_per_mm=math.sqrt(math.prod(page.grid.px_per_mm)))
    found = findings_of(ink, traces, glare=glare, px_per_mm=px_per_mm, scale_from=scale_from, cut_off=cut_off)
    return Intake(
        canonical=_canonical(shown, field=field, spec=spec),
        findings=(*found, *_about_pages(picture.pages)),
        px_per_mm=px_per_mm,
        scale_from=scale_from,
        rotation_deg=local_turn_deg(to_upload, middle),
        corners_px=_corners(flat, factors=factors, turns=turns),
        homography=inverse(to_upload),
        **_by_pulses(upright.pulses),
        light=ink.light,
        evenness=ink.evenness,
        edge_mm=ink.edge_mm,
        contrast=traces.contrast,
        ink_share=traces.ink_share,
        trace_columns_share=traces.trace_columns_share,
    )


def _clear_rim(drawn: NDArray[np.uint8], *, px_per_mm: float) -> None:
    """Take what stands at a sheet's very edge off, in place: where it curls, the table is seen there."""
    rim = round(_RIM_MM * px_per_mm)
    drawn[:rim] = drawn[-rim:] = 0
    drawn[:, :rim] = drawn[:, -rim:] = 0


def to_tensor(canonical: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(height, width) canonical -> (1, 1, height, width) model input: paper is 0, full ink is 1."""
    return ((255 - canonical).astype(np.float32) / np.float32(255))[None, None]


def _unusable(spec: CanonicalSpec, *, px_per_mm: float) -> Intake:
    return Intake(
        canonical=np.full((spec.height_px, spec.width_px), 255, np.uint8),
        findings=(too_small(px_per_mm),),
        px_per_mm=px_per_mm,
        scale_from="picture",
        rotation_deg=0.0,
        corners_px=None,
        homography=np.eye(3),
        **_by_pulses(None),
        light=0.0,
        evenness=0.0,
        edge_mm=0.0,
        contrast=0,
        ink_share=0.0,
        trace_columns_share=0.0,
    )


def _by_pulses(pulses: PulseReading | None) -> dict[str, float | None]:
    names = ("mm_per_mv", "chest_mm_per_mv", "mm_per_s")
    return {name: None if pulses is None else getattr(pulses, name) for name in names}


def _about_pages(number: int) -> Iterator[Finding]:
    if number > 1:
        yield several_pages(number)


def _is_too_narrow(width_px: int, height_px: int) -> bool:
    """Too few pixels across, of its own or once a long strip is reduced: no page lies in so narrow a picture."""
    reduction = max(1.0, extent_px_per_mm(height_px, width_px) / _WORKING_PX_PER_MM)
    return min(width_px, height_px) < _FEWEST_PX * reduction


def _shrunk(pixels: Pixels) -> Pixels:
    """Reduce to the working scale, by whole pixels where that will do: several times faster than by any rate.

    What has been reduced comes back as it is.
    """
    scale = extent_px_per_mm(*pixels.shape[:2])
    whole = max(1, int(scale / _WORKING_PX_PER_MM))
    height, width = pixels.shape[0] // whole, pixels.shape[1] // whole
    if whole > 1:
        top, left = pixels.shape[0] % whole // 2, pixels.shape[1] % whole // 2
        inner = pixels[top : top + height * whole, left : left + width * whole]
        pixels = np.asarray(cv2.resize(inner, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    rest = _WORKING_PX_PER_MM * whole / scale
    if scale / whole <= _MOST_PX_PER_MM:
        return pixels
    # Reading between pixels, as the resize below does, misses what a step of 1 / rest jumps over; this blur spreads it.
    spread = cv2.GaussianBlur(pixels, (3, 3), 0.5 * math.sqrt(1 / rest**2 - 1))
    size = (round(width * rest), round(height * rest))
    return np.asarray(cv2.resize(spread, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _supersampling(spec: CanonicalSpec) -> int:
    """Pixels of the page for one canonical pixel, along each axis."""
    return max(1, math.ceil(_INK_PX_PER_MM / spec.px_per_mm))


def _flattened(working: Pixels) -> _Flat:
    """Undo the view from the side, where the paper's edges show it."""
    channels = split(working)
    paper = find_paper(working, channels)
    if paper is None:
        return _Flat(darkest=channels.darkest, working=channels.lightest, to_working=np.eye(3), paper=None)
    to_flat, size = rectifying(paper.corners_px, longest_px=_FLAT_PX_PER_MM * A4_MM[0])
    to_working = inverse(to_flat)
    darkest = warped(channels.darkest, to_working, size=size, fill=255)
    return _Flat(darkest=darkest, working=channels.lightest, to_working=to_working, paper=paper)


def _measured(flat: _Flat, *, px_per_mm: float) -> tuple[_Page, Literal["grid", "pulse", "paper", "picture"]]:
    """Bring the sheet to one scale, by its grid, else by its pulses, else by its size."""
    grid = read_grid(flat.darkest, stretched=flat.paper is not None)
    if grid.clear:
        return _page(flat, grid, px_per_mm=px_per_mm), "grid"
    source: Literal["paper", "picture"] = "picture"
    if flat.paper is not None and not flat.paper.cut_off:
        grid, source = _of_paper_size(flat.size, grid), "paper"
    page = _page(flat, grid, px_per_mm=px_per_mm)
    turned = replace(grid, rotation_deg=read_skew_deg(_ink_for_pulses(page, px_per_mm=px_per_mm)))
    if turned.rotation_deg:
        page = _page(flat, turned, px_per_mm=px_per_mm)
    ink = _ink_for_pulses(page, px_per_mm=px_per_mm)
    factor = scale_by_pulses(ink, quarter_turns=possible_turns(ink))
    if factor is None:
        return page, source
    across, down = grid.px_per_mm
    return _page(flat, replace(turned, px_per_mm=(across * factor, down * factor)), px_per_mm=px_per_mm), "pulse"


def _ink_for_pulses(page: _Page, *, px_per_mm: float) -> NDArray[np.uint8]:
    return _reduced(read_ink(page.lightest, px_per_mm=px_per_mm).drawn, factor=PULSE_PX_PER_MM / px_per_mm)


def _of_paper_size(size: tuple[int, int], grid: GridReading) -> GridReading:
    """Scales by the sheet's size: of A4 and letter the one whose sides are more like it."""
    long, short = max(size), min(size)
    paper_mm = min((A4_MM, _LETTER_MM), key=lambda mm: abs(math.log(long / short) - math.log(mm[0] / mm[1])))
    scales = (long / paper_mm[0], short / paper_mm[1])
    across, down = scales if size[0] >= size[1] else scales[::-1]
    return GridReading(px_per_mm=(across, down), rotation_deg=0.0, clear=False, clearness=grid.clearness)


def _page(flat: _Flat, grid: GridReading, *, px_per_mm: float) -> _Page:
    """All of the sheet, upright but for quarter turns, at one scale."""
    across, down = grid.px_per_mm
    # Whole millimetres: a cell of the light is then a whole number of pixels, at most scales.
    width, height = (
        round(math.ceil(min(side / scale, _LARGEST_PAGE_MM)) * px_per_mm)
        for side, scale in zip(flat.size, (across, down), strict=True)
    )
    # An anticlockwise turn of the page, y downwards, takes (1, 0) to (cos, -sin).
    turn = np.deg2rad(grid.rotation_deg)
    rotation = np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1.0]])
    to_flat = (
        shifting((flat.size[0] - 1) / 2, (flat.size[1] - 1) / 2)
        @ np.diag([across / px_per_mm, down / px_per_mm, 1.0])
        @ rotation
        @ shifting(-(width - 1) / 2, -(height - 1) / 2)
    )
    fill = percentile(np.ascontiguousarray(flat.working[::8, ::8]), 50)
    lightest = warped(flat.working, flat.to_working @ to_flat, size=(width, height), fill=fill)
    return _Page(lightest=lightest, to_flat=to_flat, grid=grid)


def _reduced(ink: NDArray[np.uint8], *, factor: float) -> NDArray[np.uint8]:
    if factor == 1:
        return ink
    size = (max(1, round(ink.shape[1] * factor)), max(1, round(ink.shape[0] * factor)))
    # By area: reading between two pixels gives every third line half the weight, and a thin pen is lost there.
    return np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _field_in(shape: tuple[int, ...], *, traces: TraceReading, spec: CanonicalSpec) -> Homography:
    """From pixels of the field, at the page's scale, to those of the upright page: about the chart's middle."""
    scale = _supersampling(spec)
    width, height = spec.width_px * scale, spec.height_px * scale
    middle = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    if traces.middle_px is not None:
        middle = traces.middle_px
    # Whole pixels: nothing is read between them.
    return shifting(round(middle[0] - (width - 1) / 2), round(middle[1] - (height - 1) / 2))


def _with_grid(ink: Ink) -> NDArray[np.uint8]:
    levels = np.clip(np.arange(256) * (255 / max(ink.contrast, 1)), 0, 255)
    return np.asarray(cv2.LUT(ink.darkness, np.rint(levels).astype(np.uint8)), dtype=np.uint8)


def _canonical(ink: NDArray[np.uint8], *, field: Homography, spec: CanonicalSpec) -> NDArray[np.uint8]:
    """Cut the field out and reduce it by area; dense ink gets one darkness, so that pen and printer do not matter."""
    scale = _supersampling(spec)
    left, top = round(field[0, 2]), round(field[1, 2])
    width, height = spec.width_px * scale, spec.height_px * scale
    cut = np.zeros((height, width), np.uint8)
    inner = ink[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
    cut[max(0, -top) :, max(0, -left) :][: inner.shape[0], : inner.shape[1]] = inner
    reduced = np.asarray(cv2.resize(cut, (spec.width_px, spec.height_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    dense = percentile(reduced, _DENSE_PERCENTILE, where=np.asarray(reduced > 20, dtype=np.uint8))
    gain = _DENSE_INK / dense if dense > 0 else 1.0
    darkness = np.clip(np.rint(np.arange(256) * gain), 0, 255)
    return np.asarray(cv2.LUT(reduced, (255 - darkness).astype(np.uint8)), dtype=np.uint8)


def _corners(flat: _Flat, *, factors: tuple[float, float], turns: int) -> NDArray[np.float64] | None:
    """The paper's corners in the upload, from the page's own top left on."""
    if flat.paper is None:
        return None
    corners = applied(scaling(1 / factors[0], 1 / factors[1]), flat.paper.corners_px)
    # A picture that must be turned anticlockwise by a quarter has the page's top left at its top right.
    return np.asarray(np.roll(corners, -turns, axis=0), dtype=np.float64)
