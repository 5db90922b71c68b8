"""What is asked of a model beside its score: other papers and cameras, a sceptic's controls, and textbook pages."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from vizecg import controls, intake, robustness, textbook
from vizecg.controls import Asking, Control
from vizecg.executors import SizedExecutor
from vizecg.page import STANDARD
from vizecg.pages import draw_pages
from vizecg.progress import tracked
from vizecg.publish import to_json
from vizecg.textbook import TextbookAnswer

if TYPE_CHECKING:
    from vizecg.operating_point import OperatingPoint
    from vizecg.pages import PageRecipe
    from vizecg.predictor import ImageModel
    from vizecg.records import RecordSet

ROBUSTNESS_FILE: Final = "robustness.csv"
PAPER_FILE: Final = "paper.csv"
CONTROLS_FILE: Final = "controls.json"
_COLUMNS: Final = ("style", "camera", "records", "refused", "auroc", "difference", "low", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What came of them.

    Attributes:
        cells: a row of the robustness matrix each, the clean standard page first.
        papers: of the pages in a style of their own, each layout and paper speed.
        controls: questions and answers; empty where they were not asked.
        textbook: what it says of textbook pages.
    """

    cells: tuple[robustness.Cell, ...]
    papers: tuple[robustness.PaperPart, ...]
    controls: tuple[Control, ...]
    textbook: tuple[TextbookAnswer, ...]

    def summary(self) -> dict[str, Any]:
        """For `metrics.json`: flat enough for `dvc metrics diff`."""
        return {
            "robustness": {
                f"{cell.style}, {cell.camera}": {
                    "auroc": cell.auroc,
                    "difference": cell.difference,
                    "difference_low": cell.low,
                    "difference_high": cell.high,
                }
                for cell in self.cells
            },
            "paper": {
                f"{part.kind} {part.value}": {
                    "records": part.records,
                    "auroc": part.auroc,
                    "difference": part.difference,
                    "difference_low": part.low,
                    "difference_high": part.high,
                }
                for part in self.papers
            },
            "controls": {
                control.name: {"value": control.value, "value_low": control.low, "value_high": control.high}
                for control in self.controls
            },
        }

    def write(self, folder: Path) -> None:
        """Write all files; `paper.csv` only where pages were drawn in styles of their own."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for cell in self.cells:
            row = {name: getattr(cell, name) for name in _COLUMNS}
            if cell.difference is None and cell.auroc is not None:
                row |= dict.fromkeys(("difference", "low", "high"), 0.0)  # the reference, against itself
            writer.writerow([_shown(value) for value in row.values()])
        (folder / ROBUSTNESS_FILE).write_text(table.getvalue(), encoding="utf-8")
        if self.papers:
            self._write_papers(folder / PAPER_FILE)
        content = {
            "controls": [control.to_dict() for control in self.controls],
            "textbook": [answer.to_dict() for answer in self.textbook],
        }
        (folder / CONTROLS_FILE).write_text(to_json(content), encoding="utf-8")

    def _write_papers(self, path: Path) -> None:
        names = [field.name for field in fields(robustness.PaperPart)]
        with path.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([_shown(getattr(part, name)) for name in names] for part in self.papers)


def check(
    network: "ImageModel",
    *,
    record_set: "RecordSet",
    rows: NDArray[np.int64],
    recipe: "PageRecipe",
    point: "OperatingPoint",
    conditions: Sequence[robustness.Condition],
    with_controls: bool,
    min_records: int,
    executor: SizedExecutor,
    resamples: int,
    seed: int,
) -> Checks:
    """Ask it all.

    Args:
        network: the model.
        record_set: the records.
        rows: labelled ones with a signal, at least one.
        recipe: resolution, seed and size of the model's input.
        point: how its answers are read.
        conditions: of the matrix, the reference first.
        min_records: of a layout or paper speed, to be scored.
        with_controls: whether to ask the controls and textbook pages too.
        executor: who draws pages.
        resamples: of the bootstrap by patient.
        seed: of the bootstrap and of what is deleted at random.
    """
    how: dict[str, Any] = {"record_set": record_set, "rows": rows, "recipe": recipe, "executor": executor}
    shown = tracked(conditions, total=len(conditions), what="styles and cameras")
    readings = [robustness.read(network, condition, **how) for condition in shown]
    asking = Asking(network=network, record_set=record_set, rows=rows, recipe=recipe, resamples=resamples, seed=seed)
    cells = tuple(
        robustness.compare(
            reading,
            readings[0],
            labels=asking.labels,
            patient_ids=asking.patient_ids,
            codes=record_set.codes,
            resamples=resamples,
            seed=seed,
        )
        for reading in readings
    )
    papers = tuple(
        robustness.by_paper(
            readings,
            readings[0],
            labels=asking.labels,
            patient_ids=asking.patient_ids,
            codes=record_set.codes,
            min_records=min_records,
            resamples=resamples,
            seed=seed,
        )
    )
    if not with_controls:
        return Checks(cells=cells, papers=papers, controls=(), textbook=())
    return Checks(
        cells=cells,
        papers=papers,
        controls=_controls(asking, executor=executor),
        textbook=tuple(_textbook_answers(network, task=record_set.task, codes=record_set.codes, point=point)),
    )


def _controls(asking: Asking, *, executor: SizedExecutor) -> tuple[Control, ...]:
    standard = replace(asking.recipe, style=STANDARD.name, copies=1)
    pages = draw_pages(asking.record_set, rows=asking.rows, copies=[0], recipe=standard, executor=executor)
    canonical = np.stack([page.canonical for page in pages])
    return (
        controls.without_traces(asking, executor=executor),
        controls.without_header(asking, executor=executor),
        controls.evidence_by_deletion(asking, canonical=canonical),
    )


def _textbook_answers(
    network: "ImageModel", *, task: str, codes: tuple[str, ...], point: "OperatingPoint"
) -> list[TextbookAnswer]:
    """The three pages that everybody knows, asked as uploads."""
    known = textbook.KNOWN_TO_EVERYBODY
    files = textbook.textbook_pages(len(known))
    taken = [intake.normalise(intake.open_upload(file), spec=network.spec) for file in files]
    probabilities = point.probabilities(network.logits(np.stack([page.canonical for page in taken])))
    answers = []
    for (statement, name), said in zip(known.items(), probabilities, strict=True):
        expected = textbook.expected_classes(statement, task=task, codes=codes)
        positives = tuple(code for code, given in zip(codes, point.positives(said), strict=True) if given)
        answers.append(
            TextbookAnswer(
                statement=statement,
                name=name,
                expected=expected,
                probabilities={code: float(value) for code, value in zip(codes, said, strict=True)},
                positives=positives,
                held=set(expected) <= set(positives) if expected else None,
            )
        )
    return answers


def _shown(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else value
