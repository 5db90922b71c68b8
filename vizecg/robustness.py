"""How much worse a model is on other paper and through other cameras than on clean standard pages of the same records.

Every difference is paired: record by record the same heart, drawn anew. A page that the
intake takes for no ECG is scored all the same, and counted; the service would refuse it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from vizecg.bootstrap import PairedDifference, paired_auroc_difference
from vizecg.camera import DRAWN as DRAWN_CAMERA
from vizecg.camera import PRESETS
from vizecg.errors import InputError
from vizecg.executors import SizedExecutor
from vizecg.page import DRAWN, STANDARD, STYLES
from vizecg.pages import NO_CAMERA, DrawnPage, PageRecipe, draw_pages, make_upload
from vizecg.pages.foreign import ECG_PLOT, make_ecg_plot_upload, require_ecg_plot

if TYPE_CHECKING:
    from vizecg.predictor import ImageModel
    from vizecg.records import RecordSet

KNOWN_STYLES: Final = (*STYLES, DRAWN, ECG_PLOT)
KNOWN_CAMERAS: Final = (*PRESETS, DRAWN_CAMERA)
# Copy 0 never meets a camera; copy 1 does, and draws its own style where the style is drawn.
_COPY: Final = 1
_PAGES_AT_ONCE: Final = 64
_ROWS_STREAM: Final = 11
_LEADS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One page style through one camera preset; either may be `drawn`, its own for every record."""

    style: str
    camera: str

    def __post_init__(self) -> None:
        for what, value, known in (("style", self.style, KNOWN_STYLES), ("camera", self.camera, KNOWN_CAMERAS)):
            if value not in known:
                raise InputError(f"there is no {what} {value!r}; known: {sorted(known)}")
        if self.style == ECG_PLOT:
            require_ecg_plot()


