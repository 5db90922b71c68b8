"""Fields that are known at every eighth pixel, filled in between.

Where the page lies and how light falls on it change slowly, so both are worked out at
nodes and interpolated linearly. All that is compiled stands in this file: numba's cache
notices a change of the file that a function stands in alone.

A page is looked up in three steps, a stretch of a row at a time: eight bytes of the sheet
for each of two rows, which hold the four pixels that one of the picture lies between; their
mixture, of which a processor makes several at once, for three colours lie in one number;
and four bytes of the picture, the fourth of which the next pixel overwrites. OpenCV's
`remap` of three channels takes 1.8 times as long.
"""

from typing import Any

import cv2
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped] # its wheel has no stubs
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from vizecg.camera.picture import Field, Image

NODE_STEP_PX = 8
_HALF, _BLACK, _WHITE = np.float32(0.5), np.float32(0), np.float32(255)
_STRETCH_RUNS = 16  # between nodes, so that what is fetched stays in the processor's first cache
# Places on the sheet are counted in 65,536ths of a pixel, of which the upper eight bits weigh.
_PLACE_BITS = 16
_PLACES = np.float32(1 << _PLACE_BITS)
_ONE = 1 << _PLACE_BITS
_EIGHT, _SIXTEEN, _BYTE = np.uint64(8), np.uint64(16), np.uint64(0xFF)
_EVEN_BYTES, _HALVES = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0080008000800080)
_intrinsic: Any = intrinsic  # whose own type would have callers pass what the compiler does


