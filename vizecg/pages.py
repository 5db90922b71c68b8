"""PageSet: every record drawn, photographed, taken in, and stored as the model will see it.

The stored arrays have been through the very intake the service uses, so training
pays for page, camera and intake once and never sees anything else than serving.
Copy 0 of a record is the standard page without a camera; the others go through
the camera.

On disk: `shard-000.npy` … (uint8, pages × height × width), `index.parquet`,
`set.json`, `previews/` and `contact_sheet.png` for people, `manifest.json`.
Few large files, because a remote store pays per file.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vizecg import camera, intake, publish
from vizecg.intake import CanonicalSpec
from vizecg.page import STYLES, draw_page, encode_png

PAGE_SET: Final = "page-set"
SCHEMA_VERSION: Final = 1
INDEX_FILE: Final = "index.parquet"
SET_FILE: Final = "set.json"
PAGES_PER_SHARD: Final = 512
NO_CAMERA: Final = "clean"

# One purpose of randomness, one stream: another purpose for the same record takes another number.
_CAMERA_STREAM: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRecipe:
    """How uploads are drawn. `camera` is the preset of every copy but the first."""

    style: str
    camera: str
    copies: int
    upload_px_per_mm: float
    seed: int
    spec: CanonicalSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A page as the bytes of a file, and what is known about it."""

    data: bytes
    style: str
    camera: str
    mm_per_s: float
    mm_per_mv: float
    px_per_mm: float
    boxes: Mapping[str, tuple[float, float, float, float]]


def draw_upload(
    signal_mv: NDArray[np.floating[Any]], *, sampling_hz: float, ecg_id: int, copy: int, recipe: PageRecipe
) -> Upload:
    """Draw one copy of one record and make a file of it: PNG without camera, JPEG through one.

    Args:
        signal_mv: (12, samples), leads in the order of `vizecg.labels.LEADS`.
        sampling_hz: samples per second.
        ecg_id: with `recipe.seed` and `copy` all that chance depends on.
        copy: 0 is the page as printed, without a camera.
        recipe: how to draw.
    """
    page = draw_page(signal_mv, sampling_hz=sampling_hz, style=STYLES[recipe.style], px_per_mm=recipe.upload_px_per_mm)
    preset = NO_CAMERA if copy == 0 else recipe.camera
    if preset == NO_CAMERA:
        data = encode_png(page)
    else:
        rng = np.random.default_rng([recipe.seed, _CAMERA_STREAM, ecg_id, copy])
        data = camera.photograph(page.rgb, preset=preset, rng=rng)
    return Upload(
        data=data,
        style=recipe.style,
        camera=preset,
        mm_per_s=page.mm_per_s,
        mm_per_mv=page.mm_per_mv,
        px_per_mm=page.px_per_mm,
        boxes=page.boxes,
    )


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
    def _shards(self) -> list[NDArray[np.uint8]]:
        return [np.load(path, mmap_mode="r") for path in sorted(self.folder.glob("shard-*.npy"))]

    def canonical(self, pages: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Copy out pages by their row in the index: (pages, height, width) uint8, ink dark."""
        out = np.empty((len(pages), self.spec.height_px, self.spec.width_px), np.uint8)
        for position, page in enumerate(pages):
            out[position] = self._shards[page // PAGES_PER_SHARD][page % PAGES_PER_SHARD]
        return out

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
    """Send an upload through the intake, as the service would, and describe what came out."""
    taken = intake.normalise(intake.decode(upload.data), spec=spec)
    entry = {
        "row": row,
        "ecg_id": ecg_id,
        "copy": copy,
        "style": upload.style,
        "camera": upload.camera,
        "mm_per_s": upload.mm_per_s,
        "mm_per_mv": upload.mm_per_mv,
        "px_per_mm": upload.px_per_mm,
        "measured_px_per_mm": taken.px_per_mm,
        "findings": ",".join(finding.code for finding in taken.findings),
        "is_ecg": taken.is_ecg,
        "ink_fraction": float((taken.canonical < 128).mean()),
        "mean": float(taken.canonical.mean()),
        "boxes": json.dumps(dict(upload.boxes), sort_keys=True),
    }
    return DrawnPage(canonical=taken.canonical, entry=entry)


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
            staging / f"shard-{first // PAGES_PER_SHARD:03d}.npy",
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
