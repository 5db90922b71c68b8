"""Read the sources' records into one checked record set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field

from vizecg.errors import InputError
from vizecg.executors import PROCESSES, ExecutorName, SizedExecutor, in_order, open_executor, seeing
from vizecg.sources import Pin, SourceParams, digest_of_all, read_agreed, require_agreed, sources_of

if TYPE_CHECKING:
    from vizecg.recordings.offer import Offer, Reader, Reading, Refusal
    from vizecg.records import Counts, Provenance, RecordSetWriter

RECORDS_PER_TASK: Final = 16
TASKS_AHEAD: Final = 4


class Params(SourceParams):
    """Section `ingest` of params.yaml."""

    max_quarantined: float = Field(ge=0, le=1)
    executor: ExecutorName = PROCESSES
    workers: int = Field(ge=0, le=256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One source, listed: what it offers, and what reads it from where."""

    folder: Path
    offers: "list[Offer]"
    reader: "Reader"


def run(params: Params, *, source: Path, records: Path) -> None:
    """Read what `source` pins, write the record set; published by its manifest.

    Raises:
        InputError: there is no such executor; a source is not what was pinned, cannot be read, or too much of it
            is in quarantine.
        Conflict: another process is writing `records`.
    """
    from vizecg.labels import task_of
    from vizecg.records import RECORD_LENGTH_S, writing_record_set

    agreed = read_agreed(source)
    require_agreed(agreed, params=params)
    pinned = agreed.sources
    with open_executor(params.executor, workers=params.workers) as executor:
        listed = _listed(params, pinned=pinned, executor=executor)
        with writing_record_set(
            records,
            task=task_of(params.task),
            sampling_hz=params.sampling_hz,
            samples=params.sampling_hz * RECORD_LENGTH_S,
            source=_provenance(pinned),
        ) as writer:
            _write(writer, listed, executor=executor)
            _refuse_too_many(writer.counts, allowed=params.max_quarantined)
            counts = writer.counts
    print(f"ingest: {_in_words(counts)}, from {_provenance(pinned).uri}")


def _listed(params: Params, *, pinned: Sequence[Pin], executor: SizedExecutor) -> list[Listed]:
    """Fetch every source and list it, before the first record is read: a fault in the last one costs no time."""
    from vizecg.labels import task_of
    from vizecg.layouts import layout_of
    from vizecg.recordings.offer import Asked
    from vizecg.settings import Settings

    listed = []
    for position, (one, pin) in enumerate(zip(sources_of(params), pinned, strict=True)):
        folder = one.fetch(pin, state_dir=Settings().state_dir, executor=executor).absolute()
        asked = Asked(
            source=pin.uri,
            task=task_of(params.task),
            sampling_hz=params.sampling_hz,
            limit=params.limit,
            label_map=None if params.label_map is None else Path(params.label_map).expanduser(),
        )
        layout = layout_of(folder, asked=asked)
        offers = [_joined(offer, position=position) for offer in layout.offers()]
        listed.append(Listed(folder=folder, offers=offers, reader=layout.reader()))
    return listed


def _joined(offer: "Offer", *, position: int) -> "Offer":
    """Give a record and its patient numbers that no record of another source has."""
    from vizecg.identity import joined_id

    ids = {name: joined_id(getattr(offer.record, name), position=position) for name in ("ecg_id", "patient_id")}
    return replace(offer, record=replace(offer.record, **ids))  # type: ignore[arg-type]


def _write(writer: "RecordSetWriter", listed: Sequence[Listed], *, executor: SizedExecutor) -> None:
    from vizecg.progress import tracked
    from vizecg.recordings.offer import Refusal

    total = sum(len(source.offers) for source in listed)
    for offer, read in tracked(_read(listed, executor=executor), total=total, what="records"):
        if isinstance(read, Refusal):
            record = offer.record
            writer.quarantine(record.ecg_id, source=record.source, reason=read.reason, detail=read.detail)
        else:
            writer.add(replace(offer.record, flags=read.flags), signals_uv=read.signals_uv, upload=read.upload)


def _read(listed: Sequence[Listed], *, executor: SizedExecutor) -> "Iterator[tuple[Offer, Reading | Refusal]]":
    """Read in the order of the sources and their lists, whoever reads."""
    for source in listed:
        files = [offer.files for offer in source.offers]
        tasks = (files[start : start + RECORDS_PER_TASK] for start in range(0, len(files), RECORDS_PER_TASK))
        offers = iter(source.offers)
        reader = seeing(source.folder, source.reader)
        for batch in in_order(executor, reader, tasks, ahead=lambda: TASKS_AHEAD * executor.at_once):
            yield from ((next(offers), read) for read in batch)


def _provenance(pinned: Sequence[Pin]) -> "Provenance":
    from vizecg.records import Provenance

    parts = tuple(Provenance(uri=pin.uri, simulated=pin.simulated, digest=pin.digest) for pin in pinned)
    if len(parts) == 1:
        return parts[0]
    return Provenance(
        uri=" + ".join(part.uri for part in parts),
        simulated=any(part.simulated for part in parts),
        digest=digest_of_all(pinned),
        parts=parts,
    )


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
