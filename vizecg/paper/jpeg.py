"""A JPEG file without its metadata, its picture untouched."""

from typing import Final

_START_OF_IMAGE: Final = b"\xff\xd8"
_START_OF_SCAN: Final = 0xDA
_KEPT_APPLICATION_DATA: Final = frozenset({0xE0, 0xEE})
"""JFIF, and Adobe's, which says how colours are stored."""
_APPLICATION_DATA: Final = range(0xE0, 0xF0)
_COMMENT: Final = 0xFE


def without_metadata(data: bytes) -> bytes | None:
    """Leave out EXIF, XMP, colour profiles, thumbnails and comments (ITU T.81, annex B).

    Returns:
        The file; None where its segments do not follow each other.
    """
    kept = [_START_OF_IMAGE]
    position = len(_START_OF_IMAGE)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        if data[position + 1] == 0xFF:  # a marker may have fill bytes before it
            position += 1
            continue
        marker = data[position + 1]
        if marker == _START_OF_SCAN:
            return b"".join([*kept, data[position:]])
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        metadata = marker == _COMMENT or (marker in _APPLICATION_DATA and marker not in _KEPT_APPLICATION_DATA)
        if not metadata:
            kept.append(data[position:end])
        position = end
    return None
