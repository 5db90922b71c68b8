"""A thousand pictures that are no ECG: nearly all are refused, and say why; hardly any page of traces is.

`make test` looks at some of them, `make accuracy` at all, and prints the shares.
"""

from collections import Counter
from functools import cache

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from vizecg import camera, intake
from vizecg.intake import CanonicalSpec
from vizecg.page import GRIDS, STANDARD, draw_page, draw_style, draw_text
from vizecg.simulate import recordings

SPEC = CanonicalSpec()
WORDS = (
    *("patient", "history", "reports", "intermittent", "chest", "pain", "electrocardiographic", "measurements", "of"),
    *("the", "left", "ventricle", "were", "obtained", "at", "rest", "and", "no", "abnormality", "was", "seen", "dose"),
)


def sheet(rng, *, landscape=None, ground=None):
    """Paper at a resolution and in a format that people send."""
    px_per_mm = rng.uniform(3.5, 7.0)
    wide = bool(rng.random() < 0.6) if landscape is None else landscape
    size_mm = (297, 210) if wide else (210, 297)
    colour = int(rng.integers(244, 256)) if ground is None else ground
    image = Image.new("RGB", tuple(round(mm * px_per_mm) for mm in size_mm), (colour, colour, colour))
    return image, ImageDraw.Draw(image), px_per_mm


def font(size_px):
    return ImageFont.load_default(size=size_px)


def ink_of(rng):
    dark = int(rng.integers(0, 70))
    return [(dark, dark, dark), (20, 40, 120), (dark, dark, dark)][int(rng.integers(3))]


def document(rng):
    image, draw, px_per_mm = sheet(rng)
    letters_px = rng.uniform(2.2, 6.5) * px_per_mm
    face, ink = font(letters_px), ink_of(rng)
    indent = rng.uniform(10, 25) * px_per_mm
    y, lines = rng.uniform(10, 30) * px_per_mm, 0
    while y < image.height - 15 * px_per_mm:
        line = ""
        while face.getlength(line) < image.width - 2 * indent - rng.uniform(0, 30) * px_per_mm:
            line += str(rng.choice(WORDS)) + " "
        if lines % 9 != 8:
            draw.text((indent, y), line, font=face, fill=ink)
        y += letters_px * rng.uniform(1.3, 1.5)
        lines += 1
    return np.asarray(image)


def handwriting(rng):
    """Looped lines, as a note by hand."""
    image, _, px_per_mm = sheet(rng)
    pixels = np.array(image)
    return camera.EFFECTS["note"](pixels, strength=1.0, rng=rng, px_per_mm=px_per_mm * rng.uniform(1.0, 2.0))


def table(rng):
    image, draw, px_per_mm = sheet(rng)
    rows, columns = int(rng.integers(6, 34)), int(rng.integers(2, 12))
    left, top = (rng.uniform(10, 25) * px_per_mm for _ in range(2))
    width, height = (image.width - 2 * left) / columns, (image.height - 2 * top) / rows
    face = font(min(height * 0.6, 5 * px_per_mm))
    pen = max(1, round(rng.uniform(0.15, 0.5) * px_per_mm))
    ink = ink_of(rng)
    for row in range(rows + 1):
        draw.line((left, top + row * height, left + columns * width, top + row * height), fill=ink, width=pen)
    for column in range(columns + 1):
        draw.line((left + column * width, top, left + column * width, top + rows * height), fill=ink, width=pen)
    for row in range(rows):
        for column in range(columns):
            words = f"{rng.normal(0, 100):.2f}" if column else str(rng.choice(WORDS))
            draw.text(
                (left + column * width + px_per_mm, top + row * height + 0.2 * height), words, font=face, fill=ink
            )
    return np.asarray(image)


def axes(rng):
    image, draw, px_per_mm = sheet(rng)
    box = (25 * px_per_mm, 15 * px_per_mm, image.width - 15 * px_per_mm, image.height - 20 * px_per_mm)
    pen = max(1, round(rng.uniform(0.2, 0.5) * px_per_mm))
    draw.line((box[0], box[1], box[0], box[3], box[2], box[3]), fill=(0, 0, 0), width=pen)
    face = font(3.2 * px_per_mm)
    for tick in range(6):
        y = box[3] - tick * (box[3] - box[1]) / 6
        if rng.random() < 0.5:
            draw.line((box[0], y, box[2], y), fill=(205, 205, 205), width=1)
        draw.text((box[0] - 14 * px_per_mm, y), f"{tick * 20}", font=face, fill=(0, 0, 0))
    return image, draw, px_per_mm, box, pen