def node_places(length_px: int) -> NDArray[np.float64]:
    """Where nodes are along one side: the middles of runs of `NODE_STEP_PX` pixels, one run beyond each end."""
    middles = np.arange(-1, -(-length_px // NODE_STEP_PX) + 1) + 0.5
    return np.asarray(middles * NODE_STEP_PX - 0.5, dtype=np.float64)


def multiply(image: Image, nodes: Field) -> None:
    """Multiply a picture in place, rounded, white at most.

    Args:
        image: (height, width, 3).
        nodes: (rows, columns, 3) gains, as many as `node_places` has for either side.

    Raises:
        ValueError: the picture's memory has gaps, so what is changed would be a copy.
    """
    _multiply(_as_rows(image), _across(nodes, width_px=image.shape[1]))


def lighten(image: Image, nodes: Field) -> None:
    """Add levels to a picture in place, rounded, white at most; arguments and errors as of `multiply`."""
    _lighten(_as_rows(image), _across(nodes, width_px=image.shape[1]))


def _as_rows(image: Image) -> Image:
    """(height, width times 3), the same memory."""
    if not image.flags.c_contiguous:
        raise ValueError(f"image must be contiguous, got strides {image.strides} of shape {image.shape}")
    return image.reshape(len(image), -1)


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
def _multiply(image: Image, across: Field) -> None:
    for row in range(image.shape[0]):
        at, way = _between(row)
        above, below, line = across[at], across[at + 1], image[row]
        for place in range(line.size):
            gain = above[place] + (below[place] - above[place]) * way
            lit = max(min(np.float32(line[place]) * gain + _HALF, _WHITE), _BLACK)
            line[place] = np.uint8(np.int32(lit))  # by way of a signed number, which processors turn into eight at once


@njit(nogil=True, cache=True)
def _lighten(image: Image, across: Field) -> None:
    for row in range(image.shape[0]):
        at, way = _between(row)
        above, below, line = across[at], across[at + 1], image[row]
        for place in range(line.size):
            more = above[place] + (below[place] - above[place]) * way
            line[place] = np.uint8(np.int32(min(np.float32(line[place]) + more + _HALF, _WHITE)))


def see(sheet: Image, nodes: Field, *, out: Image) -> None:
    """Write into a picture what is seen of a sheet, each pixel mixed of four; beside the sheet those are the picture's.

    Args:
        sheet: (height, width, 3).
        nodes: (rows, columns, 2) x, y on the sheet, as many as `node_places` has for either side of the picture.
        out: (rows of pixels, columns of pixels, 3); may be a part of a larger picture.

    Raises:
        ValueError: anything has another shape, or the rows of `out` have gaps within. What is compiled would not
            notice, but read and write elsewhere.
    """
    sheet = np.ascontiguousarray(sheet)
    if sheet.dtype != np.uint8 or out.dtype != np.uint8 or sheet.shape[2:] != (3,) or out.shape[2:] != (3,):
        raise ValueError(f"pictures must be (height, width, 3) bytes, got {sheet.shape} and {out.shape}")
    if out.strides[1:] != (3, 1):
        raise ValueError(f"rows of out must be contiguous, got strides {out.strides}")
    wanted = (len(node_places(out.shape[0])), len(node_places(out.shape[1])), 2)
    if nodes.shape != wanted:
        raise ValueError(f"a picture of {out.shape} has nodes {wanted}, got {nodes.shape}")
    _see(np.uint64(sheet.ctypes.data), sheet, nodes, np.uint64(out.ctypes.data), out)


@_intrinsic  # type: ignore[untyped-decorator]
def _eight_bytes(_: Any, address: Any) -> Any:  # noqa: ANN401 (numba's types)
    """Read a number from an address that need not be a multiple of eight."""

    def generated(_: Any, builder: Any, __: Any, arguments: Any) -> Any:  # noqa: ANN401
        read = builder.load(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()))
        read.align = 1
        return read

    return types.uint64(address), generated


@_intrinsic  # type: ignore[untyped-decorator]
def _write_four_bytes(_: Any, address: Any, number: Any) -> Any:  # noqa: ANN401
    def generated(context: Any, builder: Any, __: Any, arguments: Any) -> Any:  # noqa: ANN401
        written = builder.store(arguments[1], builder.inttoptr(arguments[0], ir.IntType(32).as_pointer()))
        written.align = 1
        return context.get_dummy_value()

    return types.void(address, number), generated


@njit(nogil=True, cache=True)
def _see(sheet_at: np.uint64, sheet: Image, nodes: Field, out_at: np.uint64, out: Image) -> None:
    """See `see`; also where the first bytes of both pictures are."""
    height, width = out.shape[:2]
    # A row above the last two can be read eight bytes at a time without leaving the sheet.
    right, bottom = np.int64(sheet.shape[1] - 1) << _PLACE_BITS, np.int64(sheet.shape[0] - 1) << _PLACE_BITS
    low = np.int64(sheet.shape[0] - 3) << _PLACE_BITS
    most = _STRETCH_RUNS * NODE_STEP_PX
    upper, lower, ways = np.empty(most, np.uint64), np.empty(most, np.uint64), np.empty(most, np.uint64)
    x, y = np.empty(_STRETCH_RUNS + 1, np.int64), np.empty(_STRETCH_RUNS + 1, np.int64)
    for node in range(0, nodes.shape[1] - 1, _STRETCH_RUNS):
        runs = min(_STRETCH_RUNS, nodes.shape[1] - 1 - node)
        for row in range(height):
            _places(x, y, nodes, row, node, runs)
            line, line_at, fetched = out[row], out_at + np.uint64(row * out.strides[0]), 0
            for run in range(runs):
                # The first run begins half a run before the picture.
                start = (node + run) * NODE_STEP_PX - NODE_STEP_PX // 2
                leftmost, rightmost = min(x[run], x[run + 1]), max(x[run], x[run + 1])
                highest, lowest = min(y[run], y[run + 1]), max(y[run], y[run + 1])
                whole = start >= 0 and start + NODE_STEP_PX <= width
                # Steps are rounded down, so where a run ends may be so many parts of a pixel before its second node.
                on_sheet = leftmost >= NODE_STEP_PX and rightmost < right and highest >= NODE_STEP_PX and lowest < low
                if whole and on_sheet:
                    _fetch(
                        upper, lower, ways, fetched, sheet_at, sheet.shape[1], x[run], x[run + 1], y[run], y[run + 1]
                    )
                    fetched += NODE_STEP_PX
                    continue
                if fetched:
                    _write(line, line_at, start - fetched, upper, lower, ways, fetched)
                    fetched = 0
                if rightmost > -_ONE and leftmost < right + _ONE and lowest > -_ONE and highest < bottom + _ONE:
                    _see_edge(line, start, sheet, x[run], x[run + 1], y[run], y[run + 1])
            if fetched:
                end = (node + runs) * NODE_STEP_PX - NODE_STEP_PX // 2
                _write(line, line_at, end - fetched, upper, lower, ways, fetched)


@njit(nogil=True, cache=True, inline="always")
def _places(x: NDArray[np.int64], y: NDArray[np.int64], nodes: Field, row: int, first: int, runs: int) -> None:
    """Where on the sheet a row of the picture is at some nodes, and at the one after them."""
    at, way = _between(row)
    for run in range(runs + 1):
        above, below = nodes[at, first + run], nodes[at + 1, first + run]
        x[run] = np.int64((above[0] + (below[0] - above[0]) * way) * _PLACES)
        y[run] = np.int64((above[1] + (below[1] - above[1]) * way) * _PLACES)


@njit(nogil=True, cache=True, inline="always")
def _fetch(
    upper: NDArray[np.uint64],
    lower: NDArray[np.uint64],
    ways: NDArray[np.uint64],
    first: int,
    sheet_at: np.uint64,
    sheet_px: int,
    x_start: int,
    x_end: int,
    y_start: int,
    y_end: int,
) -> None:
    """Fetch what the pixels of a run lie between: two neighbours of a row, two of the next, and how far on the way."""
    x_step, y_step = (x_end - x_start) // NODE_STEP_PX, (y_end - y_start) // NODE_STEP_PX
    # Unsigned, for a signed index may count from the end, and compiled code asks every time whether it does.
    x, y = np.uint64(x_start + x_step // 2), np.uint64(y_start + y_step // 2)
    across, down, row_bytes = np.uint64(x_step), np.uint64(y_step), np.uint64(3 * sheet_px)
    for number in range(first, first + NODE_STEP_PX):
        pixel = np.uint64(number)
        at = sheet_at + (y >> _SIXTEEN) * row_bytes + (x >> _SIXTEEN) * np.uint64(3)
        upper[pixel], lower[pixel] = _eight_bytes(at), _eight_bytes(at + row_bytes)
        ways[pixel] = ((x >> _EIGHT) & _BYTE) | (y & np.uint64(0xFF00))
        x += across
        y += down


@njit(nogil=True, cache=True)
def _write(
    line: Image,
    line_at: np.uint64,
    column: int,
    upper: NDArray[np.uint64],
    lower: NDArray[np.uint64],
    ways: NDArray[np.uint64],
    count: int,
) -> None:
    """Mix what was fetched and write it into a row, from a column on; `upper` is written over."""
    for pixel in range(count):
        upper[pixel] = _mixed(upper[pixel], lower[pixel], ways[pixel])
    at = line_at + np.uint64(3 * column)
    for pixel in range(count - 1):
        _write_four_bytes(at, np.uint32(upper[np.uint64(pixel)]))
        at += np.uint64(3)
    last = upper[np.uint64(count - 1)]  # whose fourth byte would be somebody else's
    for channel in range(3):
        line[column + count - 1, channel] = np.uint8((last >> np.uint64(8 * channel)) & _BYTE)


@njit(nogil=True, cache=True, inline="always")
def _mixed(upper: np.uint64, lower: np.uint64, ways: np.uint64) -> np.uint64:
    """Mix pixels, each the first three bytes of six: downwards first, then across, rounded after either.

    Every other byte has sixteen bits to itself, so none runs over into the next when it is weighed by up to 256.
    """
    across, down = ways & _BYTE, ways >> _EIGHT
    even, odd = upper & _EVEN_BYTES, (upper >> _EIGHT) & _EVEN_BYTES
    even = (((even << _EIGHT) + ((lower & _EVEN_BYTES) - even) * down + _HALVES) >> _EIGHT) & _EVEN_BYTES
    odd = (((odd << _EIGHT) + (((lower >> _EIGHT) & _EVEN_BYTES) - odd) * down + _HALVES) >> _EIGHT) & _EVEN_BYTES
    # Red, blue and green of either pixel, in this order.
    one = (even & np.uint64(0xFFFFFFFF)) | (odd << np.uint64(32))
    other = ((odd >> _SIXTEEN) & np.uint64(0xFFFFFFFF)) | (even & np.uint64(0xFF00000000))
    mixed = ((one << _EIGHT) + (other - one) * across + _HALVES) >> _EIGHT
    return (mixed & np.uint64(0xFF00FF)) | ((mixed >> np.uint64(24)) & np.uint64(0xFF00))


@njit(nogil=True, cache=True)
def _see_edge(line: Image, start: int, sheet: Image, x_start: int, x_end: int, y_start: int, y_end: int) -> None:
    """See a run that lies partly beside the sheet or the picture: as `_mixed` does, pixel by pixel."""
    x_step, y_step = (x_end - x_start) // NODE_STEP_PX, (y_end - y_start) // NODE_STEP_PX
    x, y = x_start + x_step // 2, y_start + y_step // 2
    for column in range(max(start, 0), min(start + NODE_STEP_PX, len(line))):
        x_seen, y_seen = x + (column - start) * x_step, y + (column - start) * y_step
        left, top = x_seen >> _PLACE_BITS, y_seen >> _PLACE_BITS
        across, down = (x_seen >> 8) & 0xFF, (y_seen >> 8) & 0xFF
        # Neighbours beside the sheet are what is there already, so its outline is as smooth as all else.
        if -1 <= left < sheet.shape[1] and -1 <= top < sheet.shape[0]:
            for channel in range(3):
                there = line[column, channel]
                one = _one_above_the_other(sheet, left, top, channel, down, there)
                other = _one_above_the_other(sheet, left + 1, top, channel, down, there)
                line[column, channel] = np.uint8((256 - across) * one + across * other + 128 >> 8)


@njit(nogil=True, cache=True, inline="always")
def _one_above_the_other(sheet: Image, left: int, top: int, channel: int, down: int, there: int) -> np.int64:
    """Mix two pixels of a column of the sheet, `there` in place of one that it does not have."""
    upper, lower = np.int64(there), np.int64(there)
    if 0 <= left < sheet.shape[1]:
        upper = np.int64(sheet[top, left, channel]) if top >= 0 else upper
        lower = np.int64(sheet[top + 1, left, channel]) if top + 1 < sheet.shape[0] else lower
    return (256 - down) * upper + down * lower + 128 >> 8
