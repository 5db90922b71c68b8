"""What machines print around the chart: a patient, rates and intervals, statements, filters.

All of it is made up, from a generator of its own that never sees the record: a page
whose text told the diagnosis would teach a model to read instead of to look.
"""

import math
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
_GIVEN: Final = {
    "F": ("A.", "Fatma", "Hanna", "I.", "Jana", "K.", "Maria", "Olga"),
    "M": ("B.", "Erik", "Georg", "I.", "K.", "Lars", "Paul", "R."),
}
_FIBRILLATION: Final = "Atrial fibrillation"
_SLOW_CONDUCTION: Final = "First degree AV block"
_FINDINGS: Final = (  # of each group at most one stands on a page, for a machine does not contradict itself
    ("Left axis deviation",),
    ("Left bundle branch block", "Right bundle branch block"),
    (_SLOW_CONDUCTION,),
    ("Possible left ventricular hypertrophy", "Low voltage QRS"),
    ("Inferior infarct, age undetermined", "Anterior infarct, possibly acute"),
    ("Nonspecific T wave abnormality",),
    ("Prolonged QT interval",),
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
    per_minute = int(rng.integers(45, 130))
    patient, statements = _patient(rng), _statements(per_minute, rng)
    numbers = _numbers(per_minute, statements, rng)
    parts = (_one_of(_BANDS, rng), _one_of(_MAINS, rng), f"#{int(rng.integers(10_000, 100_000))}")
    foot = "   ".join(part for part in parts if part)
    if style.header == "line":
        return PrintedText(columns=((f"{patient[0]}  {patient[1]}",), (numbers[0],), (patient[2],)), foot=foot)
    return PrintedText(columns=(patient, numbers, statements), foot=foot)


def _one_of(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _patient(rng: np.random.Generator) -> tuple[str, ...]:
    year, month, day = (int(rng.integers(low, high)) for low, high in ((1985, 2024), (1, 13), (1, 29)))
    age, sex = rng.integers(18, 96), _one_of(("M", "F"), rng)
    said = {"M": "Male", "F": "Female"}[sex] if rng.random() < 0.5 else sex
    date = f"{day:02d}.{month:02d}.{year}" if rng.random() < 0.5 else f"{year}-{month:02d}-{day:02d}"
    return (
        f"{_one_of(_SURNAMES, rng)}, {_one_of(_GIVEN[sex], rng)}",
        f"ID {rng.integers(1_000, 9_999_999)}  {age} yr  {said}",
        f"{date}  {rng.integers(0, 24):02d}:{rng.integers(0, 60):02d}",
        _one_of(_UNITS, rng),
    )


def _statements(per_minute: int, rng: np.random.Generator) -> tuple[str, ...]:
    """A rhythm that fits the rate, findings, and a verdict that fits them."""
    sinus = "bradycardia" if per_minute < 60 else "tachycardia" if per_minute > 100 else "rhythm"
    rhythm = _FIBRILLATION if rng.random() < 0.2 else f"Sinus {sinus}"
    groups = rng.choice(len(_FINDINGS), size=int(rng.integers(0, 4)), replace=False)
    drawn = [_one_of(_FINDINGS[int(group)], rng) for group in groups]
    found = tuple(finding for finding in drawn if not (rhythm == _FIBRILLATION and finding == _SLOW_CONDUCTION))
    if not found and rhythm == "Sinus rhythm":
        return (rhythm, "Normal ECG")
    grave = rhythm == _FIBRILLATION or any("branch" in finding or "infarct" in finding for finding in found)
    return (rhythm, *found, "Abnormal ECG" if grave or rng.random() < 0.3 else "Borderline ECG")


def _numbers(per_minute: int, statements: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    """Intervals and axes that a machine would have called what it calls them."""
    conduction_ms = rng.integers(*((205, 260) if _SLOW_CONDUCTION in statements else (120, 200)))
    wide = any("branch" in statement for statement in statements)
    corrected_ms = int(rng.integers(*((475, 520) if "Prolonged QT interval" in statements else (380, 460))))
    # Bazett's correction, as machines print it.
    measured_ms = round(corrected_ms * math.sqrt(60 / per_minute))
    axis_deg = rng.integers(*((-75, -30) if "Left axis deviation" in statements else (-20, 95)))
    fibrillates = _FIBRILLATION in statements
    return (
        f"Vent. rate {per_minute} bpm",
        f"PR interval {'*' if fibrillates else conduction_ms} ms",
        f"QRS duration {rng.integers(*((122, 170) if wide else (74, 112)))} ms",
        f"QT/QTc {measured_ms}/{corrected_ms} ms",
        f"P-R-T axes {'*' if fibrillates else rng.integers(0, 76)} {axis_deg} {rng.integers(-20, 120)}",
    )


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


def print_text(
    index: NDArray[np.uint8], text: PrintedText, *, style: Style, px_per_mm: float, inked: NDArray[np.bool_]
) -> None:
    """Ink the lines on a page, in place.

    Args:
        index: (height, width) indices into the page's palette.
        text: what to print; lines that would reach into the chart are left out.
        style: where the chart stands.
        px_per_mm: resolution of the page, in millimetres of the grid.
        inked: (height,) rows; becomes True where a line stands.
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
                inked=inked,
            )
    if text.foot:
        right_px = (style.paper_mm[0] - _left_mm(style)) * px_per_mm - face.getlength(text.foot)
        foot_mm = style.foot_mm - _HEADER_HEIGHT_MM
        _print(index, text.foot, face, left_px=right_px, top_px=foot_mm * px_per_mm, inked=inked)


def _left_mm(style: Style) -> float:
    return max(8.0, style.chart_left_mm)


def _print(
    index: NDArray[np.uint8],
    words: str,
    face: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    *,
    left_px: float,
    top_px: float,
    inked: NDArray[np.bool_],
) -> None:
    left, top = max(0, round(left_px)), max(0, round(top_px))
    ink = _inked(words, face)[: index.shape[0] - top, : index.shape[1] - left]
    there = index[top : top + ink.shape[0], left : left + ink.shape[1]]
    there[...] = ink_over(there, ink)
    inked[top : top + ink.shape[0]] = True


def _inked(words: str, face: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> NDArray[np.float64]:
    left, top, right, bottom = face.getbbox(words)
    canvas = Image.new("L", (max(1, int(right - min(left, 0)) + 1), max(1, int(bottom - top) + 1)))
    ImageDraw.Draw(canvas).text((-min(left, 0), -top), words, fill=255, font=face)
    return np.asarray(canvas) / 255.0
