"""Whatever way a page arrives, the model sees the same; what is no ECG page is refused, and files that lie too."""

import io
import struct
import zlib
from functools import cache, lru_cache

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from vizecg import camera, intake
from vizecg.errors import InputError
from vizecg.intake import CanonicalSpec, DecodeLimits, ImageTooLarge, UnreadableImage, UnsupportedImage
from vizecg.intake.traces import read_traces
from vizecg.labels import LEADS
from vizecg.page import FIELD_HEIGHT_MM, FIELD_WIDTH_MM, STYLES, draw_page, encode_jpeg, encode_png

SPEC = CanonicalSpec()
LOOSE_PX = 1.5  # a millimetre of paper

# Amplitudes of P, Q, R, S and T in mV, roughly a healthy adult's.
WAVES_MV = {
    "I": (0.08, -0.05, 0.7, -0.1, 0.2),
    "II": (0.15, -0.05, 1.1, -0.15, 0.3),
    "V1": (0.05, 0.0, 0.25, -1.0, -0.05),
    "V2": (0.08, 0.0, 0.4, -1.6, 0.4),
    "V3": (0.08, 0.0, 0.8, -1.0, 0.45),
    "V4": (0.08, -0.05, 1.6, -0.5, 0.4),
    "V5": (0.08, -0.1, 1.5, -0.2, 0.3),
    "V6": (0.08, -0.1, 1.1, -0.05, 0.25),
}
PEAKS_S = np.array([-0.16, -0.03, 0.0, 0.03, 0.28])
WIDTHS_S = np.array([0.022, 0.009, 0.011, 0.011, 0.05])


def record_mv(seed=0, rate_hz=1.2, noise_mv=0.012):
    """(12, 5000) at 500 Hz: sums of Gaussians, limb leads related as Einthoven and Goldberger have it."""
    rng = np.random.default_rng(seed)
    t = np.arange(5000) / 500
    beats_s = np.arange(rng.uniform(0.1, 0.6), 11, 1 / rate_hz)
    beats_s += rng.normal(0, 0.01, beats_s.size)
    waves = np.zeros((5, t.size))
    for beat_s in beats_s:
        waves += np.exp(-0.5 * ((t - beat_s - PEAKS_S[:, None]) / WIDTHS_S[:, None]) ** 2)
    leads = {lead: np.array(amplitudes) @ waves for lead, amplitudes in WAVES_MV.items()}
    one, two = leads["I"], leads["II"]
    leads |= {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    return np.stack([leads[lead] for lead in LEADS]) + rng.normal(0, noise_mv, (12, t.size))


@lru_cache(maxsize=32)  # all would be gigabytes
def page(px_per_mm=6.0, style="standard", seed=0):
    return draw_page(record_mv(seed), sampling_hz=500, style=STYLES[style], px_per_mm=px_per_mm)


@cache
def reference():
    return intake.normalise(page(12.0).rgb, spec=SPEC)


def png(image, **options):
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, "PNG", **options)
    return out.getvalue()


def jpeg(image, **options):
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", **options)
    return out.getvalue()


def tiff(image, *, more=(), **options):
    out = io.BytesIO()
    others = [Image.fromarray(one) for one in more]
    first = image if isinstance(image, Image.Image) else Image.fromarray(image)
    first.save(out, "TIFF", compression="tiff_lzw", save_all=bool(others), append_images=others, **options)
    return out.getvalue()


def as_file(pixels, format_of_file):
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, format_of_file)
    return out.getvalue()


def pdf(image, *, more=()):
    """As a scanner sends it: A4, the picture as JPEG, from edge to edge."""
    out = io.BytesIO()
    others = [Image.fromarray(one) for one in more]
    dots_per_inch = image.shape[1] / (297 / 25.4)
    Image.fromarray(image).save(out, "PDF", resolution=dots_per_inch, save_all=bool(others), append_images=others)
    return out.getvalue()


def exif_turned(image, orientation, save):
    """The file of a camera that was held so that `orientation` brings the picture upright (CIPA DC-008)."""
    undo = {3: 2, 6: 1, 8: 3}[orientation]  # quarter turns anticlockwise
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(np.ascontiguousarray(np.rot90(image, undo)), exif=exif.tobytes())


def on_transparent(image):
    layers = np.dstack([image, 255 - image.min(axis=2)])
    layers[image.min(axis=2) > 200] = (0, 0, 0, 0)  # see-through black where the paper was
    return layers


