"""One record -> one file of a page, for people and for asking the service."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vizecg import camera
from vizecg.errors import InputError
from vizecg.page import (
    DRAWN,
    STYLES,
    Page,
    PrintedText,
    Style,
    draw_page,
    draw_style,
    draw_text,
    encode_jpeg,
    encode_png,
)
from vizecg.page.pdf import pdf_of_jpeg, pdf_of_png
from vizecg.page.scale import MM_PER_INCH
from vizecg.publish import write_atomically

DOTS_PER_INCH: Final = 200.0
JPEG_QUALITY: Final = 92
ENDINGS: Final = (".png", ".jpg", ".jpeg", ".pdf")

# One purpose of randomness, one stream, as for the pages of a page set.
_CAMERA_STREAM: Final = 1
_STYLE_STREAM: Final = 2
_TEXT_STREAM: Final = 3
_JFIF_DENSITY_AT: Final = 13
_PER_INCH: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Printing:
    """How one page is printed. Refuses, as `InputError`, a style or a camera that there is not."""

    style: str = "standard"
    """A page style's name, or `drawn` for one by chance."""

    dots_per_inch: float = DOTS_PER_INCH
    """Of the page as printed on its paper."""

    text: bool = False
    """Whether made-up text stands around the chart, as machines print it; it says nothing about the record."""

    preset: str | None = None
    """Camera preset by which a picture of the page is taken; None is the page itself."""

    seed: int = 0
    """All that chance depends on: the drawn style, the text, the camera."""

    def __post_init__(self) -> None:
        if self.style not in STYLES and self.style != DRAWN:
            raise InputError(f"there is no page style {self.style!r}; known: {sorted([*STYLES, DRAWN])}")
        if self.preset is not None and self.preset not in photo_presets():
            raise InputError(f"there is no camera preset {self.preset!r}; known: {list(photo_presets())}")


def photo_presets() -> tuple[str, ...]:
    """Names of the camera presets that change the page."""
    return tuple(name for name, preset in camera.PRESETS.items() if preset.jpeg_quality is not None)


def draw_record(record: Path, out: Path, *, printing: Printing) -> None:
    """Draw a WFDB record of twelve leads.

    Args:
        record: path of the record, with or without `.hea`.
        out: file to write; its ending says PNG, JPEG or PDF.
        printing: how.

    Raises:
        InputError: no such format; the record cannot be read or is none of twelve leads.
    """
    from vizecg.recordings.single import read_wfdb

    _check_ending(out)
    read = read_wfdb(record)
    draw_signal(read.signal_mv, out, sampling_hz=read.sampling_hz, printing=printing)


def draw_signal(
    signal_mv: NDArray[np.floating[Any]], out: Path, *, sampling_hz: float, printing: Printing | None = None
) -> None:
    """Draw twelve leads, (12, samples) in the order of `vizecg.labels.LEADS`, as a PNG, JPEG or PDF.

    Raises:
        InputError: no such format.
    """
    _check_ending(out)
    printing = printing or Printing()
    style = _style_of(printing)
    px_per_mm = printing.dots_per_inch / MM_PER_INCH
    page = draw_page(
        signal_mv,
        sampling_hz=sampling_hz,
        style=style,
        px_per_mm=px_per_mm * style.reduction,
        text=_text_of(style, printing),
    )
    ending = out.suffix.lower()
    if printing.preset is None:
        data = _page_file(page, ending=ending, style=style, dots_per_inch=printing.dots_per_inch)
    else:
        shot = camera.shoot(page.rgb, preset=printing.preset, rng=_rng(printing, _CAMERA_STREAM), px_per_mm=px_per_mm)
        data = _photo_file(shot, ending=ending, px_per_mm=px_per_mm)
    write_atomically(out, data)


def _style_of(printing: Printing) -> Style:
    return draw_style(_rng(printing, _STYLE_STREAM)) if printing.style == DRAWN else STYLES[printing.style]


def _text_of(style: Style, printing: Printing) -> PrintedText:
    return draw_text(style, rng=_rng(printing, _TEXT_STREAM)) if printing.text else PrintedText()


def _rng(printing: Printing, stream: int) -> np.random.Generator:
    return np.random.default_rng([printing.seed, stream])


def _page_file(page: Page, *, ending: str, style: Style, dots_per_inch: float) -> bytes:
    if ending == ".png":
        return encode_png(page)
    if ending == ".pdf":
        width_mm, height_mm = (side * style.reduction for side in style.paper_mm)
        return pdf_of_png(encode_png(page), px_per_mm=dots_per_inch / MM_PER_INCH, paper_mm=(width_mm, height_mm))
    return _with_density(encode_jpeg(page, quality=JPEG_QUALITY), dots_per_inch=dots_per_inch)


def _photo_file(shot: camera.Shot, *, ending: str, px_per_mm: float) -> bytes:
    jpeg = camera.encode(shot)
    if ending == ".png":
        return camera.png(camera.developed(jpeg))
    if ending == ".pdf":
        height_px, width_px = shot.image.shape[:2]
        return pdf_of_jpeg(jpeg, size_px=(width_px, height_px), px_per_mm=px_per_mm)
    return jpeg


def _with_density(jpeg: bytes, *, dots_per_inch: float) -> bytes:
    """State the resolution in the JFIF header, by which programs print the page true to scale."""
    dots = round(dots_per_inch)
    density = struct.pack(">BHH", _PER_INCH, dots, dots)
    return jpeg[:_JFIF_DENSITY_AT] + density + jpeg[_JFIF_DENSITY_AT + len(density) :]


def _check_ending(out: Path) -> None:
    ending = out.suffix.lower()
    if ending not in ENDINGS:
        allowed = f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
        raise InputError(f"{out} ends in {ending or 'nothing'!r}; a page can be written as {allowed}")
