"""Two models on the same records: differences that are real are found, others are not, and many questions cost."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from vizecg.comparison import (
    LOWER_IS_BETTER,
    METRICS,
    WITHIN,
    Difference,
    Run,
    compare,
    corrected,
    holm,
    non_inferiority,
    normal_p,
    two_sided_p,
)

CODES = ("A", "B", "C")


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def case(seed, *, records=300, gain=0.0, noise=0.3):
    """Labels, and two models of which `a` has `gain` more signal."""
    rng = np.random.default_rng(seed)
    labels = rng.random((records, 3)) < [0.5, 0.3, 0.2]
    shared = rng.normal(size=(records, 3)) + 1.5 * labels
    a, b = (sigmoid(shared + noise * rng.normal(size=(records, 3)) + extra * labels - 1) for extra in (gain, 0))
    return labels, Run(a=a, b=b, a_thresholds=(0.5, 0.4, 0.4), b_thresholds=(0.5, 0.4, 0.3))


def compared(labels, *runs, **changes):
    arguments = {"patient_ids": np.arange(len(labels)) // 2, "codes": CODES, "resamples": 300}
    return compare(labels, runs, **(arguments | changes))


def test_both_sides_and_their_difference_are_those_of_scikit_learn():
    labels, run = case(0)
    found = compared(labels, run, resamples=2)
    by_sklearn = {
        "auroc": lambda y, p, cut: sk.roc_auc_score(y, p),  # noqa: ARG005 (one signature)
        "auprc": lambda y, p, cut: sk.average_precision_score(y, p),  # noqa: ARG005
        "precision": lambda y, p, cut: sk.precision_score(y, p >= cut),
        "recall": lambda y, p, cut: sk.recall_score(y, p >= cut),
        "f1": lambda y, p, cut: sk.f1_score(y, p >= cut),
        "brier": lambda y, p, cut: sk.brier_score_loss(y, p),  # noqa: ARG005
    }
    assert set(by_sklearn) == set(METRICS)
    for name, measure in by_sklearn.items():
        a = [measure(labels[:, k], run.a[:, k], run.a_thresholds[k]) for k in range(3)]
        b = [measure(labels[:, k], run.b[:, k], run.b_thresholds[k]) for k in range(3)]
        assert [found.classes[code][name].a for code in CODES] == pytest.approx(a), name
        assert [found.classes[code][name].b for code in CODES] == pytest.approx(b), name
        assert found.macro[name].difference == pytest.approx(np.mean(a) - np.mean(b)), name


def test_within_parts_only_pairs_that_one_network_has_scored_count():
    labels, run = case(9)
    part_of = np.arange(len(labels)) % 4
    # What each network calls likely is another number; within a part nothing has changed.
    moved = Run(
        a=run.a ** (1 + part_of)[:, None], b=run.b, a_thresholds=run.a_thresholds, b_thresholds=run.b_thresholds
    )
    found = compared(labels, moved, names=("auroc", WITHIN), parts=part_of)

    def by_sklearn(said, k):
        pairs = [(labels[part_of == part, k], said[part_of == part, k]) for part in range(4)]
        weights = [truth.sum() * (~truth).sum() for truth, _ in pairs]
        return np.average([sk.roc_auc_score(*pair) for pair in pairs], weights=weights)

    for k, code in enumerate(CODES):
        assert found.classes[code][WITHIN].a == pytest.approx(by_sklearn(run.a, k))
        assert found.classes[code][WITHIN].b == pytest.approx(by_sklearn(run.b, k))
    assert found.macro[WITHIN].a > found.macro["auroc"].a + 0.02
    assert found.macro[WITHIN].low < found.macro[WITHIN].difference < found.macro[WITHIN].high


@pytest.mark.parametrize("given", [{"names": (WITHIN,)}, {"parts": np.zeros(300)}])
def test_parts_and_the_metric_within_them_go_together(given):
    with pytest.raises(ValueError, match="give both or neither"):
        compared(*case(0), **given)


def test_a_model_is_no_different_from_itself():
    labels, run = case(1)
    same = Run(a=run.a, b=run.a, a_thresholds=run.a_thresholds, b_thresholds=run.a_thresholds)
    for found in compared(labels, same).macro.values():
        assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_a_clear_gain_is_above_0_and_turned_round_it_is_below():
    labels, run = case(2, gain=1.0)
    turned = Run(a=run.b, b=run.a, a_thresholds=run.b_thresholds, b_thresholds=run.a_thresholds)
    there, back = compared(labels, run).macro["auroc"], compared(labels, turned).macro["auroc"]
    assert 0 < there.low < there.difference < there.high
    assert there.p == pytest.approx(2 / 301)  # the smallest that 300 resamples can give
    assert (back.low, back.high, back.p) == (pytest.approx(-there.high), pytest.approx(-there.low), there.p)


def test_intervals_of_a_paired_difference_cover_the_truth_as_often_as_they_say():
    # Neither model is better; with independent noise each the true difference is 0.
    inside, significant = 0, 0
    for trial in range(150):
        labels, run = case([trial, 7], records=120)
        found = compared(labels, run, names=("auroc",), patient_ids=np.arange(120), seed=trial, resamples=200).macro[
            "auroc"
        ]
        inside += found.low <= 0 <= found.high
        significant += found.p <= 0.05
    assert 0.90 <= inside / 150 <= 0.99
    assert significant / 150 <= 0.10


def seeds_of_runs(trial, *, runs, spread, records=150):
    """Runs whose true difference varies from seed to seed around 0."""
    rng = np.random.default_rng([trial, 11])
    labels = rng.random((records, 1)) < 0.5
    easy = rng.normal(size=(records, 1))
    made = []
    for _ in range(runs):
        gains = rng.normal(0, spread, size=2)
        a, b = (sigmoid(easy + 0.2 * rng.normal(size=(records, 1)) + (1.5 + gain) * labels - 0.75) for gain in gains)
        made.append(Run(a=a, b=b, a_thresholds=(0.5,), b_thresholds=(0.5,)))
    return labels, made


def test_intervals_over_seeds_and_patients_cover_the_truth_where_those_of_one_seed_do_not():
    among_seeds, of_one = 0, 0
    for trial in range(80):
        labels, runs = seeds_of_runs(trial, runs=5, spread=0.4)
        arguments = {
            "codes": ("A",), "names": ("auroc",), "patient_ids": np.arange(150), "resamples": 200, "seed": trial
        }  # fmt: skip
        found = compare(labels, runs, **arguments).macro["auroc"]
        alone = compare(labels, runs[:1], **arguments).macro["auroc"]
        among_seeds += found.low <= 0 <= found.high
        of_one += alone.low <= 0 <= alone.high
    assert among_seeds / 80 >= 0.85
    assert of_one / 80 < 0.75


def test_the_spread_over_seeds_is_the_standard_error_of_their_mean():
    # Every patient is the same, so only the seeds vary: Brier differences of .1, .2, .3, .4.
    labels = np.arange(40)[:, None] % 2 == 0
    b = np.where(labels, 1.0, 0.0)
    runs = [
        Run(a=np.abs(b - np.sqrt(gap)), b=b, a_thresholds=(0.5,), b_thresholds=(0.5,)) for gap in (0.1, 0.2, 0.3, 0.4)
    ]
    found = compare(
        labels, runs, patient_ids=np.arange(40), codes=("A",), names=("brier",), resamples=20_000, confidence=0.6827
    ).macro["brier"]
    assert found.difference == pytest.approx(0.25)
    standard_error = np.std([0.1, 0.2, 0.3, 0.4], ddof=1) / np.sqrt(4)
    assert (found.high - found.low) / 2 == pytest.approx(standard_error, rel=0.1)


def test_two_records_of_each_patient_widen_the_interval():
    labels, run = case(3)
    twice = {name: np.repeat(getattr(run, name), 2, axis=0) for name in ("a", "b")}
    doubled = Run(**twice, a_thresholds=run.a_thresholds, b_thresholds=run.b_thresholds)
    by_patient, by_record = (
        compared(np.repeat(labels, 2, axis=0), doubled, patient_ids=ids, resamples=1000).macro["auroc"]
        for ids in (np.repeat(np.arange(300), 2), np.arange(600))
    )
    assert (by_patient.high - by_patient.low) / (by_record.high - by_record.low) == pytest.approx(np.sqrt(2), rel=0.1)


def test_a_class_with_too_few_is_named_left_out_of_the_macro_and_still_compared():
    labels, run = case(4)
    labels[:, 1] = np.arange(300) < 9
    labels[:, 2] = False
    found = compared(labels, run)
    assert found.macro_classes == ("A",)
    assert found.left_out["B"] == "9 positive records, at least 10 are needed"
    assert found.macro["auroc"] == found.classes["A"]["auroc"]
    assert found.classes["B"]["auroc"].difference is not None
    assert found.classes["C"]["auroc"].difference is None
    assert found.classes["C"]["brier"].difference is not None
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["classes"]["C"]["auroc"]["p"] is None


def test_without_any_class_nothing_is_compared():
    labels, run = case(5)
    found = compared(np.zeros_like(labels), run)
    assert all(each.difference is None for each in found.macro.values())


def test_the_same_seed_gives_the_same_figures():
    labels, run = case(6)
    assert compared(labels, run, run, seed=3).to_dict() == compared(labels, run, run, seed=3).to_dict()
    assert compared(labels, run, seed=3).to_dict() != compared(labels, run, seed=4).to_dict()


def test_p_values_of_counted_resamples():
    resampled = np.array([0.1] * 95 + [-0.1] * 4)
    assert two_sided_p(resampled) == pytest.approx(2 * 5 / 100)
    assert two_sided_p(np.array([0.1] * 99)) == pytest.approx(0.02)  # never 0
    assert two_sided_p(np.array([0.1, -0.1])) == 1
    assert two_sided_p(np.array([0.1] + [np.nan] * 9)) is None


def test_p_values_of_a_normal_difference():
    resampled = np.random.default_rng(0).normal(1.0, 1.0, 100_000)
    assert normal_p(1.96, resampled) == pytest.approx(0.05, abs=0.002)  # the textbook's quantile
    assert normal_p(-1.96, resampled) == normal_p(1.96, resampled)
    assert normal_p(1.96 * np.sqrt(2), np.array([-1.0, 1.0])) == pytest.approx(0.05, abs=0.001)
    assert normal_p(0.0, np.zeros(10)) == 1
    assert normal_p(1.0, np.array([1.0] + [np.nan] * 9)) is None


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        # Worked by hand: .01 × 4, .02 × 3, .03 × 2, then .04 × 1, which may not fall below the one before.
        ([0.01, 0.04, 0.03, 0.02], [0.04, 0.06, 0.06, 0.06]),
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02, None, 0.5], [0.04, None, 0.5]),
        ([None], [None]),
        ([], []),
    ],
)
def test_holm_as_worked_by_hand(p_values, expected):
    found = holm(p_values)
    assert [each is None for each in found] == [each is None for each in expected]
    assert [each for each in found if each is not None] == pytest.approx(
        [each for each in expected if each is not None]
    )


def test_a_family_of_twenty_true_nulls_is_rejected_as_rarely_as_holm_promises():
    rng = np.random.default_rng(0)
    rejected = sum(min(holm(rng.random(20).tolist())) <= 0.05 for _ in range(1000))
    assert rejected / 1000 == pytest.approx(0.05, abs=0.02)


def a_difference(difference, low, high, p=0.5):
    return Difference(a=0.8 + difference, b=0.8, difference=difference, low=low, high=high, p=p)


def test_a_family_is_corrected_as_a_whole():
    family = {"auroc": a_difference(0.1, 0.0, 0.2, p=0.01), "f1": a_difference(0.1, 0.0, 0.2, p=0.04)}
    assert {name: found.p_holm for name, found in corrected(family).items()} == {"auroc": 0.02, "f1": 0.04}


@pytest.mark.parametrize(
    ("found", "lower_is_better", "holds", "worst"),
    [
        pytest.param(a_difference(0.0, -0.009, 0.02), False, True, -0.009, id="within"),
        pytest.param(a_difference(0.0, -0.01, 0.02), False, False, -0.01, id="at-the-margin-is-not-within"),
        pytest.param(a_difference(0.05, -0.02, 0.1), False, False, -0.02, id="better-and-still-not-shown"),
        pytest.param(a_difference(-0.02, -0.05, 0.009), True, True, -0.009, id="brier-within"),
        pytest.param(a_difference(-0.02, -0.05, 0.02), True, False, -0.02, id="brier-beyond"),
        pytest.param(
            Difference(a=None, b=None, difference=None, low=None, high=None, p=None), False, None, None, id="?"
        ),
    ],
)
def test_non_inferiority_is_decided_by_the_worst_end(found, lower_is_better, holds, worst):
    said = non_inferiority(found, margin=0.01, lower_is_better=lower_is_better)
    assert (said.holds, said.worst) == (holds, worst)


def test_non_inferiority_in_words():
    said = non_inferiority(a_difference(0.004, -0.007, 0.015), margin=0.01)
    assert said.sentence == "not inferior: better by +0.004, at worst -0.007, within the margin of 0.01"
    assert "not shown to be no worse" in non_inferiority(a_difference(0.0, -0.1, 0.1), margin=0.01).sentence
    assert [name for name in METRICS if name in LOWER_IS_BETTER] == ["brier"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": []}, "there is no run to compare"),
        ({"codes": ("A",)}, r"labels must be \(records, 1 classes\), got \(300, 3\)"),
        ({"patient_ids": np.zeros(3)}, r"patient_ids must be one a record, \(300,\), got \(3,\)"),
        ({"a": np.zeros((300, 2))}, r"every run must be of the \(300, 3\) labels, got \(300, 2\)"),
        ({"b_thresholds": (0.5,)}, r"thresholds must be \(3,\) or \(300, 3\), got \(1,\)"),
        ({"b": np.full((300, 3), np.nan)}, "probabilities must be within 0..1, and none of them NaN"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(change, message):
    labels, run = case(0)
    parts = {name: getattr(run, name) for name in ("a", "b", "a_thresholds", "b_thresholds")}
    run = Run(**(parts | {name: value for name, value in change.items() if name in parts}))
    arguments = {"patient_ids": np.arange(300), "codes": CODES}
    arguments |= {name: value for name, value in change.items() if name in arguments}
    with pytest.raises(ValueError, match=message):
        compare(labels, change.get("runs", [run]), **arguments)


def test_a_margin_of_nothing_is_refused():
    with pytest.raises(ValueError, match="a margin of non-inferiority must be above 0, got 0"):
        non_inferiority(a_difference(0.0, 0.0, 0.0), margin=0)
