"""Bytes of a picture file -> pixels, upright and on white.

What a file is, is read from its first bytes, never from its name; how large it
is, from its header before anything is unpacked: ten kilobytes of PNG can hold
a quarter of a gigabyte of pixels. A file may state its size more than once, so
the size that Pillow has taken is checked too.
"""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import simplejpeg  # type: ignore[import-untyped] # its wheel has no stubs
from numpy.typing import NDArray
from PIL import Image

from vizecg.errors import InputError

Pixels = NDArray[np.uint8]
"""(height, width) gray or (height, width, 3) RGB."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_ORIENTATION_TAG = 0x0112

# What Pillow raises on files that are broken: its own are OSError, SyntaxError and ValueError (PIL.ImageFile), the
# others come from chunks that contradict each other; held by feeding `decode` thousands of damaged files.
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error),
    *(ArithmeticError, AssertionError, AttributeError, LookupError, TypeError),
)
# Pillow warns above 89 million pixels and raises above twice that; a warning may be turned into an error.
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)

# Formats that people do send, to be named in the refusal.
_KNOWN_FORMATS = (
    (b"%PDF", "a PDF"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000"),
    (b"\xff\x0a", "a JPEG XL"),
)


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


def decode(data: bytes, *, limits: DecodeLimits = DecodeLimits()) -> Pixels:
    """Unpack a PNG or JPEG file.

    Args:
        data: the file.
        limits: how much to unpack.

    Returns:
        (height, width) gray or (height, width, 3) RGB, uint8; turned as its EXIF
        orientation says, transparent parts on white, 16 bits reduced to 8.

    Raises:
        UnreadableImage: it is broken or cut off.
        UnsupportedImage: it is no PNG and no JPEG.
        ImageTooLarge: it has more pixels than `limits` allows.
    """
    if data.startswith(_PNG):
        return _decode_png(data, limits=limits)
    if data.startswith(_JPEG):
        return _decode_jpeg(data, limits=limits)
    raise UnsupportedImage(f"the picture must be a PNG or JPEG file, got {_what_it_is(data)}")


def _what_it_is(data: bytes) -> str:
    if not data:
        return "an empty file"
    for start, name in _KNOWN_FORMATS:
        if data.startswith(start):
            return f"{name}: export it as PNG or JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP: export it as PNG or JPEG"
    if data[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file: export it as PNG or JPEG"
    return f"something that starts with {data[:12]!r}"


def _check_size(width: int, height: int, *, limits: DecodeLimits) -> None:
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
    _check_size(width, height, limits=limits)
    return _decode_by_pillow(data, kind="PNG", limits=limits)


def _decode_jpeg(data: bytes, *, limits: DecodeLimits) -> Pixels:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise UnreadableImage(f"the JPEG file is broken or cut off in its header ({error})") from error
    _check_size(width, height, limits=limits)
    if colours not in {"YCbCr", "RGB", "Gray"}:
        return _decode_by_pillow(data, kind="JPEG", limits=limits)
    orientation = _orientation(_opened(data, kind="JPEG", limits=limits))
    wanted = "GRAY" if colours == "Gray" else "RGB"
    try:
        pixels = simplejpeg.decode_jpeg(data, colorspace=wanted)
    except ValueError as error:
        raise UnreadableImage(f"the JPEG file is broken or cut off ({error})") from error
    return _upright(np.asarray(pixels[:, :, 0] if wanted == "GRAY" else pixels, dtype=np.uint8), orientation)


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
    _check_size(*image.size, limits=limits)
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
    return np.asarray(image.convert("L" if image.mode in {"1", "L"} else "RGB"))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo what the EXIF orientation says the camera did (CIPA DC-008, tag 0x0112); unknown values mean upright."""
    if orientation in {5, 6, 7, 8}:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
