"""What each page style looks like, as a page of documentation; and what cameras and the intake make of it.

`write_styles` makes docs/styles.md and its pictures, `write_sheets` one sheet for each
camera preset: every style as uploaded beside what the model sees of it. A sheet shows at
a glance which hospital's pages a change of camera or intake has spoilt. Sheets are large
and change with every camera, so that they are made when they are wanted, and not kept.
"""

import io
import textwrap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vizecg import camera, intake
from vizecg.page import ROWS, STYLES, Page, Style, draw_page, draw_text, encode_png
from vizecg.publish import write_atomically
from vizecg.tiles import Picture, side_by_side, tile, titled

PAGE_NAME: Final = "styles.md"
PICTURES_NAME: Final = "gallery"
CAMERAS_NAME: Final = "cameras.jpg"
SHEETS_NAME: Final = "presets"
SIMULATED: Final = "simulated record without medical meaning"
# A thousand pixels across: what a browser shows, in 30 kB.
_PICTURE_PX_PER_MM: Final = 3.5
_PICTURE_COLOURS: Final = 32
_UPLOAD_PX_PER_MM: Final = 200 / 25.4
# Most width and height of a picture on a sheet, and on the one sheet that is kept.
_TILE_PX: Final = (640, 500)
_SMALL_TILE_PX: Final = (440, 340)
_LETTER_PX: Final = 8
_SHEET_QUALITY: Final = 85
_SMALL_QUALITY: Final = 70
_STYLE_OF_CAMERAS: Final = "6x2"
# One purpose of randomness, one stream.
_TEXT_STREAM: Final = 1
_CAMERA_STREAM: Final = 2

