"""Bytes of a picture file or a document -> pixels, upright and on white.

What a file is, is read from its first bytes, never from its name; how large it
is, from its header before anything is unpacked: ten kilobytes of PNG can hold
a quarter of a gigabyte of pixels. A file may state its size more than once, so
the size that Pillow has taken is checked too. Of a document the first page is read.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped] # its wheel has no stubs
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vizecg.errors import InputError

Pixels = NDArray[np.uint8]
"""(height, width) gray or (height, width, 3) RGB."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_ORIENTATION_TAG = 0x0112
_ON_ITS_SIDE = {5, 6, 7, 8}

PDF_DPI = 200
"""Eight pixels a millimetre: about twice what the intake measures at."""
_POINTS_PER_INCH = 72
_PDFIUM = Lock()
"""PDFium is not made for threads: one document of a process at a time, from its opening to its end."""
MOST_COUNTED = 100
"""Pages of a TIFF are linked to one another, so that counting them means walking through all."""

# What Pillow raises on files that are broken: its own are OSError, SyntaxError and ValueError (PIL.ImageFile), the
# others come from chunks that contradict each other; held by feeding `decode` thousands of damaged files.
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error),
    *(ArithmeticError, AssertionError, AttributeError, LookupError, TypeError),
)
# Pillow warns above 89 million pixels and raises above twice that; a warning may be turned into an error.
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_PDF = b"%PDF-"
_PDF_WITHIN = 1024
"""Readers accept other bytes before a PDF's first line, up to so many (ISO 32000-1, annex H)."""

