"""A page as a PNG file.

Packing takes longer than drawing. More than half of a page's rows are its sheet's own, so a
sheet is packed once, in bands that need nothing of one another, and of a page only the bands
that ink has changed.
"""

import struct
from collections.abc import Iterator
from itertools import groupby
from weakref import WeakKeyDictionary

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from vizecg.page.draw import Page
from vizecg.page.layout import Sheet

_BAND_ROWS = 8
_NO_FILTER = 0
_PALETTE = 3
_PER_METRE = 1
_LEVEL = 1
# A deflate stream's method and window (RFC 1950), and the empty block that ends it (RFC 1951).
_STREAM_HEAD = b"\x78\x01"
_LAST_BLOCK = b"\x03\x00"
_ADLER_BASE = 65521

_Band = tuple[bytes, int, int]
"""Packed rows, their Adler-32 sum, and how many bytes they are unpacked."""

_packed_sheets: WeakKeyDictionary[Sheet, list[_Band]] = WeakKeyDictionary()


def encode_png(page: Page) -> bytes:
    """Write a palette PNG that knows its resolution, so that it prints true to scale.

    Rows are stored as they are: on a page of few colours whose grid repeats, the packer finds
    longer matches in them than in differences from row to row, so the file is smaller too.
    """
    height, width = page.index.shape
    px_per_m = round(page.px_per_mm / page.reduction * 1000)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _PALETTE, 0, 0, 0)),
            _chunk(b"PLTE", page.palette.tobytes()),
            _chunk(b"pHYs", struct.pack(">IIB", px_per_m, px_per_m, _PER_METRE)),
            _chunk(b"IDAT", _packed(page)),
            _chunk(b"IEND", b""),
        )
    )


def _packed(page: Page) -> bytes:
    blank = _packed_sheets.get(page.sheet)
    if blank is None:
        blank = _packed_sheets[page.sheet] = list(_bands(page.sheet.index))
    changed = np.logical_or.reduceat(page.inked, range(0, len(page.inked), _BAND_ROWS))
    parts, adler = [_STREAM_HEAD], 1
    for is_changed, run in groupby(range(len(blank)), key=lambda band: bool(changed[band])):
        numbers = list(run)
        if is_changed:
            rows = page.index[numbers[0] * _BAND_ROWS : (numbers[-1] + 1) * _BAND_ROWS]
            bands = [_pack(rows)]
        else:
            bands = blank[numbers[0] : numbers[-1] + 1]
        for packed, sum_of_band, length in bands:
            parts.append(packed)
            adler = _adler_of_both(adler, sum_of_band, length)
    return b"".join((*parts, _LAST_BLOCK, struct.pack(">I", adler)))


def _bands(index: NDArray[np.uint8]) -> Iterator[_Band]:
    for first in range(0, len(index), _BAND_ROWS):
        yield _pack(index[first : first + _BAND_ROWS])


def _pack(index: NDArray[np.uint8]) -> _Band:
    """Deflate rows so that they end at a whole byte and refer to nothing before them."""
    rows = np.empty((len(index), index.shape[1] + 1), dtype=np.uint8)
    rows[:, 0] = _NO_FILTER
    rows[:, 1:] = index
    packer = isal_zlib.compressobj(level=_LEVEL, wbits=-isal_zlib.MAX_WBITS)
    packed = packer.compress(rows.data) + packer.flush(isal_zlib.Z_FULL_FLUSH)
    return packed, isal_zlib.adler32(rows.data), rows.size


def _adler_of_both(one: int, other: int, length: int) -> int:
    """Adler-32 sum of two stretches of bytes after one another, the second one so long (as zlib's adler32_combine)."""
    low_sum = ((one & 0xFFFF) + (other & 0xFFFF) - 1) % _ADLER_BASE
    high_sum = (length * ((one & 0xFFFF) - 1) + (one >> 16) + (other >> 16)) % _ADLER_BASE
    return high_sum << 16 | low_sum


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = isal_zlib.crc32(data, isal_zlib.crc32(kind))  # ten times as fast as zlib's
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
