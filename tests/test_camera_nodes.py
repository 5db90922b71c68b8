"""Fields between nodes: OpenCV, asked for the whole field at once, is what the bands are held against."""

import cv2
import numpy as np
import pytest

from vizecg.camera import nodes

SIZES = [(8, 8), (2200, 130), (61, 200), (5, 3), (64, 64)]


def grid(size, *channels, seed=0):
    shape = tuple(len(nodes.node_places(side)) for side in size[::-1])
    return np.random.default_rng(seed).uniform(0.2, 1.4, (*shape, *channels)).astype(np.float32)


def whole(field, size):
    step = nodes.NODE_STEP_PX
    filled = cv2.resize(field, (field.shape[1] * step, field.shape[0] * step), interpolation=cv2.INTER_LINEAR)
    return filled[step : step + size[1], step : step + size[0]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [(), (2,), (3,)])
def test_bands_are_the_field_interpolated_between_its_nodes(size, channels):
    field = grid(size, *channels)
    bands = [(rows, band.copy()) for rows, band in nodes.bands(size, field)]
    assert [row for rows, _ in bands for row in range(rows.start, rows.stop)] == list(range(size[1]))
    np.testing.assert_allclose(np.concatenate([band for _, band in bands]), whole(field, size), atol=2e-6)


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_is_multiplied_rounded_and_white_at_most(size):
    image = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image[0, 0] = 255
    gain = grid(size, 3) + np.float32(1)
    exact = np.minimum(image * whole(gain, size).astype(np.float64), 255)
    nodes.multiply(image, gain)
    assert np.abs(image - exact).max() <= 0.5001
    assert (image == 255).any()


def test_a_gain_below_nothing_is_black_and_not_white():
    image = np.full((8, 8, 3), 200, np.uint8)
    nodes.multiply(image, -grid((8, 8), 3))
    assert image.max() == 0


def test_a_view_whose_change_would_be_lost_is_refused():
    image = np.zeros((16, 16, 3), np.uint8)[:, ::2]
    with pytest.raises(ValueError, match="image must be contiguous"):
        nodes.multiply(image, grid((8, 16), 3))