READ = "PNG, JPEG, TIFF or PDF"
# Formats that people do send, to be named in the refusal.
_KNOWN_FORMATS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000"),
    (b"\xff\x0a", "a JPEG XL"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


class UnreadableImage(InputError):
    """The bytes say that they are a picture we read, and are not, or not all of it."""


class UnsupportedImage(InputError):
    """The bytes are something else than a format we read."""


class ImageTooLarge(InputError):
    """The picture has more pixels than we unpack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """What is unpacked at most. 50 megapixels is the largest camera people carry."""

    max_pixels: int = 50_000_000


DEFAULT_LIMITS = DecodeLimits()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """An upload unpacked, perhaps at less than its own resolution."""

    pixels: Pixels
    upload_px: tuple[int, int]
    """Width and height of the upload, to which all that is measured refers."""

    pages: int = 1
    """Of the file, whose first one this is."""

    @classmethod
    def of(cls, pixels: Pixels, *, pages: int = 1) -> "Picture":
        """All pixels of an upload."""
        return cls(pixels=pixels, upload_px=(pixels.shape[1], pixels.shape[0]), pages=pages)


def decode(data: bytes, *, limits: DecodeLimits = DEFAULT_LIMITS) -> Pixels:
    """Unpack a PNG, JPEG or TIFF file or a PDF, the first page of several, at its full resolution.

    Args:
        data: the file.
        limits: how much to unpack.

    Returns:
        (height, width) gray or (height, width, 3) RGB, uint8; turned as its EXIF
        orientation says, transparent parts on white, 16 bits reduced to 8.

    Raises:
        UnreadableImage: it is broken or cut off.
        UnsupportedImage: it is of another format.
        ImageTooLarge: it has more pixels than `limits` allows.
    """
    return open_picture(data, limits=limits).pixels


def open_picture(
    data: bytes, *, limits: DecodeLimits = DEFAULT_LIMITS, enough_px: tuple[int, int] | None = None
) -> Picture:
    """Unpack as `decode` does; a JPEG only as finely as is needed, which is much faster.

    Args:
        data: the file.
        limits: how much to unpack; counted at the file's own resolution.
        enough_px: long and short side that are enough; None is the file's own.

    Raises:
        UnreadableImage, UnsupportedImage, ImageTooLarge: as `decode`.
    """
    if data.startswith(_PNG):
        return Picture.of(_decode_png(data, limits=limits))
    if data.startswith(_JPEG):
        return _open_jpeg(data, limits=limits, enough_px=enough_px)
    if is_tiff(data):
        return read_tiff(data, choose=_first, limits=limits)
    if is_pdf(data):
        return read_pdf(data, choose=_first, limits=limits)
    raise UnsupportedImage(f"the picture must be a {READ} file, got {_what_it_is(data)}")


def is_tiff(data: bytes) -> bool:
    """Whether a file starts as a TIFF of either byte order, large ones included."""
    return data.startswith(_TIFF)


def is_pdf(data: bytes) -> bool:
    """Whether a file is a PDF, with other bytes before it or not."""
    return _PDF in data[:_PDF_WITHIN]


def _first(_: int) -> int:
    return 0


def _what_it_is(data: bytes) -> str:
    if not data:
        return "an empty file"
    for start, name in _KNOWN_FORMATS:
        if data.startswith(start):
            return f"{name}: export it as PNG or JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP: export it as PNG or JPEG"
    if data[4:8] == b"ftyp":
        if data[8:12] in _HEIF_BRANDS:
            return (
                "a HEIC photo: export it as JPEG (on an iPhone: share it by mail or to Files, "
                "or set Settings, Camera, Formats to Most Compatible)"
            )
        return "an AVIF or video file: export a picture as PNG or JPEG"
    return f"something that starts with {data[:12]!r}"


def check_size(width: int, height: int, *, limits: DecodeLimits) -> None:
    """Refuse more pixels than are unpacked, before they are.

    Raises:
        ImageTooLarge: it has more than the limits allow.
        UnreadableImage: it has none.
    """
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"the picture has {width} × {height} pixels, {width * height / 1e6:.0f} million; "
            f"at most {limits.max_pixels / 1e6:g} million are read: send it at a lower resolution"
        )
    if not (width > 0 and height > 0):
        raise UnreadableImage(f"the picture says it has {width} × {height} pixels")


def _decode_png(data: bytes, *, limits: DecodeLimits) -> Pixels:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise UnreadableImage("the PNG file is broken or cut off in its header")
    width, height = struct.unpack(">II", data[16:24])
    check_size(width, height, limits=limits)
    return _decode_by_pillow(data, kind="PNG", limits=limits)


def _open_jpeg(data: bytes, *, limits: DecodeLimits, enough_px: tuple[int, int] | None) -> Picture:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise UnreadableImage(f"the JPEG file is broken or cut off in its header ({error})") from error
    check_size(width, height, limits=limits)
    if colours not in {"YCbCr", "RGB", "Gray"}:
        return Picture.of(_decode_by_pillow(data, kind="JPEG", limits=limits))
    orientation = _orientation(_opened(data, kind="JPEG", limits=limits))
    wanted = "GRAY" if colours == "Gray" else "RGB"
    long_px, short_px = enough_px or (max(width, height), min(width, height))
    least_px = (long_px, short_px) if width >= height else (short_px, long_px)
    try:
        # Eighths of the size come out of the cosine transform itself; least of all can it be larger than the file.
        pixels = simplejpeg.decode_jpeg(
            data, colorspace=wanted, min_width=min(least_px[0], width), min_height=min(least_px[1], height)
        )
    except ValueError as error:
        raise UnreadableImage(f"the JPEG file is broken or cut off ({error})") from error
    upright = _upright(np.asarray(pixels[:, :, 0] if wanted == "GRAY" else pixels, dtype=np.uint8), orientation)
    return Picture(pixels=upright, upload_px=(height, width) if orientation in _ON_ITS_SIDE else (width, height))


def read_tiff(data: bytes, *, choose: Callable[[int], int], limits: DecodeLimits) -> Picture:
    """Unpack a page of a TIFF file, upright, on white, 8 bits.

    Args:
        data: the file.
        choose: number of pages -> index of the one wanted; pages are counted to `MOST_COUNTED` and no further.
        limits: how much to unpack.

    Raises:
        UnreadableImage, ImageTooLarge: as `decode`.
        Whatever `choose` raises.
    """
    image = _opened(data, kind="TIFF", limits=limits)
    try:
        pages = _count_pages(image)
        image.seek(choose(pages))
    except BROKEN as error:
        raise UnreadableImage(f"the TIFF file is broken or cut off ({error})") from None
    check_size(*image.size, limits=limits)
    try:
        return Picture.of(np.ascontiguousarray(as_uint8(ImageOps.exif_transpose(image))), pages=pages)
    except _BOMB:
        raise ImageTooLarge("the TIFF page has far more pixels than are read: send it at a lower resolution") from None
    except BROKEN as error:
        raise UnreadableImage(f"the TIFF file is broken or cut off ({error})") from None


def _count_pages(image: Image.Image) -> int:
    for number in range(1, MOST_COUNTED):
        try:
            image.seek(number)
        except EOFError:
            return number
    return MOST_COUNTED


def read_pdf(data: bytes, *, choose: Callable[[int], int], limits: DecodeLimits) -> Picture:
    """Draw a page of a PDF at `PDF_DPI`, or as finely as the limits allow; arguments as `read_tiff`.

    Raises:
        UnreadableImage: it is broken, or needs a password.
        Whatever `choose` raises.
    """
    with _PDFIUM:
        return _read_pdf(data, choose=choose, limits=limits)


def _read_pdf(data: bytes, *, choose: Callable[[int], int], limits: DecodeLimits) -> Picture:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        hidden = "password" in str(error).lower()
        why = "needs a password" if hidden else "is broken or cut off"
        raise UnreadableImage(f"the PDF file {why}") from None
    try:
        if len(document) < 1:
            raise UnreadableImage("the PDF file has no page")
        page = document[choose(len(document))]
        return Picture.of(_drawn(page, limits=limits), pages=len(document))
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


def _opened(data: bytes, *, kind: str, limits: DecodeLimits) -> Image.Image:
    """Read the headers, not the pixels."""
    try:
        image = Image.open(io.BytesIO(data), formats=(kind,))
    except _BOMB as error:
        raise ImageTooLarge(
            f"the picture has far more than the {limits.max_pixels / 1e6:g} million pixels that are read: "
            "send it at a lower resolution"
        ) from error
    except BROKEN as error:
        raise UnreadableImage(f"the {kind} file is broken or cut off in its header ({error})") from error
    check_size(*image.size, limits=limits)
    return image


def _decode_by_pillow(data: bytes, *, kind: str, limits: DecodeLimits) -> Pixels:
    image = _opened(data, kind=kind, limits=limits)
    if image.mode == "P" and image.palette is None:
        raise UnreadableImage(f"the {kind} file is broken: its colours are numbers of a palette that is not there")
    try:
        image.load()
        pixels = as_uint8(image)
    except BROKEN as error:
        raise UnreadableImage(f"the {kind} file is broken or cut off ({error})") from error
    return _upright(pixels, _orientation(image))


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; 1, upright, where there is none or the block is broken: the pixels are whole."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except BROKEN:
        return 1


def as_uint8(image: Image.Image) -> Pixels:
    """Whatever Pillow unpacked, as gray or RGB of 8 bits on white."""
    if image.mode.startswith("I"):  # gray of 16 bits, whatever its byte order
        return np.asarray(np.asarray(image).astype(np.uint32) >> 8, dtype=np.uint8)
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        on_white = Image.new("RGBA", layers.size, (255, 255, 255, 255))
        on_white.alpha_composite(layers)
        return np.asarray(on_white.convert("RGB"))
    if image.mode == "P":
        return _coloured(image)
    wanted = "L" if image.mode in {"1", "L"} else "RGB"
    return np.asarray(image if image.mode == wanted else image.convert(wanted))  # Pillow would make a copy of the same


def _coloured(image: Image.Image) -> Pixels:
    """As `image.convert("RGB")` of numbers of a palette, in half the time: those of no colour are black."""
    numbers = np.asarray(image)
    named = np.array(image.getpalette("RGB"), dtype=np.uint8)
    palette = np.zeros((256, 1, 3), np.uint8)
    palette.reshape(-1)[: named.size] = named
    return np.asarray(cv2.applyColorMap(numbers, palette), dtype=np.uint8)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo what the EXIF orientation says the camera did (CIPA DC-008, tag 0x0112); unknown values mean upright."""
    if orientation in _ON_ITS_SIDE:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