_HEAD: Final = """\
# Page styles

Written by `vizecg gallery docs` from `vizecg/page/styles.csv`: change the table, not this page.
Shown is a {said}; the text around the charts is made up.
Pictures have the first grid of each style. With `render.style: drawn`, each style has the share of pages given here,
on one of its grids by chance.
"""
_FOOT: Final = """\
## Through cameras

Style `{style}`, left as uploaded, right as the model sees it, with what the intake found.
All styles like this: `vizecg gallery DIR --presets`.

![Pages through cameras, before and after the intake]({pictures}/{cameras})
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """The record that is shown."""

    signal_mv: NDArray[np.floating[Any]]
    """(12, samples), leads in the order of `vizecg.labels.LEADS`."""

    sampling_hz: float
    said: str
    """What it is, for the reader."""


def simulated_example() -> Example:
    """A healthy heart without noise to speak of, whose beats do not fall between two columns."""
    from vizecg.simulate.noise import NoiseLevel
    from vizecg.simulate.recording import record

    quiet = NoiseLevel(drift_uv=12, hum_uv=1, muscle_uv=4, electrode_moves=0)
    made = record(("NORM",), noise=quiet, age_years=55, patient=(94,), visit=(94, 1))
    return Example(signal_mv=made.high_uv / 1000, sampling_hz=500, said=SIMULATED)


def example_of(record: Path) -> Example:
    """Show one's own WFDB record of twelve leads.

    Raises:
        InputError: it cannot be read.
    """
    from vizecg.recordings.single import read_wfdb

    read = read_wfdb(record)
    return Example(signal_mv=read.signal_mv, sampling_hz=read.sampling_hz, said=f"record named {record.name}")


def write_styles(folder: Path, *, example: Example, seed: int) -> Iterator[Path]:
    """Write a picture of each style and the page that shows them, and give each path when it is there."""
    for name, style in STYLES.items():
        path = folder / PICTURES_NAME / f"{name}.png"
        write_atomically(path, picture_of(style, example=example, seed=seed))
        yield path
    cameras = folder / PICTURES_NAME / CAMERAS_NAME
    rows = [
        _strip(STYLES[_STYLE_OF_CAMERAS], preset=preset, example=example, seed=seed, tile_px=_SMALL_TILE_PX)
        for preset in camera.PRESETS
    ]
    write_atomically(cameras, camera.jpeg(np.concatenate(rows, axis=0), quality=_SMALL_QUALITY))
    yield cameras
    write_atomically(folder / PAGE_NAME, styles_page(said=example.said))
    yield folder / PAGE_NAME


def picture_of(style: Style, *, example: Example, seed: int) -> bytes:
    """A small PNG of a style."""
    # Letters of eight pixels are spaced unevenly; drawn larger and reduced they are not.
    page = _page(style, example=example, seed=seed, px_per_mm=2 * _PICTURE_PX_PER_MM)
    few = (
        Image.fromarray(page.rgb)
        .reduce(2)
        .quantize(_PICTURE_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    )
    written = io.BytesIO()
    few.save(written, "PNG", optimize=True)
    return written.getvalue()


def styles_page(*, said: str) -> str:
    """The text of docs/styles.md: a table of all styles, and each with its picture.

    Args:
        said: what record the pictures show, after "a".
    """
    weights = {name: float(row["weight"]) for name, row in ROWS.items()}
    facts = {name: _facts(name, share=weights[name] / sum(weights.values())) for name in STYLES}
    titles = ["style", *next(iter(facts.values()))]
    table = [titles, ["---"] * len(titles)]
    table += [[f"[{name}](#{name})", *said.values()] for name, said in facts.items()]
    lines = [f"| {' | '.join(line)} |" for line in table]
    sections = [f"## {name}\n\n{_sentence(name)}\n\n![{name}]({PICTURES_NAME}/{name}.png)\n" for name in STYLES]
    foot = _FOOT.format(style=_STYLE_OF_CAMERAS, pictures=PICTURES_NAME, cameras=CAMERAS_NAME)
    return "\n".join([_HEAD.format(said=said), *lines, "", *sections, foot])


def _facts(name: str, *, share: float) -> dict[str, str]:
    style, row = STYLES[name], ROWS[name]
    gain = f"{style.mm_per_mv:g}"
    if style.chest_mm_per_mv is not None:
        gain += f", chest {style.chest_mm_per_mv:g}"
    return {
        "leads": f"{12 // int(row['columns'])} × {row['columns']}",
        "rhythm": row["rhythm"] or "–",
        "s a lead": row["seconds"],
        "mm/s": f"{style.mm_per_s:g}",
        "mm/mV": gain,
        "paper": row["paper"].replace("-", " ").replace("a4", "A4").replace("letter", "Letter"),
        "pulse": row["pulse"] if row["pulse"] != "none" else "–",
        "drawn": f"{share:.0%}" if share else "–",
    }


def _sentence(name: str) -> str:
    style, row = STYLES[name], ROWS[name]
    parts = [
        f"{'Cabrera' if row['order'] == 'cabrera' else 'Standard'} order",
        "columns show the same time" if row["timing"] == "simultaneous" else "",
        "columns follow one another" if row["timing"] == "sequential" and row["columns"] != "1" else "",
        f"rows {style.row_pitch_mm:g} mm apart",
        f"printed at {style.reduction:.0%} of true size" if style.reduction != 1 else "",
        {"above": "names above the traces", "start": "names at the traces", "margin": "names in the margin"}[
            row["names"]
        ],
        {"none": "", "bars": "bars between strips", "gaps": "gaps between strips"}[row["separators"]],
        {"none": "no text", "line": "a line of text", "block": "a block of text"}[row["header"]],
        f"grids: {', '.join(row['grids'].split())}",
    ]
    return "; ".join(part for part in parts if part) + "."


def write_sheets(folder: Path, *, example: Example, seed: int) -> Iterator[Path]:
    """Write a JPEG for each camera preset, and give each path when it is there."""
    for preset in camera.PRESETS:
        rows = [_strip(style, preset=preset, example=example, seed=seed, tile_px=_TILE_PX) for style in STYLES.values()]
        title = f"left as uploaded, right as the model sees it · {example.said} · text is made up · seed {seed}"
        path = folder / SHEETS_NAME / f"{preset}.jpg"
        write_atomically(path, camera.jpeg(titled(rows, title), quality=_SHEET_QUALITY))
        yield path


def _strip(style: Style, *, preset: str, example: Example, seed: int, tile_px: tuple[int, int]) -> Picture:
    page = _page(style, example=example, seed=seed, px_per_mm=_UPLOAD_PX_PER_MM)
    rng = np.random.default_rng([seed, _CAMERA_STREAM, _number(style.name), _number(preset)])
    shot = camera.shoot(page.rgb, preset=preset, rng=rng, px_per_mm=_UPLOAD_PX_PER_MM)
    upload = encode_png(page) if shot.jpeg_quality is None else camera.encode(shot)
    picture = intake.decode(upload)
    taken = intake.normalise(picture, spec=intake.CanonicalSpec())
    captions = [_wrapped(said, width_px=tile_px[0]) for said in (_happened(style, shot), _found(taken))]
    lines = max(len(caption) for caption in captions)
    tiles = [
        tile(shown, "\n".join(caption + [" "] * (lines - len(caption))), width_px=tile_px[0], most_height_px=tile_px[1])
        for shown, caption in zip((picture, taken.canonical), captions, strict=True)
    ]
    return side_by_side(tiles)


def _wrapped(said: str, *, width_px: int) -> list[str]:
    return [part for line in said.splitlines() for part in textwrap.wrap(line, width=width_px // _LETTER_PX)]


def _happened(style: Style, shot: camera.Shot) -> str:
    """What the page is, and what the camera did, in two lines."""
    scales = _scales(style.mm_per_s, style.mm_per_mv, style.chest_mm_per_mv)
    return f"{style.name} · {scales}\n{shot.preset}: {', '.join(shot.effects) or 'as printed'}"


def _found(taken: intake.Intake) -> str:
    """What the intake found, in two lines."""
    scales = _scales(taken.mm_per_s, taken.mm_per_mv, taken.chest_mm_per_mv)
    turned = f"{taken.px_per_mm:.2f} px/mm by its {taken.scale_from} · turned {taken.rotation_deg:+.1f}°"
    return f"{scales} · {turned}\n{', '.join(finding.code for finding in taken.findings) or 'no findings'}"


def _scales(mm_per_s: float | None, mm_per_mv: float | None, chest_mm_per_mv: float | None) -> str:
    speed = "? mm/s" if mm_per_s is None else f"{mm_per_s:g} mm/s"
    gain = "?" if mm_per_mv is None else f"{mm_per_mv:g}"
    return f"{speed} · {gain}{'' if chest_mm_per_mv is None else f', chest {chest_mm_per_mv:g}'} mm/mV"


def _page(style: Style, *, example: Example, seed: int, px_per_mm: float) -> Page:
    """Draw the example with text; `px_per_mm` is of paper."""
    text = draw_text(style, rng=np.random.default_rng([seed, _TEXT_STREAM, _number(style.name)]))
    return draw_page(
        example.signal_mv,
        sampling_hz=example.sampling_hz,
        style=style,
        px_per_mm=px_per_mm * style.reduction,
        text=text,
    )


def _number(name: str) -> int:
    """A style's chance is its own: another row in the table changes no picture of the others."""
    return zlib.crc32(name.encode())
