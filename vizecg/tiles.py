"""Sheets of small pictures with a line of text above each, for people."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TILE_WIDTH_PX: Final = 470
GAP_PX: Final = 14
CAPTION_PX: Final = 26
PAPER: Final = (250, 250, 248)
INK: Final = (40, 40, 46)
_LETTERS_PX: Final = 15
_ABOVE_PX: Final = 5

Picture = NDArray[np.uint8]


def tile(
    picture: Picture, caption: str, *, width_px: int = TILE_WIDTH_PX, most_height_px: int | None = None
) -> Picture:
    """Scale a picture, gray or RGB, to a width, and put its caption above; each line of it takes `CAPTION_PX`.

    Args:
        picture: (height, width) or (height, width, 3).
        caption: one line or several.
        width_px: of the tile without the gaps beside it.
        most_height_px: a picture taller than this is made narrower, and stands in the middle.
    """
    coloured = picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    factor = width_px / coloured.shape[1]
    if most_height_px is not None:
        factor = min(factor, most_height_px / coloured.shape[0])
    height_px, across_px = (max(round(side * factor), 1) for side in coloured.shape[:2])
    scaled = cv2.resize(
        coloured, (across_px, height_px), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    )
    top_px = CAPTION_PX * len(caption.splitlines())
    left_px = GAP_PX + (width_px - across_px) // 2
    canvas = blank(height_px + top_px + GAP_PX, width_px + 2 * GAP_PX)
    canvas[top_px : top_px + height_px, left_px : left_px + across_px] = scaled
    write(canvas, caption)
    return canvas


def side_by_side(tiles: Sequence[Picture]) -> Picture:
    """One row, as high as its highest tile."""
    line = blank(max(len(each) for each in tiles), sum(each.shape[1] for each in tiles))
    left_px = 0
    for each in tiles:
        line[: len(each), left_px : left_px + each.shape[1]] = each
        left_px += each.shape[1]
    return line


def titled(rows: Sequence[Picture], title: str) -> Picture:
    """Rows of one width below each other, under a title."""
    head = blank(CAPTION_PX + GAP_PX, rows[0].shape[1])
    write(head, title)
    return np.concatenate([head, *rows], axis=0)


def blank(height_px: int, width_px: int) -> Picture:
    """(height, width, 3) of the sheet's own colour."""
    return np.full((height_px, width_px, 3), PAPER, np.uint8)


def text_width_px(line: str) -> float:
    """How wide `write` writes a line."""
    return ImageFont.load_default(size=_LETTERS_PX).getlength(line)


def write(canvas: Picture, text: str) -> None:
    """Write into the top lines of a picture, in place."""
    lines = text.splitlines()
    strip = Image.fromarray(canvas[: CAPTION_PX * len(lines)])
    draw, face = ImageDraw.Draw(strip), ImageFont.load_default(size=_LETTERS_PX)
    for number, line in enumerate(lines):
        draw.text((GAP_PX, number * CAPTION_PX + _ABOVE_PX), line, fill=INK, font=face)
    canvas[: CAPTION_PX * len(lines)] = np.asarray(strip)
