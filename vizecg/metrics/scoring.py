"""Scores of a set of predictions, by class and macro, each with its interval.

Values come from torchmetrics (those it lacks for labels, Brier score and calibration,
from their definitions); intervals from resampling patients with `bootstrap`. Tests hold
the two to each other and to scikit-learn.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vizecg.bootstrap import interval, mean_of_defined, patient_weights
from vizecg.metrics.calibration import (
    Bools,
    Floats,
    calibration_error,
    calibration_error_by_chance,
    recalibration,
)
from vizecg.metrics.resampling import KINDS, resampled_metrics
from vizecg.metrics.scores import UNDEFINED, ClassScores, Estimate, Scores
from vizecg.metrics.support import MIN_SCORED, cuts_of, left_out

# A resample's calibration error is larger than its sample's, noise adding up in every bin, so its quantiles are no
# interval: on 98 records they began above the value itself. `ece_expected` says instead how much of it is noise.
_WITHOUT_INTERVAL: Final = ("ece", "ece_expected")
METRICS: Final = (*KINDS, *_WITHOUT_INTERVAL)
# Without a positive these say nothing; torchmetrics would call them 0.
_NEED_POSITIVES: Final = ("auroc", "auprc", "precision", "recall", "f1")


def score(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    codes: Sequence[str],
    thresholds: ArrayLike,
    patient_ids: ArrayLike,
    min_scored: int = MIN_SCORED,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Scores:
    """Score calibrated probabilities.

    Args:
        labels: (records, classes), 0 or 1.
        probabilities: same shape, calibrated.
        codes: names of the classes, in column order.
        thresholds: (classes,), or (records, classes) where folds have their own; a record is positive at or above it.
        patient_ids: (records,); records of one patient are resampled together.
        min_scored: positives, and negatives, that a class of the macro needs.
        resamples: how many.
        seed: of the resampling, and of the labels drawn for `ece_expected`.
        confidence: of the intervals.

    Raises:
        ValueError: shapes do not fit, or a probability is not within 0..1.
    """
    truth, said, patients = _checked(labels, probabilities, patient_ids, codes=codes)
    cuts = cuts_of(thresholds, shape=truth.shape)
    weights = patient_weights(patients, resamples=resamples, seed=seed)
    resampled = [
        resampled_metrics(truth[:, k], said[:, k], threshold=cuts[:, k], weights=weights, names=tuple(KINDS))
        for k in range(len(codes))
    ]
    values = [_values(truth[:, k], said[:, k], threshold=cuts[:, k], seed=seed) for k in range(len(codes))]
    without = left_out(truth, codes=codes, min_scored=min_scored)
    among = [k for k, code in enumerate(codes) if code not in without]
    right = (truth == (said >= cuts)).all(axis=1)
    return Scores(
        classes=tuple(
            ClassScores(
                code=code,
                positives=int(truth[:, k].sum()),
                negatives=int((~truth[:, k]).sum()),
                threshold=float(np.median(cuts[:, k])),
                metrics={
                    name: _estimate(values[k][name], resampled[k].get(name), confidence=confidence) for name in METRICS
                },
            )
            for k, code in enumerate(codes)
        ),
        macro={
            name: _macro(name, [values[k] for k in among], [resampled[k] for k in among], confidence=confidence)
            for name in METRICS
        },
        macro_classes=tuple(codes[k] for k in among),
        left_out=without,
        exact_match=_estimate(float(right.mean()), weights @ right / weights.sum(axis=1), confidence=confidence),
        min_scored=min_scored,
        records=len(truth),
        patients=len(np.unique(patients)),
        resamples=resamples,
        confidence=confidence,
    )


def _values(truth: Bools, said: Floats, *, threshold: Floats, seed: int) -> dict[str, float | None]:
    """Each metric of one class; None where it is not defined."""
    import torch
    from torchmetrics.functional import classification

    target, predicted = torch.from_numpy(truth.astype(np.int64)), torch.from_numpy(np.ascontiguousarray(said))
    called = torch.from_numpy((said >= threshold).astype(np.int64))
    specificity = None if truth.all() else float(classification.binary_specificity(called, target))
    found = {"accuracy": float(classification.binary_accuracy(called, target)), "specificity": specificity}
    found |= _of_calibration(truth, said, seed=seed)
    if not truth.any():
        return found | dict.fromkeys(_NEED_POSITIVES)
    found |= {
        "auprc": float(classification.binary_average_precision(predicted, target)),
        "precision": float(classification.binary_precision(called, target)),
        "recall": float(classification.binary_recall(called, target)),
        "f1": float(classification.binary_f1_score(called, target)),
    }
    return found | {"auroc": None if truth.all() else float(classification.binary_auroc(predicted, target))}


def _of_calibration(truth: Bools, said: Floats, *, seed: int) -> dict[str, float | None]:
    fitted = recalibration(truth, said, np.ones((1, len(truth))))
    intercept, slope = float(fitted.intercept[0]), float(fitted.slope[0])
    return {
        "brier": float(np.mean((said - truth) ** 2)),
        "calibration_intercept": None if np.isnan(intercept) else intercept,
        "calibration_slope": None if np.isnan(slope) else slope,
        "ece": calibration_error(truth, said),
        "ece_expected": calibration_error_by_chance(said, seed=seed),
    }


def _estimate(value: float | None, resampled: Floats | None, *, confidence: float) -> Estimate:
    if value is None:
        return UNDEFINED
    if resampled is None:
        return Estimate(value=value, low=None, high=None)
    ends = interval(resampled, confidence=confidence)
    return Estimate(value=value, low=ends.low, high=ends.high)


def _macro(
    name: str,
    values: Sequence[Mapping[str, float | None]],
    resampled: Sequence[Mapping[str, Floats]],
    *,
    confidence: float,
) -> Estimate:
    defined = [value for one in values if (value := one[name]) is not None]
    if not defined:
        return UNDEFINED
    means = None
    if name not in _WITHOUT_INTERVAL:
        means = mean_of_defined(np.stack([one[name] for one in resampled], axis=1))
    return _estimate(float(np.mean(defined)), means, confidence=confidence)


def _checked(
    labels: ArrayLike,
    probabilities: ArrayLike,
    patient_ids: ArrayLike,
    *,
    codes: Sequence[str],
) -> tuple[Bools, Floats, NDArray[Any]]:
    truth, said = np.asarray(labels, dtype=bool), np.asarray(probabilities, dtype=np.float64)
    patients = np.asarray(patient_ids)
    if truth.ndim != 2 or truth.shape != said.shape or not len(truth):
        raise ValueError(f"labels and probabilities must both be (records, classes), got {truth.shape}, {said.shape}")
    if len(codes) != truth.shape[1]:
        raise ValueError(f"{truth.shape[1]} classes, but {len(codes)} codes")
    if patients.shape != (len(truth),):
        raise ValueError(f"patient_ids must be one a record, ({len(truth)},), got {patients.shape}")
    if not ((said >= 0) & (said <= 1)).all():  # NaN fails both
        raise ValueError("probabilities must be within 0..1, and none of them NaN")
    return truth, said, patients
