"""Pages are true to scale, look as printed, and are the same every time."""

import io
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image
from scipy.signal import resample_poly

from vizecg.labels import LEADS
from vizecg.page import (
    FIELD_HEIGHT_MM,
    FIELD_WIDTH_MM,
    STANDARD,
    STYLES,
    draw_page,
    encode_jpeg,
    encode_png,
    style_named,
)
from vizecg.page.scale import PaperScale
from vizecg.page.style import Strip

NO_GRID = replace(STANDARD, grid=replace(STANDARD.grid, colour=(255, 255, 255)))
ANY_SCALE = [2.0, 3.3, 6.0, 10.0]


def flat_mv(seconds=10.0, sampling_hz=500.0):
    return np.zeros((12, round(seconds * sampling_hz)))


def beats_mv(sampling_hz=500.0, seconds=10.0, height_mv=1.0):
    """QRS-like spikes of 1 mV and 25 ms standard deviation, one a second at .5 s, and T waves."""
    t = np.arange(round(seconds * sampling_hz)) / sampling_hz
    phase = t % 1.0
    wave = np.exp(-0.5 * ((phase - 0.5) / 0.025) ** 2) + 0.25 * np.exp(-0.5 * ((phase - 0.8) / 0.05) ** 2)
    return np.tile(height_mv * wave, (12, 1))


def bare(style, px_per_mm):
    """The page before the traces: what is left after subtracting it is ink of traces."""
    return draw_page(np.full((12, 5000), np.nan), sampling_hz=500, style=style, px_per_mm=px_per_mm).gray


def trace_ink(signal_mv, *, sampling_hz=500.0, style=NO_GRID, px_per_mm):
    page = draw_page(signal_mv, sampling_hz=sampling_hz, style=style, px_per_mm=px_per_mm)
    return page, (bare(style, px_per_mm).astype(float) - page.gray) / 255


def centre_px(coverage):
    """Middle of the ink along an axis, in pixels from the image's edge."""
    return float(np.sum((np.arange(coverage.size) + 0.5) * coverage) / coverage.sum())


def box_of(page, key):
    return tuple(round(edge) for edge in page.boxes[key])


