"""The page styles there are: rows of `styles.csv`, drawn on grids of `grids.csv`.

Adding a hospital's way of printing is adding a row. The columns of `styles.csv`:
how often it is drawn among the others (`weight`; 0 is never), lead order and
number of columns, rhythm strips below, seconds a lead, whether columns follow
one another in time, the scales, the paper, the rows' pitch, how far the chart
stands below the middle, the paper's margin, whether the grid fills the paper or
ends with the chart, where pulse and names stand, how names are spelled, what
separates strips, how much text is printed, by how much the print is reduced,
and the grids it is seen on.
"""

import csv
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from vizecg.labels import LEADS
from vizecg.page.style import Grid, Lettering, Pulse, Rgb, Strip, Style

PAPERS_MM: Final = {
    "a4-landscape": (297.0, 210.0),
    "a4-portrait": (210.0, 297.0),
    "letter-landscape": (279.4, 215.9),
    "letter-portrait": (215.9, 279.4),
}
_CABRERA: Final = ("aVL", "I", "-aVR", "II", "aVF", "III", "V1", "V2", "V3", "V4", "V5", "V6")
_ORDERS: Final = {"standard": LEADS, "cabrera": _CABRERA}
_PULSE_S: Final = 0.2
_GAP_MM: Final = 1.0
_NAMES: Final = {  # height, right of the trace's start, above its baseline
    "above": (3.2, 1.0, 8.0),
    "start": (2.8, 2.0, 5.5),
    # Rows this close leave no room above the traces: names stand left of the chart.
    "margin": (2.6, -8.5, -0.5),
}
_MINUS_MM: Final = 1.5  # -aVR is wider than any other name
_BLACK: Rgb = (0, 0, 0)
_WHITE: Rgb = (255, 255, 255)
_INKS: Final[tuple[Rgb, ...]] = (_BLACK, (25, 25, 30), (45, 45, 48), (20, 25, 70))
_PAPER_COLOURS: Final[tuple[Rgb, ...]] = (_WHITE, _WHITE, (252, 250, 244), (255, 246, 243), (246, 248, 246))
_PENS_MM: Final = (0.22, 0.3, 0.35, 0.45, 0.55)


