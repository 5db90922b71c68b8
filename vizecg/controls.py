"""What a sceptic asks of a model that reads pages: does it look at the traces, and at nothing else?

Erased traces must leave chance, a masked header must change nothing, and the places that
the evidence map names must matter more than as much ink elsewhere. Three textbook pages
show what it says of hearts that everybody knows.
"""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg import bootstrap
from vizecg.executors import SizedExecutor
from vizecg.page import DRAWN
from vizecg.pages import NO_CAMERA, PageRecipe, draw_pages, make_unlettered_upload, make_upload
from vizecg.pages.uploads import Upload

if TYPE_CHECKING:
    from vizecg.predictor import ImageModel
    from vizecg.records import RecordSet

Floats = NDArray[np.float64]

# Of the page's tokens: a fifth is what a QRS complex and a T wave of every lead take of it.
DELETED_SHARE: Final = 0.2
RANDOM_DRAWS: Final = 5
_DELETION_STREAM: Final = 12
# Wider than any pen and than the gap between fine grid lines, at every resolution of the model's input.
_CLOSING_MM: Final = 6.0
_CHANCE: Final = 0.5
_COPY: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One question, its answer, and whether it is what a sound model gives.

    Attributes:
        name: of the control.
        question: in words.
        expected: the answer of a sound model, in words.
        value: the answer; None where the records do not define it.
        low: lower end of its 95 % interval, by bootstrap over patients.
        high: its upper end.
        held: whether the interval agrees; None where there is none.
        records: it was asked on.
    """

    name: str
    question: str
    expected: str
    value: float | None
    low: float | None
    high: float | None
    held: bool | None
    records: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Whom to ask about which records, and how sure to be.

    Attributes:
        network: the model.
        record_set: of the records.
        rows: labelled records with a signal.
        recipe: resolution, seed and size of the model's input.
        resamples: of the bootstrap by patient.
        seed: of the bootstrap and of what is deleted at random.
    """

    network: "ImageModel"
    record_set: "RecordSet"
    rows: NDArray[np.int64]
    recipe: PageRecipe
    resamples: int
    seed: int

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(records, classes)."""
        return self.record_set.labels()[self.rows]

    @property
    def patient_ids(self) -> NDArray[Any]:
        """(records,)."""
        return np.asarray(self.record_set.table["patient_id"].to_numpy()[self.rows])

    @property
    def weights(self) -> Floats:
        """(resamples, records)."""
        return bootstrap.patient_weights(self.patient_ids, resamples=self.resamples, seed=self.seed)


def without_traces(asking: Asking, *, executor: SizedExecutor) -> Control:
    """Macro AUROC on pages that have everything but traces: grid, lead names, pulse, header and footer."""
    logits, _ = _ask_drawn(asking, make=make_erased_upload, executor=executor)
    value = _macro_auroc(asking, logits)
    resampled = bootstrap.mean_of_defined(bootstrap.resample_auroc(asking.labels, logits, asking.weights))
    ends = bootstrap.interval(resampled)
    return Control(
        name="without traces",
        question="macro AUROC on pages whose traces were erased",
        expected="0.5 lies within the interval",
        value=value,
        low=ends.low,
        high=ends.high,
        held=_within(_CHANCE, ends),
        records=len(asking.rows),
    )


def without_header(asking: Asking, *, executor: SizedExecutor) -> Control:
    """How the macro AUROC moves when name, rates, intervals and statements are left off the same pages."""
    with_text, _ = _ask_drawn(asking, make=make_upload, executor=executor)
    without, _ = _ask_drawn(asking, make=make_unlettered_upload, executor=executor)
    paired = bootstrap.paired_auroc_difference(
        asking.labels,
        challenger=without,
        champion=with_text,
        patient_ids=asking.patient_ids,
        codes=asking.record_set.codes,
        resamples=asking.resamples,
        seed=asking.seed,
    )
    ends = bootstrap.Interval(low=paired.low, high=paired.high)
    return Control(
        name="without header",
        question="change of macro AUROC when the text around the chart is masked",
        expected="0 lies within the interval",
        value=paired.difference,
        low=paired.low,
        high=paired.high,
        held=_within(0.0, ends),
        records=len(asking.rows),
    )


def evidence_by_deletion(asking: Asking, *, canonical: NDArray[np.uint8]) -> Control:
    """How much further a written label's logit falls by deleting what the evidence map says than by deleting other ink.

    Args:
        asking: whom to ask.
        canonical: (records, H, W) pages of `asking.rows`.
    """
    outputs = asking.network.run(canonical)
    paper = np.stack([_without_ink(page, px_per_mm=asking.recipe.spec.px_per_mm) for page in canonical])
    falls = np.full(asking.labels.shape, np.nan)
    for at, k in np.argwhere(asking.labels == 1).tolist():
        key = [asking.seed, _DELETION_STREAM, int(asking.rows[at]), k]
        picks = _cells_to_delete(
            outputs.evidence[at, k], page=canonical[at], paper=paper[at], rng=np.random.default_rng(key)
        )
        deleted = np.stack([_deleted(canonical[at], paper=paper[at], cells=cells) for cells in picks])
        fall = outputs.logits[at, k] - asking.network.logits(deleted)[:, k]
        falls[at, k] = fall[0] - fall[1:].mean()
    value = float(np.nanmean(falls)) if np.isfinite(falls).any() else None
    ends = bootstrap.interval(_weighted_mean(falls, asking.weights))
    return Control(
        name="evidence by deletion",
        question="fall of a written label's logit, deleting by the evidence map minus at random in proportion to ink",
        expected="the interval lies above 0",
        value=value,
        low=ends.low,
        high=ends.high,
        held=None if ends.low is None else ends.low > 0,
        records=int((asking.labels == 1).any(axis=1).sum()),
    )


def make_erased_upload(*, signal_mv: NDArray[np.floating[Any]] | None, **how: Any) -> Upload:  # noqa: ANN401 (as `pages.make_upload` has it)
    """Draw a page of a record without any of its samples, as `pages.make_upload` draws it with them."""
    return make_upload(signal_mv=None if signal_mv is None else np.full_like(signal_mv, np.nan), **how)


def _ask_drawn(asking: Asking, *, make: Any, executor: SizedExecutor) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:  # noqa: ANN401 (see draw_pages)
    """Logits and canonical pages, each record in a style of its own and as printed."""
    recipe = replace(asking.recipe, style=DRAWN, camera=NO_CAMERA, copies=_COPY + 1)
    pages = draw_pages(asking.record_set, rows=asking.rows, copies=[_COPY], recipe=recipe, executor=executor, make=make)
    canonical = np.stack([page.canonical for page in pages])
    return asking.network.logits(canonical), canonical


def _macro_auroc(asking: Asking, logits: NDArray[np.float32]) -> float | None:
    values = bootstrap.auroc(asking.labels, logits)
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _without_ink(page: NDArray[np.uint8], *, px_per_mm: float) -> NDArray[np.uint8]:
    """The paper under traces and grid: dark lines narrower than the kernel are closed."""
    side_px = max(3, round(_CLOSING_MM * px_per_mm)) | 1
    return np.asarray(cv2.morphologyEx(page, cv2.MORPH_CLOSE, np.ones((side_px, side_px), np.uint8)), dtype=np.uint8)


def _cells_to_delete(
    evidence: NDArray[np.float32], *, page: NDArray[np.uint8], paper: NDArray[np.uint8], rng: np.random.Generator
) -> list[NDArray[np.bool_]]:
    """(h, w) masks of cells: those of most evidence, then as many drawn at random in proportion to their ink."""
    height, width = evidence.shape
    ink = cv2.resize((paper.astype(np.float32) - page).clip(0), (width, height), interpolation=cv2.INTER_AREA)
    shares = ink.ravel().astype(np.float64) + 1e-6
    count = max(1, round(DELETED_SHARE * evidence.size))
    chosen = [np.argsort(-evidence.ravel(), kind="stable")[:count]]
    chosen += [rng.choice(evidence.size, count, replace=False, p=shares / shares.sum()) for _ in range(RANDOM_DRAWS)]
    return [np.isin(np.arange(evidence.size), cells).reshape(height, width) for cells in chosen]


def _deleted(page: NDArray[np.uint8], *, paper: NDArray[np.uint8], cells: NDArray[np.bool_]) -> NDArray[np.uint8]:
    size = (page.shape[1], page.shape[0])
    mask = cv2.resize(cells.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    return np.where(mask, paper, page)


def _weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Mean of what is defined, in each resample: (records, classes), (resamples, records) -> (resamples,)."""
    defined = np.isfinite(values)
    total = weights @ np.where(defined, values, 0).sum(axis=1)
    count = weights @ defined.sum(axis=1).astype(np.float64)
    means: Floats = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return means


def _within(value: float, ends: bootstrap.Interval) -> bool | None:
    if ends.low is None or ends.high is None:
        return None
    return ends.low <= value <= ends.high
