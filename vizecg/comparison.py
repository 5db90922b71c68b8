"""Is one model better than another? Paired differences on the same records, with how sure they are.

Both models meet the same records in every resample, so what makes records easy or hard
cancels out. With several training runs of each model the runs are resampled too, crossed
with the patients: a difference that holds for these seeds alone has a wide interval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vizecg.bootstrap import interval, mean_of_defined, patient_weights, weighted_auroc_within
from vizecg.metrics import MIN_SCORED, Bools, Floats, cuts_of, left_out, resampled_metrics

METRICS: Final = ("auroc", "auprc", "precision", "recall", "f1", "brier")
WITHIN: Final = "auroc_within"
"""AUROC over pairs of records that one network has scored: see `bootstrap.weighted_auroc_within`."""
LOWER_IS_BETTER: Final = frozenset({"brier"})
_SEED_OF_RUNS: Final = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What two models, trained alike but for what is compared, said about the same records.

    Attributes:
        a: (records, classes), calibrated probabilities.
        b: the same of the model that `a` is compared with.
        a_thresholds: (classes,) or (records, classes), for precision, recall and F1.
        b_thresholds: of the other model.
    """

    a: Floats
    b: Floats
    a_thresholds: ArrayLike
    b_thresholds: ArrayLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`a` minus `b` in one metric; every figure None where the records do not define it.

    Attributes:
        a: mean over the runs.
        b: mean over the runs.
        difference: a minus b.
        low: lower end of the interval of the difference.
        high: its upper end.
        p: two-sided, of no difference.
        p_holm: the same, corrected for how many were asked; None until `corrected` has seen them all.
    """

    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None = None


NO_DIFFERENCE_DEFINED: Final = Difference(a=None, b=None, difference=None, low=None, high=None, p=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models, metric by metric.

    Attributes:
        macro: metric -> difference, over `macro_classes`.
        classes: code -> metric -> difference, of every class.
        macro_classes: classes with enough positives and negatives.
        left_out: the others -> why.
        runs: pairs of training runs; of one the interval says nothing about other seeds.
        records: how many.
        patients: how many they are of.
        resamples: how many; no p-value is below 2 / (resamples + 1).
        confidence: of every interval.
    """

    macro: Mapping[str, Difference]
    classes: Mapping[str, Mapping[str, Difference]]
    macro_classes: tuple[str, ...]
    left_out: Mapping[str, str]
    runs: int
    records: int
    patients: int
    resamples: int
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {**asdict(self), "macro_classes": list(self.macro_classes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NonInferiority:
    """Whether `a` is worse than `b` by less than a margin.

    Attributes:
        holds: None where the difference has no interval.
        worst: the end of the interval that is worst for `a`, below 0 where it may be worse.
        margin: how much worse is still no worse.
        sentence: the same for people.
    """

    holds: bool | None
    worst: float | None
    margin: float
    sentence: str


def compare(
    labels: ArrayLike,
    runs: Sequence[Run],
    *,
    patient_ids: ArrayLike,
    codes: Sequence[str],
    names: Sequence[str] = METRICS,
    parts: ArrayLike | None = None,
    min_scored: int = MIN_SCORED,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two models on the same records, over one or several pairs of training runs.

    Patients are drawn with replacement, and so are runs, one fewer than there are: the
    spread of a mean of few runs would else come out too small (Rao and Wu 1988). Runs
    and patients are crossed, each run having scored every patient, so that the interval
    errs on the wide side (Owen 2007).

    Args:
        labels: (records, classes), 0 or 1.
        runs: of which the records are the same in the same order.
        patient_ids: (records,); records of one patient are drawn together.
        codes: names of the classes, in column order.
        names: which metrics; `WITHIN` needs `parts`.
        parts: (records,) which of several networks has scored each, the same of `a` and `b`.
        min_scored: positives, and negatives, that a class of the macro needs.
        resamples: how many.
        seed: of the resampling.
        confidence: of the intervals.

    Raises:
        ValueError: there is no run, or shapes do not fit.
    """
    truth, patients = _checked(labels, patient_ids, runs=runs, codes=codes)
    if (parts is None) == (WITHIN in names):
        raise ValueError(f"parts are for {WITHIN}, and it for them: give both or neither")
    weights = patient_weights(patients, resamples=resamples, seed=seed)
    run_weights = _run_weights(len(runs), resamples=resamples, seed=seed)
    ones, every_run = np.ones((1, len(truth))), np.full((1, len(runs)), 1 / len(runs))
    without = left_out(truth, codes=codes, min_scored=min_scored)
    among = [k for k, code in enumerate(codes) if code not in without]
    scorer = np.zeros(len(truth)) if parts is None else np.asarray(parts)
    how: dict[str, Any] = {"names": names, "parts": scorer}
    values = [_of_class(truth, runs, k, weights=ones, run_weights=every_run, **how) for k in range(len(codes))]
    drawn = [_of_class(truth, runs, k, weights=weights, run_weights=run_weights, **how) for k in range(len(codes))]

    def difference(columns: Sequence[int], name: str) -> Difference:
        return _difference(
            np.stack([values[k][name] for k in columns], axis=-1),
            np.stack([drawn[k][name][0] - drawn[k][name][1] for k in columns], axis=-1),
            confidence=confidence,
        )

    return Comparison(
        macro={name: difference(among, name) if among else NO_DIFFERENCE_DEFINED for name in names},
        classes={code: {name: difference([k], name) for name in names} for k, code in enumerate(codes)},
        macro_classes=tuple(codes[k] for k in among),
        left_out=without,
        runs=len(runs),
        records=len(truth),
        patients=len(np.unique(patients)),
        resamples=resamples,
        confidence=confidence,
    )


def two_sided_p(resampled: Floats) -> float | None:
    """Twice the share of resamples on the rarer side of 0, itself counted in, so that no p-value is 0.

    Args:
        resampled: (resamples,) differences, NaN where not defined.

    Returns:
        None where too few resamples define the difference to have an interval.
    """
    if interval(resampled).low is None:
        return None
    defined = resampled[~np.isnan(resampled)]
    rarer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(defined) + 1))


def normal_p(difference: float, resampled: Floats) -> float | None:
    """Two-sided p-value by the bootstrap's standard error, taking the difference for normally distributed.

    For families so large that a count of resamples, never below 2 / (resamples + 1),
    could not survive their correction.
    """
    if interval(resampled).low is None:
        return None
    spread = float(np.nanstd(resampled, ddof=1))
    if spread == 0:
        return 1.0 if difference == 0 else None
    return math.erfc(abs(difference) / spread / math.sqrt(2))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct a family of p-values (Holm 1979); one that is not defined stays so, and does not count.

    Rejecting where the corrected one is at or below α wrongly rejects anything at all in
    at most α of all families, however the tests depend on each other.
    """
    asked = sorted((p, at) for at, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, at) in enumerate(asked):
        highest = max(highest, min(1.0, (len(asked) - rank) * p))
        corrected[at] = highest
    return corrected


def corrected(family: Mapping[str, Difference]) -> dict[str, Difference]:
    """Give every difference of a family its `p_holm`: of all that were asked, not of those that came out well."""
    p_holm = holm([found.p for found in family.values()])
    return {name: replace(found, p_holm=p) for (name, found), p in zip(family.items(), p_holm, strict=True)}


def non_inferiority(found: Difference, *, margin: float, lower_is_better: bool = False) -> NonInferiority:
    """Say whether the worst end of the interval lies within a margin.

    Args:
        found: a minus b.
        margin: above 0, decided before looking.
        lower_is_better: as for the Brier score.

    Raises:
        ValueError: the margin is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"a margin of non-inferiority must be above 0, got {margin}")
    if found.difference is None or found.low is None or found.high is None:
        sentence = "the records do not define an interval of the difference"
        return NonInferiority(holds=None, worst=None, margin=margin, sentence=sentence)
    gain, worst = (-found.difference, -found.high) if lower_is_better else (found.difference, found.low)
    holds = worst > -margin
    sentence = (
        f"{'not inferior' if holds else 'not shown to be no worse'}: better by {gain:+.3f}, at worst {worst:+.3f}, "
        f"{'within' if holds else 'beyond'} the margin of {margin:g}"
    )
    return NonInferiority(holds=holds, worst=worst, margin=margin, sentence=sentence)


def _of_class(
    truth: Bools,
    runs: Sequence[Run],
    k: int,
    *,
    names: Sequence[str],
    parts: NDArray[Any],
    weights: Floats,
    run_weights: Floats,
) -> dict[str, Floats]:
    """Metric -> (2, resamples): that of both models, averaged over the runs drawn."""
    found = {name: np.zeros((2, len(weights))) for name in names}
    plain = [name for name in names if name != WITHIN]
    for run, weight in zip(runs, run_weights.T, strict=True):
        for side, (said, thresholds) in enumerate(((run.a, run.a_thresholds), (run.b, run.b_thresholds))):
            cuts = cuts_of(thresholds, shape=truth.shape)[:, k]
            measured = resampled_metrics(truth[:, k], said[:, k], threshold=cuts, weights=weights, names=plain)
            if WITHIN in names:
                measured[WITHIN] = weighted_auroc_within(truth[:, k], said[:, k], weights, parts=parts)
            for name in names:
                found[name][side] += weight * measured[name]
    return found


def _difference(values: Floats, drawn: Floats, *, confidence: float) -> Difference:
    """From (2, 1, classes) values and (resamples, classes) differences, averaged over the classes."""
    a, b = mean_of_defined(values[:, 0])
    if np.isnan(a):
        return NO_DIFFERENCE_DEFINED
    resampled = mean_of_defined(drawn)
    ends = interval(resampled, confidence=confidence)
    return Difference(
        a=float(a), b=float(b), difference=float(a - b), low=ends.low, high=ends.high, p=two_sided_p(resampled)
    )


def _run_weights(runs: int, *, resamples: int, seed: int) -> Floats:
    """(resamples, runs), each row of sum 1: how much each run counts in each resample."""
    drawn = max(1, runs - 1)
    rng = np.random.default_rng([seed, runs, _SEED_OF_RUNS])
    return rng.multinomial(drawn, np.full(runs, 1 / runs), size=resamples) / drawn


def _checked(
    labels: ArrayLike, patient_ids: ArrayLike, *, runs: Sequence[Run], codes: Sequence[str]
) -> tuple[Bools, NDArray[Any]]:
    truth, patients = np.asarray(labels, dtype=bool), np.asarray(patient_ids)
    if not runs:
        raise ValueError("there is no run to compare")
    if truth.ndim != 2 or truth.shape[1] != len(codes) or not len(truth):
        raise ValueError(f"labels must be (records, {len(codes)} classes), got {truth.shape}")
    if patients.shape != (len(truth),):
        raise ValueError(f"patient_ids must be one a record, ({len(truth)},), got {patients.shape}")
    for run in runs:
        for said, thresholds in ((run.a, run.a_thresholds), (run.b, run.b_thresholds)):
            if said.shape != truth.shape:
                raise ValueError(f"every run must be of the {truth.shape} labels, got {said.shape}")
            cuts_of(thresholds, shape=truth.shape)
            if not ((said >= 0) & (said <= 1)).all():  # NaN fails both
                raise ValueError("probabilities must be within 0..1, and none of them NaN")
    return truth, patients
