"""The records a model is most wrong about, as pages with what it saw drawn over them.

Only records that anybody may look at are drawn: simulated ones and those of a public database. What came on paper
never is, whatever its source (docs/decisions/0012).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vizecg import intake
from vizecg.evidence_map import field_of, overlaid
from vizecg.pages import PageRecipe, upload_of
from vizecg.public import public_sources
from vizecg.report.scored import Scored

if TYPE_CHECKING:
    from vizecg.predictor import ImageModel
    from vizecg.records import RecordSet

MOST_SHOWN: Final = 6
PICTURE_WIDTH_PX: Final = 960
JPEG_QUALITY: Final = 72
# A probability of 0 for what is true would be an infinite loss, and hide how wrong the others are.
_LEAST_PROBABILITY: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One class of one record: what is written, and what was said."""

    code: str
    written: bool
    probability: float
    threshold: float

    @property
    def positive(self) -> bool:
        """Whether the model gives the label."""
        return self.probability >= self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A record that is read wrongly; the evidence drawn on its page is that of the class it is most wrong about."""

    ecg_id: int
    loss: float
    classes: tuple[Said, ...]
    drawn: Said
    jpeg: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """The worst of them, worst first; `withheld` records had a mistake and may not be shown."""

    shown: tuple[Mistake, ...] = ()
    withheld: int = 0
    wrong: int = 0


def worst_mistakes(
    record_set: "RecordSet",
    *,
    rows: NDArray[np.int64],
    scored: Scored,
    network: "ImageModel",
    recipe: PageRecipe,
    most: int = MOST_SHOWN,
) -> Mistakes:
    """Find the records with the largest loss among those with a wrong label, and draw them.

    Args:
        record_set: what was scored.
        rows: (records,) its rows, in the order of `scored`.
        scored: what was said about them.
        network: who said it; asked once more, for its evidence.
        recipe: of the pages it was shown.
        most: how many are drawn.
    """
    losses = record_losses(scored)
    wrong = (scored.called != (scored.labels == 1)).any(axis=1)
    allowed = _may_be_shown(record_set)[rows]
    worst = sorted(np.flatnonzero(wrong & allowed).tolist(), key=lambda at: (-losses[at].sum(), at))[:most]
    return Mistakes(
        shown=tuple(
            _mistake(
                record_set, row=int(rows[at]), loss=losses[at], scored=scored, at=at, network=network, recipe=recipe
            )
            for at in worst
        ),
        withheld=int((wrong & ~allowed).sum()),
        wrong=int(wrong.sum()),
    )


def record_losses(scored: Scored) -> NDArray[np.float64]:
    """(records, classes) of cross-entropy: large where the model is sure, and wrong."""
    said = np.clip(scored.probabilities, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    losses: NDArray[np.float64] = -np.log(np.where(scored.labels == 1, said, 1 - said))
    return losses


def _may_be_shown(record_set: "RecordSet") -> NDArray[np.bool_]:
    """(records,) drawn from a signal, and of a public source."""
    public = record_set.table["source"].isin(public_sources(record_set.source)).to_numpy(dtype=bool)
    return np.asarray(public & record_set.has_signal)


def _mistake(
    record_set: "RecordSet",
    *,
    row: int,
    loss: NDArray[np.float64],
    scored: Scored,
    at: int,
    network: "ImageModel",
    recipe: PageRecipe,
) -> Mistake:
    classes = tuple(
        Said(code=code, written=bool(written), probability=float(probability), threshold=float(threshold))
        for code, written, probability, threshold in zip(
            scored.codes, scored.labels[at], scored.probabilities[at], scored.used[at], strict=True
        )
    )
    wrong = [k for k, said in enumerate(classes) if said.positive != said.written]
    worst = max(wrong, key=lambda k: (loss[k], -k))
    upload = upload_of(record_set, row, copy=0, recipe=recipe)
    return Mistake(
        ecg_id=int(record_set.table["ecg_id"].iloc[row]),
        loss=float(loss.sum()),
        classes=classes,
        drawn=classes[worst],
        jpeg=_picture(upload.data, column=worst, network=network),
    )


def _picture(data: bytes, *, column: int, network: "ImageModel") -> bytes:
    """The part of a page that the model sees, in its own colours, with one class's evidence over it."""
    taken = intake.normalise(intake.open_upload(data), spec=network.spec)
    evidence = network.run(taken.canonical[np.newaxis]).evidence[0, column]
    page = intake.Picture.of(intake.decode(data))
    field = field_of(page, taken, spec=network.spec, width_px=PICTURE_WIDTH_PX)
    encoded = io.BytesIO()
    Image.fromarray(overlaid(field, evidence)).save(encoded, "JPEG", quality=JPEG_QUALITY, optimize=False)
    return encoded.getvalue()


def most_telling(mistake: Mistake, *, most: int) -> Sequence[Said]:
    """Classes worth naming: written, said or wrong, the most probable first."""
    named = [said for said in mistake.classes if said.written or said.positive]
    return sorted(named, key=lambda said: -said.probability)[:most]
