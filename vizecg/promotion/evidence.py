"""What challenger and champion say about the same test pages."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vizecg.errors import InputError
from vizecg.gates import CameraPages, Candidate, Evidence
from vizecg.promotion.service import try_to_serve

if TYPE_CHECKING:
    from vizecg.intake import CanonicalSpec
    from vizecg.pages import PageSet
    from vizecg.predictor import Predictor
    from vizecg.records import RecordSet


def gather_evidence(
    challenger: Path,
    champion: Path | None,
    *,
    records: Path,
    pages: Path,
    cameras: Sequence[str] = (),
    camera_records: int | None = None,
    seed: int = 0,
    serve: bool = False,
) -> Evidence:
    """Run both bundles by the predictor on the standard pages of fold 10, and on some of them through cameras.

    Args:
        challenger: bundle folder.
        champion: bundle folder; None when there is none that can be run.
        records: record set, for labels and patients.
        pages: page set made from it.
        cameras: presets; records that came on paper are sent through none.
        camera_records: how many of fold 10; None is all of them.
        seed: of choosing these.
        serve: whether a real service is started with the challenger and asked.

    Raises:
        InputError: a folder is missing or damaged, pages and records do not
            belong together, the challenger is of another task, or fold 10 is empty.
    """
    from vizecg.pages import read_page_set
    from vizecg.predictor import Predictor
    from vizecg.records import TEST_FOLD, read_record_set
    from vizecg.robustness import rows_of
    from vizecg.slices import COLUMNS, slices_of

    record_set, page_set = read_record_set(records), read_page_set(pages)
    if page_set.records_digest != record_set.digest:
        raise InputError(f"{pages} was drawn from other records than {records}; run render again")
    rows = record_set.rows(folds=(TEST_FOLD,))
    if not len(rows):
        raise InputError(f"{records} has no labelled record in fold {TEST_FOLD}, so no model can be judged on it")
    predictor = Predictor.load(challenger)
    classes, codes = predictor.operating_point.classes, record_set.codes
    if predictor.task != record_set.task:
        raise InputError(
            f"{challenger} answers the task {predictor.task}, the labels of {records} are those of {record_set.task}; "
            "judge it on records of its own task (ingest.task)"
        )
    if unknown := [code for code in classes if code not in codes]:
        raise InputError(f"{challenger} answers {unknown}, the labels of {records} are {list(codes)}")
    test_pages = _TestPages(record_set, page_set=page_set, rows=rows)
    columns = [codes.index(code) for code in classes]
    theirs = Predictor.load(champion) if champion is not None else None
    groups: dict[str, dict[str, NDArray[np.bool_]]] = {kind: {} for kind in COLUMNS}
    for part in slices_of(record_set.table.iloc[rows]):
        if part.kind in groups:
            groups[part.kind][part.value] = part.chosen
    asked = rows_of(record_set, folds=[TEST_FOLD], most=camera_records, seed=seed) if cameras else rows[:0]
    return Evidence(
        labels=record_set.labels()[rows][:, columns].astype(bool),
        patient_ids=record_set.table["patient_id"].to_numpy(np.int64)[rows],
        challenger=_ask(predictor, test_pages=test_pages),
        champion=_ask(theirs, test_pages=test_pages) if theirs is not None else None,
        groups=groups,
        served=try_to_serve(challenger) if serve else None,
        cameras=tuple(
            CameraPages(
                camera=camera,
                at=np.searchsorted(rows, asked),
                challenger=test_pages.through(camera, predictor=predictor, rows=asked),
                champion=test_pages.through(camera, predictor=theirs, rows=asked) if theirs is not None else None,
            )
            for camera in (cameras if len(asked) else ())
        ),
    )


class _TestPages:
    """The same pages at whatever size a model takes them."""

    def __init__(self, record_set: "RecordSet", *, page_set: "PageSet", rows: NDArray[np.int64]) -> None:
        self._record_set = record_set
        self._page_set = page_set
        self._rows = rows

    def at(self, spec: "CanonicalSpec") -> NDArray[np.uint8]:
        """(rows, height, width); as rendered where the size is the same, else made and taken in anew."""
        if spec == self._page_set.spec:
            return self._page_set.canonical(self._page_set.pages_of(self._rows, copy=0))
        return np.stack([self._draw(int(row), spec) for row in self._rows])

    def through(self, camera: str, *, predictor: "Predictor", rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(rows, classes) probabilities of the standard page, photographed alike for every model."""
        from vizecg.executors import open_executor
        from vizecg.page import STANDARD
        from vizecg.pages import PageRecipe
        from vizecg.robustness import Condition, read

        recipe = PageRecipe(**self._page_set.recipe, spec=predictor.model.spec)
        condition = Condition(style=STANDARD.name, camera=camera)
        with open_executor("threads", workers=1) as executor:
            reading = read(
                predictor.model, condition, record_set=self._record_set, rows=rows, recipe=recipe, executor=executor
            )
        return predictor.operating_point.probabilities(reading.logits)

    def _draw(self, row: int, spec: "CanonicalSpec") -> NDArray[np.uint8]:
        from vizecg import intake
        from vizecg.pages import PageRecipe, upload_of

        recipe = PageRecipe(**self._page_set.recipe, spec=self._page_set.spec)
        upload = upload_of(self._record_set, row, copy=0, recipe=recipe)
        return intake.normalise(intake.open_upload(upload.data), spec=spec).canonical


def _ask(predictor: "Predictor", *, test_pages: _TestPages) -> Candidate:
    logits = predictor.model.logits(test_pages.at(predictor.model.spec))
    return Candidate(
        bundle_digest=predictor.identity.bundle_digest,
        task=predictor.task,
        classes=tuple(predictor.operating_point.classes),
        simulated=predictor.identity.simulated,
        probabilities=predictor.operating_point.probabilities(logits),
    )
