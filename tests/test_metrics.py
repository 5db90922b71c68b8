import json
import time

import numpy as np
import pytest
from sklearn import metrics as sk

from vizecg.metrics import METRICS, score

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
    }
    return score(labels, probabilities, **(arguments | changes))


@pytest.mark.parametrize("seed", range(4))
def test_every_metric_is_that_of_scikit_learn(seed):
    labels, probabilities = case(seed)
    found = scored(labels, probabilities, resamples=2)
    expected = {name: [] for name in METRICS if name != "ece"}
    for k, threshold in enumerate(THRESHOLDS):
        truth, said, called = labels[:, k], probabilities[:, k], probabilities[:, k] >= threshold
        expected["auroc"].append(sk.roc_auc_score(truth, said))
        expected["auprc"].append(sk.average_precision_score(truth, said))
        expected["precision"].append(sk.precision_score(truth, called))
        expected["recall"].append(sk.recall_score(truth, called))
        expected["f1"].append(sk.f1_score(truth, called))
        expected["accuracy"].append(sk.accuracy_score(truth, called))
        expected["brier"].append(sk.brier_score_loss(truth, said))
    for name, values in expected.items():
        assert [entry.metrics[name].value for entry in found.classes] == pytest.approx(values, abs=1e-6), name
        assert found.macro[name].value == pytest.approx(np.mean(values), abs=1e-6), name


def test_resampled_values_are_the_values_of_the_resampled_records():
    # One patient of all records: every resample is the whole set, so both ends of every interval are the value.
    labels, probabilities = case(1)
    found = scored(labels, probabilities, patient_ids=np.zeros(len(labels)), resamples=3)
    for estimates in [found.macro, *(entry.metrics for entry in found.classes)]:
        for name, estimate in estimates.items():
            if name == "ece":  # its resampled values are no estimate of it, so it has no interval
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
        "auroc", "auprc", "precision", "recall", "f1"
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
    assert everybody["recall"].value == pytest.approx((probabilities[:, 0] >= 0.5).mean())


def test_without_any_class_the_macro_is_null():
    found = scored(np.zeros((4, 5), dtype=bool), np.full((4, 5), 0.5))
    assert found.macro_classes == ()
    assert all(estimate.value is None for estimate in found.macro.values())


def test_intervals_hold_the_value_and_are_wider_for_the_rare_class():
    labels, probabilities = case(3)
    found = scored(labels, probabilities).to_dict()
    for scores in [found["macro"], *found["classes"].values()]:
        for name in set(METRICS) - {"ece"}:
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


def test_a_thousand_resamples_of_a_whole_test_fold_take_seconds():
    labels, probabilities = case(0, records=2158)  # fold 10 of PTB-XL
    scored(labels[:50], probabilities[:50])  # torchmetrics is imported here, not timed
    began_s = time.process_time()
    scored(labels, probabilities, resamples=1000)
    assert time.process_time() - began_s < 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": np.full((200, 5), 1.5)}, "probabilities must be within 0..1, and none of them NaN"),
        ({"probabilities": np.full((200, 5), np.nan)}, "probabilities must be within 0..1, and none of them NaN"),
        ({"probabilities": np.zeros((200, 4))}, r"must both be \(records, classes\), got \(200, 5\), \(200, 4\)"),
        ({"thresholds": (0.5,)}, "5 classes, but 5 codes and 1 thresholds"),
        ({"patient_ids": np.zeros(3)}, r"patient_ids must be one a record, \(200,\), got \(3,\)"),
    ],
)
def test_predictions_that_cannot_be_scored_are_refused(change, message):
    labels, probabilities = case(0)
    with pytest.raises(ValueError, match=message):
        scored(labels, **({"probabilities": probabilities} | change))
