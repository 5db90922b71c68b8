"""Fields that are known at every eighth pixel, filled in between.

Where the page lies and how light falls on it change slowly, so both are worked out at
nodes and interpolated linearly. All that is compiled stands in this file: numba's cache
notices a change of the file that a function stands in alone.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from vizecg.camera.picture import Field, Image

NODE_STEP_PX = 8
_BAND_PX = 64
_HALF, _BLACK, _WHITE = np.float32(0.5), np.float32(0), np.float32(255)


def node_places(length_px: int) -> NDArray[np.float64]:
    """Where nodes are along one side: the middles of runs of `NODE_STEP_PX` pixels, one run beyond each end."""
    middles = np.arange(-1, -(-length_px // NODE_STEP_PX) + 1) + 0.5
    return np.asarray(middles * NODE_STEP_PX - 0.5, dtype=np.float64)


def bands(frame_px: tuple[int, int], nodes: Field) -> Iterator[tuple[slice, Field]]:
    """Fill in a field, a band of the frame's rows at a time: good until the next one is asked for.

    A band's field stays in the processor's cache until it is used; a frame's would not.

    Args:
        frame_px: width and height.
        nodes: (rows, columns) or (rows, columns, channels), as many as `node_places` has for either side.
    """
    width, height = frame_px
    across = _across(nodes, width_px=width)
    filled = np.empty((min(_BAND_PX, height), across.shape[1]), np.float32)
    for first in range(0, height, _BAND_PX):
        rows = slice(first, min(first + _BAND_PX, height))
        band = filled[: rows.stop - first]
        _fill(across, first, band)
        yield rows, band.reshape(len(band), width, *nodes.shape[2:])


def multiply(image: Image, nodes: Field) -> None:
    """Multiply a picture in place, rounded, white at most.

    Args:
        image: (height, width, 3).
        nodes: (rows, columns, 3) gains.

    Raises:
        ValueError: the picture's memory has gaps, so what is changed would be a copy.
    """
    if not image.flags.c_contiguous:
        raise ValueError(f"image must be contiguous, got strides {image.strides} of shape {image.shape}")
    _multiply(image.reshape(len(image), -1), _across(nodes, width_px=image.shape[1]))


def _across(nodes: Field, *, width_px: int) -> Field:
    """Fill in along rows of nodes alone: (rows, columns, ...) -> (rows, width times channels)."""
    size = (nodes.shape[1] * NODE_STEP_PX, nodes.shape[0])
    wide = cv2.resize(nodes, size, interpolation=cv2.INTER_LINEAR)[:, NODE_STEP_PX : NODE_STEP_PX + width_px]
    return np.ascontiguousarray(wide, dtype=np.float32).reshape(len(nodes), -1)


@njit(nogil=True, cache=True)
def _between(row_px: int) -> tuple[int, np.float32]:
    """Which row of nodes is above a row of pixels, and how far it is on the way to the next."""
    place = (row_px + 0.5) / NODE_STEP_PX + 0.5
    above = int(place)
    return above, np.float32(place - above)


@njit(nogil=True, cache=True)
def _fill(across: Field, first_px: int, filled: Field) -> None:
    for row in range(filled.shape[0]):
        at, way = _between(first_px + row)
        above, below, line = across[at], across[at + 1], filled[row]
        for place in range(line.size):
            line[place] = above[place] + (below[place] - above[place]) * way


@njit(nogil=True, cache=True)
def _multiply(image: Image, across: Field) -> None:
    for row in range(image.shape[0]):
        at, way = _between(row)
        above, below, line = across[at], across[at + 1], image[row]
        for place in range(line.size):
            gain = above[place] + (below[place] - above[place]) * way
            lit = max(min(np.float32(line[place]) * gain + _HALF, _WHITE), _BLACK)
            line[place] = np.uint8(np.int32(lit))  # by way of a signed number, which processors turn into eight at once
