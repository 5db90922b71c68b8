import json

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from vizecg.bootstrap import patient_weights
from vizecg.metrics import (
    KINDS,
    METRICS,
    calibration_error,
    calibration_error_by_chance,
    left_out,
    recalibration,
    resampled_metrics,
    scorable,
    score,
)

CODES = ("NORM", "MI", "STTC", "CD", "HYP")
THRESHOLDS = (0.5, 0.4, 0.45, 0.3, 0.6)


def case(seed, *, records=200):
    rng = np.random.default_rng(seed)
    labels = rng.random((records, 5)) < [0.45, 0.2, 0.25, 0.2, 0.1]
    labels[:2] = [[True] * 5, [False] * 5]
    probabilities = 1 / (1 + np.exp(-(rng.normal(size=(records, 5)) + 2 * labels - 1)))
    return labels, np.round(probabilities, 2)


def scored(labels, probabilities, **changes):
    arguments = {
        "codes": CODES,
        "thresholds": THRESHOLDS,
        "patient_ids": np.arange(len(labels)) // 2,
        "resamples": 200,
        "min_scored": 1,
    }
    return score(labels, probabilities, **(arguments | changes))


def by_scikit_learn(truth, said, threshold, weight=None):
    """Every metric that it has, of one class."""
    called = said >= threshold
    logit = np.log(said / (1 - said))
    # Its optimum is the maximum of the likelihood alone when C is infinite.
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit[:, None], truth, sample_weight=weight)
    return {
        "auroc": sk.roc_auc_score(truth, said, sample_weight=weight),
        "auprc": sk.average_precision_score(truth, said, sample_weight=weight),
        "precision": sk.precision_score(truth, called, sample_weight=weight, zero_division=0),
        "recall": sk.recall_score(truth, called, sample_weight=weight),
        "f1": sk.f1_score(truth, called, sample_weight=weight),
        "specificity": sk.recall_score(~truth, ~called, sample_weight=weight),
        "accuracy": sk.accuracy_score(truth, called, sample_weight=weight),
        "brier": sk.brier_score_loss(truth, said, sample_weight=weight),
        "calibration_intercept": fitted.intercept_[0],
        "calibration_slope": fitted.coef_[0, 0],
    }


@pytest.mark.parametrize("seed", range(4))
def test_every_metric_is_that_of_scikit_learn(seed):
    labels, probabilities = case(seed)
    found = scored(labels, probabilities, resamples=2)
    columns = [by_scikit_learn(labels[:, k], probabilities[:, k], cut) for k, cut in enumerate(THRESHOLDS)]
    assert columns[0].keys() == set(METRICS) - {"ece", "ece_expected"}
    for name in columns[0]:
        values = [column[name] for column in columns]
        tolerance = 1e-4 if name.startswith("calibration") else 1e-6
        assert [entry.metrics[name].value for entry in found.classes] == pytest.approx(values, abs=tolerance), name
        assert found.macro[name].value == pytest.approx(np.mean(values), abs=tolerance), name
    called = probabilities >= THRESHOLDS
    assert found.exact_match.value == pytest.approx(sk.accuracy_score(labels, called))
    assert found.mean_per_class_accuracy.value == pytest.approx(1 - sk.hamming_loss(labels, called))


