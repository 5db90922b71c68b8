"""From a record to a page: 2200 × 1700 as PNG, and 512 × 512 gray in memory."""

import cv2
import numpy as np
import pytest
from scipy.signal import resample_poly

from benchmarks.contest import Contest, note
from benchmarks.peers import (
    HZ,
    LETTER,
    LETTER_PX_PER_MM,
    SQUARE,
    SQUARE_MM,
    MatplotlibPage,
    cairo_gray,
    ecg_plot_png,
    matplotlib_png,
)
from vizecg.page import Style, draw_page, encode_png

PNG = "record to 2200×1700 page, PNG"
GRAY = "record to 512×512 gray page, in memory"
SIZE_PX = (512, 512)


def page_png(signal_mv: np.ndarray) -> bytes:
    return encode_png(draw_page(signal_mv, sampling_hz=HZ, style=LETTER, px_per_mm=LETTER_PX_PER_MM))


def page_gray(signal_mv: np.ndarray) -> np.ndarray:
    return draw_page(signal_mv, sampling_hz=HZ, style=SQUARE, px_per_mm=SIZE_PX[0] / SQUARE_MM).gray


def size_of(data: bytes) -> tuple[int, int]:
    height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE).shape
    return width, height


def test_page_against_ecg_plot(contest: Contest, signals: list[np.ndarray]) -> None:
    pytest.importorskip("ecg_plot", reason="ecg_plot is not installed")
    assert size_of(page_png(signals[0])) == (2200, 1700)
    assert size_of(ecg_plot_png(signals[0]))[0] == 2200
    contest(PNG, page_png, signals, peer=("ecg_plot 0.3", ecg_plot_png), rounds=10, at_least=60)


def test_page_against_matplotlib(contest: Contest, signals: list[np.ndarray]) -> None:
    assert size_of(matplotlib_png(signals[0])) == (2200, 1700)
    contest(PNG, page_png, signals, peer=("matplotlib", matplotlib_png), rounds=10, at_least=60)


def test_gray_against_a_reused_matplotlib_figure(contest: Contest, signals: list[np.ndarray]) -> None:
    figure = MatplotlibPage(SQUARE, size_px=SIZE_PX)
    assert page_gray(signals[0]).shape == figure.again(signals[0]).shape == SIZE_PX
    contest(GRAY, page_gray, signals, peer=("matplotlib, reused figure", figure.again), rounds=40, at_least=20)


def test_gray_against_pycairo(contest: Contest, signals: list[np.ndarray]) -> None:
    pytest.importorskip("cairo", reason="pycairo is not installed: pip install vizecg[bench]", exc_type=ImportError)
    draw = cairo_gray(SQUARE, size_px=SIZE_PX)
    assert draw(signals[0]).shape == SIZE_PX
    contest(GRAY, page_gray, signals, peer=("pycairo", draw), rounds=40, at_least=60)


@pytest.mark.parametrize(
    ("style", "size_px", "wanted_db"), [(SQUARE, (512, 512), 40), (LETTER, (2200, 1700), 48)], ids=["512", "2200"]
)
def test_truth(style: Style, size_px: tuple[int, int], wanted_db: float, signals: list[np.ndarray]) -> None:
    large_px = (4 * size_px[0], 4 * size_px[1])
    pytest.importorskip("cairo", reason="pycairo is not installed: pip install vizecg[bench]", exc_type=ImportError)
    oracle = cairo_gray(style, size_px=large_px)
    found_db = []
    for signal_mv in signals[:4]:
        drawn = draw_page(signal_mv, sampling_hz=HZ, style=style, px_per_mm=size_px[0] / style.paper_mm[0]).gray
        # Between its samples a trace is band-limited, not straight; what is recorded at 500 Hz shows that.
        fine_mv = resample_poly(np.pad(signal_mv, ((0, 0), (50, 50)), mode="edge"), 8, 1, axis=1)[:, 400:-400]
        large = oracle(fine_mv[:, : fine_mv.shape[1] - 7], sampling_hz=8 * HZ)
        true = cv2.resize(large.astype(np.float32), size_px, interpolation=cv2.INTER_AREA)
        unlettered = cv2.resize(lettering(style, size_px), size_px, interpolation=cv2.INTER_NEAREST) == 0
        error = (drawn.astype(np.float32) - true)[unlettered]
        found_db.append(10 * np.log10(255**2 / np.mean(error**2)))
    note(
        {
            "name": f"likeness to pycairo at four times the size, {size_px[0]}×{size_px[1]}",
            "figures": {"PSNR_dB_least": round(float(min(found_db)), 1), "wanted_dB": wanted_db},
        }
    )
    assert min(found_db) >= wanted_db


def lettering(style: Style, size_px: tuple[int, int]) -> np.ndarray:
    """Not 0 where names, pulses and the note at the foot stand: typefaces differ, and only we draw a pulse here."""
    from vizecg.page.layout import sheet
    from vizecg.page.raster import GRID_LEVELS

    inked = (sheet(style, px_per_mm=size_px[0] / style.paper_mm[0]).index >= GRID_LEVELS).astype(np.uint8)
    # A margin of one millimetre on paper, for another typeface's letters.
    side = max(3, 2 * round(3 * size_px[0] / style.paper_mm[0]) + 1)
    return cv2.dilate(inked, np.ones((side, side), np.uint8))
