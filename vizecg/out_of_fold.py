"""Ten folds in turn: each is scored by a network that has learned from the nine others.

For sets too small to spare a fold for thresholds and one for the score: on 130 records one
threshold moves F1 by more than most models differ. Here every record is scored once, by a
network, a calibration and a threshold that know nothing of its patient. Epochs are not
chosen but fixed, so no fold is needed for that either.
"""

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from vizecg.calibration import F1_PLATEAU, CalibrationKind, ThresholdRule, choose_thresholds, fit_calibration
from vizecg.errors import InputError
from vizecg.publish import write_atomically

if TYPE_CHECKING:
    from vizecg.batches import TrainingData
    from vizecg.other_pages import OtherPages
    from vizecg.pages import PageSet
    from vizecg.recipe import Recipe
    from vizecg.records import RecordSet
    from vizecg.training import EpochReport

logger = logging.getLogger(__name__)

Labels = Literal["written", "shuffled"]
"""`shuffled`: training labels are dealt out anew among the records, so that nothing can be learned but chance."""

Part = tuple[int, ...]
"""Folds that one training leaves out, and then scores."""

CACHE_NAME: Final = ".answers"
"""Folder of answers beside the reports: who asks for the same training again, comparison or evaluation, finds it."""
_STANDARD_COPY: Final = 0
_SHUFFLE_STREAM: Final = 21