def bar_chart(rng):
    image, draw, _, box, pen = axes(rng)
    bars = int(rng.integers(4, 25))
    step = (box[2] - box[0]) / bars
    colour = tuple(int(value) for value in rng.integers(20, 200, 3))
    for bar in range(bars):
        top = box[3] - rng.uniform(0.05, 0.95) * (box[3] - box[1])
        draw.rectangle((box[0] + (bar + 0.15) * step, top, box[0] + (bar + 0.85) * step, box[3]), fill=colour,
                       outline=(0, 0, 0), width=pen)  # fmt: skip
    return np.asarray(image)


def smooth(rng, points, roughness):
    """A curve of a few waves, or a random walk where it is rough."""
    walk = np.cumsum(rng.normal(0, 1, points)) if roughness else np.zeros(points)
    x = np.linspace(0, 1, points)
    waves = sum(
        rng.normal(0, 1 / k) * np.sin(2 * np.pi * (k * x * rng.uniform(0.5, 2) + rng.random())) for k in (1, 2, 3)
    )
    curve = waves / max(np.ptp(waves), 1e-9) + roughness * walk / max(np.ptp(walk), 1e-9)
    return (curve - curve.min()) / np.ptp(curve)


def line_chart(rng):
    image, draw, px_per_mm, box, _ = axes(rng)
    pen = max(1, round(rng.uniform(0.3, 0.8) * px_per_mm))
    for _ in range(int(rng.integers(1, 7))):
        points = int(rng.integers(8, 200))
        curve = smooth(rng, points, roughness=float(rng.choice((0.0, 0.6))))
        low, high = np.sort(rng.uniform(0.02, 0.98, 2))
        x = np.linspace(box[0], box[2], points)
        y = box[3] - (low + (high - low) * curve) * (box[3] - box[1])
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=ink_of(rng), width=pen)
    return np.asarray(image)


def scatter_plot(rng):
    image, draw, px_per_mm, box, _ = axes(rng)
    radius = rng.uniform(0.5, 1.2) * px_per_mm
    at = rng.normal(0.5, 0.18, (int(rng.integers(50, 900)), 2)) * (box[2] - box[0], box[3] - box[1]) + box[:2]
    for x, y in at.tolist():
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink_of(rng))
    return np.asarray(image)


def empty_ecg_paper(rng):
    style = draw_style(rng)
    bare = rng.random() < 0.5
    page = draw_page(np.full((12, 1000), np.nan), sampling_hz=100, style=style, px_per_mm=rng.uniform(3, 7),
                     text=None if bare else draw_text(style, rng=rng))  # fmt: skip
    return page.rgb if rng.random() < 0.6 else page.gray


def gridded(rng):
    """A drawing on graph paper, with 1 and 5 mm or with another ruling."""
    image, draw, px_per_mm = sheet(rng, landscape=True)
    colour = GRIDS[str(rng.choice(("pink", "red", "orange", "blue", "green", "black")))].colour
    pitch_mm = float(rng.choice((1, 1, 2, 5)))
    for axis, extent in ((0, image.width), (1, image.height)):
        for number, at in enumerate(np.arange(0, extent, pitch_mm * px_per_mm).tolist()):
            line = (at, 0, at, image.height) if axis == 0 else (0, at, image.width, at)
            draw.line(line, fill=colour, width=2 if number % 5 == 0 else 1)
    return image, draw, px_per_mm


def graph_paper_with_curves(rng):
    """Temperature charts, calibration curves, a lesson's parabola: smooth or jagged lines on squares."""
    image, draw, px_per_mm = gridded(rng)
    pen = max(1, round(rng.uniform(0.3, 0.7) * px_per_mm))
    for _ in range(int(rng.integers(1, 6))):
        points = int(rng.integers(6, 150))
        curve = smooth(rng, points, roughness=float(rng.choice((0.0, 0.0, 0.5))))
        low, high = np.sort(rng.uniform(0.05, 0.95, 2))
        x = np.linspace(0.06, 0.94, points) * image.width
        y = image.height * (1 - low - (high - low) * curve)
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=ink_of(rng), width=pen)
    return np.asarray(image)


def texture(rng):
    """Natural surfaces: power falls with frequency, as in photographs of foliage, stone or sky."""
    height, width = (int(side) for side in rng.integers(700, 1500, 2))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1
    slope = rng.uniform(0.6, 1.6)
    channels = [np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) / frequency**slope, s=(height, width))
                for _ in range(2)]  # fmt: skip
    base = (channels[0] - channels[0].min()) / np.ptp(channels[0])
    tint = (channels[1] - channels[1].min()) / np.ptp(channels[1])
    colours = rng.uniform(40, 255, (2, 3))
    mixed = colours[0] * tint[..., None] + colours[1] * (1 - tint[..., None])
    return np.clip(mixed * (0.35 + 0.75 * base[..., None]), 0, 255).astype(np.uint8)


