"""What the benchmarks of `make bench` share: one core, and records to draw."""

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.contest import BOOK, Contest, line_of, results

RESULTS = Path(__file__).parent / "results.json"
REAL_SAMPLE_VARIABLE = "VIZECG_TEST_PTBXL"
RECORDS = 24


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "all_cores: not held on one core")


def pytest_sessionstart() -> None:
    """Threads were set to one by the command; this is for what does not read the environment."""
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def signals(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """(12, 5000) mV at 500 Hz each: real records where there are any, else simulated ones."""
    archive = os.environ.get(REAL_SAMPLE_VARIABLE)
    if not archive:
        BOOK.records = "simulated"
        return _simulated()
    BOOK.records = "PTB-XL sample"
    return _real(Path(archive), tmp_path_factory.mktemp("ptbxl"))


def _simulated() -> list[np.ndarray]:
    from vizecg.simulate import recordings

    return [one.high_uv / 1000.0 for one in recordings(records=RECORDS, seed=9)]


def _real(archive: Path, folder: Path) -> list[np.ndarray]:
    from vizecg.recordings.single import read_wfdb

    with tarfile.open(archive) as opened:
        if hasattr(tarfile, "data_filter"):
            opened.extractall(folder, filter="data")
        else:  # Python before 3.11.4
            opened.extractall(folder)  # noqa: S202 (whoever runs this named the archive)
    headers = sorted(folder.rglob("records500/**/*_hr.hea"))
    return [read_wfdb(header).signal_mv for header in headers[:: max(len(headers) // RECORDS, 1)][:RECORDS]]


@pytest.fixture(autouse=True)
def one_core(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stay on the last core, unless the benchmark is about several."""
    if "all_cores" in request.keywords:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def contest(benchmark: Any) -> Contest:
    return Contest(benchmark=benchmark)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the names of what was left out: a peer that is not there must not look like one that was beaten."""
    if report.skipped and isinstance(report.longrepr, tuple):
        BOOK.skipped[report.nodeid.rpartition("::")[2]] = report.longrepr[2].removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not BOOK.entries:
        return
    terminalreporter.section(f"records: {BOOK.records or 'none'}")
    for entry in BOOK.entries:
        terminalreporter.write_line(line_of(entry))
    for name, reason in BOOK.skipped.items():
        terminalreporter.write_line(f"skipped {name}: {reason}")
    if terminalreporter.stats.get("failed") or not os.environ.get("VIZECG_BENCH_KEEP"):
        return
    if terminalreporter.stats.get("deselected"):
        terminalreporter.write_line(f"{RESULTS.name} is left as it is: it holds one run of all benchmarks, not a part")
    else:
        RESULTS.write_text(json.dumps(results(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        terminalreporter.write_line(f"written: {RESULTS.name}")
