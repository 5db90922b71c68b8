"""Fields between nodes, held against OpenCV's interpolation; sheets seen through one, held against SciPy's."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

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


def test_levels_are_added_rounded_and_white_at_most():
    image = np.random.default_rng(1).integers(0, 256, (200, 61, 3), dtype=np.uint8)
    more = 60 * grid((61, 200), 3)
    exact = np.minimum(image + whole(more, (61, 200)).astype(np.float64), 255)
    nodes.lighten(image, more)
    assert np.abs(image - exact).max() <= 0.5001
    assert (image == 255).any()


# A sheet seen through a map.


def seen_from(size, *, turn_rad=0.0, zoom=1.0, shift=(0.0, 0.0), bow_px=0.0):
    """Nodes of a picture of this size: the sheet turned, drawn together, shifted and bent."""
    x, y = np.meshgrid(*(nodes.node_places(side) for side in size))
    across = zoom * (np.cos(turn_rad) * x - np.sin(turn_rad) * y) + shift[0]
    down = zoom * (np.sin(turn_rad) * x + np.cos(turn_rad) * y) + shift[1] + bow_px * np.sin(x / 40)
    return np.stack([across, down], axis=-1).astype(np.float32)


def sheet_of(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def seen_by_scipy(sheet, field, size, *, around):
    x, y = whole(field, size).astype(np.float64).transpose(2, 0, 1)
    how = {"order": 1, "mode": "grid-constant", "cval": around}
    return np.stack([map_coordinates(sheet[:, :, k].astype(np.float64), [y, x], **how) for k in range(3)], axis=-1)


MAPS = [
    pytest.param({"turn_rad": 0.07, "zoom": 0.9, "shift": (20.0, -11.0)}, id="turned a little"),
    pytest.param({"turn_rad": np.pi / 2, "shift": (300.0, 0.0)}, id="turned by a quarter"),
    pytest.param({"zoom": 1.7, "shift": (-100.0, -40.3)}, id="smaller than the picture"),
    pytest.param({"turn_rad": -0.02, "bow_px": 6.0, "shift": (5.5, 8.25)}, id="bent"),
    pytest.param({"shift": (1e7, -1e7)}, id="nowhere"),
]


@pytest.mark.parametrize("how", MAPS)
@pytest.mark.parametrize("size", [(331, 203), (64, 9), (5, 3)])
def test_a_sheet_is_seen_as_between_its_four_nearest_pixels_and_its_outline_is_smooth(how, size):
    sheet, field = sheet_of(317, 241), seen_from(size, **how)
    exact = seen_by_scipy(sheet, field, size, around=77)
    out = np.full((size[1], size[0], 3), 77, np.uint8)
    nodes.see(sheet, field, out=out)
    # Each of two ways is a whole number of 256ths, and each of two mixtures a whole number of levels.
    assert np.abs(out - exact).max() <= 3
    assert np.abs(out - exact).mean() <= 0.6


def test_a_sheet_that_lies_straight_is_seen_as_it_is():
    sheet = sheet_of(120, 90)
    out = np.zeros_like(sheet)
    nodes.see(sheet, seen_from((120, 90)), out=out)
    assert np.array_equal(out, sheet)


def test_it_writes_into_its_part_of_a_picture_and_nowhere_else():
    frame, sheet = np.full((60, 100, 3), 77, np.uint8), sheet_of(200, 200)
    nodes.see(sheet, seen_from((50, 30), shift=(20.0, 20.0)), out=frame[10:40, 30:80])
    assert np.array_equal(frame[10:40, 30:80], sheet[20:50, 20:70])
    frame[10:40, 30:80] = 77
    assert (frame == 77).all()


@pytest.mark.parametrize(
    ("sheet", "size", "out", "message"),
    [
        (sheet_of(20, 20), (8, 16), np.zeros((16, 16, 3), np.uint8)[:, ::2], "rows of out must be contiguous"),
        (sheet_of(20, 20), (8, 16), np.zeros((16, 16, 3), np.uint8), r"has nodes \(4, 4, 2\), got \(4, 3, 2\)"),
        (sheet_of(20, 20)[:, :, 0], (16, 16), np.zeros((16, 16, 3), np.uint8), r"must be \(height, width, 3\) bytes"),
        (sheet_of(20, 20) / 255, (16, 16), np.zeros((16, 16, 3), np.uint8), r"must be \(height, width, 3\) bytes"),
    ],
)
def test_what_would_be_read_or_written_elsewhere_is_refused(sheet, size, out, message):
    with pytest.raises(ValueError, match=message):
        nodes.see(sheet, seen_from(size), out=out)


FENCED = """
import ctypes, mmap
import numpy as np
from vizecg.camera import nodes

libc = ctypes.CDLL(None, use_errno=True)

def fenced(shape):
    "Memory that ends where reading or writing one byte more ends the process."
    size = int(np.prod(shape))
    pages = -(-size // mmap.PAGESIZE)
    held = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    whole = np.frombuffer(held, np.uint8)
    fence = whole.ctypes.data + pages * mmap.PAGESIZE
    assert libc.mprotect(ctypes.c_void_p(fence), mmap.PAGESIZE, 0) == 0, ctypes.get_errno()
    return whole[pages * mmap.PAGESIZE - size : pages * mmap.PAGESIZE].reshape(shape)

for height, width in ((1, 1), (2, 2), (3, 3), (4, 64), (40, 41), (33, 200)):
    for shift in (0.0, -0.5, -3.0):
        sheet, out = fenced((height, width, 3)), fenced((height, width, 3))
        sheet[:], out[:] = 50, 60
        across, down = np.meshgrid(nodes.node_places(width), nodes.node_places(height))
        nodes.see(sheet, np.stack([across + shift, down + shift], axis=-1).astype(np.float32), out=out)
        assert 50 <= out.min() <= out.max() <= 60
    # Along the very edge, and a hair towards it from one node to the next.
    for axis in (0, 1):
        along = np.stack([across, down], axis=-1).astype(np.float32)
        along[..., axis] = np.arange(along.shape[1], 0, -1)[None, :] / np.float32(65536)
        nodes.see(sheet, along, out=out)
        assert 50 <= out.min() <= out.max() <= 60
print("within")
"""


def test_nothing_is_read_or_written_beyond_the_last_byte_of_either():
    done = subprocess.run(
        [sys.executable, "-c", FENCED], capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent
    )
    assert (done.returncode, done.stdout) == (0, "within\n"), done.stderr