REFERENCE: Final = Condition(style=STANDARD.name, camera=NO_CAMERA)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """What a model said about the pages of one condition."""

    condition: Condition
    logits: NDArray[np.float32]
    """(records, classes)."""
    is_ecg: NDArray[np.bool_]
    """(records,) what the intake said."""
    layouts: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, np.str_))
    """(records,) rows and columns of leads, such as `3x4`; of pages of another program, its name. Empty: not told."""
    mm_per_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """(records,) paper speed. Empty: not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One condition's score beside that of the clean standard page.

    Attributes:
        style: of the pages.
        camera: preset they went through.
        records: how many.
        refused: taken for no ECG by the intake.
        classes: those with positives and negatives among the records; the macro is over them.
        auroc: macro; None where no class can be scored.
        difference: `auroc` minus that of the clean standard page of the same records.
        low: lower end of the difference's 95 % interval, by bootstrap over patients.
        high: its upper end.
    """

    style: str
    camera: str
    records: int
    refused: int
    classes: tuple[str, ...]
    auroc: float | None
    difference: float | None
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {**asdict(self), "classes": list(self.classes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperPart:
    """Pages of one layout, or of one paper speed, among those drawn in a style of their own for every record.

    Attributes:
        kind: `layout` or `mm/s`.
        value: such as `6x2` or `50`.
        records: that such a page was drawn of.
        pages: of all cameras together.
        auroc: macro; None where no class can be scored or there are too few records.
        difference: `auroc` minus that of the clean standard pages of the same records.
        low: lower end of the difference's 95 % interval, by bootstrap over patients.
        high: its upper end.
        reason: why there is no number.
    """

    kind: str
    value: str
    records: int
    pages: int
    auroc: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def by_paper(
    readings: Sequence[Reading],
    reference: Reading,
    *,
    labels: NDArray[np.uint8],
    patient_ids: NDArray[Any],
    codes: Sequence[str],
    min_records: int,
    resamples: int,
    seed: int,
) -> list[PaperPart]:
    """Score pages of each layout and paper speed against the reference of the same records.

    Of pages that were drawn in a style of their own alone: there every part met the same cameras.

    Returns:
        By kind and value; none where no page was drawn so.
    """
    drawn = [reading for reading in readings if reading.condition.style == DRAWN]
    if not drawn:
        return []
    record = np.tile(np.arange(len(labels)), len(drawn))
    logits = np.concatenate([reading.logits for reading in drawn])
    kinds = {
        "layout": np.concatenate([reading.layouts for reading in drawn]),
        "mm/s": np.array([f"{value:g}" for reading in drawn for value in reading.mm_per_s]),
    }
    how: dict[str, Any] = {"codes": codes, "resamples": resamples, "seed": seed}
    found = []
    for kind, values in kinds.items():
        for value in np.unique(values).tolist():
            chosen = values == value
            of = record[chosen]
            part = PaperPart(kind=kind, value=value, records=len(np.unique(of)), pages=len(of))
            if part.records < min_records:
                held = "1 record" if part.records == 1 else f"{part.records} records"
                found.append(replace(part, reason=f"{held}, at least {min_records} are needed"))
                continue
            paired = paired_auroc_difference(
                labels[of],
                challenger=logits[chosen],
                champion=reference.logits[of],
                patient_ids=patient_ids[of],
                **how,
            )
            found.append(_scored(part, paired))
    return found


def _scored(part: PaperPart, paired: PairedDifference) -> PaperPart:
    return replace(
        part,
        auroc=paired.challenger,
        difference=paired.difference,
        low=paired.low,
        high=paired.high,
        reason=None if paired.classes else "no class has positives and negatives among them",
    )


def conditions(styles: Sequence[str], cameras: Sequence[str]) -> list[Condition]:
    """Every style through every camera, the reference first.

    Raises:
        InputError: there is no such style or camera, or a program that draws it is not installed.
    """
    try:
        crossed = [Condition(style=style, camera=camera) for style in styles for camera in cameras]
    except InputError as error:
        raise InputError(f"evaluate.robustness: {error}") from None
    return [REFERENCE, *dict.fromkeys(each for each in crossed if each != REFERENCE)]


def rows_of(record_set: "RecordSet", *, folds: Sequence[int], most: int | None, seed: int) -> NDArray[np.int64]:
    """Labelled records with a signal: all, or `most` of them, drawn once; only these can be printed anew."""
    rows = record_set.rows(folds=list(folds))
    rows = rows[record_set.has_signal[rows]]
    if most is None or most >= len(rows):
        return rows
    return np.sort(np.random.default_rng([seed, _ROWS_STREAM]).choice(rows, size=most, replace=False))


def read(
    network: "ImageModel",
    condition: Condition,
    *,
    record_set: "RecordSet",
    rows: NDArray[np.int64],
    recipe: PageRecipe,
    executor: SizedExecutor,
) -> Reading:
    """Draw the records under a condition and ask the model, as the service would be asked.

    Args:
        network: the model.
        condition: style and camera.
        record_set: the records.
        rows: which, each with a signal.
        recipe: resolution, seed and size of the model's input; its style and camera are not looked at.
        executor: who draws.
    """
    pages = pages_of(condition, record_set=record_set, rows=rows, recipe=recipe, executor=executor)
    logits, is_ecg, layouts, mm_per_s, waiting = [], [], [], [], []
    for page in pages:
        waiting.append(page.canonical)
        is_ecg.append(bool(page.entry["is_ecg"]))
        layouts.append(_layout_of(page.entry["style"]))
        mm_per_s.append(float(page.entry["mm_per_s"]))
        if len(waiting) == _PAGES_AT_ONCE:
            logits.append(network.logits(np.stack(waiting)))
            waiting.clear()
    if waiting:
        logits.append(network.logits(np.stack(waiting)))
    return Reading(
        condition=condition,
        logits=np.concatenate(logits),
        is_ecg=np.array(is_ecg),
        layouts=np.array(layouts),
        mm_per_s=np.array(mm_per_s),
    )


def _layout_of(style: str) -> str:
    if style not in STYLES:
        return style
    columns = max(len(row) for row in STYLES[style].rows)
    return f"{sum(len(row) == columns for row in STYLES[style].rows) if columns > 1 else _LEADS}x{columns}"


def pages_of(
    condition: Condition,
    *,
    record_set: "RecordSet",
    rows: NDArray[np.int64],
    recipe: PageRecipe,
    executor: SizedExecutor,
) -> Iterator[DrawnPage]:
    """One page of each record under a condition, in the order of `rows`; arguments as for `read`."""
    # A style with a name is the same for every copy, `drawn` is drawn for each; the camera is passed by at `clean`.
    drawn = replace(recipe, style=recipe.style if condition.style == ECG_PLOT else condition.style)
    return draw_pages(
        record_set,
        rows=rows,
        copies=[_COPY],
        recipe=replace(drawn, camera=condition.camera, copies=_COPY + 1),
        executor=executor,
        make=make_ecg_plot_upload if condition.style == ECG_PLOT else make_upload,
    )


def compare(
    reading: Reading,
    reference: Reading,
    *,
    labels: NDArray[np.uint8],
    patient_ids: NDArray[Any],
    codes: Sequence[str],
    resamples: int,
    seed: int,
) -> Cell:
    """Score a condition against the reference on the same records."""
    paired = paired_auroc_difference(
        labels,
        challenger=reading.logits,
        champion=reference.logits,
        patient_ids=patient_ids,
        codes=codes,
        resamples=resamples,
        seed=seed,
    )
    is_reference = reading.condition == reference.condition
    return Cell(
        style=reading.condition.style,
        camera=reading.condition.camera,
        records=len(labels),
        refused=int((~reading.is_ecg).sum()),
        classes=paired.classes,
        auroc=paired.challenger,
        difference=None if is_reference else paired.difference,
        low=None if is_reference else paired.low,
        high=None if is_reference else paired.high,
    )