def wood(rng):
    """The table alone."""
    white = np.full((120, 160, 3), 255, np.uint8)
    shot = camera.shoot(white, preset="photo", rng=rng)
    height, width = shot.image.shape[:2]
    return cv2.resize(shot.image[: height // 8], (width * 8, height * 8), interpolation=cv2.INTER_CUBIC)


def noise(rng):
    height, width = (int(side) for side in rng.integers(500, 1500, 2))
    values = rng.normal(0, 1, (height, width))
    blur_px = float(rng.choice((0.0, 1.5, 4.0, 20.0)))
    values = cv2.GaussianBlur(values, (0, 0), blur_px) if blur_px else values
    return np.clip(rng.uniform(60, 200) + rng.uniform(10, 70) * values / values.std(), 0, 255).astype(np.uint8)


def blank(rng):
    image, _, _ = sheet(rng, ground=int(rng.integers(0, 256)))
    return camera.apply(np.array(image), preset=str(rng.choice(("clean", "scan", "photo", "fax"))), rng=rng)


KINDS = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        *(document, document, handwriting, table, bar_chart, line_chart, scatter_plot, empty_ecg_paper),
        *(graph_paper_with_curves, texture, wood, noise, blank),
    )
}


def other_picture(number):
    """The name and pixels of one of them; every other one photographed, scanned or faxed."""
    rng = np.random.default_rng([21, number])
    kind = list(KINDS)[number % len(KINDS)]
    image = KINDS[kind](rng)
    image = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    preset = str(rng.choice(("clean", "clean", "scan", "photo", "screen", "fax")))
    return f"{kind}, {preset}", camera.apply(image, preset=preset, rng=rng)


@cache
def signals_mv():
    """(12, 1000) each, of a simulated cohort with its diseases and noise."""
    return [recording.low_uv / 1000.0 for recording in recordings(records=200, seed=31)]


def ecg_page(number, preset):
    """The style's name and a page through the camera; every fourth is the standard page."""
    rng = np.random.default_rng([22, number])
    style = draw_style(rng) if number % 4 else STANDARD
    page = draw_page(
        signals_mv()[number % len(signals_mv())],
        sampling_hz=100,
        style=style,
        px_per_mm=6 * style.reduction,
        text=draw_text(style, rng=rng),
    )
    return style.name, camera.apply(page.rgb, preset=preset, rng=rng, px_per_mm=6)


def refused(name, image):
    """Name and reasons, or None where it is taken for a page of traces."""
    taken = intake.normalise(image, spec=SPEC)
    reasons = [finding for finding in taken.findings if finding.severity == "reject"]
    assert taken.is_ecg == (not reasons)
    assert all(len(reason.message) > 30 for reason in reasons), "each says why"
    return f"{name}: {', '.join(reason.code for reason in reasons)}" if reasons else None


def test_pictures_that_are_no_ecg_are_refused_with_a_reason(pictures):
    shown = (other_picture(number) for number in range(5000, 5000 + pictures))
    accepted = [name for name, image in shown if refused(name, image) is None]
    print(f"\n{pictures} pictures that are no ECG: {1 - len(accepted) / pictures:.1%} refused; not {Counter(accepted)}")
    assert len(accepted) <= max(0.01 * pictures, 2), accepted


@pytest.mark.real
def test_no_standard_page_of_a_real_record_is_refused(real_ptbxl, pictures):
    wfdb = pytest.importorskip("wfdb")
    headers = sorted(real_ptbxl.glob("records100/*/*_lr.hea"))
    chosen = headers[:: max(1, len(headers) // pictures)]
    # Of all these two come closest to what is no ECG.
    chosen += [path for path in headers if path.name in ("00106_lr.hea", "00580_lr.hea")]
    lost = []
    for header in chosen:
        page = draw_page(wfdb.rdrecord(str(header.with_suffix(""))).p_signal.T, sampling_hz=100, px_per_mm=4.0)
        lost.append(refused(header.stem, page.rgb))
    assert [page for page in lost if page is not None] == []


@pytest.mark.parametrize(("preset", "most"), [("clean", 0.01), ("photo", 0.05)])
def test_pages_of_traces_are_hardly_ever_refused(pictures, preset, most):
    number = pictures // 2
    pages = [refused(*ecg_page(each, preset)) for each in range(5000, 5000 + number)]
    lost = [page for page in pages if page is not None]
    print(f"\n{number} pages, {preset}: {len(lost) / number:.1%} refused {Counter(lost)}")
    assert len(lost) <= max(most * number, 2), lost
