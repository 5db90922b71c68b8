"""From the bytes of a picture to the page as the model sees it."""

import numpy as np
import pytest

from benchmarks.contest import Contest
from benchmarks.peers import HZ, LETTER, LETTER_PX_PER_MM
from vizecg import camera, intake
from vizecg.intake import CanonicalSpec
from vizecg.page import FIELD_HEIGHT_MM, FIELD_WIDTH_MM, draw_page, encode_png

PX_PER_MM = 1.5  # params.yaml's render.px_per_mm
SPEC = CanonicalSpec(
    height_px=round(FIELD_HEIGHT_MM * PX_PER_MM), width_px=round(FIELD_WIDTH_MM * PX_PER_MM), px_per_mm=PX_PER_MM
)
PHOTOS = 24
# A4 at 13 px/mm fills a 12-megapixel frame, 4000 × 3000, about as it does when somebody takes all of it in.
PHOTO_PX_PER_MM = 13.0


@pytest.fixture(scope="module")
def photos(signals: list[np.ndarray]) -> list[bytes]:
    made = []
    for seed in range(PHOTOS):
        page = draw_page(signals[seed % len(signals)], sampling_hz=HZ, px_per_mm=PHOTO_PX_PER_MM).rgb
        made.append(camera.photograph(page, preset="photo", rng=np.random.default_rng(seed), px_per_mm=PHOTO_PX_PER_MM))
    return made


def test_photo(contest: Contest, photos: list[bytes]) -> None:
    height, width = intake.decode(photos[0]).shape[:2]
    contest(
        f"intake of a {width * height / 1e6:.0f}-megapixel JPEG photo, decoding included",
        lambda data: intake.normalise(intake.open_upload(data), spec=SPEC),
        photos,
        rounds=2 * PHOTOS,
        times=1,
        at_most_ms=60,
    )


def test_page(contest: Contest, signals: list[np.ndarray]) -> None:
    pages = [
        intake.decode(encode_png(draw_page(signal_mv, sampling_hz=HZ, style=LETTER, px_per_mm=LETTER_PX_PER_MM)))
        for signal_mv in signals[:8]
    ]
    contest(
        "intake of a 2200×1700 page, after decoding",
        lambda page: intake.normalise(page, spec=SPEC),
        pages,
        rounds=40,
        times=1,
        at_most_ms=25,
    )
