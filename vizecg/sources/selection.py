"""Which files of a listing to fetch: all, or those of the records that are wanted."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from vizecg.errors import InputError
from vizecg.labels import TASKS
from vizecg.ptbxl.layout import STATEMENTS_NAME, TABLE_NAME
from vizecg.sources.simulated import NOTE_NAME
from vizecg.sources.transfer import Wanted
from vizecg.sums import SUMS_NAME, read_sums, stays_inside

_SIGNAL_ENDINGS: Final = (".hea", ".dat", ".mat")


def fetch_selected(
    listing: Mapping[str, Wanted],
    *,
    folder: Path,
    uri: str,
    limit: int | None,
    sampling_hz: int,
    fetch: Callable[[Iterable[Wanted], int], Iterator[None]],
) -> None:
    """Fetch what is wanted of a listing: in PTB-XL's layout its tables first, for they name the records.

    Args:
        listing: every file there is, by its name.
        folder: where they go.
        uri: what the source is called.
        limit: only so many records; None for all.
        sampling_hz: rate whose records are wanted, where there are several.
        fetch: fetches files, given how many there are; a step for each.

    Raises:
        InputError: a name leads out of the folder, or a file that is needed is not listed.
    """
    if bad := [name for name in listing if not stays_inside(name)]:
        raise InputError(f"{uri} lists the file {bad[0]!r}, which leads out of the folder")
    if TABLE_NAME in listing:
        tables = [name for name in (SUMS_NAME, TABLE_NAME, STATEMENTS_NAME, NOTE_NAME) if name in listing]
        _all(fetch([listing[name] for name in tables], len(tables)))
        names = _of_ptbxl(folder, uri=uri, limit=limit, sampling_hz=sampling_hz)
    else:
        names = _of_any(listing, limit=limit)
    if unlisted := [name for name in names if name not in listing]:
        raise InputError(f"{uri} does not list {unlisted[0]}, which {TABLE_NAME} names")
    _all(fetch([listing[name] for name in names], len(names)))


def _of_ptbxl(folder: Path, *, uri: str, limit: int | None, sampling_hz: int) -> list[str]:
    from vizecg.ptbxl.table import read_table

    task = TASKS["all"]  # any will do: only the names are wanted
    offers = read_table(folder, sums=read_sums(folder), task=task, source=uri, sampling_hz=sampling_hz, limit=limit)
    names = [f"{offer.record.name}{ending}" for offer in offers for ending in (".hea", ".dat")]
    if bad := [name for name in names if not stays_inside(name)]:
        raise InputError(f"{uri}: {TABLE_NAME} names the file {bad[0]!r}, which leads out of the folder")
    return names


def _of_any(listing: Mapping[str, Wanted], *, limit: int | None) -> list[str]:
    """All files; with a limit, those of the first records by name and what is no record."""
    headers = sorted(name for name in listing if name.endswith(".hea"))
    if limit is None or not headers:
        return sorted(listing)
    stems = {name.removesuffix(".hea") for name in headers[:limit]}
    every = {name.removesuffix(".hea") for name in headers}

    def wanted(name: str) -> bool:
        path = PurePosixPath(name)
        stem = str(path.with_suffix("")) if path.suffix in _SIGNAL_ENDINGS else name
        return stem in stems or stem not in every

    return [name for name in sorted(listing) if wanted(name)]


def _all(steps: Iterator[None]) -> None:
    for _ in steps:
        pass
