"""One record -> one file of a page, for people and for asking the service."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizecg.errors import InputError
from vizecg.page import STYLES, draw_page, encode_jpeg, encode_png
from vizecg.page.scale import MM_PER_INCH
from vizecg.publish import write_atomically

DOTS_PER_INCH = 200.0
JPEG_QUALITY = 92


def draw_record(record: Path, out: Path, *, style: str, dots_per_inch: float) -> None:
    """Draw a WFDB record of twelve leads.

    Args:
        record: path of the record, with or without `.hea`.
        out: file to write; its ending says PNG or JPEG.
        style: name of a page style.
        dots_per_inch: of the page as printed on its paper.

    Raises:
        InputError: no such style or format; the record cannot be read or is none of twelve leads.
    """
    from vizecg.recordings.single import read_wfdb

    _check(out, style=style)
    read = read_wfdb(record)
    draw_signal(read.signal_mv, out, sampling_hz=read.sampling_hz, style=style, dots_per_inch=dots_per_inch)


def draw_signal(
    signal_mv: NDArray[np.floating[Any]],
    out: Path,
    *,
    sampling_hz: float,
    style: str = "standard",
    dots_per_inch: float = DOTS_PER_INCH,
) -> None:
    """Draw twelve leads, (12, samples) in the order of `vizecg.labels.LEADS`, as a PNG or JPEG.

    Raises:
        InputError: no such style or format.
    """
    _check(out, style=style)
    chosen = STYLES[style]
    px_per_mm = dots_per_inch / MM_PER_INCH * chosen.reduction
    page = draw_page(signal_mv, sampling_hz=sampling_hz, style=chosen, px_per_mm=px_per_mm)
    data = encode_png(page) if out.suffix.lower() == ".png" else encode_jpeg(page, quality=JPEG_QUALITY)
    write_atomically(out, data)


def _check(out: Path, *, style: str) -> None:
    if style not in STYLES:
        raise InputError(f"there is no page style {style!r}; known: {sorted(STYLES)}")
    ending = out.suffix.lower()
    if ending not in {".png", ".jpg", ".jpeg"}:
        raise InputError(f"{out} ends in {ending or 'nothing'!r}; a page can be written as .png, .jpg or .jpeg")