def likeness(canonical, other):
    """Correlation of two pictures of ink, once they lie on one another: a chart's middle is found to half a mm."""
    one, two = (255 - picture.astype(np.float32) for picture in (canonical, other))
    window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
    (across, down), _ = cv2.phaseCorrelate(one, two, window)
    assert max(abs(across), abs(down)) <= LOOSE_PX
    shift = np.array([[1, 0, -across], [0, 1, -down]])
    laid = cv2.warpAffine(two, shift, one.shape[::-1])
    return np.corrcoef(cv2.GaussianBlur(one, (3, 3), 0.7).ravel(), cv2.GaussianBlur(laid, (3, 3), 0.7).ravel())[0, 1]


# What a page may arrive as: the file, and how alike the canonical pixels must be to those of a 12 px/mm PNG.
UPLOADS = {
    **{f"png-{px_per_mm:g}-px-per-mm": (lambda p=px_per_mm: encode_png(page(p)), 0.985) for px_per_mm in (4, 6, 8.3)},
    "png-3-px-per-mm": (lambda: encode_png(page(3.0)), 0.97),
    "png-2-px-per-mm": (lambda: encode_png(page(2.0)), 0.93),
    "png-rgb": (lambda: png(page().rgb), 0.985),
    "png-gray": (lambda: png(page().gray), 0.985),
    "png-gray-4-px-per-mm": (lambda: png(page(4.0).gray), 0.985),
    "png-rgba": (lambda: png(np.dstack([page().rgb, np.full(page().gray.shape, 255, np.uint8)])), 0.985),
    "png-16-bit": (lambda: png(Image.fromarray(page().gray.astype(np.uint16) * 257)), 0.985),
    "png-exif-turned": (lambda: exif_turned(page().rgb, 6, png), 0.985),
    "png-palette": (lambda: png(Image.fromarray(page().rgb).quantize(32)), 0.98),
    "tiff": (lambda: tiff(page().rgb), 0.985),
    "tiff-black-and-white": (lambda: tiff(Image.fromarray(page(12.0).gray).point(lambda v: 255 * (v > 150), "1")), 0.9),
    "tiff-16-bit": (lambda: tiff(Image.fromarray(page().gray.astype(np.uint16) * 257)), 0.985),
    "tiff-turned": (lambda: exif_turned(page().rgb, 6, tiff), 0.985),
    "tiff-of-three-pages": (lambda: tiff(page().rgb, more=[np.zeros((50, 50), np.uint8)] * 2), 0.985),
    "pdf": (lambda: pdf(page().rgb), 0.97),
    "pdf-of-two-pages": (lambda: pdf(page().rgb, more=[np.zeros((50, 50), np.uint8)]), 0.97),
    "jpeg-q50": (lambda: encode_jpeg(page(), quality=50), 0.98),
    "jpeg-q50-4-px-per-mm": (lambda: encode_jpeg(page(4.0), quality=50), 0.985),
    "jpeg-gray": (lambda: jpeg(page().gray, quality=80), 0.98),
    "jpeg-cmyk": (lambda: cmyk_jpeg(page().rgb), 0.98),
    "jpeg-exif-90": (lambda: exif_turned(page().rgb, 6, jpeg), 0.975),
    "jpeg-exif-180": (lambda: exif_turned(page().rgb, 3, jpeg), 0.98),
    "jpeg-exif-270": (lambda: exif_turned(page().rgb, 8, jpeg), 0.98),
}


def cmyk_jpeg(image):
    out = io.BytesIO()
    Image.fromarray(image).convert("CMYK").save(out, "JPEG", quality=90)
    return out.getvalue()


@pytest.mark.parametrize(("make", "alike"), UPLOADS.values(), ids=UPLOADS)
def test_one_page_is_the_same_to_the_model_whatever_file_it_comes_in(make, alike):
    taken = intake.normalise(intake.open_upload(make()), spec=SPEC)
    assert taken.is_ecg, taken.findings
    assert taken.canonical.shape == (288, 384)
    assert likeness(taken.canonical, reference().canonical) > alike
    assert taken.canonical.mean() == pytest.approx(reference().canonical.mean(), abs=2.5)


@pytest.mark.parametrize("px_per_mm", [2.5, 4.0, 6.0, 7.4, 12.0])
@pytest.mark.parametrize("colour", ["rgb", "gray"])
def test_the_grid_gives_the_scale_to_a_thousandth(px_per_mm, colour):
    taken = intake.normalise(getattr(page(px_per_mm), colour), spec=SPEC)
    assert taken.px_per_mm == pytest.approx(px_per_mm, rel=1e-3)
    assert not taken.scale_assumed
    assert taken.findings == ()


