"""A page of a file -> PNG or JPEG as an application would send it, or the reason why not.

What a file says beside its picture (EXIF, DICOM's header, a PDF's author) stays
behind: names of patients live there. The picture itself is not changed.
"""

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from vizecg.intake import DecodeLimits, ImageTooLarge, UnreadableImage, UnsupportedImage, decode
from vizecg.intake.files import Pixels, is_pdf, is_tiff, read_pdf, read_tiff
from vizecg.paper.dicom import is_dicom, read_dicom
from vizecg.paper.jpeg import without_metadata
from vizecg.paper.numbering import which_page
from vizecg.paper.table import PageFile
from vizecg.recordings.offer import Reading, Refusal
from vizecg.recordings.reading import Refused, refuse
from vizecg.records import Reason
from vizecg.sums import stays_inside

LARGEST_FILE_BYTES: Final = 500_000_000
"""Of a document with many pages; one picture of it is held to the limits of the intake."""

_JPEG: Final = b"\xff\xd8\xff"


def read_pages(works: Sequence[PageFile], *, folder: Path) -> list[Reading | Refusal]:
    """Read a few pages, in their order: one task of a worker."""
    return [_read_or_refuse(work, folder=folder) for work in works]


def read_page(work: PageFile, *, folder: Path) -> bytes:
    """Read one page as PNG or JPEG.

    Raises:
        Refused: it cannot be read, is too large, or nobody says which page is meant.
    """
    try:
        return _as_upload(_content(work, folder=folder), page=work.page)
    except ImageTooLarge as error:
        refuse(Reason.IMAGE_TOO_LARGE, str(error))
    except (UnreadableImage, UnsupportedImage) as error:
        refuse(Reason.IMAGE_UNREADABLE, str(error))


def _read_or_refuse(work: PageFile, *, folder: Path) -> Reading | Refusal:
    try:
        return Reading(signals_uv=None, upload=read_page(work, folder=folder))
    except Refused as refused:
        return Refusal(reason=refused.reason, detail=refused.detail)


def _content(work: PageFile, *, folder: Path) -> bytes:
    if not stays_inside(work.file):
        refuse(Reason.OUTSIDE_FOLDER, f"the table names the file {work.file!r}, which is not below the folder")
    path = folder / work.file
    if not path.is_file():
        refuse(Reason.MISSING_FILE, f"{work.file} is not there")
    if (size := path.stat().st_size) > LARGEST_FILE_BYTES:
        refuse(Reason.IMAGE_TOO_LARGE, f"{work.file} has {size / 1e6:.0f} MB, at most {LARGEST_FILE_BYTES / 1e6:.0f}")
    return path.read_bytes()


def _as_upload(data: bytes, *, page: int | None) -> bytes:
    limits = DecodeLimits()
    if data.startswith(_JPEG):
        _only_page(page)
        return _jpeg(data)
    if is_dicom(data):
        return encode_png(read_dicom(data, page=page, limits=limits))
    chosen = partial(which_page, page)
    if is_tiff(data):
        return encode_png(read_tiff(data, choose=chosen, limits=limits).pixels)
    if is_pdf(data):
        return encode_png(read_pdf(data, choose=chosen, limits=limits).pixels)
    _only_page(page)
    return encode_png(decode(data))  # which says what else it may be


def _only_page(page: int | None) -> None:
    if page not in (None, 1):
        refuse(Reason.PAGE_MISSING, f"page {page} is asked for, and the file has 1")


def _jpeg(data: bytes) -> bytes:
    """Take the metadata off and leave the picture as it was packed, where that shows the same picture."""
    pixels = decode(data)
    bare = without_metadata(data)
    if bare is not None and np.array_equal(decode(bare), pixels):
        return bare
    return encode_png(pixels)  # its metadata said which way is up


def encode_png(pixels: Pixels) -> bytes:
    """(height, width) gray or (height, width, 3) RGB -> PNG, without loss and without metadata."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", compress_level=6)
    return out.getvalue()
