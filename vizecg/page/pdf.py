"""A picture as a PDF of one page, at its true size on paper.

Written by hand because a PDF can hold what PNG and JPEG files hold as it stands:
a palette page stays exact and small, a photograph is not compressed twice. Nothing
in it depends on the day or the machine.
"""

import struct
from collections.abc import Iterator
from typing import Final

from vizecg.page.scale import MM_PER_INCH

POINTS_PER_MM: Final = 72 / MM_PER_INCH
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_PALETTE: Final = 3


def pdf_of_png(png: bytes, *, px_per_mm: float, paper_mm: tuple[float, float]) -> bytes:
    """Wrap a palette PNG of 8 bits a pixel.

    Args:
        png: as from `encode_png`.
        px_per_mm: of the paper; the picture keeps this scale exactly, from the upper left corner.
        paper_mm: width and height of the page. The picture may differ from it by half a pixel.
    """
    chunks = list(_chunks(png))
    width, height, bits, kind = struct.unpack_from(">IIBB", dict(chunks)[b"IHDR"])
    if (bits, kind) != (8, _PNG_PALETTE):
        raise ValueError(f"expected a palette PNG of 8 bits, got {bits} bits of colour type {kind}")
    colours = dict(chunks)[b"PLTE"]
    # PDF knows PNG's filters by the name of predictors 10 to 15, so the compressed rows are taken as they are.
    image = (
        f"/ColorSpace [/Indexed /DeviceRGB {len(colours) // 3 - 1} <{colours.hex()}>] /Filter /FlateDecode "
        f"/DecodeParms << /Predictor 15 /Colors 1 /BitsPerComponent 8 /Columns {width} >>"
    )
    data = b"".join(content for name, content in chunks if name == b"IDAT")
    return _pdf(data, image, size_px=(width, height), px_per_mm=px_per_mm, paper_mm=paper_mm)


def pdf_of_jpeg(jpeg: bytes, *, size_px: tuple[int, int], px_per_mm: float) -> bytes:
    """Wrap a JPEG of three colours, on a page as large as the picture.

    Args:
        jpeg: baseline, in the colours of JFIF.
        size_px: its width and height.
        px_per_mm: how large it is shown.
    """
    paper_mm = (size_px[0] / px_per_mm, size_px[1] / px_per_mm)
    return _pdf(
        jpeg, "/ColorSpace /DeviceRGB /Filter /DCTDecode", size_px=size_px, px_per_mm=px_per_mm, paper_mm=paper_mm
    )


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = len(_PNG_SIGNATURE)
    while start < len(png):
        length, name = struct.unpack_from(">I4s", png, start)
        yield name, png[start + 8 : start + 8 + length]
        start += length + 12


def _pdf(
    data: bytes, image: str, *, size_px: tuple[int, int], px_per_mm: float, paper_mm: tuple[float, float]
) -> bytes:
    page_pt = [side * POINTS_PER_MM for side in paper_mm]
    image_pt = [side / px_per_mm * POINTS_PER_MM for side in size_px]
    # PDF measures from the foot of the page, and pictures hang from its head.
    placed = f"q {image_pt[0]:.4f} 0 0 {image_pt[1]:.4f} 0 {page_pt[1] - image_pt[1]:.4f} cm /I Do Q".encode()
    picture = f"/Type /XObject /Subtype /Image /Width {size_px[0]} /Height {size_px[1]} /BitsPerComponent 8 {image}"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {page_pt[0]:.4f} {page_pt[1]:.4f}] "
        f"/Resources << /XObject << /I 5 0 R >> >> /Contents 4 0 R >>".encode(),
        _stream("", placed),
        _stream(picture, data),
    ]
    return _file(objects)


def _stream(entries: str, data: bytes) -> bytes:
    return f"<< {entries} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"


def _file(objects: list[bytes]) -> bytes:
    """Number the objects from 1, the first being the catalogue, and say where in the file each begins."""
    # The second line's bytes above 127 tell programs that copy files that this is no text.
    written, starts = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, content in enumerate(objects, start=1):
        starts.append(len(written))
        written += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = b"".join(f"{start:010d} 00000 n \n".encode() for start in starts)
    return (
        bytes(written)
        + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
        + table
        + f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(written)}\n%%EOF\n".encode()
    )