@pytest.mark.parametrize("margins_mm", [(15, 22), (10, 5), (18, 18)])
def test_a_page_cropped_to_its_chart_keeps_its_scale(margins_mm):
    down, across = (round(margin * 6) for margin in margins_mm)
    taken = intake.normalise(np.ascontiguousarray(page().rgb[down:-down, across:-across]), spec=SPEC)
    assert taken.px_per_mm == pytest.approx(6, rel=2e-3)
    assert likeness(taken.canonical, reference().canonical) > 0.97


@pytest.mark.parametrize("angle_deg", [-2.5, -0.7, 1.8])
def test_a_turned_page_is_turned_back(angle_deg):
    image = page().rgb
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1.0)
    turned = cv2.warpAffine(image, turn, (width, height), borderValue=(240, 240, 240))
    taken = intake.normalise(turned, spec=SPEC)
    assert taken.rotation_deg == pytest.approx(angle_deg, abs=0.05)
    assert taken.px_per_mm == pytest.approx(6, rel=4e-4)
    assert likeness(taken.canonical, reference().canonical) > 0.97


def test_uneven_light_is_evened_out():
    shaded = camera.shade(page().rgb, loss=0.4, rng=np.random.default_rng(1))
    taken = intake.normalise(shaded, spec=SPEC)
    assert likeness(taken.canonical, reference().canonical) > 0.98
    assert np.percentile(taken.canonical, 50) == 255


@pytest.mark.parametrize("form", ["rgb", "gray"])
def test_nothing_of_the_grid_is_left_and_ink_is_dark(form):
    canonical = intake.normalise(getattr(page(), form), spec=SPEC).canonical
    assert (canonical > 250).mean() > 0.85
    assert (canonical < 130).mean() > 0.01


def test_the_field_has_its_rows_where_the_pages_have_them():
    flat = np.zeros((12, 5000))
    flat[:, 100::500] = 1.5  # a flat line alone is no ECG, and no matter here
    canonical = intake.normalise(draw_page(flat, sampling_hz=500, px_per_mm=6).rgb, spec=SPEC).canonical
    darkness = (255 - canonical.astype(float)).mean(axis=1)
    middles_mm = []
    for expected_mm in (48, 80, 112, 144):
        near = slice(round((expected_mm - 3) * 1.5), round((expected_mm + 3) * 1.5))
        weights = np.clip(darkness[near] - 20, 0, None)
        middles_mm.append((near.start + np.sum((np.arange(weights.size) + 0.5) * weights) / weights.sum()) / 1.5)
    assert middles_mm == pytest.approx([48, 80, 112, 144], abs=0.4)


def test_spec_and_page_agree_on_the_field():
    assert SPEC.width_px / SPEC.px_per_mm == FIELD_WIDTH_MM
    assert SPEC.height_px / SPEC.px_per_mm == FIELD_HEIGHT_MM


def test_another_spec_shows_the_same_field_larger():
    large = intake.normalise(page().rgb, spec=CanonicalSpec(height_px=384, width_px=512, px_per_mm=2.0)).canonical
    reduced = cv2.resize(large, (384, 288), interpolation=cv2.INTER_AREA)
    assert likeness(reduced, reference().canonical) > 0.97


def test_without_a_grid_the_scale_is_assumed_and_said_so():
    blank = draw_page(np.full((12, 5000), np.nan), sampling_hz=500, px_per_mm=6).rgb
    only_ink = np.where((blank != page().rgb).any(axis=2), 0, 255).astype(np.uint8)
    taken = intake.normalise(only_ink, spec=SPEC)
    assert taken.scale_assumed
    assert taken.px_per_mm == pytest.approx(6, rel=1e-3)
    assert [(finding.code, finding.severity) for finding in taken.findings] == [("no_grid", "warning")]
    assert taken.is_ecg


@pytest.mark.parametrize("seed", range(4))  # the inner one: pages of one style share their sheet
@pytest.mark.parametrize("style", STYLES)
def test_scanned_pages_are_accepted(style, seed):
    data = camera.photograph(page(4.0, style, seed).rgb, preset="scan", rng=np.random.default_rng(seed))
    taken = intake.normalise(intake.decode(data), spec=SPEC)
    on_a_grid = STYLES[style].grid.coarse_width_mm > 0
    assert [finding.code for finding in taken.findings] == ([] if on_a_grid else ["no_grid"])
    clean = intake.normalise(page(8.0, style, seed).rgb, spec=SPEC)
    assert likeness(taken.canonical, clean.canonical) > 0.95