def _table(name: str) -> list[dict[str, str]]:
    text = (files("vizecg.page") / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _grids() -> dict[str, Grid]:
    return {
        row["name"]: Grid(
            colour=(int(row["red"]), int(row["green"]), int(row["blue"])),
            fine=row["fine"],  # type: ignore[arg-type] # a test reads the whole table
            fine_strength=float(row["fine_strength"]),
            fine_width_mm=float(row["fine_width_mm"]),
            coarse_width_mm=float(row["coarse_width_mm"]),
            margin_mm=0.0,  # the style's
        )
        for row in _table("grids.csv")
    }


GRIDS: Mapping[str, Grid] = MappingProxyType(_grids())


def _spelled(name: str, *, spelling: str) -> str:
    return name.upper() if spelling == "upper" else name


def _strip(name: str, *, start_s: float, duration_s: float, spelling: str, rhythm: bool = False) -> Strip:
    lead = name.removeprefix("-")
    return Strip(
        lead=lead,
        start_s=start_s,
        duration_s=duration_s,
        key=f"{lead} rhythm" if rhythm else lead,
        printed=_spelled(name, spelling=spelling),
        inverted=name.startswith("-"),
    )


def _rows(row: Mapping[str, str]) -> tuple[tuple[Strip, ...], ...]:
    """Deal the leads into columns from the left, and put the rhythm strips below."""
    names, columns, seconds = _ORDERS[row["order"]], int(row["columns"]), float(row["seconds"])
    each = len(names) // columns
    follows = row["timing"] == "sequential"
    spelling = row["spelling"]
    dealt = tuple(
        tuple(
            _strip(
                names[column * each + line],
                start_s=column * seconds if follows else 0.0,
                duration_s=seconds,
                spelling=spelling,
            )
            for column in range(columns)
        )
        for line in range(each)
    )
    below = tuple(
        (_strip(name, start_s=0.0, duration_s=columns * seconds, spelling=spelling, rhythm=True),)
        for name in row["rhythm"].split()
    )
    return dealt + below


def _grid_of(row: Mapping[str, str], name: str) -> Grid:
    over: Any = row["grid_over"]
    return replace(GRIDS[name], margin_mm=float(row["grid_margin_mm"]), over=over)


def _style(row: Mapping[str, str]) -> Style:
    reduction, mm_per_s = float(row["reduction"]), float(row["mm_per_s"])
    paper_mm = PAPERS_MM[row["paper"]]
    height_mm, right_mm, above_mm = _NAMES[row["names"]]
    choices: dict[str, Any] = {name: row[name] for name in ("separators", "header")}
    side: Any = row["pulse"]
    pulse = Pulse(width_mm=_PULSE_S * mm_per_s, gap_mm=_GAP_MM, side=side)
    if row["names"] == "margin" and side != "right":
        right_mm -= pulse.width_mm + pulse.gap_mm
    if row["names"] == "margin" and row["order"] == "cabrera":
        right_mm -= _MINUS_MM
    return Style(
        name=row["name"],
        rows=_rows(row),
        row_pitch_mm=float(row["row_pitch_mm"]),
        lettering=Lettering(height_mm=height_mm, right_mm=right_mm, above_mm=above_mm),
        paper_mm=(paper_mm[0] / reduction, paper_mm[1] / reduction),
        mm_per_s=mm_per_s,
        mm_per_mv=float(row["mm_per_mv"]),
        chest_mm_per_mv=float(row["chest_mm_per_mv"]) if row["chest_mm_per_mv"] else None,
        pulse=pulse,
        grid=_grid_of(row, row["grids"].split()[0]),
        paper_colour=_WHITE,
        ink_colour=_BLACK,
        ink_width_mm=0.35,
        shift_mm=float(row["shift_mm"]),
        reduction=reduction,
        **choices,
    )


DRAWN: Final = "drawn"
"""Named in place of a style: another one for each page."""

ROWS: Mapping[str, Mapping[str, str]] = MappingProxyType({row["name"]: row for row in _table("styles.csv")})
"""Name of a style -> its row of `styles.csv`, as written."""

STYLES: Mapping[str, Style] = MappingProxyType({name: _style(row) for name, row in ROWS.items()})
STANDARD: Final = STYLES["standard"]


def style_named(name: str) -> Style:
    """Look a style up.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in STYLES:
        raise ValueError(f"unknown page style {name!r}; known: {sorted(STYLES)}")
    return STYLES[name]


@cache
def _drawn_by_weight() -> tuple[tuple[str, ...], np.ndarray[Any, np.dtype[np.float64]]]:
    weights = {name: float(row["weight"]) for name, row in ROWS.items() if float(row["weight"]) > 0}
    return tuple(weights), np.cumsum(list(weights.values())) / sum(weights.values())


def draw_style(rng: np.random.Generator) -> Style:
    """Draw a style by weight, and for it one of its grids, a pen, ink, paper and lettering.

    Text above the chart is not part of it; see `vizecg.page.lettering`.
    """
    names, cumulated = _drawn_by_weight()
    name = names[int(np.searchsorted(cumulated, rng.random(), side="right"))]
    style = STYLES[name]
    grids = ROWS[name]["grids"].split()
    return replace(
        style,
        grid=_grid_of(ROWS[name], grids[int(rng.integers(len(grids)))]),
        ink_colour=_INKS[int(rng.integers(len(_INKS)))],
        ink_width_mm=_PENS_MM[int(rng.integers(len(_PENS_MM)))],
        paper_colour=_PAPER_COLOURS[int(rng.integers(len(_PAPER_COLOURS)))],
        lettering=replace(style.lettering, face="mono" if rng.random() < 0.3 else "sans"),
    )
