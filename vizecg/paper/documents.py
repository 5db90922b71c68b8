"""Pages of documents: TIFF, by Pillow, and PDF, by PDFium."""

import io
from threading import Lock
from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps

from vizecg.intake import DecodeLimits, ImageTooLarge, UnreadableImage
from vizecg.intake.files import BROKEN, Pixels, as_uint8
from vizecg.recordings.reading import refuse
from vizecg.records import Reason

PDF_DPI: Final = 200
"""Eight pixels a millimetre: twice what the intake measures at."""
_POINTS_PER_INCH: Final = 72

_PDFIUM: Final = Lock()
"""PDFium is not made for threads: one document of a process at a time, from its opening to its end."""


def which_page(page: int | None, *, pages: int) -> int:
    """Find the index of a page that is counted from 1; of a file with one page nobody need say which.

    Raises:
        Refused: there are several and none is named, or there is none of that number.
    """
    if pages < 1:
        refuse(Reason.IMAGE_UNREADABLE, "the file has no page")
    if page is None and pages > 1:
        refuse(Reason.PAGE_MISSING, f"the file has {pages} pages; say which in the column page, a row for each")
    if page is not None and page > pages:
        refuse(Reason.PAGE_MISSING, f"page {page} is asked for, and the file has {pages}")
    return 0 if page is None else page - 1


def read_tiff(data: bytes, *, page: int | None, limits: DecodeLimits) -> Pixels:
    """Unpack a page of a TIFF file, upright, on white, 8 bits.

    Raises:
        UnreadableImage, ImageTooLarge: as `intake.decode`.
        Refused: as `which_page`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as opened:
            opened.seek(which_page(page, pages=getattr(opened, "n_frames", 1)))
            check_pixels(*opened.size, limits=limits)
            return np.ascontiguousarray(as_uint8(ImageOps.exif_transpose(opened)))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLarge("the TIFF page has far more pixels than are read: send it at a lower resolution") from None
    except BROKEN as error:
        raise UnreadableImage(f"the TIFF file is broken or cut off ({error})") from None


def read_pdf(data: bytes, *, page: int | None, limits: DecodeLimits) -> Pixels:
    """Draw a page of a PDF at `PDF_DPI`, or as finely as the limits allow.

    Raises:
        UnreadableImage: it is broken, or needs a password.
        Refused: as `which_page`.
    """
    with _PDFIUM:
        return _read_pdf(data, page=page, limits=limits)


def _read_pdf(data: bytes, *, page: int | None, limits: DecodeLimits) -> Pixels:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        hidden = "password" in str(error).lower()
        why = "needs a password" if hidden else "is broken or cut off"
        raise UnreadableImage(f"the PDF file {why}") from None
    try:
        return _drawn(document[which_page(page, pages=len(document))], limits=limits)
    except (pypdfium2.PdfiumError, ValueError, MemoryError) as error:
        raise UnreadableImage(f"the page of the PDF cannot be drawn ({type(error).__name__})") from None
    finally:
        document.close()


def _drawn(page: Any, *, limits: DecodeLimits) -> Pixels:  # noqa: ANN401 (pypdfium2 has no types)
    width_pt, height_pt = page.get_size()
    if not (0 < width_pt < np.inf and 0 < height_pt < np.inf):
        raise UnreadableImage(f"the page of the PDF says it measures {width_pt:g} × {height_pt:g} points")
    scale = min(PDF_DPI / _POINTS_PER_INCH, (0.98 * limits.max_pixels / (width_pt * height_pt)) ** 0.5)
    drawn = page.render(scale=scale, rev_byteorder=True, draw_annots=True).to_numpy()
    return np.ascontiguousarray(drawn[:, :, :3] if drawn.ndim == 3 else drawn)


def check_pixels(width: int, height: int, *, limits: DecodeLimits) -> None:
    """Refuse more pixels than are unpacked, before they are."""
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"the page has {width} × {height} pixels, {width * height / 1e6:.0f} million; "
            f"at most {limits.max_pixels / 1e6:g} million are read: send it at a lower resolution"
        )
    if width < 1 or height < 1:
        raise UnreadableImage(f"the page says it has {width} × {height} pixels")
