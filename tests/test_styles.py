"""Pages come in the layouts, scales, papers and grids that hospitals print, and none of it tells the diagnosis."""

import csv
import re
from collections import Counter
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from vizecg.intake import CanonicalSpec
from vizecg.labels import LEADS
from vizecg.page import FIELD_HEIGHT_MM, FIELD_WIDTH_MM, GRIDS, STYLES, draw_page, draw_style, draw_text
from vizecg.page.lettering import PrintedText, font
from vizecg.pages import PageRecipe, draw_upload

ROWS = list(csv.DictReader((files("vizecg.page") / "styles.csv").read_text().splitlines()))
PX_PER_MM = 6.0
DRAWN = [row["name"] for row in ROWS if float(row["weight"]) > 0]


def bare_of_grid(style):
    return replace(style, grid=replace(style.grid, colour=style.paper_colour))


def flat_mv():
    return np.zeros((12, 5000))


def step_mv(lead, at_s=1.0, height_mv=1.0):
    """One lead that jumps to a height and stays there."""
    signal_mv = flat_mv()
    signal_mv[LEADS.index(lead), round(at_s * 500) :] = height_mv
    return signal_mv


def ink_of_traces(signal_mv, style):
    style = bare_of_grid(style)
    without = draw_page(np.full((12, 5000), np.nan), sampling_hz=500, style=style, px_per_mm=PX_PER_MM)
    page = draw_page(signal_mv, sampling_hz=500, style=style, px_per_mm=PX_PER_MM)
    return page, (without.gray.astype(float) - page.gray) / 255


def height_mm(ink, page, key, *, from_left):
    """Height of a lead's line over its baseline at a share of its width, in millimetres."""
    left, top, right, bottom = page.boxes[key]
    column = round(left + from_left * (right - left))
    inside = ink[round(top) : round(bottom), column]
    middle = np.sum((np.arange(inside.size) + 0.5) * inside) / inside.sum() + round(top)
    return ((top + bottom) / 2 - middle) / PX_PER_MM


def test_layouts_scales_papers_and_grids_in_use_are_all_there():
    drawn = [row for row in ROWS if float(row["weight"]) > 0]
    layouts = {(row["columns"], len(row["rhythm"].split())) for row in drawn}
    assert layouts >= {("4", 0), ("4", 1), ("4", 3), ("2", 0), ("2", 1), ("1", 0)}
    for column, wanted in {
        "order": {"standard", "cabrera"},
        "mm_per_s": {"25", "50"},
        "mm_per_mv": {"5", "10", "20"},
        "paper": {"a4-landscape", "a4-portrait", "letter-landscape"},
        "pulse": {"left", "right"},
        "separators": {"bars", "gaps", "none"},
        "timing": {"simultaneous", "sequential"},
        "spelling": {"plain", "upper"},
    }.items():
        assert {row[column] for row in drawn} >= wanted, column
    seen = {grid for row in drawn for grid in row["grids"].split()}
    assert seen == set(GRIDS)
    assert {GRIDS[name].fine for name in seen} == {"lines", "dots", "none"}


def test_what_is_common_in_german_hospitals_is_drawn_often():
    rng = np.random.default_rng(0)
    drawn = [draw_style(rng) for _ in range(1500)]
    fifty = np.mean([style.mm_per_s == 50 for style in drawn])
    two_columns = np.mean([len(style.rows[0]) == 2 for style in drawn])
    assert fifty > 0.15
    assert two_columns > 0.25
    assert set(DRAWN) == {style.name for style in drawn}


@pytest.mark.parametrize("name", STYLES)
def test_every_chart_fits_the_field_that_the_model_sees(name):
    style = STYLES[name]
    assert style.chart_width_mm <= FIELD_WIDTH_MM + 6, "half a pulse may be cut, no trace"
    assert (len(style.rows) - 1) * style.row_pitch_mm + 20 <= FIELD_HEIGHT_MM
    assert style.baseline_mm(0) - 15 > 0
    assert style.baseline_mm(len(style.rows) - 1) + 8 < style.paper_mm[1]
    assert {strip.lead for row in style.rows for strip in row} == set(LEADS)


def test_cabrera_goes_round_the_frontal_plane_and_turns_avr():
    style = STYLES["6x2-cabrera"]
    assert [row[0].name for row in style.rows] == ["aVL", "I", "-aVR", "II", "aVF", "III"]
    page, ink = ink_of_traces(step_mv("aVR"), style)
    assert height_mm(ink, page, "aVR", from_left=0.7) == pytest.approx(-10, abs=0.1)


