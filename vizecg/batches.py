"""Examples for training: which page of a record an epoch shows, and how it is jittered.

An example is a function of (seed, epoch, ecg_id) and nothing else, so it does not
matter who asks for it, in which order, or whether training was cut off before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vizecg.errors import InputError
from vizecg.intake import to_tensor
from vizecg.labels import LEADS
from vizecg.recipe import JitterParams

MICROVOLTS_PER_MV: Final = 1000.0
STREAM_HZ: Final = 100
"""What the signal stream reads, whatever the record's rate.

So one network, and the same weights, serve both: a kernel spans the same time, and a
faster recording costs no more. It is the rate of PTB-XL's benchmark (Strodthoff et al.
2020), and the page that is to be taught has 37.5 pixels a second (25 mm/s, 1.5 px/mm).
"""
_WHITE: Final = 255
# Streams of random numbers that must differ although seed and epoch are the same.
_ORDER_STREAM, _EXAMPLE_STREAM = range(2)


class Pages(Protocol):
    """uint8 (pages, H, W), 255 is white paper: an array, or one that stays on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(pages, H, W)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: Any, /) -> NDArray[np.uint8]:  # noqa: ANN401 (as numpy has it)
        """One page by its number, or several by an array of numbers."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What is learned from; arrays may be memory maps. Rows are records, in one order everywhere.

    Attributes:
        pages: uint8 (pages, H, W), 255 is white paper.
        page_row: (pages,) row of each page's record.
        page_copy: (pages,) which of its record's copies a page is.
        signals_uv: int16 (records, 12, T), 1 µV per unit; never read where `has_signal` is not.
        sampling_hz: of the signals; a whole multiple of `STREAM_HZ`.
        has_signal: (records,) False for a record that came on paper.
        labels: uint8 (records, labels), 0 or 1.
        codes: of the labels, in their order.
        ecg_ids: (records,) what randomness is keyed by.
        training_rows: learned from.
        validation_rows: the best epoch is chosen on these; none where the last is taken.
        digest: names the content of all arrays; a checkpoint of other data is not resumed.
        patient_ids: (records,) whose each record is; needed to cross-fit teachers.
    """

    pages: Pages
    page_row: NDArray[np.integer[Any]]
    page_copy: NDArray[np.integer[Any]]
    signals_uv: NDArray[np.int16]
    sampling_hz: int
    has_signal: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    codes: tuple[str, ...]
    ecg_ids: NDArray[np.integer[Any]]
    training_rows: NDArray[np.integer[Any]]
    validation_rows: NDArray[np.integer[Any]]
    digest: str
    patient_ids: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        records, pages = len(self.signals_uv), len(self.pages)
        if self.pages.dtype != np.uint8 or len(self.pages.shape) != 3:
            raise InputError(f"pages must be uint8 (pages, H, W), got {self.pages.dtype} {self.pages.shape}")
        if (len(self.labels), len(self.ecg_ids), len(self.has_signal)) != (records, records, records):
            raise InputError(
                f"{records} signals, but {len(self.labels)} labels, {len(self.ecg_ids)} ecg_ids "
                f"and {len(self.has_signal)} that say whether there is one"
            )
        if self.labels.ndim != 2 or self.labels.shape[1] != len(self.codes):
            raise InputError(f"labels must be (records, {len(self.codes)} classes), got {self.labels.shape}")
        if self.sampling_hz % STREAM_HZ or self.sampling_hz < STREAM_HZ:
            raise InputError(f"sampling_hz must be a whole multiple of {STREAM_HZ}, got {self.sampling_hz}")
        if (len(self.page_row), len(self.page_copy)) != (pages, pages):
            raise InputError(f"{pages} pages, but an index of {len(self.page_row)} rows and {len(self.page_copy)}")
        if both := set(self.training_rows.tolist()) & set(self.validation_rows.tolist()):
            raise InputError(f"record {self.ecg_ids[min(both)]} is both in training and in validation")
        if self.patient_ids is not None:
            self._refuse_shared_patients(self.patient_ids)
        used = np.concatenate([self.training_rows, self.validation_rows])
        if without := sorted(set(used.tolist()) - set(self.page_row.tolist())):
            raise InputError(f"record {self.ecg_ids[without[0]]} has no page ({len(without)} such); render it first")
        if len(self.training_rows) < 2 or len(self.validation_rows) == 1:
            raise InputError(
                f"training needs at least 2 records on either side, got {len(self.training_rows)} to learn from "
                f"and {len(self.validation_rows)} to validate on"
            )

    def _refuse_shared_patients(self, patient_ids: NDArray[Any]) -> None:
        if len(patient_ids) != len(self.ecg_ids):
            raise InputError(f"{len(self.ecg_ids)} records, but {len(patient_ids)} patient_ids")
        shared = np.intersect1d(patient_ids[self.training_rows], patient_ids[self.validation_rows])
        if shared.size:
            raise InputError(
                f"patient {shared[0]} has records both in training and in validation ({shared.size} such patients); "
                "split by patient"
            )

    @cached_property
    def pages_of_row(self) -> dict[int, list[int]]:
        """Record row -> its pages, in order of their copies."""
        found: dict[int, list[int]] = {}
        for page in np.lexsort((self.page_copy, self.page_row)).tolist():
            found.setdefault(int(self.page_row[page]), []).append(page)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a step is handed.

    Attributes:
        image: float32 (B, 1, H, W), ink 0..1; (B, 1, 0, 0) where pages were not asked for.
        signal_mv: float32 (B', 12, T) at `STREAM_HZ`, of the B' records that have a signal.
        has_signal: bool (B,), which those are.
        labels: float32 (B, labels).
    """

    image: NDArray[np.float32]
    signal_mv: NDArray[np.float32]
    has_signal: NDArray[np.bool_]
    labels: NDArray[np.float32]


def epoch_batches(data: TrainingData, *, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.integer[Any]]]:
    """Rows of each batch: every training record once, shuffled.

    Equal shares instead of a small rest: a batch of one has no variance to normalise by.
    """
    order = np.random.default_rng([_ORDER_STREAM, seed, epoch]).permutation(data.training_rows)
    return np.array_split(order, max(1, round(len(order) / batch_size)))


def training_batch(
    data: TrainingData,
    rows: NDArray[np.integer[Any]],
    *,
    jitter: JitterParams,
    seed: int,
    epoch: int,
    with_pages: bool = True,
) -> Batch:
    """One copy of each record, drawn evenly, jittered; without pages for a network that reads none."""
    images = np.empty((len(rows), 1, *(data.pages.shape[1:] if with_pages else (0, 0))), np.float32)
    signals_mv = []
    for position, row in enumerate(rows.tolist()):
        rng = np.random.default_rng([_EXAMPLE_STREAM, seed, epoch, int(data.ecg_ids[row])])
        if with_pages:
            copies = data.pages_of_row[row]
            page = data.pages[copies[rng.integers(len(copies))]]
            jitter_page(page, jitter=jitter, rng=rng, out=images[position, 0])
        if data.has_signal[row]:
            moved = jitter_signal(data.signals_uv[row], sampling_hz=data.sampling_hz, jitter=jitter, rng=rng)
            signals_mv.append(at_stream_rate(moved, sampling_hz=data.sampling_hz))
    return Batch(
        image=images,
        signal_mv=_stacked(signals_mv),
        has_signal=data.has_signal[rows],
        labels=data.labels[rows].astype(np.float32),
    )


def plain_batches(data: TrainingData, *, pages: Sequence[int], batch_size: int) -> Iterator[Batch]:
    """Pages as they are, in the order given, each beside its record's signal."""
    for start in range(0, len(pages), batch_size):
        chosen = np.asarray(pages[start : start + batch_size])
        rows = data.page_row[chosen]
        has_signal = data.has_signal[rows]
        signals_mv = [
            at_stream_rate(_millivolts(data.signals_uv[row]), sampling_hz=data.sampling_hz) for row in rows[has_signal]
        ]
        yield Batch(
            image=np.concatenate([to_tensor(page) for page in data.pages[chosen]]),
            signal_mv=_stacked(signals_mv),
            has_signal=has_signal,
            labels=data.labels[rows].astype(np.float32),
        )


def jitter_page(
    page: NDArray[np.uint8],
    *,
    jitter: JitterParams,
    rng: np.random.Generator,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Shift, scale and shade one page.

    Args:
        page: uint8 (H, W), 255 is white.
        jitter: how much at most.
        rng: draws how much.
        out: where to write it; a new array if None.

    Returns:
        float32 (H, W), ink 0..1. Both axes keep their direction: a mirrored ECG is another diagnosis.
    """
    ink = np.empty(page.shape, np.float32) if out is None else out
    scales = 1 + rng.uniform(-jitter.scale, jitter.scale, 2)
    shifts_px = rng.uniform(-jitter.shift_px, jitter.shift_px, 2)
    gain, paper = 1 + rng.uniform(-jitter.ink, jitter.ink), rng.uniform(-jitter.paper, jitter.paper)
    _look_up(ink, page, scales, shifts_px, np.float32(gain), np.float32(paper))
    return ink


@njit(nogil=True, cache=True)
def _places_px(side: int, scale: float, shift_px: float) -> NDArray[np.floating[Any]]:
    """Where the columns or the rows of a page lay before it was scaled about its middle and shifted."""
    return (np.arange(side) - shift_px - (side - 1) / 2) / scale + (side - 1) / 2


@njit(nogil=True, cache=True)
def _look_up(
    out: NDArray[np.float32],
    page: NDArray[np.uint8],
    scales: NDArray[np.float64],
    shifts_px: NDArray[np.float64],
    gain: np.float32,
    paper: np.float32,
) -> None:
    """Read a page between its pixels, as ink times gain plus paper, 0 to 1; beside it is white.

    Scales are near 1, so columns are read in long runs of neighbours, each one vector instruction
    after another, and not pixel by pixel.

    Args:
        out: (H, W) to write to.
        page: (H, W).
        scales: across and down.
        shifts_px: likewise.
        gain: of ink.
        paper: ink where there is none.
    """
    height, width = page.shape
    across_px, down_px = _places_px(width, scales[0], shifts_px[0]), _places_px(height, scales[1], shifts_px[1])
    left = np.floor(across_px)
    far = (across_px - left).astype(np.float32)
    ahead = left.astype(np.int64) - np.arange(width)
    edge = int(np.abs(ahead).max()) + 2
    line = np.zeros(width + 2 * edge, dtype=np.float32)  # one row of the page, between two of its own, and white
    white = np.full(width, _WHITE, dtype=np.uint8)
    # The same runs in every row, and looking for their ends takes longer than reading them.
    begins = np.append(0, np.flatnonzero(ahead[1:] != ahead[:-1]) + 1)
    ends = np.append(begins[1:], width)
    for row in range(height):
        upper = int(np.floor(down_px[row]))
        share = np.float32(down_px[row] - upper)
        one = page[upper] if 0 <= upper < height else white
        other = page[upper + 1] if 0 <= upper + 1 < height else white
        inside, written = line[edge : edge + width], out[row]
        for column in range(width):
            level = one[column] * (np.float32(1) - share) + other[column] * share
            inside[column] = (np.float32(_WHITE) - level) / np.float32(_WHITE) * gain
        for begin, end in zip(begins, ends):  # noqa: B905 (numba's zip knows no strict)
            start = edge + begin + ahead[begin]
            here, there = line[start : start + end - begin], line[start + 1 : start + 1 + end - begin]
            shares, run = far[begin:end], written[begin:end]
            for column in range(end - begin):
                value = here[column] + (there[column] - here[column]) * shares[column] + paper
                value = value if value > 0 else np.float32(0)
                run[column] = value if value < 1 else np.float32(1)


def jitter_signal(
    signal_uv: NDArray[np.int16], *, sampling_hz: int, jitter: JitterParams, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Move (12, T) in time, its end held where it runs out, and change its gain; mV."""
    samples, most = signal_uv.shape[1], round(jitter.signal_shift_s * sampling_hz)
    shift = int(rng.integers(-most, most, endpoint=True))
    moved = signal_uv[:, np.clip(np.arange(samples) + shift, 0, samples - 1)]
    gain = 1 + rng.uniform(-jitter.signal_gain, jitter.signal_gain)
    return _millivolts(moved) * np.float32(gain)


def at_stream_rate(signal_mv: NDArray[np.float32], *, sampling_hz: int) -> NDArray[np.float32]:
    """Reduce (12, T) to `STREAM_HZ`, what it cannot hold filtered out first; as it is where that is its rate.

    Args:
        signal_mv: one record.
        sampling_hz: its rate, a whole multiple of `STREAM_HZ`.
    """
    if sampling_hz == STREAM_HZ:
        return signal_mv
    from scipy.signal import resample_poly

    # The level of either end goes on beyond it: a record is cut out of a longer one, it does not begin at 0 mV.
    reduced: NDArray[np.float32] = resample_poly(signal_mv, 1, sampling_hz // STREAM_HZ, axis=1, padtype="edge").astype(
        np.float32, copy=False
    )
    return reduced


def _stacked(signals_mv: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.stack(signals_mv) if signals_mv else np.empty((0, len(LEADS), 0), np.float32)


def _millivolts(signal_uv: NDArray[np.int16]) -> NDArray[np.float32]:
    return signal_uv.astype(np.float32) / np.float32(MICROVOLTS_PER_MV)
