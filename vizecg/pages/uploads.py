"""The file of a page, as an application would send it: drawn from a signal, or the paper a record came on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg import camera, intake
from vizecg.errors import InputError
from vizecg.intake import CanonicalSpec
from vizecg.page import DRAWN, STANDARD, STYLES, PrintedText, Style, draw_page, draw_style, draw_text, encode_png
from vizecg.page.layout import PlacedStrip

if TYPE_CHECKING:
    from vizecg.records import RecordSet

NO_CAMERA: Final = "clean"
ON_PAPER: Final = "paper"
"""Style of a page that was not drawn."""

# One purpose of randomness, one stream: another purpose for the same record takes another number.
_CAMERA_STREAM: Final = 1
_STYLE_STREAM: Final = 2
_TEXT_STREAM: Final = 3
_LONGEST_FOR_CAMERA_PX: Final = 3508  # A4 at 300 dpi


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRecipe:
    """How uploads are drawn.

    `style` is a page style's name, or `drawn`: copy 0 is then the standard page, which makes
    scores comparable over the years, and every other copy a style of its own.
    `camera` is the preset of every copy but the first, or `drawn` for one of its own each.
    """

    style: str
    camera: str
    copies: int
    upload_px_per_mm: float
    seed: int
    spec: CanonicalSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A page as the bytes of a file, and what is known about it; of paper, neither scales nor strips are."""

    data: bytes
    style: str
    camera: str
    mm_per_s: float | None = None
    mm_per_mv: float | None = None
    px_per_mm: float | None = None
    strips: tuple[PlacedStrip, ...] = ()
    homography: NDArray[np.float64] | None = None
    """(3, 3) from pixels of the drawn page to pixels of the file; a curl bends the sheet beyond it."""


def upload_of(record_set: "RecordSet", row: int, *, copy: int, recipe: PageRecipe) -> Upload:
    """Make the file of one copy of one record: drawn from its signal, or the paper it came on."""
    return make_upload(
        signal_mv=record_set.signal_mv(row) if record_set.has_signal[row] else None,
        paper=record_set.upload(row),
        sampling_hz=record_set.sampling_hz,
        ecg_id=int(record_set.table["ecg_id"].iloc[row]),
        copy=copy,
        recipe=recipe,
    )


def make_upload(
    *,
    signal_mv: NDArray[np.floating[Any]] | None,
    paper: bytes | None,
    sampling_hz: float,
    ecg_id: int,
    copy: int,
    recipe: PageRecipe,
) -> Upload:
    """Draw a record, or take the paper of one that has no signal; see `draw_upload` and `photograph_paper`."""
    if signal_mv is not None:
        return draw_upload(signal_mv, sampling_hz=sampling_hz, ecg_id=ecg_id, copy=copy, recipe=recipe)
    if paper is None:
        raise ValueError(f"record {ecg_id} has neither a signal nor a page")
    return photograph_paper(paper, ecg_id=ecg_id, copy=copy, recipe=recipe)


def make_unlettered_upload(
    *,
    signal_mv: NDArray[np.floating[Any]] | None,
    paper: bytes | None,
    **how: Any,  # noqa: ANN401 (as `make_upload` has it)
) -> Upload:
    """The page that `make_upload` draws, without the text around its chart; lead names and pulse stay."""
    if signal_mv is None:
        return make_upload(signal_mv=None, paper=paper, **how)
    return draw_upload(signal_mv, lettered=False, **how)


def photograph_paper(paper: bytes, *, ecg_id: int, copy: int, recipe: PageRecipe) -> Upload:
    """Take the page a record came on: copy 0 byte for byte, another copy through the camera.

    Args:
        paper: PNG or JPEG file.
        ecg_id: as in `draw_upload`.
        copy: as in `draw_upload`.
        recipe: as in `draw_upload`; its style is not looked at.

    Raises:
        InputError: for a copy above 0, it is no picture.
    """
    preset = NO_CAMERA if copy == 0 else recipe.camera
    if preset == NO_CAMERA:
        return Upload(data=paper, style=ON_PAPER, camera=NO_CAMERA)
    with _named(ecg_id):
        rgb = _for_camera(intake.decode(paper))
    shot = camera.shoot(rgb, preset=preset, rng=camera_rng(recipe, ecg_id=ecg_id, copy=copy))
    return Upload(data=camera.encode(shot), style=ON_PAPER, camera=shot.preset)