@pytest.mark.parametrize("seed", range(3))
def test_every_resample_is_scikit_learn_with_sample_weights(seed):
    labels, probabilities = case(seed)
    weights = patient_weights(np.arange(200) // 3, resamples=8, seed=seed)
    for k, threshold in enumerate(THRESHOLDS):
        truth, said = labels[:, k], probabilities[:, k]
        found = resampled_metrics(truth, said, threshold=threshold, weights=weights, names=tuple(KINDS))
        for resample, weight in enumerate(weights):
            for name, expected in by_scikit_learn(truth, said, threshold, weight).items():
                assert found[name][resample] == pytest.approx(expected, abs=1e-4), name


def test_resampled_values_are_the_values_of_the_resampled_records():
    # One patient of all records: every resample is the whole set, so both ends of every interval are the value.
    labels, probabilities = case(1)
    found = scored(labels, probabilities, patient_ids=np.zeros(len(labels)), resamples=3)
    for estimates in [found.macro, *(entry.metrics for entry in found.classes), {"exact": found.exact_match}]:
        for name, estimate in estimates.items():
            if name.startswith("ece"):  # its resampled values are no estimate of it, so it has no interval
                assert (estimate.low, estimate.high) == (None, None)
                continue
            assert [estimate.low, estimate.high] == pytest.approx([estimate.value] * 2, abs=2e-6), name


def test_calibration_error_of_a_textbook_case():
    # Ten records said to be 0.25, of which five happen, ten said to be 0.85, of which eight do.
    labels = np.array([[True]] * 5 + [[False]] * 5 + [[True]] * 8 + [[False]] * 2)
    probabilities = np.repeat([[0.25], [0.85]], 10, axis=0)
    found = scored(labels, probabilities, codes=("A",), thresholds=(0.5,))
    assert found.macro["ece"].value == pytest.approx((0.25 + 0.05) / 2, abs=1e-6)
    assert found.macro["brier"].value == pytest.approx((5 * 0.75**2 + 5 * 0.25**2 + 8 * 0.15**2 + 2 * 0.85**2) / 20)


@pytest.mark.parametrize("seed", range(3))
def test_bins_of_the_calibration_error_have_equally_many_records_as_in_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    said = rng.beta(0.5, 2, 400)  # most of them small, as a model's are: bins of equal width would stand empty
    truth = rng.random(400) < said**1.5
    happened, mean_said = calibration_curve(truth, said, n_bins=10, strategy="quantile")
    assert calibration_error(truth, said) == pytest.approx(np.abs(happened - mean_said).mean())


def test_calibration_error_does_not_depend_on_the_order_of_records():
    labels, probabilities = case(0)
    truth, said = labels[:, 1], np.round(probabilities[:, 1], 1)
    shuffled = np.random.default_rng(0).permutation(len(truth))
    assert calibration_error(truth[shuffled], said[shuffled]) == pytest.approx(calibration_error(truth, said))


def test_a_perfectly_calibrated_model_has_the_calibration_error_that_is_expected_of_it():
    # Said 0.5 of n records: the gap is that of a binomial share, whose mean is √(2 / π) · √(0.25 / n) for large n.
    found = calibration_error_by_chance(np.full(400, 0.5), seed=0, draws=4000)
    assert found == pytest.approx(np.sqrt(2 / np.pi * 0.25 / 400), rel=0.03)
    rng = np.random.default_rng(3)
    said = rng.beta(0.5, 2, 300)
    errors = [calibration_error(rng.random(300) < said, said) for _ in range(400)]
    assert calibration_error_by_chance(said, seed=1) == pytest.approx(np.mean(errors), rel=0.05)


def test_too_extreme_and_too_low_probabilities_have_the_slope_and_intercept_that_mend_them():
    rng = np.random.default_rng(0)
    logit = rng.normal(-1, 1.5, 40_000)
    truth = rng.random(40_000) < 1 / (1 + np.exp(-logit))
    found = recalibration(truth, 1 / (1 + np.exp(-(2 * logit - 1))), np.ones((1, 40_000)))
    assert found.slope[0] == pytest.approx(0.5, abs=0.02)
    assert found.intercept[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        pytest.param([False, False, True, True], [0.1, 0.2, 0.8, 0.9], id="split"),
        pytest.param([True, True, False, False], [0.1, 0.2, 0.8, 0.9], id="split-backwards"),
        pytest.param([False, False, True, True], [0.1, 0.5, 0.5, 0.9], id="split-but-for-a-tie"),
        pytest.param([False, True, False, True], [0.5] * 4, id="one-probability"),
        pytest.param([True] * 4, [0.1, 0.2, 0.8, 0.9], id="nobody-without"),
        pytest.param([False] * 4, [0.1, 0.2, 0.8, 0.9], id="nobody-with"),
    ],
)
def test_calibration_that_the_records_do_not_identify_is_null(truth, said):
    found = scored(np.array(truth)[:, None], np.array(said)[:, None], codes=("A",), thresholds=(0.5,)).classes[0]
    assert found.metrics["calibration_slope"].value is None
    assert found.metrics["calibration_intercept"].value is None


def test_probabilities_of_0_and_1_have_a_slope_all_the_same():
    truth, said = np.arange(40) % 2 == 0, np.where(np.arange(40) % 8 < 6, np.arange(40) % 2 == 0, 0.5)
    said[:2] = 1 - said[:2]
    found = recalibration(truth, said.astype(float), np.ones((1, 40)))
    assert 0 < found.slope[0] < 1


def test_a_record_at_the_threshold_is_positive():
    labels, probabilities = np.array([[True], [False]]), np.array([[0.5], [0.4]])
    assert scored(labels, probabilities, codes=("A",), thresholds=(0.5,)).macro["recall"].value == 1


