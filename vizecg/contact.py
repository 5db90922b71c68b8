"""Pictures of a page set for people: a few pages in full, and one sheet that shows every class.

A contact sheet is how one sees in ten seconds what a column of numbers hides: a
camera that is too harsh, a field that cuts the traces, a label that does not fit.

Records that came on paper are in the sheet, where a failing intake shows first, and
the sheet says so: it is a picture of patients' pages and stays in the data folder, as
the pages themselves do. They are in no file of their own, such as is sent to somebody.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from vizecg import intake
from vizecg.pages import ON_PAPER, PageRecipe, upload_of
from vizecg.tiles import Picture, side_by_side, tile, titled

if TYPE_CHECKING:
    from vizecg.records import RecordSet

MOST_STRIPS: Final = 12
"""Of a task with more classes, the commonest are shown."""


def write_previews(folder: Path, *, record_set: "RecordSet", recipe: PageRecipe, number: int) -> None:
    """Write the pages of the first records with a signal as files, as an application would upload them."""
    folder.mkdir()
    for row in np.flatnonzero(record_set.has_signal)[:number].tolist():
        ecg_id = int(record_set.table["ecg_id"].iloc[row])
        for copy in range(recipe.copies):
            upload = upload_of(record_set, row, copy=copy, recipe=recipe)
            ending = "png" if upload.data.startswith(b"\x89PNG") else "jpg"
            (folder / f"{ecg_id:05d}-{copy}-{upload.camera}.{ending}").write_bytes(upload.data)


def write_contact_sheet(path: Path, *, record_set: "RecordSet", recipe: PageRecipe) -> None:
    """Write one row for each class, `MOST_STRIPS` at most: two copies, each as uploaded and as the model sees it."""
    rows = [(code, row) for code in _shown(record_set) if (row := _example_of(record_set, code=code)) is not None]
    strips = [_strip(record_set, code=code, row=row, recipe=recipe) for code, row in rows]
    if not strips:
        strips = [_strip(record_set, code="no label", row=0, recipe=recipe)]
    kind = "simulated records, no medical meaning" if record_set.simulated else "records"
    parts = [f"{len(record_set.table)} {kind}", "left as uploaded, right as the model sees it", f"style {recipe.style}"]
    if len(rows) < len(record_set.codes):
        parts.append(f"{len(rows)} of {len(record_set.codes)} classes")
    if not record_set.has_signal.all():
        parts.append("HOLDS PAGES OF PATIENTS")
    Image.fromarray(titled(strips, " · ".join(parts))).save(path, optimize=False)


def _shown(record_set: "RecordSet") -> list[str]:
    """Codes of the commonest classes, in the task's order."""
    commonest = np.argsort(-record_set.labels().sum(axis=0, dtype=np.int64), kind="stable")[:MOST_STRIPS]
    return [record_set.codes[k] for k in sorted(commonest.tolist())]


def _example_of(record_set: "RecordSet", *, code: str) -> int | None:
    """Row of the first record whose only label is `code`, else of the first that has it."""
    labels = record_set.labels()
    column = labels[:, record_set.codes.index(code)] == 1
    alone = np.flatnonzero(column & (labels.sum(axis=1) == 1))
    having = alone if len(alone) else np.flatnonzero(column)
    return int(having[0]) if len(having) else None


def _strip(record_set: "RecordSet", *, code: str, row: int, recipe: PageRecipe) -> Picture:
    ecg_id = int(record_set.table["ecg_id"].iloc[row])
    tiles: list[Picture] = []
    for copy in range(min(recipe.copies, 2)):
        upload = upload_of(record_set, row, copy=copy, recipe=recipe)
        picture = intake.decode(upload.data)
        taken = intake.normalise(intake.open_upload(upload.data), spec=recipe.spec)
        findings = ", ".join(finding.code for finding in taken.findings) or "no findings"
        printed = " · on paper" if upload.style == ON_PAPER else ""
        left = tile(picture, f"{code} · record {ecg_id}{printed} · copy {copy} · camera {upload.camera}")
        right = tile(taken.canonical, f"{taken.px_per_mm:.2f} px/mm · {findings}")
        tiles += [left, right]
    return side_by_side(tiles)