def draw_upload(
    signal_mv: NDArray[np.floating[Any]],
    *,
    sampling_hz: float,
    ecg_id: int,
    copy: int,
    recipe: PageRecipe,
    lettered: bool = True,
) -> Upload:
    """Draw one copy of one record and make a file of it: PNG without camera, JPEG through one.

    Args:
        signal_mv: (12, samples), leads in the order of `vizecg.labels.LEADS`.
        sampling_hz: samples per second.
        ecg_id: with `recipe.seed` and `copy` all that chance depends on.
        copy: 0 is the page as printed, without a camera.
        recipe: how to draw.
        lettered: with header and footer, where the style has them.
    """
    style, text = style_of(recipe, ecg_id=ecg_id, copy=copy)
    # Of a reduced print, a millimetre of the grid takes fewer pixels: the file's resolution is that of its paper.
    px_per_mm = recipe.upload_px_per_mm * style.reduction
    page = draw_page(
        signal_mv, sampling_hz=sampling_hz, style=style, px_per_mm=px_per_mm, text=text if lettered else None
    )
    rng = camera_rng(recipe, ecg_id=ecg_id, copy=copy)
    preset = NO_CAMERA if copy == 0 else recipe.camera
    data, homography = encode_png(page), np.eye(3)
    if preset != NO_CAMERA:
        shot = camera.shoot(page.rgb, preset=preset, rng=rng, px_per_mm=recipe.upload_px_per_mm)
        data, homography, preset = camera.encode(shot), shot.homography, shot.preset
    return Upload(
        data=data,
        style=style.name,
        camera=preset,
        mm_per_s=page.mm_per_s,
        mm_per_mv=page.mm_per_mv,
        px_per_mm=page.px_per_mm,
        strips=page.strips,
        homography=homography,
    )


def opened(data: bytes, *, ecg_id: int) -> intake.Picture:
    """Unpack a file of a page as the service does.

    Raises:
        InputError: it is no picture; the message names the record.
    """
    with _named(ecg_id):
        return intake.open_upload(data)


@contextmanager
def _named(ecg_id: int) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"the page of record {ecg_id} cannot be read: {error}; run ingest again") from None


def _for_camera(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB, and no larger than paper at 300 dpi: a camera on 50 megapixels takes a gigabyte and shows no more."""
    factor = _LONGEST_FOR_CAMERA_PX / max(picture.shape[:2])
    if factor < 1:
        size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return picture if picture.ndim == 3 else np.repeat(picture[:, :, np.newaxis], 3, axis=2)


def style_of(recipe: PageRecipe, *, ecg_id: int, copy: int) -> tuple[Style, PrintedText]:
    """Style of one copy of one record, and the text around its chart; chance depends on nothing else."""
    if recipe.style != DRAWN:
        style = STYLES[recipe.style]
    elif copy == 0:
        style = STANDARD
    else:
        style = draw_style(_rng(recipe, _STYLE_STREAM, ecg_id=ecg_id, copy=copy))
    return style, draw_text(style, rng=_rng(recipe, _TEXT_STREAM, ecg_id=ecg_id, copy=copy))


def camera_rng(recipe: PageRecipe, *, ecg_id: int, copy: int) -> np.random.Generator:
    """All chance of one copy's way through the camera."""
    return _rng(recipe, _CAMERA_STREAM, ecg_id=ecg_id, copy=copy)


def _rng(recipe: PageRecipe, stream: int, *, ecg_id: int, copy: int) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, stream, ecg_id, copy])