def test_the_same_upload_gives_the_same_pixels():
    data = camera.photograph(page().rgb, preset="scan", rng=np.random.default_rng(5))
    first, second = (intake.normalise(intake.decode(data), spec=SPEC) for _ in range(2))
    np.testing.assert_array_equal(first.canonical, second.canonical)
    assert (first.px_per_mm, first.rotation_deg) == (second.px_per_mm, second.rotation_deg)


# Pictures that are no ECG.


def document(px_per_mm, letters_mm):
    image = Image.new("L", (round(297 * px_per_mm), round(210 * px_per_mm)), 255)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=letters_mm * px_per_mm)
    words = ["patient", "history", "reports", "intermittent", "chest", "electrocardiographic", "measurements", "of"]
    rng = np.random.default_rng(0)
    for y_mm in np.arange(15, 195, letters_mm * 1.4):
        line = " ".join(words[pick] for pick in rng.integers(len(words), size=round(110 / letters_mm)))
        draw.text((15 * px_per_mm, y_mm * px_per_mm), line[: round(480 / letters_mm)], font=font, fill=0)
    return np.asarray(image)


def bar_chart():
    image = Image.new("RGB", (1782, 1260), "white")
    draw, rng = ImageDraw.Draw(image), np.random.default_rng(0)
    draw.line((180, 120, 180, 1080, 1680, 1080), fill="black", width=3)
    for bar in range(12):
        left, top = 240 + bar * 114, 1080 - rng.uniform(100, 900)
        draw.rectangle((left, top, left + 72, 1080), fill=(40, 80, 160), outline="black", width=3)
    return np.asarray(image)


def line_chart():
    image = Image.new("RGB", (1782, 1260), "white")
    draw, x = ImageDraw.Draw(image), np.arange(180, 1680, 5)
    draw.line((180, 120, 180, 1080, 1680, 1080), fill="black", width=3)
    for curve in range(4):
        y = 500 + 180 * np.sin(x / (100 + 40 * curve) + curve) + 100 * (curve - 2)
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill="black", width=3)
    return np.asarray(image)


def table():
    image = Image.new("L", (1782, 1260), 255)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=21)
    for row in range(25):
        draw.line((90, 90 + 42 * row, 1680, 90 + 42 * row), fill=0, width=2)
        for column in range(8):
            draw.text((102 + 198 * column, 99 + 42 * row), f"{row * 7.25 + column:.2f}", font=font, fill=0)
    for column in range(9):
        draw.line((90 + 198.75 * column, 90, 90 + 198.75 * column, 1098), fill=0, width=2)
    return np.asarray(image)


def noise(blur_px=0.0):
    values = np.random.default_rng(1).normal(0, 1, (1260, 1782))
    values = cv2.GaussianBlur(values, (0, 0), blur_px) if blur_px else values
    return np.clip(128 + 60 * values / values.std(), 0, 255).astype(np.uint8)


def clouds():
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(1260)[:, None], np.fft.rfftfreq(1782))
    frequency[0, 0] = 1
    values = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(1260, 1782))) / frequency, s=(1260, 1782))
    return ((values - values.min()) / np.ptp(values) * 255).astype(np.uint8)


def empty_paper(form, px_per_mm=6.0):
    return getattr(draw_page(np.full((12, 5000), np.nan), sampling_hz=500, px_per_mm=px_per_mm), form)


NOT_AN_ECG = {
    "white": lambda: np.full((1260, 1782, 3), 255, np.uint8),
    "black": lambda: np.zeros((1260, 1782), np.uint8),
    "white-with-grain": lambda: np.clip(np.random.default_rng(0).normal(245, 3, (1260, 1782)), 0, 255).astype(np.uint8),
    "gradient": lambda: np.tile(np.linspace(0, 255, 1782).astype(np.uint8), (1260, 1)),
    "noise": noise,
    "blurred-noise": lambda: noise(4.0),
    "blobs": lambda: noise(20.0),
    "clouds": clouds,
    "document": lambda: document(6, 3.5),
    "large-print": lambda: document(6, 6.0),
    "small-print": lambda: document(6, 2.2),
    "small-document": lambda: document(2, 3.5),
    "table": table,
    "bar-chart": bar_chart,
    "line-chart": line_chart,
    "empty-ecg-paper": lambda: empty_paper("rgb"),
    "empty-ecg-paper-gray": lambda: empty_paper("gray"),
    "empty-ecg-paper-small": lambda: empty_paper("gray", 3.0),
}


