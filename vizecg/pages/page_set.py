"""The pages of a record set as arrays on disk, and the table that describes them."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vizecg import intake, publish
from vizecg.intake import CanonicalSpec
from vizecg.page.layout import PlacedStrip
from vizecg.pages.uploads import PageRecipe, Upload, opened

PAGE_SET: Final = "page-set"
SCHEMA_VERSION: Final = 3
INDEX_FILE: Final = "index.parquet"
SET_FILE: Final = "set.json"
PAGES_PER_SHARD: Final = 512
# Each is an open file, of which a process may usually have 1024; a million records with two copies have 3,907 shards.
SHARDS_OPEN: Final = 256


class Shards:
    """The shards of a folder by their number, opened when asked for; the latest `SHARDS_OPEN` stay open."""

    def __init__(self, folder: Path) -> None:
        def opened(number: int) -> NDArray[np.uint8]:
            return np.load(folder / _shard_name(number), mmap_mode="r")  # type: ignore[no-any-return]

        self._opened = lru_cache(SHARDS_OPEN)(opened)

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        return self._opened(number)


class _ByNumber(Protocol):
    def __getitem__(self, number: int, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredPages:
    """Some pages of a set as one array, (pages, height, width) uint8, that stays on disk until asked for."""

    shards: _ByNumber
    numbers: NDArray[np.integer[Any]]
    """Rows of the index, in the order wanted."""

    spec: CanonicalSpec

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's."""
        return (len(self.numbers), self.spec.height_px, self.spec.width_px)

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """As an array's."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, chosen: Any, /) -> NDArray[np.uint8]:  # noqa: ANN401 (as numpy has it)
        numbers = self.numbers[chosen]
        if numbers.ndim == 0:
            return self._page(int(numbers))
        out = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        for position, number in enumerate(numbers.tolist()):
            out[position] = self._page(number)
        return out

    def _page(self, number: int) -> NDArray[np.uint8]:
        # Off the map: whoever holds the page then holds memory, not an open file.
        return np.array(self.shards[number // PAGES_PER_SHARD][number % PAGES_PER_SHARD])


@dataclass(frozen=True)
class PageSet:
    """A verified page set. Row i of `index` describes page i."""

    folder: Path
    index: pd.DataFrame
    spec: CanonicalSpec
    recipe: dict[str, Any]
    records_digest: str
    digest: str

    @cached_property
    def _shards(self) -> Shards:
        return Shards(self.folder)

    @property
    def is_ecg(self) -> NDArray[np.bool_]:
        """(pages,) what the intake said; the service answers for no page that is none."""
        return self.index["is_ecg"].to_numpy(dtype=bool)

    def stored(self, pages: NDArray[np.integer[Any]]) -> StoredPages:
        """Pages by their row in the index, left on disk."""
        return StoredPages(shards=self._shards, numbers=pages, spec=self.spec)

    def canonical(self, pages: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Copy out pages by their row in the index: (pages, height, width) uint8, ink dark."""
        return self.stored(pages)[np.arange(len(pages))]

    def pages_of(self, rows: NDArray[np.integer[Any]], *, copy: int) -> NDArray[np.int64]:
        """Index rows of one copy of the given records, in the order of `rows`."""
        pages = np.flatnonzero(self.index["copy"].to_numpy() == copy)
        page_of_row = dict(zip(self.index["row"].to_numpy()[pages].tolist(), pages.tolist(), strict=True))
        return np.array([page_of_row[row] for row in rows.tolist()], dtype=np.int64)


