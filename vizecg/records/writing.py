"""Writing a record set, one record at a time, in constant memory but for the table."""

import csv
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from vizecg.labels import LEADS, Task
from vizecg.publish import publishing, to_json
from vizecg.records.record import Counts, Provenance, Reason, Record
from vizecg.records.table import Row, write_table

RECORD_SET: Final = "record-set"
SCHEMA_VERSION: Final = 2

SIGNALS_FILE: Final = "signals.npy"
UPLOADS_FILE: Final = "uploads.bin"
TABLE_FILE: Final = "records.parquet"
QUARANTINE_FILE: Final = "quarantine.csv"
SET_FILE: Final = "set.json"

UV_PER_MV: Final = 1000


class RecordSetWriter:
    """Takes records one at a time, in the order they are to have."""

    def __init__(self, folder: Path, *, task: Task, sampling_hz: int, samples: int) -> None:
        self._folder = folder
        self._task = task
        self._sampling_hz = sampling_hz
        self._shape = (len(LEADS), samples)
        self._rows: list[Row] = []
        self._quarantine: list[tuple[int, str, Reason, str]] = []
        self._by_id: dict[int, str] = {}
        self._signals = (folder / SIGNALS_FILE).open("wb")
        self._header_bytes = _write_npy_header(self._signals, records=0, samples=samples)
        self._uploads = (folder / UPLOADS_FILE).open("wb")

    def __enter__(self) -> "RecordSetWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._signals.close()
        self._uploads.close()

    def add(self, record: Record, *, signals_uv: NDArray[np.int16] | None, upload: bytes | None = None) -> None:
        """Publish one record.

        Args:
            record: what is known of it.
            signals_uv: (12, samples) in `labels.LEADS` order; None for a record on paper.
            upload: its page image, PNG or JPEG; needed where there is no signal.

        Raises:
            ValueError: it has neither signal nor image, a class of another task, an ecg_id that
                was there before, or a signal of another shape or type.
        """
        self._check(record, signals_uv=signals_uv, upload=upload)
        content = upload or b""
        self._rows.append(
            Row(
                record=record,
                has_signal=signals_uv is not None,
                upload_start=self._uploads.tell() if content else 0,
                upload_bytes=len(content),
            )
        )
        self._uploads.write(content)
        # A record on paper keeps its row, so that row i of the table is always row i of the signals.
        stored = np.zeros(self._shape, "<i2") if signals_uv is None else signals_uv.astype("<i2", copy=False)
        self._signals.write(stored.tobytes())

    def _check(self, record: Record, *, signals_uv: NDArray[np.int16] | None, upload: bytes | None) -> None:
        if signals_uv is None and not upload:
            raise ValueError(f"record {record.ecg_id} has neither a signal nor a page image")
        if signals_uv is not None and (signals_uv.shape != self._shape or signals_uv.dtype != np.int16):
            raise ValueError(f"signals_uv must be int16 {self._shape}, got {signals_uv.dtype} {signals_uv.shape}")
        if unknown := set(record.classes) - set(self._task.codes):
            raise ValueError(
                f"record {record.ecg_id} has unknown classes {sorted(unknown)}; "
                f"those of {self._task.name} are {list(self._task.codes)}"
            )
        if record.ecg_id in self._by_id:
            raise ValueError(f"ecg_id {record.ecg_id} is given to both {self._by_id[record.ecg_id]} and {record.name}")
        self._by_id[record.ecg_id] = record.name

    def quarantine(self, ecg_id: int, *, source: str, reason: Reason, detail: str) -> None:
        """Leave one record out, and say why."""
        self._quarantine.append((ecg_id, source, reason, detail))

    @property
    def counts(self) -> Counts:
        """Of what has been added so far."""
        reasons = [reason.value for _, _, reason, _ in self._quarantine]
        return Counts(
            offered=len(self._rows) + len(reasons),
            published=len(self._rows),
            quarantined=len(reasons),
            unlabelled=sum(not row.record.classes for row in self._rows),
            without_signal=sum(not row.has_signal for row in self._rows),
            by_reason={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        )

    def finish(self, *, source: Provenance) -> None:
        """Write the table and what describes the set; nothing can be added afterwards."""
        samples = self._shape[1]
        self._signals.seek(0)
        written = _write_npy_header(self._signals, records=len(self._rows), samples=samples)
        if written != self._header_bytes:
            raise RuntimeError(f"header of {SIGNALS_FILE} grew from {self._header_bytes} to {written} bytes")
        self._signals.close()
        self._uploads.close()
        write_table(self._folder / TABLE_FILE, rows=self._rows, codes=self._task.codes)
        _write_quarantine(self._folder / QUARANTINE_FILE, rows=self._quarantine)
        content = {
            "schema_version": SCHEMA_VERSION,
            "task": self._task.name,
            "classes": [{"code": entry.code, "name": entry.name} for entry in self._task.classes],
            "leads": list(LEADS),
            "sampling_hz": self._sampling_hz,
            "samples": samples,
            "source": asdict(source),
            "counts": _counted(self.counts),
        }
        (self._folder / SET_FILE).write_text(to_json(content), encoding="utf-8")


@contextmanager
def writing_record_set(
    folder: Path, *, task: Task, sampling_hz: int, samples: int, source: Provenance
) -> Iterator[RecordSetWriter]:
    """Publish a record set as `folder` when the block ends well; when it raises, `folder` is what it was.

    Raises:
        Conflict: another process is writing the same folder.
    """
    with (
        publishing(folder, kind=RECORD_SET, schema_version=SCHEMA_VERSION) as staging,
        RecordSetWriter(staging, task=task, sampling_hz=sampling_hz, samples=samples) as writer,
    ):
        yield writer
        writer.finish(source=source)


def _counted(counts: Counts) -> dict[str, object]:
    return {
        "in": counts.offered,
        "published": counts.published,
        "quarantined": counts.quarantined,
        "unlabelled": counts.unlabelled,
        "without_signal": counts.without_signal,
        "by_reason": dict(counts.by_reason),
    }


def _write_npy_header(opened: IO[bytes], *, records: int, samples: int) -> int:
    # numpy pads the header so that the first axis can grow in place; that lets the number of records come last.
    shape = (records, len(LEADS), samples)
    np.lib.format.write_array_header_1_0(opened, {"descr": "<i2", "fortran_order": False, "shape": shape})
    return opened.tell()


def _write_quarantine(path: Path, *, rows: Collection[tuple[int, str, Reason, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(("ecg_id", "source", "reason", "detail"))
        writer.writerows((ecg_id, source, reason.value, detail) for ecg_id, source, reason, detail in rows)