@dataclass(frozen=True, kw_only=True, eq=False)
class OutOfFold:
    """What networks said about records they have not learned from.

    Attributes:
        rows: of the record set, ascending.
        folds: (records,) fold of each.
        networks: (records,) which network has scored each, by the first of the folds that it has not learned from.
        labels: (records, classes), as they are written.
        logits: (records, classes), of the standard page or of the signal, whichever the network reads.
        codes: classes, in column order.
        others: (records, classes) logits of other pages of the same records, in the order they were given.
    """

    rows: NDArray[np.int64]
    folds: NDArray[np.int64]
    networks: NDArray[np.int64]
    labels: NDArray[np.uint8]
    logits: NDArray[np.float32]
    codes: tuple[str, ...]
    others: tuple[NDArray[np.float32], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Decided:
    """Out-of-fold answers, each read by an operating point that was fitted without its network's folds.

    Attributes:
        probabilities: (records, classes), calibrated.
        thresholds: (records, classes).
        pooled: network -> classes that had too few positives for a threshold of their own.
    """

    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    pooled: dict[int, tuple[str, ...]]


def out_of_fold(
    record_set: "RecordSet",
    *,
    page_set: "PageSet",
    recipe: "Recipe",
    seed: int,
    labels: Labels = "written",
    folds: Sequence[int],
    held_out: int = 1,
    cache: Path,
    others: Sequence["OtherPages"] = (),
    on_part: Callable[[Part, bool], None] | None = None,
    on_epoch: Callable[[Part, "EpochReport"], None] | None = None,
) -> OutOfFold:
    """Train once for each part of the folds and score that part; one that was scored before is read from the cache.

    Args:
        record_set: the records.
        page_set: their pages.
        recipe: how to train; always to its last epoch.
        seed: of the training.
        labels: what is learned; scores are always against what is written.
        folds: in turn; the others are learned from.
        held_out: how many one training leaves out and scores: with more, fewer trainings, and each learns from less.
        cache: folder of fold results and checkpoints, by the identity of all that decides them.
        others: other pages of the records, which each network is asked about as well.
        on_part: hears of every part before it begins, and whether it was in the cache.
        on_epoch: hears of the part and every epoch trained now.

    Raises:
        InputError: a fold is without labelled records or its training cannot be begun.
    """
    from vizecg.pretraining import with_first_weights

    for fold in folds:
        _refuse_empty(fold, record_set=record_set, page_set=page_set)
    recipe = recipe.model_copy(update={"select": "last"})
    found = []
    for part in parts_of(folds, held_out=held_out):
        data = _data(record_set, page_set=page_set, part=part, among=folds, labels=labels, seed=seed)
        rows = _scored_rows(record_set, page_set=page_set, part=part)
        identity = _identity(data, recipe=recipe, seed=seed, part=part, labels=labels)
        place = cache / f"fold-{'-'.join(f'{fold:02d}' for fold in part)}-{identity[:16]}.npz"
        places = [place, *(place.with_stem(f"{place.stem}-{other.digest[:16]}") for other in others)]
        kept = [_cached(each, rows=rows, classes=len(data.codes)) for each in places]
        logits = [each for each in kept if each is not None]
        was_there = len(logits) == len(places)
        if on_part is not None:
            on_part(part, was_there)
        if not was_there:
            epoch_heard = None if on_epoch is None else _of_part(on_epoch, part)
            begun = with_first_weights(recipe, record_set=record_set, page_set=page_set, folder=cache)
            logits = _train_and_score(
                data, begun, seed=seed, rows=rows, others=others, folder=place.with_suffix(""), on_epoch=epoch_heard
            )
            for each, answers in zip(places, logits, strict=True):
                _keep(each, rows=rows, logits=answers)
        found.append((rows, np.full(len(rows), part[0]), np.stack(logits)))
    rows = np.concatenate([each[0] for each in found])
    order = np.argsort(rows, kind="stable")
    papers = np.concatenate([each[2] for each in found], axis=1)[:, order]
    return OutOfFold(
        rows=rows[order],
        folds=record_set.table["fold"].to_numpy()[rows[order]].astype(np.int64),
        networks=np.concatenate([each[1] for each in found])[order],
        labels=record_set.labels()[rows[order]],
        logits=papers[0],
        codes=record_set.codes,
        others=tuple(papers[1:]),
    )


def parts_of(folds: Sequence[int], *, held_out: int) -> list[Part]:
    """The folds in parts of `held_out`, in their order; the last part may be smaller."""
    return [tuple(folds[first : first + held_out]) for first in range(0, len(folds), held_out)]


def decide(
    said: OutOfFold,
    *,
    min_positives: int,
    calibration: CalibrationKind = "slope_and_biases",
    threshold: ThresholdRule = F1_PLATEAU,
) -> Decided:
    """Calibrate and choose thresholds for what each network has scored on what all the others have.

    Raises:
        InputError: there is one network only.
    """
    networks = np.unique(said.networks).tolist()
    if len(networks) < 2:
        raise InputError(f"calibration out of fold needs 2 folds or more, got {networks}")
    probabilities = np.full(said.logits.shape, np.nan)
    thresholds = np.full(said.logits.shape, np.nan)
    pooled = {}
    for network in networks:
        inside, outside = said.networks == network, said.networks != network
        fitted = fit_calibration(said.labels[outside], said.logits[outside], kind=calibration)
        chosen = choose_thresholds(
            said.labels[outside],
            fitted.apply(said.logits[outside]),
            codes=said.codes,
            min_positives=min_positives,
            rule=threshold,
        )
        probabilities[inside] = fitted.apply(said.logits[inside])
        thresholds[inside] = chosen.values
        if chosen.pooled:
            pooled[network] = chosen.pooled
    return Decided(probabilities=probabilities, thresholds=thresholds, pooled=pooled)


def _data(
    record_set: "RecordSet", *, page_set: "PageSet", part: Part, among: Sequence[int], labels: Labels, seed: int
) -> "TrainingData":
    from vizecg.learning import training_data  # numba with it, which whoever reads params.yaml can do without

    others = [other for other in among if other not in part]
    data = training_data(record_set, page_set=page_set, training_folds=others, validation_folds=())
    if labels == "written":
        return data
    shuffled = data.labels.copy()
    dealt = np.random.default_rng([seed, _SHUFFLE_STREAM, part[0]]).permutation(data.training_rows)
    shuffled[data.training_rows] = data.labels[dealt]
    return replace(data, labels=shuffled, digest=f"{data.digest}:shuffled:{seed}:{part[0]}")


def _refuse_empty(fold: int, *, record_set: "RecordSet", page_set: "PageSet") -> None:
    if not len(_scored_rows(record_set, page_set=page_set, part=(fold,))):
        raise InputError(f"fold {fold} holds no labelled record with a page that the intake takes for an ECG")


def _scored_rows(record_set: "RecordSet", *, page_set: "PageSet", part: Part) -> NDArray[np.int64]:
    """Labelled records whose standard page the service would answer for; of them all contenders are asked."""
    rows = record_set.rows(folds=part)
    standard = page_set.is_ecg & (page_set.index["copy"].to_numpy() == _STANDARD_COPY)
    return rows[np.isin(rows, page_set.index["row"].to_numpy()[standard])]


def _train_and_score(
    data: "TrainingData",
    recipe: "Recipe",
    *,
    seed: int,
    rows: NDArray[np.int64],
    others: Sequence["OtherPages"],
    folder: Path,
    on_epoch: Callable[["EpochReport"], None] | None,
) -> list[NDArray[np.float32]]:
    """(rows, classes) of the standard page or the signal, then of each other page."""
    import shutil

    from vizecg.training import answers, resolve_arithmetic, train

    trained = train(data, recipe, seed=seed, checkpoint_dir=folder, on_epoch=on_epoch)
    said = []
    for shown in (data, *(other.in_place_of(data, rows=rows) for other in others)):
        # Copies of a record are in order, and each of these has its first.
        pages = [shown.pages_of_row[row][0] for row in rows.tolist()]
        heads = answers(trained.model, shown, pages=pages, arithmetic=resolve_arithmetic(recipe))
        said.append(heads[trained.model.head])
    shutil.rmtree(folder, ignore_errors=True)
    return said


def _of_part(on_epoch: Callable[[Part, "EpochReport"], None], part: Part) -> Callable[["EpochReport"], None]:
    return lambda report: on_epoch(part, report)


def _identity(
    data: "TrainingData",
    *,
    recipe: "Recipe",
    seed: int,
    part: Part,
    labels: Labels,
) -> str:
    from vizecg.training import code_digest

    parts: dict[str, Any] = {
        "data": data.digest,
        "training": hashlib.sha256(data.training_rows.tobytes()).hexdigest(),
        "recipe": recipe.model_dump(mode="json"),
        "seed": seed,
        "part": list(part),
        "labels": labels,
        "code": code_digest(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _keep(place: Path, *, rows: NDArray[np.int64], logits: NDArray[np.float32]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    np.savez(file, rows=rows, logits=logits)
    write_atomically(place, file.getvalue())


def _cached(place: Path, *, rows: NDArray[np.int64], classes: int) -> NDArray[np.float32] | None:
    """What was kept of these rows; a file that does not hold it is thrown away, for it can be made again."""
    if not place.exists():
        return None
    try:
        with np.load(io.BytesIO(place.read_bytes()), allow_pickle=False) as kept:
            of_rows, logits = kept["rows"], np.asarray(kept["logits"], dtype=np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        of_rows, logits = np.empty(0), np.empty((0, 0), np.float32)
    if np.array_equal(of_rows, rows) and logits.shape == (len(rows), classes) and np.isfinite(logits).all():
        return logits
    logger.warning("%s is damaged; its fold is trained again", place)
    return None