@pytest.mark.parametrize("make", NOT_AN_ECG.values(), ids=NOT_AN_ECG)
def test_what_is_no_ecg_is_refused_with_a_reason(make):
    taken = intake.normalise(make(), spec=SPEC)
    assert not taken.is_ecg
    (refusal,) = [finding for finding in taken.findings if finding.severity == "reject"]
    assert refusal.code == "not_an_ecg"
    assert refusal.message.startswith("this does not look like a page of ECG traces: ")
    assert taken.canonical.shape == (288, 384)


@pytest.mark.parametrize("name", ["white", "document", "bar-chart", "noise", "empty-ecg-paper", "gradient"])
def test_what_is_no_ecg_is_no_ecg_when_scanned(name):
    image = NOT_AN_ECG[name]()
    image = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    scanned = camera.apply(image, preset="scan", rng=np.random.default_rng(2))
    assert not intake.normalise(scanned, spec=SPEC).is_ecg


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (100, 141), (190, 269, 3), (16, 12_000), (40_000, 16, 3)])
def test_a_picture_too_small_to_read_is_refused(shape):
    taken = intake.normalise(np.full(shape, 255, np.uint8), spec=SPEC)
    messages = {finding.code: finding.message for finding in taken.findings}
    assert not taken.is_ecg
    assert "traces can be read from 1 upwards, well from 4: scan it at 100 dpi or more" in messages["too_small"]


# Files.


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param(lambda: encode_png(page()), "PNG", id="png"),
        pytest.param(lambda: encode_jpeg(page(), quality=80), "JPEG", id="jpeg"),
        pytest.param(lambda: tiff(page().rgb), "TIFF", id="tiff"),
    ],
)
@pytest.mark.parametrize("share", [0.001, 0.5, 0.98])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow's own, to whom it concerns
def test_a_truncated_file_is_refused(make, kind, share):
    data = make()
    with pytest.raises(UnreadableImage, match=rf"the {kind} file is broken or cut off"):
        intake.decode(data[: max(9, int(len(data) * share))])


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_a_truncated_pdf_is_refused(share):
    data = pdf(page().rgb)
    with pytest.raises(UnreadableImage, match=r"the (page of the )?PDF "):
        intake.decode(data[: int(len(data) * share)])


def test_several_pages_are_noticed_and_the_first_is_read():
    for data in (tiff(page().rgb, more=[page().rgb]), pdf(page().rgb, more=[page().rgb])):
        (finding,) = intake.normalise(intake.open_upload(data), spec=SPEC).findings
        assert (finding.code, finding.severity) == ("several_pages", "warning")
        assert finding.message == "the file has 2 pages; the first was read: send the others one by one"


def test_a_tiff_of_endlessly_many_pages_is_counted_to_a_hundred():
    assert intake.open_upload(tiff(np.zeros((4, 4), np.uint8), more=[np.zeros((4, 4), np.uint8)] * 130)).pages == 100


def test_a_large_tiff_is_refused_before_it_is_unpacked():
    with pytest.raises(ImageTooLarge, match="has 1782 × 1260 pixels, 2 million; at most 1 million are read"):
        intake.decode(tiff(page().rgb), limits=DecodeLimits(max_pixels=1_000_000))


def test_a_pdf_of_poster_size_is_drawn_no_finer_than_the_limit():
    poster = io.BytesIO()
    Image.new("L", (400, 300), 255).save(poster, "PDF", resolution=4)  # 100 × 75 inches
    pixels = intake.decode(poster.getvalue(), limits=DecodeLimits(max_pixels=2_000_000))
    assert 1_500_000 < pixels.shape[0] * pixels.shape[1] <= 2_000_000


