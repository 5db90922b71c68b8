"""A race of ours against a peer, and the book that its results are kept in.

Ours and the peer take turns within one run, so that what else the machine does meets both; a
ratio is taken in every round, and given as its median with the range of the middle eight tenths.
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = (
    *("numpy", "numba", "opencv-python-headless", "pillow", "isal", "simplejpeg", "torch", "matplotlib"),
    *("onnxruntime", "fastapi", "uvicorn"),
)
PEER_PACKAGES = ("ecg_plot", "pycairo", "mlflow", "litserve")


@dataclass
class Book:
    """What was measured, in order, and on which records."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    records: str = ""


BOOK = Book()


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A piece of work, done to one input after another, by us and by a peer."""

    benchmark: Any

    def __call__(
        self,
        name: str,
        ours: Callable[[Any], object],
        inputs: list[Any],
        *,
        peer: tuple[str, Callable[[Any], object]] | None = None,
        rounds: int = 20,
        times: int = 10,
        at_least: float | None = None,
        at_most_ms: float | None = None,
    ) -> dict[str, Any]:
        """Measure and note.

        Args:
            name: of the work.
            ours: does it to an input.
            inputs: taken in turn.
            peer: name, and what does the same.
            rounds: turns of either.
            times: how often we do it in our turn, after once that is not counted: the peer's turn
                leaves nothing of ours in the processor's caches, and no program draws one page only.
            at_least: ratio wanted.
            at_most_ms: wanted of our median.
        """
        given, peers_given = cycle(inputs), cycle(inputs)
        peer_ms: list[float] = []

        def turn_of_the_peer() -> tuple[tuple[list[Any]], dict[str, Any]]:
            if peer is not None:
                peer_ms.append(_took_ms(peer[1], next(peers_given)))
            work = list(islice(given, times))
            ours(work[-1])
            return (work,), {}

        def in_our_turn(work: list[Any]) -> None:
            for one in work:
                ours(one)  # what it gives is let go before the next, as the peer's is

        ours(inputs[0])
        if peer is not None:
            peer[1](inputs[0])
        self.benchmark.pedantic(in_our_turn, setup=turn_of_the_peer, rounds=rounds)
        ours_ms = np.array(self.benchmark.stats.stats.data) * 1000 / times
        entry: dict[str, Any] = {"name": name, "ours_ms": _spread(ours_ms)}
        if peer is not None:
            ratios = np.array(peer_ms) / ours_ms
            low, median, high = np.quantile(ratios, (0.1, 0.5, 0.9))
            entry |= {"peer": peer[0], "peer_ms": _spread(np.array(peer_ms))}
            entry["ratio"] = {
                key: round(float(value), 1)
                for key, value in zip(("median", "low", "high"), (median, low, high), strict=True)
            }
        return note(entry, at_least=at_least, at_most_ms=at_most_ms)


def note(entry: dict[str, Any], *, at_least: float | None = None, at_most_ms: float | None = None) -> dict[str, Any]:
    """Put a result into the book, with what was wanted."""
    wanted: dict[str, float] = {}
    if at_least is not None:
        wanted["ratio_at_least"] = at_least
    if at_most_ms is not None:
        wanted["ms_at_most"] = at_most_ms
    entry["wanted"] = wanted
    BOOK.entries.append(entry)
    return entry


def _took_ms(work: Callable[[Any], object], given: object) -> float:
    began = time.perf_counter()
    work(given)
    return (time.perf_counter() - began) * 1000


def _spread(values_ms: np.ndarray) -> dict[str, float]:
    found = {"median": np.median(values_ms), "min": values_ms.min(), "max": values_ms.max()}
    return {key: float(f"{value:.4g}") for key, value in found.items()}


def line_of(entry: dict[str, Any]) -> str:
    """A row of the table."""
    if "ours_ms" not in entry:
        return f"{entry['name']:<58} " + ", ".join(f"{key} {value}" for key, value in entry["figures"].items())
    ours = entry["ours_ms"]
    text = f"{entry['name']:<58} {ours['median']:>8.4g} ms ({ours['min']:.4g}-{ours['max']:.4g})"
    if "peer" in entry:
        ratio = entry["ratio"]
        text += f"   {entry['peer']} {entry['peer_ms']['median']:.4g} ms"
        text += f"   {ratio['median']:.1f} times ({ratio['low']:.1f}-{ratio['high']:.1f})"
    return text + (f"   wanted {entry['wanted']}" if entry["wanted"] else "")


def results() -> dict[str, Any]:
    """All of it, as it is kept."""
    return {
        "command": "make bench",
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES} | {name: _version(name) for name in PEER_PACKAGES},
        "records": BOOK.records,
        "skipped": BOOK.skipped,
        "entries": BOOK.entries,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