def read_page_set(folder: Path) -> PageSet:
    """Verify a page set and open it; the pages stay on disk until asked for.

    Raises:
        InputError: it is not there, or not what was published.
    """
    manifest = publish.verify(folder, kind=PAGE_SET, schema_version=SCHEMA_VERSION)
    described = json.loads((folder / SET_FILE).read_text(encoding="utf-8"))
    return PageSet(
        folder=folder,
        index=pd.read_parquet(folder / INDEX_FILE),
        spec=CanonicalSpec(**described["spec"]),
        recipe=described["recipe"],
        records_digest=described["records"],
        digest=manifest.digest,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPage:
    """One page as stored: what the intake made of it, and its row of the index."""

    canonical: NDArray[np.uint8]
    entry: dict[str, Any]


def take_in(upload: Upload, *, row: int, ecg_id: int, copy: int, spec: CanonicalSpec) -> DrawnPage:
    """Send an upload through the intake, as the service would, and describe what came out.

    Raises:
        InputError: it is no picture.
    """
    taken = intake.normalise(opened(upload.data, ecg_id=ecg_id), spec=spec)
    entry = {
        "row": row,
        "ecg_id": ecg_id,
        "copy": copy,
        "style": upload.style,
        "camera": upload.camera,
        "mm_per_s": _or_nan(upload.mm_per_s),
        "mm_per_mv": _or_nan(upload.mm_per_mv),
        "px_per_mm": _or_nan(upload.px_per_mm),
        "measured_px_per_mm": taken.px_per_mm,
        "findings": ",".join(finding.code for finding in taken.findings),
        "is_ecg": taken.is_ecg,
        "ink_fraction": float((taken.canonical < 128).mean()),
        "mean": float(taken.canonical.mean()),
        "homography": json.dumps(_to_canonical(upload, taken)),
        "strips": json.dumps([_described(placed) for placed in upload.strips]),
    }
    return DrawnPage(canonical=taken.canonical, entry=entry)


def _to_canonical(upload: Upload, taken: intake.Intake) -> list[float] | None:
    """Nine numbers, row by row, that take pixels of the drawn page to those of its canonical picture."""
    if upload.homography is None:
        return None
    matrix = taken.homography @ upload.homography
    return [float(f"{value:.9g}") for value in (matrix / matrix[2, 2]).ravel()]


def _described(placed: PlacedStrip) -> dict[str, Any]:
    """All it takes to read a strip's signal back from the page: pixels of the page before any camera, scale, time."""
    return {
        "key": placed.strip.key,
        "lead": placed.strip.lead,
        "start_s": placed.strip.start_s,
        "duration_s": placed.strip.duration_s,
        "box_px": [round(edge, 3) for edge in placed.box],
        "baseline_px": round(placed.baseline_px, 3),
        "mm_per_mv": placed.mm_per_mv,
    }


def _shard_name(number: int) -> str:
    return f"shard-{number:03d}.npy"


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def write_pages(
    staging: Path, pages: Iterator[DrawnPage], *, total: int, recipe: PageRecipe, records_digest: str
) -> None:
    """Write shards, index and description into a staging folder; memory holds one shard.

    Args:
        staging: folder to fill.
        pages: in the order they are to be stored.
        total: how many will come.
        recipe: how they were drawn.
        records_digest: of the record set they were drawn from.
    """
    entries: list[dict[str, Any]] = []
    spec = recipe.spec
    for first in range(0, total, PAGES_PER_SHARD):
        count = min(PAGES_PER_SHARD, total - first)
        shard = np.lib.format.open_memmap(
            staging / _shard_name(first // PAGES_PER_SHARD),
            mode="w+",
            dtype=np.uint8,
            shape=(count, spec.height_px, spec.width_px),
        )
        for position in range(count):
            page = next(pages)
            shard[position] = page.canonical
            entries.append(page.entry)
        shard.flush()
    # Without an index, parquet holds nothing but the columns: equal pages are equal bytes.
    pd.DataFrame(entries).to_parquet(staging / INDEX_FILE, index=False, compression="zstd")
    description = {
        "schema_version": SCHEMA_VERSION,
        "pages": total,
        "records": records_digest,
        "recipe": {
            "style": recipe.style,
            "camera": recipe.camera,
            "copies": recipe.copies,
            "upload_px_per_mm": recipe.upload_px_per_mm,
            "seed": recipe.seed,
        },
        "spec": {"height_px": spec.height_px, "width_px": spec.width_px, "px_per_mm": spec.px_per_mm},
    }
    (staging / SET_FILE).write_text(publish.to_json(description), encoding="utf-8")
