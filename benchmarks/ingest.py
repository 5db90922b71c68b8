"""How long ingest takes for the whole of PTB-XL, and how much memory: on a simulated set of its size.

    python benchmarks/ingest.py                  # 21,799 records, as many as PTB-XL 1.0.3 has
    python benchmarks/ingest.py --records 2000

The records are simulated first, which is not part of the time. Ingest runs as the
command that users run, twice: on the first tenth and on all, so that memory can be
compared. Memory is the largest sum of what the process and its workers hold
(proportional set size), sampled every 50 ms.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from vizecg.config import assignment, override
from vizecg.executors import open_executor
from vizecg.simulate import write_database
from vizecg.steps import params_models

ROOT = Path(__file__).parent.parent
PTB_XL_RECORDS = 21_799
SAMPLE_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    records: int
    took_s: float
    peak_mb: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--records", type=int, default=PTB_XL_RECORDS)
    options.add_argument(
        "--executor", default="processes", help="as ingest.executor; of a Dask cluster no memory is told"
    )
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="vizecg-bench-", dir=chosen.folder) as name:
        folder = Path(name)
        started_s = time.monotonic()
        with open_executor(chosen.executor, workers=chosen.workers) as executor:
            write_database(folder / "database", records=chosen.records, seed=7, executor=executor, both_rates=False)
        print(f"{chosen.records} records simulated in {time.monotonic() - started_s:.1f} s")
        for records in (max(1, chosen.records // 10), chosen.records):
            show(measure(folder, records=records, executor=chosen.executor, workers=chosen.workers))
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, CPython {platform.python_version()}, "
        f"{chosen.workers} workers, {chosen.executor}"
    )


def measure(folder: Path, *, records: int, executor: str, workers: int) -> Measured:
    """Pin and ingest the first `records` of the database; the pin is not part of the time."""
    place = folder / str(records)
    place.mkdir()
    (place / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    changes = [
        assignment("ingest.source", str(folder / "database")),
        f"ingest.limit={records}",
        assignment("ingest.executor", executor),
        f"ingest.workers={workers}",
    ]
    override(place / "params.yaml", changes, models=params_models())
    (place / "data").mkdir()
    vizecg = [sys.executable, "-m", "vizecg"]
    environment = {**os.environ, "VIZECG_STATE_DIR": str(folder / "state"), "PYTHONPATH": str(ROOT)}
    subprocess.run([*vizecg, "source", "pin"], cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
    command = [*vizecg, "ingest", "--source", "data/source.json", "--records", "data/records"]
    started_s = time.monotonic()
    process = subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.DEVNULL)
    peak_mb = 0.0
    while process.poll() is None:
        peak_mb = max(peak_mb, memory_mb(process.pid))
        time.sleep(SAMPLE_EVERY_S)
    took_s = time.monotonic() - started_s
    if process.returncode != 0:
        raise SystemExit(f"ingest ended with {process.returncode}")
    return Measured(records=records, took_s=took_s, peak_mb=peak_mb)


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and all its descendants."""
    total_kb = 0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            waiting += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except OSError:  # it has ended
            continue
        total_kb += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total_kb / 1024


def show(measured: Measured) -> None:
    per_record_ms = 1000 * measured.took_s / measured.records
    print(
        f"ingest of {measured.records} records: {measured.took_s:.1f} s ({per_record_ms:.1f} ms a record), "
        f"{measured.peak_mb:.0f} MB at most"
    )


if __name__ == "__main__":
    main()