@pytest.mark.parametrize("px_per_mm", ANY_SCALE)
def test_one_millivolt_is_ten_millimetres_to_a_tenth_of_a_pixel(px_per_mm):
    signal_mv = flat_mv()
    _, at_zero = trace_ink(signal_mv, px_per_mm=px_per_mm)
    page, at_one = trace_ink(signal_mv + 1.0, px_per_mm=px_per_mm)
    left, _, right, _ = box_of(page, "V5")
    column = slice((left + right) // 2, (left + right) // 2 + 1)
    rows = slice(round(70 * px_per_mm), round(99 * px_per_mm))  # the second row stands at 89 mm of 210
    rise_px = centre_px(at_zero[rows, column].sum(1)) - centre_px(at_one[rows, column].sum(1))
    assert rise_px == pytest.approx(10 * px_per_mm, abs=0.1)


@pytest.mark.parametrize("px_per_mm", ANY_SCALE)
def test_one_second_is_twenty_five_millimetres_to_a_tenth_of_a_pixel(px_per_mm):
    page, ink = trace_ink(beats_mv(), px_per_mm=px_per_mm)
    left, _, _, _ = page.boxes["II rhythm"]
    baseline_px = (105 + 1.5 * 32) * px_per_mm
    above = slice(round(baseline_px - 9 * px_per_mm), round(baseline_px - 6 * px_per_mm))
    profile = ink[above].sum(0)
    for second in range(10):
        expected_px = left + (second + 0.5) * 25 * px_per_mm
        near = slice(round(expected_px - 5 * px_per_mm), round(expected_px + 5 * px_per_mm))
        assert near.start + centre_px(profile[near]) == pytest.approx(expected_px, abs=0.1)


@pytest.mark.parametrize("dpi", [72, 96, 100, 150, 200, 300, 600])
def test_the_ruler_holds_at_every_resolution(dpi):
    px_per_mm = dpi / 25.4
    signal_mv = beats_mv()
    signal_mv[LEADS.index("V5")] = 1.0
    ink = (255 - draw_page(signal_mv, sampling_hz=500, style=NO_GRID, px_per_mm=px_per_mm).gray) / np.float32(255)

    def centre_mm(row_mm, column_mm, axis):
        """Middle of the ink along an axis, within some millimetres of the page."""
        (top, foot), (left, right) = ([round(end * px_per_mm) for end in ends] for ends in (row_mm, column_mm))
        return ((top, left)[axis] + centre_px(ink[top:foot, left:right].sum(1 - axis))) / px_per_mm

    # V5 is the last 62.5 mm of the second row, which stands at 89 mm; traces begin 26.5 mm from the left.
    height_mm = 89 - centre_mm((72, 86), (26.5 + 200, 26.5 + 240), axis=0)
    assert height_mm == pytest.approx(10, abs=0.1 / px_per_mm)
    beats_at_mm = [centre_mm((144, 147), (26.5 + at - 5, 26.5 + at + 5), axis=1) for at in (12.5, 37.5, 237.5)]
    assert beats_at_mm[1] - beats_at_mm[0] == pytest.approx(25, abs=0.1 / px_per_mm)
    assert beats_at_mm[2] - beats_at_mm[0] == pytest.approx(225, abs=0.1 / px_per_mm)


def test_same_heartbeat_at_two_sampling_rates_lands_on_the_same_pixels():
    fine = draw_page(beats_mv(500.0), sampling_hz=500, px_per_mm=4).gray.astype(float)
    coarse = draw_page(beats_mv(100.0), sampling_hz=100, px_per_mm=4).gray.astype(float)
    # The last 8 ms exist at 500 Hz only.
    assert 10 * np.log10(255**2 / np.mean((fine - coarse) ** 2)) > 45


@pytest.mark.parametrize("px_per_mm", ANY_SCALE)
def test_calibration_pulse_is_five_by_ten_millimetres(px_per_mm):
    ink = (255 - bare(NO_GRID, px_per_mm).astype(float)) / 255
    left_px, baseline_px = 20.5 * px_per_mm, (105 - 1.5 * 32) * px_per_mm  # 297 - 256 mm, halved; first of four rows
    rows = slice(round(baseline_px - 8 * px_per_mm), round(baseline_px - 3 * px_per_mm))
    flanks = ink[rows].mean(0)
    middle = round(left_px + 2.5 * px_per_mm)
    first = round(left_px - 2 * px_per_mm)
    upward_px = first + centre_px(flanks[first:middle])
    downward_px = middle + centre_px(flanks[middle : round(left_px + 5.9 * px_per_mm)])
    top_rows = slice(round(baseline_px - 12 * px_per_mm), round(baseline_px - 8 * px_per_mm))
    top_px = top_rows.start + centre_px(ink[top_rows, middle])
    assert downward_px - upward_px == pytest.approx(5 * px_per_mm, abs=0.1)
    assert baseline_px - top_px == pytest.approx(10 * px_per_mm, abs=0.1)


@pytest.mark.parametrize("px_per_mm", [4.0, 7.3])
def test_grid_lines_stand_one_and_five_millimetres_apart(px_per_mm):
    page = bare(STANDARD, px_per_mm).astype(float)
    strip = 255 - page[round(180 * px_per_mm) : round(184 * px_per_mm), round(30 * px_per_mm) : round(270 * px_per_mm)]
    spectrum = np.abs(np.fft.rfft(strip.mean(0) - strip.mean(), n=1 << 18))
    per_mm = np.fft.rfftfreq(1 << 18, d=1 / px_per_mm)
    for expected in (1 / 5, 1.0):
        near = np.flatnonzero(np.abs(per_mm - expected) < 0.03)
        assert per_mm[near[np.argmax(spectrum[near])]] == pytest.approx(expected, rel=2e-3)


def printed_by_matplotlib(signal_mv, *, sampling_hz, px_per_mm, times):
    """The traces alone, by another program at several times the size, reduced by area."""
    width, height = round(297 * px_per_mm), round(210 * px_per_mm)
    figure = Figure(figsize=(width * times / 100, height * times / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width / px_per_mm), ylim=(height / px_per_mm, 0))
    axes.axis("off")
    t = np.arange(signal_mv.shape[1] * 8) / sampling_hz / 8
    for row, baseline_mm in enumerate((57, 89, 121, 153)):
        strips = [("II", 0, 10)] if row == 3 else [(LEADS[row + 3 * k], 2.5 * k, 2.5) for k in range(4)]
        for lead, start_s, duration_s in strips:
            padded = np.pad(signal_mv[LEADS.index(lead)], 50, mode="edge")
            fine_mv = resample_poly(padded, 8, 1)[400:-400]
            shown = (t >= start_s) & (t <= start_s + duration_s) & (t <= (signal_mv.shape[1] - 1) / sampling_hz)
            (line,) = axes.plot(
                26.5 + t[shown] * 25,
                baseline_mm - fine_mv[shown] * 10,
                color="black",
                linewidth=0.35 * px_per_mm * times * 0.72,
                solid_joinstyle="round",
                solid_capstyle="butt",
            )
            line.get_path().should_simplify = False
    canvas.draw()
    large = np.asarray(canvas.buffer_rgba())[:, :, 0].astype(float)
    return large.reshape(height, times, width, times).mean((1, 3))


def grid_by_matplotlib(axes, style, *, points_per_mm):
    """Lines of one and five millimetres that pass through the origin of the first trace, as far as the margins let."""
    grid = style.grid
    ends = []
    for anchor_mm, side_mm in zip((style.trace_left_mm, style.baseline_mm(0)), style.paper_mm, strict=True):
        before, after = ((room_mm - grid.margin_mm) // 5 for room_mm in (anchor_mm, side_mm - anchor_mm))
        ends.append((anchor_mm - before * 5, anchor_mm + after * 5))
    (left, right), (top, foot) = ends
    for pitch_mm, width_mm, strength in ((1, grid.fine_width_mm, grid.fine_strength), (5, grid.coarse_width_mm, 1)):
        half_mm = width_mm / 2
        across, down = np.arange(left, right + 0.1, pitch_mm), np.arange(top, foot + 0.1, pitch_mm)
        lines = [[(x, top - half_mm), (x, foot + half_mm)] for x in across]
        lines += [[(left - half_mm, y), (right + half_mm, y)] for y in down]
        colour = 1 - strength * (1 - np.array(grid.colour) / 255)
        axes.add_collection(LineCollection(lines, colors=[colour], linewidths=width_mm * points_per_mm, snap=False))


@pytest.mark.parametrize(
    ("paper_mm", "size_px", "least_db"),
    [
        pytest.param((266.0, 266.0), (512, 512), 40, id="512x512"),
        pytest.param((279.4, 215.9), (2200, 1700), 48, id="letter-at-200-dpi"),
    ],
)
def test_a_whole_page_is_that_of_a_four_times_larger_one_reduced_by_area(paper_mm, size_px, least_db):
    style = replace(STANDARD, paper_mm=paper_mm)
    signal_mv = beats_mv() * np.linspace(-1.5, 2.0, 12)[:, None]
    px_per_mm = size_px[0] / paper_mm[0]
    figure = Figure(figsize=(size_px[0] * 4 / 100, size_px[1] * 4 / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, paper_mm[0]), ylim=(paper_mm[1], 0))
    axes.axis("off")
    points_per_mm = px_per_mm * 4 * 0.72
    grid_by_matplotlib(axes, style, points_per_mm=points_per_mm)
    for row in range(4):
        strips = [("II", 0, 10)] if row == 3 else [(LEADS[row + 3 * k], 2.5 * k, 2.5) for k in range(4)]
        for lead, start_s, duration_s in strips:
            shown = slice(round(start_s * 500), round((start_s + duration_s) * 500) + 1)
            down_mm = style.baseline_mm(row) - signal_mv[LEADS.index(lead), shown] * 10
            across_mm = style.trace_left_mm + (start_s + np.arange(down_mm.size) / 500) * 25
            (line,) = axes.plot(across_mm, down_mm, color="black", linewidth=0.35 * points_per_mm)
            line.set(solid_capstyle="round", solid_joinstyle="round")
            line.get_path().should_simplify = False
    canvas.draw()
    large = cv2.cvtColor(np.asarray(canvas.buffer_rgba()), cv2.COLOR_RGBA2GRAY)
    expected = cv2.resize(large.astype(np.float32), size_px, interpolation=cv2.INTER_AREA)
    drawn = draw_page(signal_mv, sampling_hz=500, style=style, px_per_mm=px_per_mm).gray
    lettering = bare(replace(style, grid=NO_GRID.grid), px_per_mm) < 255
    error = (drawn - expected)[~lettering]
    assert 10 * np.log10(255**2 / np.mean(error**2)) > least_db


@pytest.mark.parametrize("px_per_mm", [1.5, 4.0])
def test_strokes_are_those_of_an_eight_times_larger_page_reduced_by_area(px_per_mm):
    signal_mv = beats_mv() * np.linspace(-1.5, 2.0, 12)[:, None]
    signal_mv += np.random.default_rng(0).normal(0, 0.01, signal_mv.shape)
    expected = printed_by_matplotlib(signal_mv, sampling_hz=500, px_per_mm=px_per_mm, times=8)
    drawn = draw_page(signal_mv, sampling_hz=500, style=NO_GRID, px_per_mm=px_per_mm).gray.astype(float)
    unprinted = bare(NO_GRID, px_per_mm) == 255
    error = np.where(unprinted, drawn - expected, 0)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 45


def test_a_missing_stretch_breaks_the_line_and_is_not_bridged():
    signal_mv = flat_mv()
    signal_mv[1, 2000:2500] = np.nan  # lead II from 4 s to 5 s
    page, ink = trace_ink(signal_mv, px_per_mm=4)
    left, top, right, bottom = box_of(page, "II rhythm")
    inked = ink[top:bottom, left:right].max(0) > 0.1
    seconds = (np.arange(right - left) + 0.5) / (25 * 4)
    assert not inked[(seconds > 4.02) & (seconds < 4.98)].any()
    assert inked[(seconds < 3.98) | ((seconds > 5.02) & (seconds < 9.98))].all()


def test_a_record_shorter_than_the_page_ends_early():
    page, ink = trace_ink(flat_mv(seconds=4.0), px_per_mm=4)
    inked_px = np.flatnonzero(ink.max(0) > 0.1)
    assert inked_px.max() == pytest.approx(page.boxes["II rhythm"][0] + 4.0 * 100, abs=2)


def test_a_tall_trace_runs_over_its_neighbours_row_and_not_off_it():
    signal_mv = flat_mv()
    signal_mv[LEADS.index("V2"), 3000:3020] = 4.0  # 40 mm up from the second row, 8 mm above the first one's baseline
    _, ink = trace_ink(signal_mv, px_per_mm=4)
    assert ink[((89 - 39) * 4) : ((89 - 37) * 4)].sum() > 1


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_every_strip_has_its_name_and_a_box_of_its_duration(style):
    page = draw_page(flat_mv(), sampling_hz=500, style=replace(style, grid=NO_GRID.grid), px_per_mm=6)
    assert set(page.boxes) == {strip.key for row in style.rows for strip in row}
    lettering = style.lettering
    for row in style.rows:
        for strip in row:
            left, top, right, bottom = page.boxes[strip.key]
            assert right - left == pytest.approx(strip.duration_s * style.mm_per_s * 6)
            x = round(left + lettering.right_mm * 6)
            foot = round((top + bottom) / 2 - lettering.above_mm * 6)
            name = page.gray[foot - round(lettering.height_mm * 6) : foot, x : x + (2 * 6)]
            assert (name < 128).sum() > 20, strip.key


def test_standard_page_is_a4_with_the_fields_rows_where_the_contract_has_them():
    page = draw_page(flat_mv(), sampling_hz=500, px_per_mm=5)
    assert page.gray.shape == (1050, 1485)
    assert (page.mm_per_s, page.mm_per_mv, page.px_per_mm) == (25, 10, 5)
    field_left_mm, field_top_mm = (297 - FIELD_WIDTH_MM) / 2, (210 - FIELD_HEIGHT_MM) / 2
    assert STANDARD.chart_left_mm == field_left_mm
    assert [STANDARD.baseline_mm(row) - field_top_mm for row in range(4)] == [48, 80, 112, 144]
    assert style_named("standard-12x1").chart_width_mm == FIELD_WIDTH_MM


def test_columns_follow_one_another_in_time():
    shown = {strip.key: (strip.lead, strip.start_s, strip.duration_s) for row in STANDARD.rows for strip in row}
    assert shown["III"] == ("III", 0.0, 2.5)
    assert shown["aVR"] == ("aVR", 2.5, 2.5)
    assert shown["V6"] == ("V6", 7.5, 2.5)
    assert shown["II rhythm"] == ("II", 0.0, 10.0)


def test_png_holds_the_page_and_its_resolution():
    page = draw_page(beats_mv(), sampling_hz=500, px_per_mm=8)
    with Image.open(io.BytesIO(encode_png(page))) as image:
        assert image.info["dpi"] == pytest.approx((8 * 25.4, 8 * 25.4), rel=1e-3)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), page.rgb)


