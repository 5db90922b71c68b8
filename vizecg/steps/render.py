"""Draw each record as ECG pages and store what the intake makes of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vizecg.config import Section
from vizecg.errors import InputError
from vizecg.executors import PROCESSES, ExecutorName, open_executor

if TYPE_CHECKING:
    from vizecg.pages import PageRecipe

PREVIEWS = 6


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
    from vizecg.pages import PAGE_SET, SCHEMA_VERSION, draw_pages, write_pages
    from vizecg.progress import tracked
    from vizecg.records import read_record_set

    recipe = page_recipe(params)
    with open_executor(params.executor, workers=params.workers) as executor:
        record_set = read_record_set(records)
        total = len(record_set.table) * params.copies
        with publish.publishing(pages, kind=PAGE_SET, schema_version=SCHEMA_VERSION) as staging:
            rows, copies = range(len(record_set)), range(params.copies)
            drawn = draw_pages(record_set, rows=rows, copies=copies, recipe=recipe, executor=executor)
            shown = tracked(drawn, total=total, what="pages")
            write_pages(staging, shown, total=total, recipe=recipe, records_digest=record_set.digest)
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
