"""The same records printed and photographed otherwise, one page each, drawn once for all who are to be asked.

A page set like that of the render step, but of one condition: a style through a camera,
ecg_plot's pages among them. A network out of fold is asked about its own fold's pages alone.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vizecg import publish
from vizecg.code_digest import DRAWING, digest_of_code
from vizecg.errors import InputError
from vizecg.executors import SizedExecutor
from vizecg.pages import PAGE_SET, SCHEMA_VERSION, PageRecipe, PageSet, read_page_set, write_pages
from vizecg.progress import tracked
from vizecg.robustness import Condition, pages_of

if TYPE_CHECKING:
    from vizecg.batches import TrainingData
    from vizecg.records import RecordSet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OtherPages:
    """One condition's pages of every record with a signal."""

    condition: Condition
    page_set: PageSet

    @property
    def digest(self) -> str:
        """Names what the pages show."""
        return self.page_set.digest

    def in_place_of(self, data: "TrainingData", *, rows: NDArray[np.int64]) -> "TrainingData":
        """The same records with these pages, those that the intake takes for no ECG included; to be asked about only.

        Args:
            data: what somebody learned from.
            rows: of the records to be asked about.

        Raises:
            InputError: one of them came on paper, so there is no such page.
        """
        index = self.page_set.index
        return replace(
            data,
            pages=self.page_set.stored(np.arange(len(index))),
            page_row=index["row"].to_numpy(),
            page_copy=index["copy"].to_numpy(),
            training_rows=rows,
            validation_rows=np.empty(0, np.int64),
        )

    def is_ecg(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(rows,) what the intake said of each record's page."""
        said = dict(zip(self.page_set.index["row"].tolist(), self.page_set.is_ecg.tolist(), strict=True))
        return np.array([said[row] for row in rows.tolist()], dtype=bool)


def draw_other_pages(
    conditions: Sequence[Condition],
    *,
    record_set: "RecordSet",
    page_set: PageSet,
    folder: Path,
    executor: SizedExecutor,
) -> tuple[OtherPages, ...]:
    """Draw every condition, or open what was drawn before.

    Args:
        conditions: style and camera of each.
        record_set: the records; those that came on paper have no other page.
        page_set: whose resolution and seed the pages are to have.
        folder: where they are kept, by the identity of all that decides them.
        executor: who draws.

    Raises:
        InputError: no record has a signal.
    """
    rows = np.flatnonzero(record_set.has_signal)
    if not len(rows):
        raise InputError("no record has a signal, so none can be printed otherwise; leave compare.other_pages empty")
    recipe = PageRecipe(spec=page_set.spec, **page_set.recipe)
    found = []
    for condition in conditions:
        place = folder / f"{condition.style}-{condition.camera}-{_identity(condition, recipe, record_set)[:16]}"
        if not place.exists():
            drawn = pages_of(condition, record_set=record_set, rows=rows, recipe=recipe, executor=executor)
            with publish.publishing(place, kind=PAGE_SET, schema_version=SCHEMA_VERSION) as staging:
                shown = tracked(drawn, total=len(rows), what=f"{condition.style} pages, {condition.camera}")
                write_pages(staging, shown, total=len(rows), recipe=recipe, records_digest=record_set.digest)
        found.append(OtherPages(condition=condition, page_set=read_page_set(place)))
    return tuple(found)


def _identity(condition: Condition, recipe: PageRecipe, record_set: "RecordSet") -> str:
    """Of records, condition, resolution, seed, and the code that draws and takes in."""
    code = digest_of_code(DRAWING)
    parts = {"condition": asdict(condition), "recipe": asdict(recipe), "records": record_set.digest, "code": code}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
