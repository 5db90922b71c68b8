"""Pages in DICOM files: pictures (secondary capture and the like) and encapsulated PDF.

Of the header only what the picture needs is read; nothing of the patient is kept.
"""

import io
import warnings
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vizecg.intake import DecodeLimits, UnreadableImage, UnsupportedImage
from vizecg.intake.files import Pixels, check_size, read_pdf
from vizecg.paper.numbering import which_page

if TYPE_CHECKING:
    from pydicom import Dataset

ENCAPSULATED_PDF: Final = "1.2.840.10008.5.1.4.1.1.104.1"
_PREAMBLE_BYTES: Final = 128

_FILTERS: Final = Lock()
"""Filters of warnings belong to the whole process: threads that change them at once leave them changed."""


def is_dicom(data: bytes) -> bool:
    """Whether a file has DICOM's prefix behind its preamble (PS3.10, 7.1)."""
    return data[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == b"DICM"


def read_dicom(data: bytes, *, page: int | None, limits: DecodeLimits) -> Pixels:
    """Unpack a frame, or a page of the PDF inside.

    Raises:
        UnreadableImage: it is broken.
        UnsupportedImage: it holds neither picture nor PDF, or is packed in a way that cannot be unpacked here.
        ImageTooLarge: as `intake.decode`.
        Refused: nobody says which of several pages is meant.
    """
    import pydicom

    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that break the standard and that are not used here
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            if dataset.get("SOPClassUID") == ENCAPSULATED_PDF:
                document = bytes(dataset.EncapsulatedDocument)
                return read_pdf(document, choose=partial(which_page, page), limits=limits).pixels
            if "PixelData" not in dataset:
                raise UnsupportedImage("the DICOM file holds neither a picture nor a PDF")
            check_size(int(dataset.Columns), int(dataset.Rows), limits=limits)
            frames = int(dataset.get("NumberOfFrames") or 1)
            return _shown(dataset, frame=which_page(page, frames))
        except _broken() as error:
            raise UnreadableImage(f"the DICOM file is broken or cut off ({type(error).__name__})") from None


def _broken() -> tuple[type[Exception], ...]:
    from pydicom.errors import BytesLengthException, InvalidDicomError

    kinds = (ValueError, TypeError, KeyError, IndexError, AttributeError, OSError, EOFError, ArithmeticError)
    return (InvalidDicomError, BytesLengthException, *kinds)


def _shown(dataset: "Dataset", *, frame: int) -> Pixels:
    """A frame as a viewer shows it: gray or RGB, 8 bits, dark ink on white."""
    from pydicom.pixels.processing import apply_color_lut, apply_voi_lut
    from pydicom.pixels.utils import pixel_array

    kind = str(dataset.PhotometricInterpretation)
    try:
        pixels = pixel_array(dataset, index=frame)
    except (RuntimeError, NotImplementedError):
        syntax = dataset.file_meta.TransferSyntaxUID.name
        raise UnsupportedImage(f"the DICOM picture is packed as {syntax}, which cannot be unpacked here") from None
    if kind == "PALETTE COLOR":
        return _eight_bits(apply_color_lut(pixels, dataset), bits=16)
    if pixels.ndim == 3:
        return _eight_bits(pixels, bits=int(dataset.BitsStored))
    windowed = "WindowCenter" in dataset or "VOILUTSequence" in dataset
    gray = _stretched(apply_voi_lut(pixels, dataset)) if windowed else _eight_bits(pixels, bits=int(dataset.BitsStored))
    return np.ascontiguousarray(255 - gray if kind == "MONOCHROME1" else gray)


def _eight_bits(pixels: Any, *, bits: int) -> Pixels:  # noqa: ANN401 (any whole numbers)
    if pixels.dtype == np.uint8 and bits <= 8:
        return np.ascontiguousarray(pixels)
    if np.issubdtype(pixels.dtype, np.signedinteger):
        return _stretched(pixels)
    shift = max(0, bits - 8)
    return np.ascontiguousarray(np.clip(np.asarray(pixels).astype(np.uint32) >> shift, 0, 255).astype(np.uint8))


def _stretched(pixels: Any) -> Pixels:  # noqa: ANN401 (any numbers)
    low, high = float(np.min(pixels)), float(np.max(pixels))
    scaled = (np.asarray(pixels, dtype=np.float64) - low) * (255 / (high - low) if high > low else 0)
    return np.ascontiguousarray(np.rint(scaled).astype(np.uint8))