def test_a_class_nobody_has_is_null_and_the_macro_names_the_others():
    labels, probabilities = case(2)
    labels[:, 4] = False
    found = scored(labels, probabilities)
    assert found.macro_classes == CODES[:4]
    absent = found.classes[4]
    assert absent.positives == 0
    assert {name for name in METRICS if absent.metrics[name].value is None} == {
        "auroc", "auprc", "precision", "recall", "f1", "calibration_intercept", "calibration_slope"
    }  # fmt: skip
    mean = np.mean([entry.metrics["auroc"].value for entry in found.classes[:4]])
    assert found.macro["auroc"].value == pytest.approx(mean)
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["classes"]["HYP"]["auroc"] is None
    assert written["macro_classes"] == list(CODES[:4])


def test_a_class_everybody_has_has_no_auroc_but_a_recall():
    labels, probabilities = case(2)
    labels[:, 0] = True
    everybody = scored(labels, probabilities).classes[0].metrics
    assert everybody["auroc"].value is None
    assert everybody["specificity"].value is None
    assert everybody["recall"].value == pytest.approx((probabilities[:, 0] >= 0.5).mean())


def test_a_class_with_fewer_than_ten_positives_or_negatives_is_named_and_not_averaged():
    labels, probabilities = case(2)
    labels[:, 4] = np.arange(200) < 9
    labels[:, 0] = np.arange(200) >= 3
    found = scored(labels, probabilities, min_scored=10)
    assert found.macro_classes == ("MI", "STTC", "CD")
    assert found.left_out == {
        "NORM": "3 negative records, at least 10 are needed",
        "HYP": "9 positive records, at least 10 are needed",
    }
    assert found.classes[4].metrics["auroc"].value == pytest.approx(
        sk.roc_auc_score(labels[:, 4], probabilities[:, 4]), abs=1e-6
    )
    assert found.macro["auroc"].value == pytest.approx(
        np.mean([entry.metrics["auroc"].value for entry in found.classes[1:4]])
    )
    assert found.to_dict()["left_out"] == found.left_out
    # The record is right when all five classes are, whether they are averaged or not.
    assert found.exact_match.value == pytest.approx(sk.accuracy_score(labels, probabilities >= THRESHOLDS))


def test_ten_of_each_are_enough_and_one_of_each_is_always_asked_for():
    labels = np.array([[True, False]] * 10 + [[False, False]] * 10)
    assert scorable(labels, codes=("A", "B"), min_scored=10) == ("A",)
    assert left_out(labels, codes=("A", "B"), min_scored=0) == {"B": "0 positive records, at least 1 are needed"}
    assert left_out([[1]], codes=("A",)) == {"A": "1 positive and 0 negative records, at least 10 are needed"}


def test_without_any_class_the_macro_is_null():
    found = scored(np.zeros((4, 5), dtype=bool), np.full((4, 5), 0.5))
    assert found.macro_classes == ()
    assert all(estimate.value is None for estimate in found.macro.values())


def test_intervals_hold_the_value_and_are_wider_for_the_rare_class():
    labels, probabilities = case(3)
    found = scored(labels, probabilities).to_dict()
    for scores in [found["macro"], *found["classes"].values()]:
        for name in KINDS:
            assert scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"], name
    rare, common = (
        found["classes"][code]["auroc_high"] - found["classes"][code]["auroc_low"] for code in ("HYP", "NORM")
    )
    assert rare > common


def test_the_macro_of_many_rare_classes_has_an_interval():
    # A class of one patient is missing from 37 of 100 resamples; that any resample has all twenty is one in 10,000.
    rng = np.random.default_rng(0)
    labels = np.zeros((200, 20), dtype=bool)
    labels[np.arange(20), np.arange(20)] = True
    said = np.clip(rng.random((200, 20)) * 0.6 + 0.3 * labels, 0, 1)
    codes = tuple(f"C{k}" for k in range(20))
    found = scored(labels, said, codes=codes, thresholds=(0.5,) * 20)
    macro = found.macro["auroc"]
    assert macro.value == pytest.approx(np.mean([entry.metrics["auroc"].value for entry in found.classes]))
    assert macro.low < macro.value < macro.high
    assert found.macro["ece"].low is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": np.full((200, 5), 1.5)}, "probabilities must be within 0..1, and none of them NaN"),
        ({"probabilities": np.full((200, 5), np.nan)}, "probabilities must be within 0..1, and none of them NaN"),
        ({"probabilities": np.zeros((200, 4))}, r"must both be \(records, classes\), got \(200, 5\), \(200, 4\)"),
        ({"thresholds": (0.5,)}, r"thresholds must be \(5,\) or \(\d+, 5\), got \(1,\)"),
        ({"patient_ids": np.zeros(3)}, r"patient_ids must be one a record, \(200,\), got \(3,\)"),
    ],
)
def test_predictions_that_cannot_be_scored_are_refused(change, message):
    labels, probabilities = case(0)
    with pytest.raises(ValueError, match=message):
        scored(labels, **({"probabilities": probabilities} | change))
