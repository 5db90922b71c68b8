"""Sources on this machine: a folder, or an archive of one."""

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from vizecg.errors import InputError
from vizecg.ptbxl.layout import FOLDER_OF_RATE, STATEMENTS_NAME, TABLE_NAME, find_layout, holds_table
from vizecg.publish import sha256_of
from vizecg.sources.archive import notes, unpack
from vizecg.sources.cache import KEY_LENGTH, cached
from vizecg.sources.pin import Pin, digest_of, require
from vizecg.sources.simulated import folder_is_simulated, require_as_pinned, says_simulated
from vizecg.sums import SUMS_NAME, read_sums


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """A folder, read where it lies."""

    path: Path

    @property
    def uri(self) -> str:
        """Its name; where it lies differs between machines and is in params.yaml."""
        return f"folder:{self.path.resolve().name}"

    def pin(self) -> Pin:
        """What is in it; in PTB-XL's layout its list of sums stands for the records, each is held against it later."""
        if holds_table(self.path):
            folder = find_layout(self.path, what=str(self.path))
            names = [name for name in (SUMS_NAME, TABLE_NAME, STATEMENTS_NAME) if (folder / name).is_file()]
            objects = len(read_sums(folder))
        else:
            folder = self.path
            names = _file_names(folder)
            objects = len(names)
        if not objects:
            raise InputError(f"{self.path} is empty; see ingest.source in params.yaml")
        content = [[name, (folder / name).stat().st_size, sha256_of(folder / name)] for name in names]
        return Pin(uri=self.uri, simulated=folder_is_simulated(self.path), objects=objects, digest=digest_of(content))

    def fetch(self, pinned: Pin, *, state_dir: Path, executor: Executor) -> Path:  # noqa: ARG002 (nothing is stored)
        """The folder itself."""
        require(pinned, found=self.pin())
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSource:
    """A tar or zip archive of such a folder.

    `name` is what its pin calls it, where that is not the name of the file.
    """

    path: Path
    sampling_hz: int
    name: str | None = None

    @property
    def uri(self) -> str:
        """Its name; where it lies differs between machines and is in params.yaml."""
        return self.name or f"archive:{self.path.name}"

    def pin(self) -> Pin:
        """The archive is one object."""
        return self._pin(simulated=any(says_simulated(note) for note in notes(self.path)))

    def fetch(self, pinned: Pin, *, state_dir: Path, executor: Executor) -> Path:  # noqa: ARG002 (unpacking is one stream)
        """Unpack it, or find it unpacked before; records of another rate stay packed."""
        # The digest covers the note, which need not be looked for in the whole archive once more.
        found = self._pin(simulated=pinned.simulated)
        require(pinned, found=found)
        others = {folder for rate_hz, folder in FOLDER_OF_RATE.items() if rate_hz != self.sampling_hz}
        folder = cached(
            state_dir / "sources" / f"{found.digest[:KEY_LENGTH]}-{self.sampling_hz}",
            fill=lambda staging: unpack(self.path, into=staging, leave_out=others),
        )
        return require_as_pinned(folder, simulated=pinned.simulated)

    def _pin(self, *, simulated: bool) -> Pin:
        content = [[self.path.name, self.path.stat().st_size, sha256_of(self.path)]]
        return Pin(uri=self.uri, simulated=simulated, objects=1, digest=digest_of(content))


def _file_names(folder: Path) -> list[str]:
    """Every file below a folder but hidden ones, which tools and desktops leave behind."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))