def test_a_jpeg_is_unpacked_as_finely_as_is_looked_at_and_measured_as_it_came():
    drawn = encode_jpeg(page(14.0), quality=90)
    picture = intake.open_upload(drawn)
    assert picture.upload_px == (4158, 2940)
    assert 3.75 * 297 <= picture.pixels.shape[1] < 4158 / 2
    coarse, fine = (intake.normalise(one, spec=SPEC) for one in (picture, intake.decode(drawn)))
    assert coarse.px_per_mm == pytest.approx(14, rel=2e-3)
    assert likeness(coarse.canonical, fine.canonical) > 0.98


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: encode_png(page(9.3)), id="png-of-a-palette"),
        pytest.param(lambda: as_file(page(8.0).rgb, "PNG"), id="png"),
        pytest.param(lambda: as_file(page(7.1).gray, "PNG"), id="gray-png"),
        pytest.param(lambda: as_file(np.rot90(page(12.5).rgb), "PNG"), id="png-on-its-side"),
        pytest.param(lambda: tiff(page(8.7).rgb), id="tiff"),
        pytest.param(lambda: pdf(page(8.0).rgb), id="pdf"),
    ],
)
def test_a_page_is_unpacked_no_finer_than_is_looked_at_and_the_model_sees_the_same(make):
    data = make()
    whole, reduced = intake.Picture.of(intake.decode(data)), intake.open_upload(data)
    assert reduced.upload_px == whole.upload_px
    assert 3.7 * 297 <= max(reduced.pixels.shape) < 0.6 * max(whole.pixels.shape)
    seen, expected = (intake.normalise(one, spec=SPEC) for one in (reduced, whole))
    np.testing.assert_array_equal(seen.canonical, expected.canonical)
    np.testing.assert_array_equal(seen.homography, expected.homography)
    assert seen.findings == expected.findings
    assert seen.px_per_mm == expected.px_per_mm


@pytest.mark.parametrize(("width_px", "height_px"), [(12_000, 16), (33, 4000), (40_000, 17), (3, 500)])
def test_a_strip_is_the_same_refusal_unpacked_or_not(width_px, height_px):
    strip = np.full((height_px, width_px), 255, np.uint8)
    reduced, whole = intake.open_upload(as_file(strip, "PNG")), intake.Picture.of(strip)
    assert intake.normalise(reduced, spec=SPEC).findings == intake.normalise(whole, spec=SPEC).findings


@pytest.mark.parametrize("format_of_file", ["PNG", "TIFF"])
def test_numbers_of_a_palette_get_the_colours_that_pillow_gives_them(format_of_file):
    rng = np.random.default_rng(3)
    image = Image.fromarray(rng.integers(0, 7, (40, 60), dtype=np.uint8)).convert("P")
    image.putdata(rng.integers(0, 7, 2400).tolist())
    image.putpalette(rng.integers(0, 256, 15, dtype=np.uint8).tobytes())  # numbers 5 and 6 have no colour
    file = io.BytesIO()
    image.save(file, format_of_file)
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        assert opened.mode == "P"
        expected = np.asarray(opened.convert("RGB"))
    np.testing.assert_array_equal(intake.decode(file.getvalue()), expected)


def test_a_png_with_a_flipped_bit_is_refused():
    data = bytearray(encode_png(page(3.0)))
    data[len(data) // 2] ^= 1
    with pytest.raises(UnreadableImage, match="the PNG file is broken or cut off"):
        intake.decode(bytes(data))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "an empty file"),
        (b"I, II, III\n0.1, 0.2, 0.1\n", "something that starts with b'I, II, III"),
        (b"GIF89a", "a GIF: export it as PNG or JPEG"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "a WebP: export it as PNG or JPEG"),
        (b"\x00\x00\x00\x18ftypheic", "a HEIC photo: export it as JPEG (on an iPhone: share it by mail or to Files"),
        (b"\x00\x00\x00\x1cftypavif", "an AVIF or video file: export a picture as PNG or JPEG"),
    ],
)
def test_what_is_of_no_format_that_is_read_is_refused_by_what_it_is(data, what):
    with pytest.raises(UnsupportedImage, match="the picture must be a PNG, JPEG, TIFF or PDF file, got ") as refusal:
        intake.decode(data)
    assert what in str(refusal.value)


def png_of(*chunks):
    """A PNG of these chunks, each with its right sum."""
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def chunks_of(data):
    place, chunks = 8, []
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += length + 12
    return chunks


def ihdr(width, height, *, bits=1, colour=0):
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)