@pytest.mark.parametrize(
    ("name", "lead", "expected_mm"),
    [
        ("3x4-split-gain", "I", 10),
        ("3x4-split-gain", "V2", 5),
        ("3x4-low-gain", "V2", 5),
        ("3x4-high-gain", "I", 20),
        ("6x2-50mm", "III", 10),
    ],
)
def test_a_millivolt_is_as_tall_as_the_style_says(name, lead, expected_mm):
    page, ink = ink_of_traces(step_mv(lead, at_s=0.1, height_mv=0.7), STYLES[name])
    assert height_mm(ink, page, lead, from_left=0.8) == pytest.approx(0.7 * expected_mm, abs=0.1)
    stated = {placed.strip.key: placed.mm_per_mv for placed in page.strips}
    assert stated[lead] == expected_mm


@pytest.mark.parametrize(("name", "expected_mm"), [("6x2", 25), ("6x2-50mm", 50)])
def test_a_second_is_as_long_as_the_style_says(name, expected_mm):
    signal_mv = flat_mv()
    signal_mv[0, 250], signal_mv[0, 750] = 3.0, 3.0  # two spikes in lead I, one second apart
    page, ink = ink_of_traces(signal_mv, STYLES[name])
    left, top, right, bottom = (round(edge) for edge in page.boxes["I"])
    across = ink[top : (top + bottom) // 2 - 12, left:right].sum(0)
    half = round((250 / 500 + 0.5) * expected_mm * PX_PER_MM)
    first, second = (np.sum(np.arange(part.size) * part) / part.sum() for part in (across[:half], across[half:]))
    assert half + second - first == pytest.approx(expected_mm * PX_PER_MM, abs=0.5)


def test_simultaneous_columns_show_the_same_second():
    simultaneous, sequential = STYLES["3x4-rhythm-simultaneous"], STYLES["3x4-rhythm"]
    assert {strip.start_s for row in simultaneous.rows for strip in row} == {0.0}
    assert [strip.start_s for strip in sequential.rows[0]] == [0.0, 2.5, 5.0, 7.5]


def strength_of_grid(grid, *, at_mm):
    """Darkness of an empty page of the standard style at a distance from where its grid is anchored."""
    style = replace(STYLES["standard"], grid=replace(GRIDS[grid], margin_mm=4.0))
    page = draw_page(np.full((12, 5000), np.nan), sampling_hz=500, style=style, px_per_mm=10)
    x_mm, y_mm = style.trace_left_mm + 100 + at_mm[0], style.baseline_mm(0) + 15 + at_mm[1]
    return 255 - int(page.rgb[round(y_mm * 10), round(x_mm * 10)].min())


@pytest.mark.parametrize(
    ("grid", "marked", "clear"),
    [
        ("pink", [(0, 0), (0, 2.5), (2.5, 0), (1, 1.5), (1.5, 1)], [(1.5, 1.5), (2.5, 2.5)]),
        ("salmon-dots", [(0, 0), (2.5, 0), (1, 1), (2, 3)], [(1.5, 1), (1, 1.5), (2.5, 2.5)]),
        ("red-majors", [(0, 0), (0, 2.5), (2.5, 0)], [(1, 1), (1, 1.5), (2, 2.5)]),
        ("none", [], [(0, 0), (2.5, 0), (1, 1), (1.5, 1)]),
    ],
)
def test_grids_are_lines_dots_majors_or_nothing(grid, marked, clear):
    assert all(strength_of_grid(grid, at_mm=at_mm) > 20 for at_mm in marked)
    assert all(strength_of_grid(grid, at_mm=at_mm) == 0 for at_mm in clear)


def test_a_reduced_print_fills_its_sheet_and_says_how_much_smaller_it_is():
    style = STYLES["3x4-reduced-portrait"]
    page = draw_page(flat_mv(), sampling_hz=500, style=style, px_per_mm=10 * style.reduction)
    assert page.index.shape == (2970, 2100), "A4 at 10 px for a millimetre of paper"
    assert page.px_per_mm == pytest.approx(7.6), "a small square is 0.76 mm of that paper"


def test_the_pulse_stands_right_left_or_nowhere():
    def share_of_ink(name, between):
        style = bare_of_grid(STYLES[name])
        page = draw_page(np.full((12, 5000), np.nan), sampling_hz=500, style=style, px_per_mm=PX_PER_MM)
        top, bottom = (round((style.baseline_mm(0) - mm) * PX_PER_MM) for mm in (10.5, 9.5))
        left, right = (round(edge * PX_PER_MM) for edge in between(style))
        return float((page.gray[top:bottom, left:right] < 128).any(0).mean())

    def at_left(style):
        return (style.chart_left_mm, style.chart_left_mm + 5)

    def at_right(style):
        return (style.trace_left_mm + style.trace_width_mm + 1, style.trace_left_mm + style.trace_width_mm + 6)

    assert share_of_ink("3x4", at_left) > 0.9
    assert share_of_ink("3x4-three-rhythms", at_right) > 0.9
    assert share_of_ink("3x4-plain-paper", at_left) < 0.1


def test_the_pulse_of_split_gain_has_a_step_for_each():
    style = bare_of_grid(STYLES["3x4-split-gain"])
    page = draw_page(np.full((12, 5000), np.nan), sampling_hz=500, style=style, px_per_mm=PX_PER_MM)
    tops = [
        (style.baseline_mm(0) - np.flatnonzero(page.gray[:, round(mm * PX_PER_MM)] < 128)[0] / PX_PER_MM)
        for mm in (style.pulse_left_mm + 1.2, style.pulse_left_mm + 3.7)
    ]
    assert tops == pytest.approx([10, 5], abs=0.35)


def test_strips_are_parted_by_bars_or_gaps():
    def ink_at_the_border(name, above_mm):
        style = bare_of_grid(STYLES[name])
        page = draw_page(flat_mv(), sampling_hz=500, style=style, px_per_mm=PX_PER_MM)
        border_px, baseline_px = page.boxes["I"][2], (page.boxes["I"][1] + page.boxes["I"][3]) / 2
        return page.gray[
            round(baseline_px - above_mm * PX_PER_MM), round(border_px - 0.5 * PX_PER_MM) : round(border_px) + 2
        ]

    assert ink_at_the_border("3x4", 2.5).min() < 60, "a bar reaches above the line"
    assert ink_at_the_border("3x4-rhythm", 2.5).min() == 255
    assert ink_at_the_border("3x4-rhythm", 0.0).max() < 120, "one line from lead to lead"
    assert ink_at_the_border("3x4-rhythm-v1", 0.0).max() == 255, "the pen is up"


@pytest.mark.parametrize("name", DRAWN)
def test_printed_text_leaves_the_chart_free(name):
    style = STYLES[name]
    text = draw_text(style, rng=np.random.default_rng(1))
    page = draw_page(flat_mv(), sampling_hz=500, style=style, px_per_mm=3, text=text)
    silent = draw_page(flat_mv(), sampling_hz=500, style=style, px_per_mm=3)
    rows = np.flatnonzero((page.index != silent.index).any(1)) / 3
    assert rows.size, "a machine prints something"
    first_mm, last_mm = style.baseline_mm(0) - 12, style.baseline_mm(len(style.rows) - 1) + 5
    assert not ((rows > first_mm) & (rows < last_mm)).any()


@pytest.mark.parametrize("name", STYLES)
def test_no_line_of_the_grids_edge_runs_through_text(name):
    style = replace(STYLES[name], grid=replace(STYLES[name].grid, colour=(255, 0, 0), coarse_width_mm=0.25))
    text = draw_text(style, rng=np.random.default_rng(1))
    page = draw_page(flat_mv(), sampling_hz=500, style=style, px_per_mm=PX_PER_MM, text=text)
    red = (page.rgb[:, :, 0] > 200) & (page.rgb[:, :, 1] < 120)
    across = np.flatnonzero(red.mean(axis=1) > 0.6)  # coarse lines across the page
    dark = page.rgb.max(axis=2) < 100
    for edge in (across[0], across[-1]):
        assert not dark[edge - round(0.8 * PX_PER_MM) : edge + round(0.8 * PX_PER_MM)].any()


def test_a_grid_ends_with_the_chart_or_with_the_paper():
    for name, grid_mm in {"3x4-reduced-portrait": (49.4, 184.4), "6x2-portrait": (8.5, 288.5)}.items():
        style = STYLES[name]
        page = draw_page(np.full((12, 5000), np.nan), sampling_hz=500, style=style, px_per_mm=PX_PER_MM)
        coloured = np.flatnonzero((np.ptp(page.rgb, axis=2) > 30).mean(axis=1) > 0.5) / PX_PER_MM
        assert (coloured[0], coloured[-1]) == pytest.approx(grid_mm, abs=0.3), name


@pytest.mark.parametrize("name", STYLES)
def test_rows_said_to_be_without_ink_are_the_sheets_own(name):
    style, rng = STYLES[name], np.random.default_rng(5)
    signal_mv = rng.normal(0, 1.5, (12, 1)) + np.sin(np.arange(5000) / 40) * rng.uniform(0.1, 3, (12, 1))
    signal_mv[:, 700:900] = np.nan
    text = draw_text(style, rng=rng)
    page = draw_page(signal_mv, sampling_hz=500, style=style, px_per_mm=PX_PER_MM, text=text)
    differ = (page.index != page.sheet.index).any(axis=1)
    assert not (differ & ~page.inked).any()
    assert (page.inked & ~differ).mean() < 0.05, "and hardly any other is packed anew"
    np.testing.assert_array_equal(page.gray, page.sheet.shades[page.index])
    with pytest.raises(ValueError, match="read-only"):
        page.index[0, 0] = 0


def test_text_is_of_the_page_and_not_of_the_record():
    recipe = PageRecipe(style="drawn", camera="clean", copies=2, upload_px_per_mm=3.0, seed=7, spec=CanonicalSpec())
    texts = [draw_text(STYLES["3x4"], rng=np.random.default_rng([7, 3, ecg_id, 1])) for ecg_id in range(300)]
    said = Counter(statement for text in texts for statement in text.columns[2])
    assert min(said.values()) > 20, "every statement stands on many pages, whatever the record"
    flat, waving = flat_mv(), np.sin(np.arange(5000) / 40)[None, :] * np.ones((12, 1))
    uploads = [draw_upload(mv, sampling_hz=500, ecg_id=5, copy=1, recipe=recipe) for mv in (flat, waving)]
    assert uploads[0].style == uploads[1].style
    assert uploads[0].strips == uploads[1].strips


@pytest.mark.parametrize("face", ["sans", "mono"])
@pytest.mark.parametrize("name", [row["name"] for row in ROWS if row["names"] == "margin"])
def test_names_in_the_margin_end_before_pulse_and_trace(name, face):
    style = STYLES[name]
    letters = font(face, style.lettering.height_mm * 10)
    start_mm = style.trace_left_mm + style.lettering.right_mm
    ends_mm = [start_mm + letters.getlength(row[0].name) / 10 for row in style.rows]
    assert start_mm > 5, "within what printers reach"
    assert max(ends_mm) < min(style.pulse_left_mm, style.trace_left_mm) - 0.3


def test_made_up_text_does_not_contradict_itself():
    for seed in range(300):
        patient, numbers, statements = draw_text(STYLES["3x4"], rng=np.random.default_rng(seed)).columns
        per_minute, measured_ms, corrected_ms = (
            int(number) for number in re.findall(r"(?:rate |QTc |/)(\d+)", " ".join(numbers))
        )
        assert corrected_ms == pytest.approx(measured_ms * (per_minute / 60) ** 0.5, abs=1), "Bazett 1920"
        assert ("Sinus bradycardia" in statements) <= (per_minute < 60)
        assert ("Sinus tachycardia" in statements) <= (per_minute > 100)
        said = " ".join(statements)
        assert sum(said.count(word) for word in ("Sinus", "fibrillation")) == 1
        assert sum(said.count(word) for word in ("Normal ECG", "Abnormal ECG", "Borderline ECG")) == 1
        assert ("Normal ECG" in statements) <= (len(statements) == 2)
        assert said.count("bundle branch") < 2
        assert ("PR interval *" in numbers[1]) == ("Atrial fibrillation" in statements) <= ("AV block" not in said)
        if "Atrial fibrillation" not in statements:
            assert (int(re.findall(r"\d+", numbers[1])[0]) > 200) == ("AV block" in said)
        assert (int(re.findall(r"\d+", numbers[2])[0]) >= 120) == ("bundle branch" in said)
        if "Fatma" in patient[0] or "Lars" in patient[0]:
            assert (patient[1].split()[-1][0] == "F") == ("Fatma" in patient[0])


def test_copies_differ_and_the_first_is_the_standard_page():
    recipe = PageRecipe(style="drawn", camera="clean", copies=12, upload_px_per_mm=3.0, seed=7, spec=CanonicalSpec())
    styles = [draw_upload(flat_mv(), sampling_hz=500, ecg_id=5, copy=copy, recipe=recipe).style for copy in range(12)]
    assert styles[0] == "standard"
    assert len(set(styles)) > 5
    again = [draw_upload(flat_mv(), sampling_hz=500, ecg_id=5, copy=copy, recipe=recipe) for copy in (3, 3)]
    assert again[0].data == again[1].data
    other = replace(recipe, seed=8)
    assert styles != [draw_upload(flat_mv(), sampling_hz=500, ecg_id=5, copy=c, recipe=other).style for c in range(12)]


def test_no_text_is_printed_where_none_is_asked_for():
    assert draw_text(STYLES["standard"], rng=np.random.default_rng(0)) == PrintedText()
