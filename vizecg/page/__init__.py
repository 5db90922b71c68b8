"""Record -> page: twelve leads printed true to scale."""

from vizecg.page.draw import Page, draw_page, encode_jpeg, encode_png
from vizecg.page.style import FIELD_HEIGHT_MM, FIELD_WIDTH_MM, STANDARD, STYLES, Style, style_named

__all__ = [
    "FIELD_HEIGHT_MM",
    "FIELD_WIDTH_MM",
    "STANDARD",
    "STYLES",
    "Page",
    "Style",
    "draw_page",
    "encode_jpeg",
    "encode_png",
    "style_named",
]