def zero_rows(width, height):
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (1 + width // 8)) for _ in range(height)) + packer.flush()
    return b"IDAT", rows


def png_bomb(width, height):
    """A small PNG that unpacks to a large one: every row is zeros."""
    return png_of(ihdr(width, height), zero_rows(width, height), (b"IEND", b""))


def test_a_bomb_is_refused_from_its_header():
    bomb = png_bomb(20_000, 12_000)
    assert len(bomb) < 60_000
    with pytest.raises(ImageTooLarge, match="has 20000 × 12000 pixels, 240 million; at most 50 million are read"):
        intake.decode(bomb)
    # Refused before it is unpacked: a header alone is enough to know.
    with pytest.raises(ImageTooLarge):
        intake.decode(bomb[:33])


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((10_000, 8_000), "has 10000 × 8000 pixels, 80 million; at most 50 million are read"),
        ((12_000, 8_000), "has far more than the 50 million pixels that are read"),
        ((15_000, 15_000), "has far more than the 50 million pixels that are read"),
    ],
)
def test_a_second_header_cannot_make_a_picture_larger(size, message):
    bomb = png_of(ihdr(8, 8), ihdr(*size), zero_rows(*size), (b"IEND", b""))
    with pytest.raises(ImageTooLarge, match=message):
        intake.decode(bomb)


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")  # as it is in a service
def test_a_second_header_is_refused_where_pillow_only_warns():
    bomb = png_of(ihdr(8, 8), ihdr(12_000, 8_000), zero_rows(8, 8), (b"IEND", b""))
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(ImageTooLarge, match="has 12000 × 8000 pixels, 96 million"),
    ):
        intake.decode(bomb)


def test_colours_of_a_palette_that_is_not_there_are_refused():
    data = png(Image.fromarray(page(2.0).rgb).quantize(16))
    without = png_of(*(chunk for chunk in chunks_of(data) if chunk[0] != b"PLTE"))
    with pytest.raises(UnreadableImage, match="its colours are numbers of a palette that is not there"):
        intake.decode(without)


@cache
def whole_files():
    gray = np.ascontiguousarray(page(1.0).gray[:60, :90])
    colour = np.stack([gray, gray[::-1], gray], axis=-1)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(colour)
    palette = picture.quantize(16)
    pngs = [png(gray), png(colour, exif=exif), png(palette), png(palette, transparency=3), png(picture.convert("RGBA"))]
    jpegs = [jpeg(gray), jpeg(colour, exif=exif), jpeg(colour, progressive=True), cmyk_jpeg(colour)]
    return pngs, jpegs


def damaged_png(rng):
    """Chunks taken out, doubled, exchanged or changed, all with right sums, so that the damage lies deeper."""
    pngs, _ = whole_files()
    pool = [chunk for data in pngs for chunk in chunks_of(data)]
    pool += [ihdr(90, 60, bits=int(bits), colour=int(colour)) for bits in (1, 8, 16) for colour in (0, 2, 3, 4, 6)]
    chunks = chunks_of(pngs[rng.integers(len(pngs))])
    for _ in range(rng.integers(1, 4)):
        at, other = rng.integers(len(chunks)), pool[rng.integers(len(pool))]
        kind, data = chunks[at]
        chunks[at : at + 1] = [
            [],
            [(kind, data), other],
            [other],
            [(kind, damaged(data, rng=rng))],
            [(kind, data[: rng.integers(len(data) + 1)])],
            [(other[0], data)],
        ][rng.integers(6)] or ([(kind, b"")] if len(chunks) == 1 else [])
    return png_of(*chunks)


def damaged(data, *, rng):
    content = bytearray(data)
    for at in rng.integers(0, len(content), 4) if content else ():
        content[at] = rng.integers(256)
    return bytes(content)


def damaged_jpeg(rng):
    _, jpegs = whole_files()
    data = jpegs[rng.integers(len(jpegs))]
    first, last = sorted(int(at) for at in rng.integers(3, len(data), 2))
    ways = (data[:first], data[:first] + data[last:], data[:last] + data[first:], damaged(data, rng=rng))
    return ways[rng.integers(4)]


@pytest.mark.parametrize("make", [damaged_png, damaged_jpeg])
@pytest.mark.filterwarnings("ignore:::PIL")  # to whom it concerns
def test_no_damaged_file_ends_in_anything_but_a_picture_or_a_refusal(make):
    rng = np.random.default_rng(11)
    pictures = 0
    for _ in range(1500):
        try:
            pixels = intake.decode(make(rng), limits=DecodeLimits(max_pixels=1_000_000))
        except (UnreadableImage, UnsupportedImage, ImageTooLarge):
            continue
        pictures += 1
        assert pixels.dtype == np.uint8
        assert pixels.shape[2:] in {(), (3,)}
    assert 50 < pictures < 1450


def test_a_large_jpeg_is_refused_from_its_header():
    with pytest.raises(ImageTooLarge, match="has 1782 × 1260 pixels, 2 million; at most 1 million are read"):
        intake.decode(encode_jpeg(page(), quality=80), limits=DecodeLimits(max_pixels=1_000_000))


