"""All of PTB-XL, 21,799 records, one page each, by two processes; and whether memory stays where it is."""

import os
import threading
import time

import cv2
import numpy as np
import pytest

from benchmarks.bench_pages import page_gray, page_png
from benchmarks.contest import note
from benchmarks.ingest import PTB_XL_RECORDS, memory_mb
from vizecg.executors import in_order, open_executor

WORKERS = 2
PAGES_PER_TASK = 64
PAGES = {"512×512 gray": 21_799, "2200×1700 PNG": 2_180}
WANTED_S = {"512×512 gray": 60, "2200×1700 PNG": 150}


def draw_all(task: tuple[str, np.ndarray]) -> int:
    """Draw (records, 12, samples) of µV; a page is written to memory and let go. Returns how many bytes they were."""
    kind, signals_uv = task
    cv2.setNumThreads(1)
    draw = page_gray if kind == "512×512 gray" else page_png
    return sum(len(memoryview(draw(signal_uv / 1000.0)).tobytes()) for signal_uv in signals_uv)


@pytest.mark.all_cores
@pytest.mark.parametrize("kind", PAGES)
def test_throughput(kind: str, signals: list[np.ndarray]) -> None:
    # As ingest stores them, so that a worker is handed a fifth of a page's bytes.
    signals_uv = np.stack([np.nan_to_num(signal_mv * 1000).astype(np.int16)[:, :5000] for signal_mv in signals])
    with open_executor("processes", workers=WORKERS) as executor:
        list(executor.map(draw_all, [(kind, signals_uv[:2])] * WORKERS))  # interpreters and compiled code are there
        _, tenth_mb = _timed(kind, PAGES[kind] // 10, signals_uv, executor)
        all_s, all_mb = _timed(kind, PAGES[kind], signals_uv, executor)
    whole_s = all_s / PAGES[kind] * PTB_XL_RECORDS
    note(
        {
            "name": f"{PTB_XL_RECORDS} records to one {kind} page each, {WORKERS} processes",
            "figures": {
                "seconds": round(whole_s, 1),
                "wanted_below_s": WANTED_S[kind],
                "pages_drawn": PAGES[kind],
                "peak_mb": round(all_mb),
                "peak_mb_of_a_tenth": round(tenth_mb),
            },
        }
    )


def _timed(kind: str, pages: int, signals_uv: np.ndarray, executor: object) -> tuple[float, float]:
    """Seconds, and the most memory of this process and its workers (proportional set size)."""
    tasks = (
        (kind, signals_uv[np.arange(first, min(first + PAGES_PER_TASK, pages)) % len(signals_uv)])
        for first in range(0, pages, PAGES_PER_TASK)
    )
    peak_mb, done = [0.0], threading.Event()

    def watch() -> None:
        while True:  # at least once, however short the work
            peak_mb[0] = max(peak_mb[0], memory_mb(os.getpid()))
            if done.wait(1.0):
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    for _ in in_order(executor, draw_all, tasks, ahead=2 * WORKERS):  # type: ignore[arg-type]
        pass
    took_s = time.perf_counter() - began
    done.set()
    watcher.join()
    return took_s, peak_mb[0]
