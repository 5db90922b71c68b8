"""The sources of a run: which they are, what they hold now, and a folder to read each from.

`data/source.json` pins every source by a digest, so that DVC sees when the data
behind a name or an address has changed, and so that ingest refuses data nobody
agreed to.
"""

from concurrent.futures import Executor
from pathlib import Path
from typing import Final, Protocol

from vizecg.errors import InputError
from vizecg.publish import sha256_of
from vizecg.sources.archive import is_archive
from vizecg.sources.folder import ArchiveSource, FolderSource
from vizecg.sources.params import SourceParams
from vizecg.sources.pin import Agreed, Pin, write
from vizecg.sources.s3 import S3Source
from vizecg.sources.simulated import SIMULATED, SimulatedSource
from vizecg.sources.transfer import Effort

PHYSIONET: Final = "physionet"
PHYSIONET_URL: Final = "https://physionet.org/files/ptb-xl/1.0.3/"
_MB: Final = 1024 * 1024


class Source(Protocol):
    """Somewhere records come from."""

    @property
    def uri(self) -> str:
        """What it is called in every report; no path of this machine."""
        ...

    def pin(self) -> Pin:
        """Say what it holds now.

        Raises:
            InputError: it is not there, or cannot be read.
        """
        ...

    def fetch(self, pinned: Pin, *, state_dir: Path, executor: Executor) -> Path:
        """Give a folder that holds what was pinned; kept and used again.

        Args:
            pinned: what it is to hold.
            state_dir: where folders are kept.
            executor: who does what can be done by many.

        Raises:
            InputError: it holds something else, or cannot be had.
            Conflict: another process is fetching the same.
        """
        ...


def sources_of(params: SourceParams) -> tuple[Source, ...]:
    """Find the sources that params.yaml names, in its order.

    Raises:
        InputError: there is none of a name or at a path.
    """
    return tuple(_source_of(name, params=params) for name in params.names)


def _source_of(name: str, *, params: SourceParams) -> Source:
    if name == SIMULATED:
        return SimulatedSource(
            records=params.simulated.records, seed=params.simulated.seed, sampling_hz=params.sampling_hz
        )
    fetch = params.fetch
    effort = Effort(
        connections=fetch.connections, part_bytes=fetch.part_mb * _MB, tries=fetch.tries, deadline_s=fetch.deadline_s
    )
    if name == PHYSIONET or name.startswith(("https://", "http://")):
        from vizecg.sources.http import HttpSource  # httpx with it, which no other source needs

        url = PHYSIONET_URL if name == PHYSIONET else name
        return HttpSource(url=url, limit=params.limit, sampling_hz=params.sampling_hz, effort=effort)
    if name.startswith("s3://"):
        return S3Source.of(name, s3=params.s3, limit=params.limit, sampling_hz=params.sampling_hz, effort=effort)
    return _local(name, params=params)


def _local(name: str, *, params: SourceParams) -> Source:
    path = Path(name).expanduser()
    if path.is_dir():
        return FolderSource(path=path)
    if not path.is_file():
        raise InputError(
            f"ingest.source is {name!r} and there is no such folder or archive; allowed are {SIMULATED!r}, "
            f"{PHYSIONET!r}, an https:// or s3:// address, or the path of a folder or archive: mend params.yaml"
        )
    if not is_archive(path):
        raise InputError(f"{path} is neither a tar nor a zip archive that can be read; is it complete?")
    return ArchiveSource(path=path, sampling_hz=params.sampling_hz)


def write_pin(path: Path, params: SourceParams) -> tuple[Pin, ...]:
    """Write down what the sources hold now; this is `vizecg source pin`.

    Raises:
        InputError: there is no such source or label map, or it cannot be read.
    """
    agreed = pin_now(params)
    write(path, agreed)
    return agreed.sources


def pin_now(params: SourceParams) -> Agreed:
    """Say what the sources hold now, and write nothing; raises as `write_pin` does."""
    return Agreed(
        sources=tuple(source.pin() for source in sources_of(params)), label_map_sha256=_label_map_sha256(params)
    )


def require_agreed(agreed: Agreed, *, params: SourceParams) -> None:
    """See that params.yaml names as many sources as were agreed on, and the same label map.

    Raises:
        InputError: it does not.
    """
    if len(agreed.sources) != len(params.names):
        raise InputError(
            f"data/source.json pins {len(agreed.sources)} sources, but ingest.source names {len(params.names)}; "
            "if that is meant, run `vizecg source pin`"
        )
    if agreed.label_map_sha256 != _label_map_sha256(params):
        raise InputError(
            f"ingest.label_map is {params.label_map!r}, which is not what data/source.json pins; "
            "if that is meant, run `vizecg source pin`"
        )


def _label_map_sha256(params: SourceParams) -> str | None:
    if params.label_map is None:
        return None
    path = Path(params.label_map).expanduser()
    if not path.is_file():
        raise InputError(f"ingest.label_map is {params.label_map!r} and there is no such file")
    return sha256_of(path)
