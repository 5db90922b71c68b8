"""What the camera does to a page is small enough to read, the same every time, and as its preset says."""

import cv2
import numpy as np
import pytest

from vizecg import camera


def page():
    """White paper with a black cross through its middle and a dark square in the upper left."""
    image = np.full((300, 400, 3), 255, np.uint8)
    image[148:152, 50:350] = 0
    image[30:270, 198:202] = 0
    image[40:80, 60:100] = 40
    return image


def rng(seed=0):
    return np.random.default_rng(seed)


def test_clean_changes_nothing_and_hands_out_a_copy():
    image = page()
    taken = camera.apply(image, preset="clean", rng=rng())
    np.testing.assert_array_equal(taken, image)
    taken[:] = 0
    np.testing.assert_array_equal(image, page())


def test_a_scan_is_a_pure_function_of_image_and_generator():
    image = page()
    first = camera.apply(image, preset="scan", rng=rng(7))
    np.testing.assert_array_equal(image, page())
    np.testing.assert_array_equal(first, camera.apply(image, preset="scan", rng=rng(7)))
    assert (first != camera.apply(image, preset="scan", rng=rng(8))).any()


def test_a_scan_keeps_size_and_kind_and_remains_like_the_page():
    for seed in range(10):
        taken = camera.apply(page(), preset="scan", rng=rng(seed))
        assert taken.shape == (300, 400, 3)
        assert taken.dtype == np.uint8
        assert np.median(taken) > 190
        assert taken[145:155, 195:205].min() < 60


def test_the_file_of_a_scan_is_a_jpeg_of_the_same_picture():
    data = camera.photograph(page(), preset="scan", rng=rng(3))
    assert data.startswith(b"\xff\xd8\xff")
    opened = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(opened, camera.apply(page(), preset="scan", rng=rng(3)))


def test_scans_turn_the_page_by_at_most_two_degrees_both_ways():
    turns = []
    for seed in range(40):
        taken = camera.apply(page(), preset="scan", rng=rng(seed)).min(axis=2)
        dark = [np.flatnonzero(taken[120:180, x] < 128).mean() for x in (80, 180, 220, 320)]
        # y grows downwards: a page turned anticlockwise has its cross's right arm higher.
        turns.append(np.degrees(np.arctan2(dark[0] - dark[3], 240)))
    assert min(turns) < -1
    assert max(turns) > 1
    assert max(np.abs(turns)) < 2.3


@pytest.mark.parametrize("angle_deg", [-2.0, 1.5])
def test_rotation_is_anticlockwise_about_the_middle(angle_deg):
    turned = camera.rotate(page(), angle_deg=angle_deg, surround=(255, 255, 255)).min(axis=2)
    heights = [np.flatnonzero(turned[100:200, x] < 128).mean() for x in (80, 320)]
    assert np.degrees(np.arctan2(heights[0] - heights[1], 240)) == pytest.approx(angle_deg, abs=0.15)
    assert turned[149:151, 199:201].max() < 128


def test_shade_takes_the_stated_share_of_light_and_leaves_the_rest():
    white = np.full((300, 400, 3), 255, np.uint8)
    lit = camera.shade(white, loss=0.2, rng=rng()) / 255
    assert lit.min() == pytest.approx(0.8, abs=0.01)
    assert lit.max() == pytest.approx(1.0, abs=0.01)
    steps = np.abs(np.diff(lit[:, :, 0], axis=1))
    assert steps.max() < 0.01  # smooth: no edge that could be taken for ink


@pytest.mark.parametrize("width", [400, 90_000])
def test_grain_has_the_stated_size(width):
    gray = np.full((40, width, 3), 128, np.uint8)
    rough = camera.roughen(gray, sigma_levels=4.0, rng=rng())
    assert rough.std() == pytest.approx(4.0, rel=0.1)
    assert rough.mean() == pytest.approx(128, abs=0.3)


@pytest.mark.parametrize("call", [camera.apply, camera.photograph])
def test_an_unknown_preset_is_refused_with_the_known_ones(call):
    with pytest.raises(ValueError, match=r"unknown camera preset 'fax'; known: \['clean', 'scan'\]"):
        call(page(), preset="fax", rng=rng())


def test_a_preset_without_jpeg_has_no_file():
    with pytest.raises(ValueError, match="camera preset 'clean' makes no JPEG; encode the page itself"):
        camera.photograph(page(), preset="clean", rng=rng())


def test_what_is_no_rgb_image_is_refused():
    with pytest.raises(ValueError, match=r"image must be \(height, width, 3\) uint8, got \(300, 400\) uint8"):
        camera.apply(page()[:, :, 0], preset="scan", rng=rng())
