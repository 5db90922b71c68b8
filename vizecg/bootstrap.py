"""How sure a score is: resampling patients, vectorised, with numpy alone.

Records of one patient are not independent, so patients are drawn, and a resample
is a weight for each record: how often its patient was drawn. Every metric here
takes such weights, all resamples at once; a row of ones gives the plain value.

Free of torch and torchmetrics: the promotion gate decides with it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Resamples × records at a time: 80 MB of float64, whatever the size of the test set.
_CELLS_AT_ONCE = 10_000_000
# Below this share of resamples in which a metric is defined at all, an interval would describe the lucky ones.
_LEAST_DEFINED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Ends of a confidence interval; both None where too few resamples define the metric."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Macro AUROC of a challenger minus that of a champion on the same records."""

    challenger: float | None
    champion: float | None
    difference: float | None
    low: float | None
    high: float | None
    classes: tuple[str, ...]
    records: int
    patients: int
    resamples: int

    def to_dict(self) -> dict[str, object]:
        """JSON-safe."""
        return {**asdict(self), "classes": list(self.classes)}


def auroc(labels: ArrayLike, scores: ArrayLike) -> Floats:
    """Area under the ROC curve of each class, ties counted half.

    Args:
        labels: (records, classes), 0 or 1.
        scores: same shape, higher is more likely.

    Returns:
        (classes,), NaN for a class without positives or without negatives.
    """
    truth, score = _two_tables(labels, scores)
    ones = np.ones((1, len(truth)))
    return np.array([weighted_auroc(truth[:, k], score[:, k], ones)[0] for k in range(truth.shape[1])])


def covered(labels: ArrayLike, *, codes: Sequence[str]) -> tuple[str, ...]:
    """Classes with at least one positive and one negative: those a macro average is over."""
    truth = np.asarray(labels, dtype=bool)
    positives = truth.sum(axis=0)
    return tuple(code for code, count in zip(codes, positives.tolist(), strict=True) if 0 < count < len(truth))


