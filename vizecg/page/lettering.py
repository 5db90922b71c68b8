"""What machines print around the chart: a patient, rates and intervals, statements, filters.

All of it is made up, from a generator of its own that never sees the record: a page
whose text told the diagnosis would teach a model to read instead of to look.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vizecg.page.raster import ink_over
from vizecg.page.style import Style

_CAPITAL_SHARE: Final = {"sans": 0.7, "mono": 0.73}  # of a typeface's size
_HEADER_HEIGHT_MM: Final = 2.3
_LINE_PITCH_MM: Final = 3.6
_CLEAR_OF_CHART_MM: Final = 17.0  # above the first row's baseline: R waves and names

_SURNAMES: Final = (
    *("Abel", "Brandt", "Castro", "Diaz", "Ekberg", "Fuchs", "Greco"),
    *("Horn", "Ito", "Jansen", "Keller", "Lund", "Moreau", "Novak"),
)
_GIVEN: Final = (
    "A.",
    "B.",
    "Erik",
    "Fatma",
    "Georg",
    "Hanna",
    "I.",
    "Jana",
    "K.",
    "Lars",
    "Maria",
    "Olga",
    "Paul",
    "R.",
)
_STATEMENTS: Final = (
    *("Sinus rhythm", "Sinus bradycardia", "Sinus tachycardia", "Atrial fibrillation", "Normal ECG", "Abnormal ECG"),
    *("Borderline ECG", "Left axis deviation", "Left bundle branch block", "Right bundle branch block"),
    *("Nonspecific T wave abnormality", "Possible left ventricular hypertrophy", "Inferior infarct, age undetermined"),
    *("Anterior infarct, possibly acute", "Prolonged QT interval", "First degree AV block", "Low voltage QRS"),
)
_BANDS: Final = ("0.05-150 Hz", "0.15-100 Hz", "0.05-40 Hz", "0.5-35 Hz", "0.67-25 Hz")
_MAINS: Final = ("50 Hz", "60~", "AC 50", "")
_UNITS: Final = ("Unconfirmed diagnosis", "Dept. of Cardiology", "Emergency room", "Ward 4B", "Outpatients", "ICU 2")

Face = Literal["sans", "mono"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedText:
    """Columns of lines above the chart, from the left, and what stands at the foot beside the scales."""

    columns: tuple[tuple[str, ...], ...] = ()
    foot: str = ""


def draw_text(style: Style, *, rng: np.random.Generator) -> PrintedText:
    """Make up what stands around a chart of a style, as much of it as the style says."""
    if style.header == "none":
        return PrintedText()
    patient, numbers, statements = _patient(rng), _numbers(rng), _statements(rng)
    parts = (_one_of(_BANDS, rng), _one_of(_MAINS, rng), f"#{int(rng.integers(10_000, 100_000))}")
    foot = "   ".join(part for part in parts if part)
    if style.header == "line":
        return PrintedText(columns=((f"{patient[0]}  {patient[1]}",), (numbers[0],), (patient[2],)), foot=foot)
    return PrintedText(columns=(patient, numbers, statements), foot=foot)


def _one_of(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _patient(rng: np.random.Generator) -> tuple[str, ...]:
    year, month, day = (int(rng.integers(low, high)) for low, high in ((1985, 2024), (1, 13), (1, 29)))
    age, sex = rng.integers(18, 96), _one_of(("M", "F", "Male", "Female"), rng)
    date = f"{day:02d}.{month:02d}.{year}" if rng.random() < 0.5 else f"{year}-{month:02d}-{day:02d}"
    return (
        f"{_one_of(_SURNAMES, rng)}, {_one_of(_GIVEN, rng)}",
        f"ID {rng.integers(1_000, 9_999_999)}  {age} yr  {sex}",
        f"{date}  {rng.integers(0, 24):02d}:{rng.integers(0, 60):02d}",
        _one_of(_UNITS, rng),
    )


def _numbers(rng: np.random.Generator) -> tuple[str, ...]:
    return (
        f"Vent. rate {rng.integers(45, 130)} bpm",
        f"PR interval {rng.integers(110, 230)} ms",
        f"QRS duration {rng.integers(74, 160)} ms",
        f"QT/QTc {rng.integers(320, 470)}/{rng.integers(380, 490)} ms",
        f"P-R-T axes {rng.integers(0, 90)} {rng.integers(-60, 110)} {rng.integers(-20, 120)}",
    )


def _statements(rng: np.random.Generator) -> tuple[str, ...]:
    chosen = rng.choice(len(_STATEMENTS), size=int(rng.integers(1, 5)), replace=False)
    return tuple(_STATEMENTS[int(which)] for which in chosen)


@lru_cache(maxsize=64)
def font(face: Face, capital_px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Typeface whose capitals are so high: Pillow's own, or the monospaced one that matplotlib brings."""
    size = max(capital_px / _CAPITAL_SHARE[face], 1.0)
    if face == "sans":
        return ImageFont.load_default(size=size)
    return ImageFont.truetype(_mono(), size=size)


def _mono() -> Path:
    spec = find_spec("matplotlib")  # found, not imported: that takes a quarter of a second
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the monospaced lettering is matplotlib's; install vizecg[pipeline]")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSansMono.ttf"


def lines_that_fit(style: Style) -> int:
    """How many lines stand between the upper edge and the chart."""
    free_mm = style.baseline_mm(0) - _CLEAR_OF_CHART_MM - style.head_mm
    return max(0, 1 + int(free_mm // _LINE_PITCH_MM))


def print_text(index: NDArray[np.uint8], text: PrintedText, *, style: Style, px_per_mm: float) -> None:
    """Ink the lines on a page, in place.

    Args:
        index: (height, width) indices into the page's palette.
        text: what to print; lines that would reach into the chart are left out.
        style: where the chart stands.
        px_per_mm: resolution of the page, in millimetres of the grid.
    """
    face = font(style.lettering.face, _HEADER_HEIGHT_MM * px_per_mm)
    wide_mm = (style.paper_mm[0] - 2 * _left_mm(style)) / 3
    for number, column in enumerate(text.columns):
        left_mm = _left_mm(style) + number * wide_mm
        for line, words in enumerate(column[: lines_that_fit(style)]):
            _print(
                index,
                words,
                face,
                left_px=left_mm * px_per_mm,
                top_px=(style.head_mm + line * _LINE_PITCH_MM) * px_per_mm,
            )
    if text.foot:
        right_px = (style.paper_mm[0] - _left_mm(style)) * px_per_mm - face.getlength(text.foot)
        foot_mm = style.foot_mm - _HEADER_HEIGHT_MM
        _print(index, text.foot, face, left_px=right_px, top_px=foot_mm * px_per_mm)


def _left_mm(style: Style) -> float:
    return max(8.0, style.chart_left_mm)


def _print(
    index: NDArray[np.uint8],
    words: str,
    face: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    *,
    left_px: float,
    top_px: float,
) -> None:
    left, top = max(0, round(left_px)), max(0, round(top_px))
    ink = _inked(words, face)[: index.shape[0] - top, : index.shape[1] - left]
    there = index[top : top + ink.shape[0], left : left + ink.shape[1]]
    there[...] = ink_over(there, ink)


def _inked(words: str, face: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> NDArray[np.float64]:
    left, top, right, bottom = face.getbbox(words)
    canvas = Image.new("L", (max(1, int(right - min(left, 0)) + 1), max(1, int(bottom - top) + 1)))
    ImageDraw.Draw(canvas).text((-min(left, 0), -top), words, fill=255, font=face)
    return np.asarray(canvas) / 255.0
