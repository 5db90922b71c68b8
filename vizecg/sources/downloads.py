"""What HTTP and S3 have in common: a listing becomes a folder, an archive becomes a folder too."""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from vizecg.errors import InputError
from vizecg.progress import tracked
from vizecg.publish import locked, write_atomically
from vizecg.sources.folder import ArchiveSource
from vizecg.sources.pin import Pin, digest_of, require
from vizecg.sources.selection import fetch_selected
from vizecg.sources.simulated import NOTE_NAME, require_as_pinned, says_simulated
from vizecg.sources.transfer import Clock, Effort, Remote, Wanted, fetch_all, fetch_small, persist
from vizecg.sums import SUMS_NAME, parse_sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which part of a folder is wanted."""

    limit: int | None
    sampling_hz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFolder:
    """A folder behind a network.

    With a SHA256SUMS.txt that names every file it is known by that list; without
    one by its listing: names, sizes and versions as its server states them.
    """

    uri: str
    remote: Remote
    effort: Effort
    selection: Selection
    list_all: Callable[[], Mapping[str, Wanted]] | None
    """Asks the server what there is; None where it cannot tell."""

    def pin(self) -> Pin:
        """What it holds now."""
        sums_file, listing = self._asked()
        return self._pinned(sums_file, listing=listing, simulated=self._simulated(listing))

    def download(self, pinned: Pin, *, state_dir: Path) -> Path:
        """Fetch what is wanted of it and not here yet; without a network, when everything is.

        Raises:
            InputError: it holds something else than was pinned, or cannot be had.
            Conflict: another process is fetching the same.
        """
        folder = state_dir / "downloads" / pinned.digest[:16]
        with locked(folder):
            folder.mkdir(parents=True, exist_ok=True)
            listing = self._agreed(pinned, kept=folder / SUMS_NAME)
            clock = Clock(effort=self.effort)
            fetch_selected(
                listing,
                folder=folder,
                uri=self.uri,
                limit=self.selection.limit,
                sampling_hz=self.selection.sampling_hz,
                fetch=lambda wanted, total: tracked(
                    fetch_all(wanted, remote=self.remote, folder=folder, effort=self.effort, clock=clock),
                    total=total,
                    what="files",
                ),
            )
        return require_as_pinned(folder, simulated=pinned.simulated)

    def _asked(self) -> tuple[bytes | None, Mapping[str, Wanted]]:
        """The list of sums as it is on the server, if there is one, and every file there is."""
        clock = Clock(effort=self.effort)
        listing = None if self.list_all is None else persist(self.list_all, what=self.uri, clock=clock)
        if listing is not None and SUMS_NAME not in listing:
            return None, listing
        wanted = Wanted(name=SUMS_NAME) if listing is None else listing[SUMS_NAME]
        sums_file = fetch_small(wanted, remote=self.remote, clock=Clock(effort=self.effort))
        return sums_file, self._summed(sums_file)

    def _summed(self, sums_file: bytes) -> Mapping[str, Wanted]:
        where = self.uri + SUMS_NAME
        try:
            sums = parse_sums(sums_file.decode(), where=where)
        except UnicodeDecodeError:
            raise InputError(f"{where} is not a list of sums; is the address that of a folder with one?") from None
        return {name: Wanted(name=name, sha256=sha256) for name, sha256 in sums.items()}

    def _simulated(self, listing: Mapping[str, Wanted]) -> bool:
        if NOTE_NAME not in listing:
            return False
        note = fetch_small(listing[NOTE_NAME], remote=self.remote, clock=Clock(effort=self.effort))
        return says_simulated(BytesIO(note))

    def _pinned(self, sums_file: bytes | None, *, listing: Mapping[str, Wanted], simulated: bool) -> Pin:
        if sums_file is None:
            content: object = [[name, listing[name].size_bytes, listing[name].version] for name in sorted(listing)]
        else:
            content = hashlib.sha256(sums_file).hexdigest()
        digest = digest_of([content, self.selection.limit])
        return Pin(uri=self.uri, simulated=simulated, objects=len(listing), digest=digest)

    def _agreed(self, pinned: Pin, *, kept: Path) -> Mapping[str, Wanted]:
        """The listing that was pinned: by the list kept here, or the server's when it is still the same."""
        # The content covers the note, so whether it is simulated need not be asked again.
        if kept.is_file():
            sums_file, listing = kept.read_bytes(), self._summed(kept.read_bytes())
            if self._pinned(sums_file, listing=listing, simulated=pinned.simulated) == pinned:
                return listing
        found, listing = self._asked()
        require(pinned, found=self._pinned(found, listing=listing, simulated=pinned.simulated))
        if found is not None:
            write_atomically(kept, found)
        return listing


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteArchive:
    """An archive behind a network. It is pinned by its content, so pinning downloads it; ingest finds it here then."""

    uri: str
    remote: Remote
    effort: Effort
    sampling_hz: int
    state: Callable[[], Wanted]
    """Asks the server for name, size and version."""

    def pin(self, *, state_dir: Path) -> Pin:
        """What it holds now."""
        return self._archive(state_dir=state_dir).pin()

    def download(self, pinned: Pin, *, state_dir: Path, executor: Executor) -> Path:
        """Fetch it, unless it is here, and unpack it, unless it is."""
        return self._archive(state_dir=state_dir).fetch(pinned, state_dir=state_dir, executor=executor)

    def _archive(self, *, state_dir: Path) -> ArchiveSource:
        wanted = persist(self.state, what=self.uri, clock=Clock(effort=self.effort))
        folder = state_dir / "downloads" / digest_of([self.uri, wanted.size_bytes, wanted.version])[:16]
        with locked(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if wanted.version is None:  # nobody can tell whether what is here is still the same
                (folder / wanted.name).unlink(missing_ok=True)
            steps = fetch_all([wanted], remote=self.remote, folder=folder, effort=self.effort)
            for _ in tracked(steps, total=1, what="archives"):
                pass
        return ArchiveSource(path=folder / wanted.name, sampling_hz=self.sampling_hz, name=self.uri)