def patient_weights(patient_ids: ArrayLike, *, resamples: int, seed: int) -> Floats:
    """How often each record counts in each resample: (resamples, records), whole numbers."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    patients, patient_of = np.unique(np.asarray(patient_ids), return_inverse=True)
    rng = np.random.default_rng([seed, len(patients)])
    drawn = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=resamples)
    return drawn[:, patient_of].astype(np.float64)


def weighted_auroc(labels: ArrayLike, scores: ArrayLike, weights: Floats) -> Floats:
    """AUROC of one class in each resample, by ranks: (resamples,), NaN where one side has no weight."""
    return _divide(*_won_of_pairs(labels, scores, weights))


def weighted_auroc_within(labels: ArrayLike, scores: ArrayLike, weights: Floats, *, parts: ArrayLike) -> Floats:
    """AUROC of one class over the pairs of records that are of one part; the same where there is one part only.

    Scores of several networks have no common zero, so a pair of records that two of them have scored
    says something about the networks too: over all pairs AUROC comes out too low (Airola et al. 2011,
    "An experimental comparison of cross-validation techniques for estimating the area under the ROC curve").

    Args:
        labels: (records,), 0 or 1.
        scores: (records,), higher is more likely.
        weights: (resamples, records).
        parts: (records,) who has scored each.

    Returns:
        (resamples,), NaN where no part has weight on both sides.
    """
    truth, score, part_of = np.asarray(labels), np.asarray(scores), np.asarray(parts)
    counts = [
        _won_of_pairs(truth[chosen], score[chosen], weights[:, chosen])
        for chosen in (np.flatnonzero(part_of == part) for part in np.unique(part_of))
    ]
    return _divide(np.sum([won for won, _ in counts], axis=0), np.sum([pairs for _, pairs in counts], axis=0))


def weighted_average_precision(labels: ArrayLike, scores: ArrayLike, weights: Floats) -> Floats:
    """Average precision of one class in each resample: the sum of precision × step in recall, scores descending."""
    positives, negatives = (side[:, ::-1] for side in _weight_by_score(labels, scores, weights))
    found = np.cumsum(positives, axis=1)
    called = found + np.cumsum(negatives, axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    return _divide((positives * precision).sum(axis=1), positives.sum(axis=1))


def interval(resampled: Floats, *, confidence: float = 0.95) -> Interval:
    """Percentile interval over the resamples in which the metric is defined."""
    defined = resampled[~np.isnan(resampled)]
    if len(defined) < _LEAST_DEFINED * len(resampled) or not len(defined):
        return Interval(low=None, high=None)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def mean_of_defined(resampled: Floats) -> Floats:
    """Mean over the classes that a resample defines: (resamples, classes) -> (resamples,), NaN where it defines none.

    A class of two patients is missing from one resample in seven, so of many rare classes
    hardly any resample has them all.
    """
    defined = ~np.isnan(resampled)
    return _divide(np.where(defined, resampled, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def resample_auroc(labels: ArrayLike, scores: ArrayLike, weights: Floats) -> Floats:
    """AUROC of every class in every resample: (resamples, classes)."""
    truth, score = _two_tables(labels, scores)
    rows = max(1, _CELLS_AT_ONCE // max(1, len(truth)))
    blocks = [
        np.stack([weighted_auroc(truth[:, k], score[:, k], block) for k in range(truth.shape[1])], axis=1)
        for block in (weights[start : start + rows] for start in range(0, len(weights), rows))
    ]
    return np.concatenate(blocks)


def paired_auroc_difference(
    labels: ArrayLike,
    *,
    challenger: ArrayLike,
    champion: ArrayLike,
    patient_ids: ArrayLike,
    codes: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedDifference:
    """Does the challenger rank the same records better?

    Args:
        labels: (records, classes), 0 or 1.
        challenger: scores, same shape; logits or probabilities, only their order counts.
        champion: the same records in the same order.
        patient_ids: (records,); patients are resampled, records of one stay together.
        codes: names of the classes, in column order.
        resamples: how many.
        seed: of the resampling.
        confidence: of the interval.

    Returns:
        Difference and interval over `classes`, those that have positives and
        negatives; every figure None where there is no such class.

    Raises:
        ValueError: shapes differ, or a score is not finite.
    """
    truth, ours = _two_tables(labels, challenger)
    _, theirs = _two_tables(labels, champion)
    patients = np.asarray(patient_ids)
    if patients.shape != (len(truth),):
        raise ValueError(f"patient_ids must be one a record, ({len(truth)},), got {patients.shape}")
    classes = covered(truth, codes=codes)
    undecided = PairedDifference(
        challenger=None,
        champion=None,
        difference=None,
        low=None,
        high=None,
        classes=classes,
        records=len(truth),
        patients=len(np.unique(patients)),
        resamples=resamples,
    )
    if not classes:
        return undecided
    columns = [list(codes).index(code) for code in classes]
    truth, ours, theirs = truth[:, columns], ours[:, columns], theirs[:, columns]
    weights = patient_weights(patients, resamples=resamples, seed=seed)
    # Both are defined for the same classes of a resample: its labels decide.
    resampled = mean_of_defined(resample_auroc(truth, ours, weights) - resample_auroc(truth, theirs, weights))
    ends = interval(resampled, confidence=confidence)
    our_score, their_score = float(auroc(truth, ours).mean()), float(auroc(truth, theirs).mean())
    return replace(
        undecided,
        challenger=our_score,
        champion=their_score,
        difference=our_score - their_score,
        low=ends.low,
        high=ends.high,
    )


def _two_tables(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    truth, score = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != score.shape:
        raise ValueError(f"labels and scores must both be (records, classes), got {truth.shape} and {score.shape}")
    if not np.isfinite(score).all():
        raise ValueError(f"scores must be finite, got {int((~np.isfinite(score)).sum())} that are not")
    return truth, score


def _won_of_pairs(labels: ArrayLike, scores: ArrayLike, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of the pairs of a positive and a negative that the positive wins, ties half, and of all pairs."""
    positives, negatives = _weight_by_score(labels, scores, weights)  # (R, distinct scores), ascending
    below = np.cumsum(negatives, axis=1) - negatives
    won = (positives * (below + negatives / 2)).sum(axis=1)
    return won, positives.sum(axis=1) * negatives.sum(axis=1)


def _weight_by_score(labels: ArrayLike, scores: ArrayLike, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at each distinct score, ascending: two of (resamples, distinct)."""
    truth, score = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    order = np.argsort(score, kind="stable")
    first_of_tie = np.flatnonzero(np.diff(score[order], prepend=-np.inf) > 0)
    ordered = weights[:, order]
    positive = truth[order]
    return (
        np.add.reduceat(ordered * positive, first_of_tie, axis=1),
        np.add.reduceat(ordered * ~positive, first_of_tie, axis=1),
    )


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
