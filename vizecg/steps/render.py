"""Draw each record as ECG pages and store what the intake makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vizecg.config import Section
from vizecg.errors import InputError
from vizecg.executors import PROCESSES, ExecutorName, SizedExecutor, in_order, open_executor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vizecg.pages import DrawnPage, PageRecipe
    from vizecg.records import RecordSet

PREVIEWS = 6
RECORDS_PER_TASK = 16
TASKS_AHEAD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one worker is handed at a time; `papers` are None where the record has a signal."""

    first_row: int
    ecg_ids: list[int]
    signals_uv: "NDArray[np.int16]"
    papers: list[bytes | None]


class Params(Section):
    """Section `render` of params.yaml."""

    seed: int = Field(ge=0)
    copies: int = Field(ge=1, le=16)
    style: str
    camera: str
    upload_px_per_mm: float = Field(ge=2, le=16)
    px_per_mm: float = Field(ge=1, le=4)
    executor: ExecutorName = PROCESSES
    workers: int = Field(ge=0, le=256)
    contact_sheet: Literal["labelled", "none"] = "labelled"


def run(params: Params, *, records: Path, pages: Path) -> None:
    """Read the record set, write the page set; both are verified and published by their manifests.

    Raises:
        InputError: there is no such style, camera or executor, or the records are not what their manifest says.
        Conflict: another process is writing `pages`.
    """
    from vizecg import contact, publish
    from vizecg.pages import PAGE_SET, SCHEMA_VERSION, write_pages
    from vizecg.progress import tracked
    from vizecg.records import read_record_set

    recipe = page_recipe(params)
    with open_executor(params.executor, workers=params.workers) as executor:
        record_set = read_record_set(records)
        total = len(record_set.table) * params.copies
        with publish.publishing(pages, kind=PAGE_SET, schema_version=SCHEMA_VERSION) as staging:
            drawn = tracked(_drawn(record_set, recipe=recipe, executor=executor), total=total, what="pages")
            write_pages(staging, drawn, total=total, recipe=recipe, records_digest=record_set.digest)
            if params.contact_sheet == "labelled":
                contact.write_previews(staging / "previews", record_set=record_set, recipe=recipe, number=PREVIEWS)
                contact.write_contact_sheet(staging / "contact_sheet.png", record_set=record_set, recipe=recipe)
    on_paper = int((~record_set.has_signal).sum())
    came = f", {on_paper} of them as they came on paper" if on_paper else ""
    print(f"render: {total} pages of {len(record_set.table)} records{came}, {params.copies} a record")


def page_recipe(params: Params) -> "PageRecipe":
    """Turn parameters into a recipe.

    Raises:
        InputError: there is no such style or camera preset.
    """
    from vizecg.camera import DRAWN as DRAWN_CAMERA
    from vizecg.camera import PRESETS
    from vizecg.intake import CanonicalSpec
    from vizecg.page import DRAWN, STYLES
    from vizecg.page.style import FIELD_HEIGHT_MM, FIELD_WIDTH_MM
    from vizecg.pages import PageRecipe

    styles, cameras = {DRAWN, *STYLES}, {DRAWN_CAMERA, *PRESETS}
    for name, value, known in (("style", params.style, styles), ("camera", params.camera, cameras)):
        if value not in known:
            raise InputError(f"params.yaml: render.{name} is {value!r}; known: {sorted(known)}")
    spec = CanonicalSpec(
        height_px=round(FIELD_HEIGHT_MM * params.px_per_mm),
        width_px=round(FIELD_WIDTH_MM * params.px_per_mm),
        px_per_mm=params.px_per_mm,
    )
    return PageRecipe(
        style=params.style,
        camera=params.camera,
        copies=params.copies,
        upload_px_per_mm=params.upload_px_per_mm,
        seed=params.seed,
        spec=spec,
    )


def _drawn(record_set: "RecordSet", *, recipe: "PageRecipe", executor: SizedExecutor) -> Iterator["DrawnPage"]:
    """Yield all pages, record by record and copy by copy, whoever draws them."""
    ecg_ids = record_set.table["ecg_id"].tolist()
    has_signal = record_set.has_signal
    batches = (
        Batch(
            first_row=start,
            ecg_ids=ecg_ids[start : start + RECORDS_PER_TASK],
            signals_uv=record_set.signals_uv[start : start + RECORDS_PER_TASK],
            papers=[
                None if has_signal[row] else record_set.upload(row)
                for row in range(start, min(start + RECORDS_PER_TASK, len(ecg_ids)))
            ],
        )
        for start in range(0, len(ecg_ids), RECORDS_PER_TASK)
    )
    draw = partial(_draw_batch, sampling_hz=record_set.sampling_hz, recipe=recipe)
    for pages in in_order(executor, draw, batches, ahead=lambda: TASKS_AHEAD * executor.at_once):
        yield from pages


def _draw_batch(batch: Batch, *, sampling_hz: float, recipe: "PageRecipe") -> list["DrawnPage"]:
    import cv2
    import numpy as np

    from vizecg.pages import make_upload, take_in
    from vizecg.records import UV_PER_MV

    cv2.setNumThreads(1)  # the workers are the parallelism
    pages = []
    records = zip(batch.ecg_ids, batch.signals_uv, batch.papers, strict=True)
    for position, (ecg_id, signal_uv, paper) in enumerate(records):
        signal_mv = signal_uv.astype(np.float32) / UV_PER_MV if paper is None else None
        for copy in range(recipe.copies):
            upload = make_upload(
                signal_mv=signal_mv, paper=paper, sampling_hz=sampling_hz, ecg_id=ecg_id, copy=copy, recipe=recipe
            )
            row = batch.first_row + position
            pages.append(take_in(upload, row=row, ecg_id=ecg_id, copy=copy, spec=recipe.spec))
    return pages
