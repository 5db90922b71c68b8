"""Copies of many records, drawn and taken in by whatever executor there is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.executors import SizedExecutor, in_order
from vizecg.pages.page_set import DrawnPage, take_in
from vizecg.pages.uploads import PageRecipe, Upload, make_upload
from vizecg.records import UV_PER_MV

if TYPE_CHECKING:
    from vizecg.records import RecordSet

RECORDS_PER_TASK: Final = 16
TASKS_AHEAD: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """What one worker is handed at a time; `papers` are None where the record has a signal."""

    rows: list[int]
    ecg_ids: list[int]
    signals_uv: NDArray[np.int16]
    papers: list[bytes | None]


def draw_pages(
    record_set: "RecordSet",
    *,
    rows: Sequence[int] | NDArray[np.integer[Any]],
    copies: Sequence[int],
    recipe: PageRecipe,
    executor: SizedExecutor,
    make: Callable[..., Upload] = make_upload,
) -> Iterator[DrawnPage]:
    """Draw these copies of these records; record by record and copy by copy, whoever draws them.

    Args:
        record_set: with signals, or paper where there is none.
        rows: of the records, in the order wanted.
        copies: numbers of the copies; 0 is the page as printed.
        recipe: how to draw.
        executor: who draws.
        make: makes the file of one copy, with the arguments of `make_upload`; a worker must be able to import it.

    Raises:
        InputError: a paper is no picture.
    """
    draw = partial(_draw_batch, sampling_hz=record_set.sampling_hz, copies=tuple(copies), recipe=recipe, make=make)
    batches = _batches(record_set, rows=np.asarray(rows, dtype=np.int64))
    for pages in in_order(executor, draw, batches, ahead=lambda: TASKS_AHEAD * executor.at_once):
        yield from pages


def _batches(record_set: "RecordSet", *, rows: NDArray[np.int64]) -> Iterator[_Batch]:
    ecg_ids, has_signal = record_set.table["ecg_id"].to_numpy(), record_set.has_signal
    for start in range(0, len(rows), RECORDS_PER_TASK):
        some = rows[start : start + RECORDS_PER_TASK]
        yield _Batch(
            rows=some.tolist(),
            ecg_ids=ecg_ids[some].tolist(),
            signals_uv=np.asarray(record_set.signals_uv[some]),
            papers=[None if has_signal[row] else record_set.upload(row) for row in some.tolist()],
        )


def _draw_batch(
    batch: _Batch,
    *,
    sampling_hz: float,
    copies: tuple[int, ...],
    recipe: PageRecipe,
    make: Callable[..., Upload],
) -> list[DrawnPage]:
    cv2.setNumThreads(1)  # the workers are the parallelism
    pages = []
    for row, ecg_id, signal_uv, paper in zip(batch.rows, batch.ecg_ids, batch.signals_uv, batch.papers, strict=True):
        signal_mv = signal_uv.astype(np.float32) / UV_PER_MV if paper is None else None
        for copy in copies:
            upload = make(
                signal_mv=signal_mv, paper=paper, sampling_hz=sampling_hz, ecg_id=ecg_id, copy=copy, recipe=recipe
            )
            pages.append(take_in(upload, row=row, ecg_id=ecg_id, copy=copy, spec=recipe.spec))
    return pages
