"""Read the source's records into a checked record set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field

from vizecg.errors import InputError
from vizecg.executors import in_order, local_executor
from vizecg.ptbxl import read_pin, source_of
from vizecg.ptbxl.source import SourceParams

if TYPE_CHECKING:
    from vizecg.ptbxl.reading import Reading, Refusal
    from vizecg.ptbxl.table import Listed
    from vizecg.records import Counts

RECORDS_PER_TASK: Final = 16
TASKS_AHEAD: Final = 4


class Params(SourceParams):
    """Section `ingest` of params.yaml."""

    max_quarantined: float = Field(ge=0, le=1)
    workers: int = Field(ge=0, le=256)


def run(params: Params, *, source: Path, records: Path) -> None:
    """Read what `source` pins, write the record set; published by its manifest.

    Raises:
        InputError: the source is not what was pinned, cannot be read, or too much of it is in quarantine.
        Conflict: another process is writing `records`.
    """
    from vizecg.progress import tracked
    from vizecg.ptbxl.layout import RECORD_LENGTH_S, read_sums
    from vizecg.ptbxl.reading import Refusal
    from vizecg.ptbxl.table import read_table
    from vizecg.records import Provenance, writing_record_set
    from vizecg.settings import Settings

    pinned = read_pin(source)
    folder = source_of(params).fetch(pinned, state_dir=Settings().state_dir, workers=params.workers)
    sums = read_sums(folder)
    listed = read_table(folder, sums=sums, sampling_hz=params.sampling_hz, limit=params.limit)
    provenance = Provenance(uri=pinned.uri, simulated=pinned.simulated, digest=pinned.digest)
    samples = params.sampling_hz * RECORD_LENGTH_S
    with writing_record_set(records, sampling_hz=params.sampling_hz, samples=samples, source=provenance) as writer:
        reads = tracked(_read(listed, folder=folder, sums=sums, params=params), total=len(listed), what="records")
        for entry, read in zip(listed, reads, strict=True):
            if isinstance(read, Refusal):
                writer.quarantine(read.ecg_id, reason=read.reason, detail=read.detail)
            else:
                writer.add(replace(entry.record, flags=read.flags), signals_uv=read.signals_uv)
        _refuse_too_many(writer.counts, allowed=params.max_quarantined)
        counts = writer.counts
    print(f"ingest: {_in_words(counts)}, from {pinned.uri}")


def _read(
    listed: "Sequence[Listed]", *, folder: Path, sums: Mapping[str, str], params: Params
) -> "Iterator[Reading | Refusal]":
    """Read in the order of the table, whatever the number of workers."""
    from vizecg.ptbxl.reading import RecordFiles, read_records

    files = [RecordFiles.of(entry.record.ecg_id, name=entry.name, sums=sums) for entry in listed]
    tasks = (files[start : start + RECORDS_PER_TASK] for start in range(0, len(files), RECORDS_PER_TASK))
    read = partial(read_records, folder=folder, sampling_hz=params.sampling_hz)
    with local_executor(params.workers) as executor:
        for batch in in_order(executor, read, tasks, ahead=TASKS_AHEAD * max(params.workers, 1)):
            yield from batch


def _refuse_too_many(counts: "Counts", *, allowed: float) -> None:
    if counts.offered == 0:
        raise InputError("the source lists no records; see ingest.source in params.yaml")
    if counts.published == 0 or counts.quarantined > allowed * counts.offered:
        share = counts.quarantined / counts.offered
        raise InputError(
            f"{counts.quarantined} of {counts.offered} records ({share:.1%}) cannot be used ({_reasons(counts)}); "
            f"ingest.max_quarantined in params.yaml allows {allowed:.1%}"
        )


def _in_words(counts: "Counts") -> str:
    quarantined = f"{counts.quarantined} in quarantine" + (f" ({_reasons(counts)})" if counts.quarantined else "")
    return f"{counts.offered} records in, {counts.published} published, {quarantined}, {counts.unlabelled} unlabelled"


def _reasons(counts: "Counts") -> str:
    return ", ".join(f"{reason} {number}" for reason, number in counts.by_reason.items())
