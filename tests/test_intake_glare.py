"""A lamp's reflection hides a part of the chart: it is named, with how much it hides; white paper is no reflection."""

import cv2
import numpy as np
import pytest

from vizecg import camera, intake
from vizecg.intake import CanonicalSpec
from vizecg.page import STYLES, draw_page, draw_text
from vizecg.simulate import recordings

SPEC = CanonicalSpec()
PX_PER_MM = 6.0


@pytest.fixture(scope="module")
def signal_mv():
    return next(iter(recordings(records=1, seed=41))).low_uv / 1000.0


def page_of(style, signal_mv):
    text = draw_text(style, rng=np.random.default_rng(5))
    px_per_mm = PX_PER_MM * style.reduction
    return draw_page(signal_mv, sampling_hz=100, style=style, px_per_mm=px_per_mm, text=text)


def dimmed(rgb):
    """Paper as a camera's exposure leaves it, below white, and a sensor's noise."""
    noise = np.random.default_rng(6).normal(0, 3, rgb.shape)
    return np.clip(rgb * 0.84 + noise, 0, 255)


def reflected(rgb, *, at, radius_px, noise=3.0):
    """White light added within an ellipse about a place (shares of the picture), falling off over a fifth of it."""
    height, width = rgb.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    away = np.hypot((x - at[0] * width) / radius_px[0], (y - at[1] * height) / radius_px[1])
    veil = np.clip((1.2 - away) / 0.2, 0, 1) * 255
    grain = np.random.default_rng(7).normal(0, noise, rgb.shape)
    return np.clip(np.minimum(dimmed(rgb) + veil[..., None], 255) + grain, 0, 255).astype(np.uint8)


def glare_of(image):
    found = intake.normalise(image, spec=SPEC).findings
    return next((finding for finding in found if finding.code == "glare"), None)


@pytest.mark.parametrize("style", ["standard", "3x4-rhythm", "6x2", "6x2-50mm", "12x1", "3x4-split-gain"])
def test_a_reflection_is_named_with_how_much_of_the_chart_it_hides(style, signal_mv):
    page = page_of(STYLES[style], signal_mv)
    radius_px = (40 * PX_PER_MM, 22 * PX_PER_MM)
    finding = glare_of(reflected(page.rgb, at=(0.55, 0.5), radius_px=radius_px))
    assert finding is not None
    assert finding.severity == "warning"
    said = float(finding.message.split("hides ")[1].split("%")[0]) / 100
    hidden_mm2 = np.pi * 40 * 22
    sheet_mm2 = page.rgb.shape[0] * page.rgb.shape[1] / PX_PER_MM**2
    # At least of the whole sheet, and at most of a chart that takes half of it; ink is lost a little beyond.
    assert 0.7 * hidden_mm2 / sheet_mm2 < said < 1.3 * hidden_mm2 / (0.5 * sheet_mm2)


def test_a_page_that_is_mostly_burnt_out_is_refused(signal_mv):
    page = page_of(STYLES["standard"], signal_mv)
    finding = glare_of(reflected(page.rgb, at=(0.5, 0.5), radius_px=(75 * PX_PER_MM, 55 * PX_PER_MM)))
    assert finding is not None
    assert finding.severity == "reject"
    assert finding.message.endswith("turn the paper away from the lamp")


@pytest.mark.parametrize("style", STYLES)
def test_white_paper_is_no_reflection(style, signal_mv):
    page = page_of(STYLES[style], signal_mv)
    assert glare_of(page.rgb) is None
    assert glare_of(dimmed(page.rgb).astype(np.uint8)) is None
    for preset in ("scan", "fax"):
        shot = camera.shoot(page.rgb, preset=preset, rng=np.random.default_rng([8, len(style)]), px_per_mm=PX_PER_MM)
        assert glare_of(intake.open_upload(camera.encode(shot))) is None, preset


@pytest.mark.parametrize("turned_deg", [-3.0, 0.0, 2.0])
def test_a_white_margin_on_a_dark_table_is_no_reflection(turned_deg, signal_mv):
    """Folded, with one half in shade: between the other half's grid and the sheet's edge lies the whitest paper."""
    rgb = page_of(STYLES["standard"], signal_mv).rgb.copy()
    height, width = rgb.shape[:2]
    rgb[:, : round(0.6 * width)] = np.rint(rgb[:, : round(0.6 * width)] * 0.85).astype(np.uint8)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), turned_deg, 0.85)
    table = (60, 45, 40)
    assert glare_of(cv2.warpAffine(rgb, turn, (width, height), flags=cv2.INTER_AREA, borderValue=table)) is None


def test_one_lamp_to_the_side_is_no_reflection(signal_mv):
    """Half the light is lost towards one side, and the other is as white as paper can be."""
    page = page_of(STYLES["3x4-rhythm"], signal_mv)
    for seed in range(6):
        lit = camera.light.shade(page.rgb, loss=0.5, rng=np.random.default_rng(seed))
        assert glare_of(lit) is None, seed