def test_jpeg_holds_the_page():
    page = draw_page(beats_mv(), sampling_hz=500, px_per_mm=4)
    with Image.open(io.BytesIO(encode_jpeg(page, quality=95))) as image:
        assert np.abs(np.asarray(image).astype(int) - page.rgb).mean() < 3


def test_gray_is_the_luma_of_the_colours():
    page = draw_page(beats_mv(), sampling_hz=500, px_per_mm=3)
    assert np.abs(page.gray.astype(int) - np.asarray(Image.fromarray(page.rgb).convert("L"))).max() <= 1


def test_grid_is_pink_and_ink_is_black():
    page = draw_page(beats_mv(), sampling_hz=500, px_per_mm=8)
    assert page.rgb.reshape(-1, 3).min(0).tolist() == [0, 0, 0]
    coarse_line = page.rgb[(187 * 8), (100 * 8)]  # 26 coarse squares below the first row's 57 mm
    assert coarse_line[0] > coarse_line[1] + 50


def test_same_record_gives_the_same_bytes_and_does_not_mark_the_sheet():
    first = encode_png(draw_page(beats_mv(), sampling_hz=500, px_per_mm=3))
    draw_page(flat_mv(), sampling_hz=500, px_per_mm=3)
    assert encode_png(draw_page(beats_mv(), sampling_hz=500, px_per_mm=3)) == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal_mv": np.zeros((8, 5000))}, r"signal_mv must be \(12, samples\), got shape \(8, 5000\)"),
        ({"signal_mv": np.zeros(5000)}, r"signal_mv must be \(12, samples\), got shape \(5000,\)"),
        ({"sampling_hz": 0.0}, "sampling_hz must be finite and above 0, got 0.0"),
        ({"px_per_mm": float("nan")}, "px_per_mm must be finite and above 0, got nan"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        draw_page(**({"signal_mv": flat_mv(), "sampling_hz": 500.0, "px_per_mm": 4.0} | change))


@pytest.mark.parametrize("field", [field.name for field in fields(PaperScale)])
@pytest.mark.parametrize("value", [0.0, -25.0, float("nan"), float("inf")])
def test_paper_that_cannot_be_drawn_is_refused(field, value):
    with pytest.raises(ValueError, match=rf"PaperScale\.{field} must be finite and above 0"):
        PaperScale(**{field: value})


def test_a_style_that_does_not_fit_its_paper_is_refused():
    with pytest.raises(ValueError, match="'standard' needs 256 × 128 mm, its paper has 210 × 297 mm"):
        replace(STANDARD, paper_mm=(210.0, 297.0))


def test_a_strip_under_a_used_key_is_refused():
    with pytest.raises(ValueError, match="prints a strip twice under one key"):
        replace(STANDARD, rows=(*STANDARD.rows, STANDARD.rows[0]))


def test_an_unknown_lead_is_refused():
    with pytest.raises(ValueError, match=r"Strip\.lead must be one of .* got 'V7'"):
        Strip(lead="V7", start_s=0.0, duration_s=2.5, key="V7")


def test_an_unknown_style_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown page style '5x5'; known: \['12x1', .*'standard', 'standard-12x1'\]"):
        style_named("5x5")


@pytest.mark.real
def test_real_records_print_like_matplotlib_prints_them(real_ptbxl):
    wfdb = pytest.importorskip("wfdb")
    for header in sorted(real_ptbxl.glob("records500/*/*_hr.hea"))[:3]:
        signal_mv = wfdb.rdrecord(str(header.with_suffix(""))).p_signal.T
        expected = printed_by_matplotlib(signal_mv, sampling_hz=500, px_per_mm=2.0, times=8)
        drawn = draw_page(signal_mv, sampling_hz=500, style=NO_GRID, px_per_mm=2.0).gray.astype(float)
        error = np.where(bare(NO_GRID, 2.0) == 255, drawn - expected, 0)
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 43
