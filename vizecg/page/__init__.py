"""Record -> page: twelve leads printed true to scale."""

from vizecg.page.catalogue import DRAWN, GRIDS, ROWS, STANDARD, STYLES, draw_style, style_named
from vizecg.page.draw import Page, draw_page, encode_jpeg
from vizecg.page.lettering import PrintedText, draw_text
from vizecg.page.png import encode_png
from vizecg.page.style import FIELD_HEIGHT_MM, FIELD_WIDTH_MM, Style

__all__ = [
    "DRAWN",
    "FIELD_HEIGHT_MM",
    "FIELD_WIDTH_MM",
    "GRIDS",
    "ROWS",
    "STANDARD",
    "STYLES",
    "Page",
    "PrintedText",
    "Style",
    "draw_page",
    "draw_style",
    "draw_text",
    "encode_jpeg",
    "encode_png",
    "style_named",
]
