import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from vizecg.bootstrap import (
    auroc,
    covered,
    interval,
    paired_auroc_difference,
    patient_weights,
    resample_auroc,
    weighted_auroc,
    weighted_average_precision,
)


def random_case(seed, *, records=60, ties=True):
    rng = np.random.default_rng(seed)
    labels = rng.random((records, 3)) < [0.5, 0.2, 0.8]
    labels[:2] = [[True] * 3, [False] * 3]
    scores = rng.normal(size=(records, 3)) + labels
    return labels, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [True, False])
def test_auroc_is_that_of_scikit_learn(seed, ties):
    labels, scores = random_case(seed, ties=ties)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores, average=None), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_resampled_scores_are_those_of_scikit_learn_with_sample_weights(seed):
    labels, scores = random_case(seed)
    weights = patient_weights(np.arange(60) // 2, resamples=20, seed=seed)
    for resample, weight in enumerate(weights):
        expected = [roc_auc_score(labels[:, k], scores[:, k], sample_weight=weight) for k in range(3)]
        assert resample_auroc(labels, scores, weights)[resample] == pytest.approx(expected, abs=1e-12)
        expected = average_precision_score(labels[:, 0], scores[:, 0], sample_weight=weight)
        found = weighted_average_precision(labels[:, 0], scores[:, 0], weights)[resample]
        assert found == pytest.approx(expected, abs=1e-12)


def test_records_of_a_patient_are_drawn_together_and_as_many_patients_as_there_are():
    patients = np.array([7, 7, 9, 3, 3, 3])
    weights = patient_weights(patients, resamples=500, seed=0)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3:5] == weights[:, [5]]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(6), abs=0.15)


def test_the_same_seed_draws_the_same_patients():
    draws = [patient_weights(np.arange(9), resamples=50, seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_a_class_with_one_side_only_has_no_auroc_and_is_not_covered():
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    scores = np.arange(9.0).reshape(3, 3)
    assert np.isnan(auroc(labels, scores)).tolist() == [False, True, True]
    assert covered(labels, codes=("A", "B", "C")) == ("A",)
    assert np.isnan(weighted_auroc(labels[:, 0], scores[:, 0], np.array([[1.0, 0.0, 1.0]]))).all()


def test_an_interval_covers_the_truth_as_often_as_it_says():
    # Two normal distributions 1 apart: AUROC = Φ(1 / √2) = 0.7602.
    inside = 0
    for trial in range(150):
        rng = np.random.default_rng([trial, 1])
        labels = np.arange(160) % 2 == 0
        scores = rng.normal(size=160) + labels
        weights = patient_weights(np.arange(160), resamples=300, seed=trial)
        ends = interval(weighted_auroc(labels, scores, weights))
        inside += ends.low <= 0.7602 <= ends.high
    assert 0.89 <= inside / 150 <= 0.99


def test_two_records_of_each_patient_widen_the_interval():
    # Each record twice is no new knowledge: by patient the interval stays, by record it would shrink by √2.
    rng = np.random.default_rng(0)
    labels, patients = np.repeat(np.arange(100) % 2 == 0, 2), np.repeat(np.arange(100), 2)
    scores = np.repeat(rng.normal(size=100), 2) + labels
    by_patient, by_record = (
        interval(weighted_auroc(labels, scores, patient_weights(ids, resamples=2000, seed=0)))
        for ids in (patients, np.arange(200))
    )
    widths = [ends.high - ends.low for ends in (by_patient, by_record)]
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(2), rel=0.1)


def test_an_interval_of_a_metric_that_is_rarely_defined_is_none():
    resampled = np.array([0.5, 0.6] + [np.nan] * 3)
    assert interval(resampled).low is None
    ends = interval(np.array([0.5, 0.6, 0.7, np.nan]), confidence=0.5)
    assert (ends.low, ends.high) == (pytest.approx(0.55), pytest.approx(0.65))


def test_a_model_compared_with_itself_differs_by_nothing():
    labels, scores = random_case(0)
    found = compare(labels, challenger=scores, champion=2 * scores + 3)
    assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_a_better_challenger_is_above_zero_and_the_pairing_makes_the_interval_narrow():
    rng = np.random.default_rng(1)
    labels = rng.random((300, 2)) < 0.4
    champion = rng.normal(size=(300, 2)) + labels
    challenger = champion + 0.3 * labels
    found = compare(labels, challenger=challenger, champion=champion)
    macro = [roc_auc_score(labels, scores) for scores in (challenger, champion)]
    assert (found.challenger, found.champion) == (pytest.approx(macro[0]), pytest.approx(macro[1]))
    assert found.difference == pytest.approx(macro[0] - macro[1])
    assert 0 < found.low < found.difference < found.high
    alone = interval(
        resample_auroc(labels, champion, patient_weights(np.arange(300), resamples=300, seed=0)).mean(axis=1)
    )
    assert found.high - found.low < (alone.high - alone.low) / 2


def test_a_class_without_positives_is_left_out_of_the_comparison_and_named():
    labels, scores = random_case(0)
    labels[:, 1] = False
    found = compare(labels, challenger=scores, champion=scores)
    assert found.classes == ("A", "C")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["classes"] == ["A", "C"]
    nothing = compare(labels[:, 1:2], challenger=scores[:, :1], champion=scores[:, :1])
    assert (nothing.difference, nothing.low, nothing.classes) == (None, None, ())


def compare(labels, *, challenger, champion):
    return paired_auroc_difference(
        labels,
        challenger=challenger,
        champion=champion,
        patient_ids=np.arange(len(labels)),
        codes=("A", "B", "C")[: labels.shape[1]],
        resamples=300,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"champion": np.zeros((60, 2))}, r"must both be \(records, classes\), got \(60, 3\) and \(60, 2\)"),
        ({"challenger": np.full((60, 3), np.nan)}, "scores must be finite, got 180 that are not"),
        ({"patient_ids": np.arange(4)}, r"patient_ids must be one a record, \(60,\), got \(4,\)"),
        ({"resamples": 0}, "resamples must be at least 1, got 0"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(change, message):
    labels, scores = random_case(0)
    whole = {"challenger": scores, "champion": scores, "patient_ids": np.arange(60), "codes": "ABC", "resamples": 10}
    with pytest.raises(ValueError, match=message):
        paired_auroc_difference(labels, **(whole | change))


def test_the_gates_arithmetic_needs_no_torch():
    code = "import sys, vizecg.bootstrap; sys.exit(any(name.startswith('torch') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