def test_refusals_are_input_errors():
    assert all(issubclass(error, InputError) for error in (UnreadableImage, UnsupportedImage, ImageTooLarge))


def test_transparent_paper_is_white():
    decoded = intake.decode(png(on_transparent(page().rgb)))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert likeness(intake.normalise(decoded, spec=SPEC).canonical, reference().canonical) > 0.97


def test_sixteen_bits_become_the_same_eight():
    gray = page(3.0).gray
    np.testing.assert_array_equal(intake.decode(png(Image.fromarray(gray.astype(np.uint16) * 257))), gray)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("save", [jpeg, png])
def test_every_exif_orientation_is_undone_as_pillow_undoes_it(orientation, save):
    gray = np.ascontiguousarray(page(2.0).gray[:301, :200])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = save(gray, exif=exif.tobytes())
    with Image.open(io.BytesIO(data)) as image:
        transposed = Image.Transpose
        undo = {
            2: transposed.FLIP_LEFT_RIGHT,
            3: transposed.ROTATE_180,
            4: transposed.FLIP_TOP_BOTTOM,
            5: transposed.TRANSPOSE,
            6: transposed.ROTATE_270,
            7: transposed.TRANSVERSE,
            8: transposed.ROTATE_90,
        }
        upright = np.asarray(image if orientation == 1 else image.transpose(undo[orientation])).astype(int)
    # Two JPEG decoders may round a level apart.
    assert np.abs(intake.decode(data).astype(int) - upright).max() <= 2


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow's own, to whom it concerns
def test_a_broken_exif_block_does_not_cost_the_picture():
    data = jpeg(page(2.0).gray, exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff")
    assert intake.decode(data).shape == page(2.0).gray.shape


def test_the_only_baseline_may_be_the_last_row_of_the_picture():
    """Zigzags never rest, so that the one level stretch below them is all that is level; it once ended in an error."""
    ink = np.zeros((300, 400), np.uint8)
    across = np.arange(20, 380)
    zigzag = np.abs((across % 40) - 20)
    for top in (60, 120, 180):
        cv2.polylines(ink, [np.column_stack([across, top + zigzag])], isClosed=False, color=255, thickness=1)
    cv2.polylines(ink, [np.column_stack([across, 278 + zigzag])], isClosed=False, color=255, thickness=1)
    ink[-1, 200:230] = 255
    reading = read_traces(ink, contrast=200, px_per_mm=3.0, field_mm=(120.0, 90.0))
    assert reading.objection is not None
    assert reading.middle_px is not None


def test_what_is_no_image_array_is_refused():
    with pytest.raises(ValueError, match=r"image must be .* uint8, got \(10, 10, 4\) uint8"):
        intake.normalise(np.zeros((10, 10, 4), np.uint8), spec=SPEC)


@pytest.mark.parametrize("field", ["height_px", "width_px", "px_per_mm"])
def test_a_spec_without_size_is_refused(field):
    with pytest.raises(ValueError, match=rf"CanonicalSpec\.{field} must be above 0, got 0"):
        CanonicalSpec(**{field: 0})


def test_tensor_has_ink_as_one_and_paper_as_zero():
    tensor = intake.to_tensor(np.array([[255, 0, 204]], np.uint8))
    assert tensor.shape == (1, 1, 1, 3)
    assert tensor.dtype == np.float32
    assert tensor.ravel().tolist() == pytest.approx([0.0, 1.0, 0.2])


@pytest.mark.real
def test_real_records_are_accepted_clean_and_scanned(real_ptbxl):
    wfdb = pytest.importorskip("wfdb")
    headers = sorted(real_ptbxl.glob("records100/*/*_lr.hea"))[::34]
    assert len(headers) >= 25
    for number, header in enumerate(headers):
        drawn = draw_page(wfdb.rdrecord(str(header.with_suffix(""))).p_signal.T, sampling_hz=100, px_per_mm=5)
        clean = intake.normalise(drawn.rgb, spec=SPEC)
        scan = camera.photograph(drawn.rgb, preset="scan", rng=np.random.default_rng(number))
        scanned = intake.normalise(intake.decode(scan), spec=SPEC)
        assert clean.findings == scanned.findings == (), header.name
        assert scanned.px_per_mm == pytest.approx(5, rel=2e-3)
        assert likeness(clean.canonical, scanned.canonical) > 0.95
