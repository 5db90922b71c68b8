import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import minimize
from sklearn.metrics import f1_score, recall_score

from vizecg.calibration import (
    ThresholdRule,
    choose_thresholds,
    f1_threshold,
    fit_calibration,
    sensitivity_threshold,
    specificity_threshold,
)
from vizecg.errors import InputError
from vizecg.operating_point import Calibration, OperatingPoint

CODES = ("NORM", "MI", "STTC", "CD", "HYP")


def drawn(seed, *, records, slope=1.0, bias=(0.0, -1.0, -1.0, -1.5, -2.0)):
    """Labels drawn from σ(slope · logit + bias), so that slope and bias are the truth."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(records, len(bias)))
    return rng.random(logits.shape) < 1 / (1 + np.exp(-(slope * logits + np.array(bias)))), logits


def point(**changes):
    whole = {
        "classes": CODES,
        "slope": (0.5,) * 5,
        "bias": (0.0, -1.0, 0.0, 0.0, 1.0),
        "thresholds": (0.5, 0.4, 0.3, 0.4, 0.2),
        "pooled_thresholds": ("HYP",),
        "abstain_margin": 0.1,
        "fitted_on": {"fold": 9, "records": 133},
    }
    return OperatingPoint(**(whole | changes))


def test_slope_and_bias_of_an_overconfident_model_are_found():
    labels, logits = drawn(0, records=20_000, slope=0.4)
    found = fit_calibration(labels, logits)
    assert found.slope == pytest.approx((0.4,) * 5, abs=0.02)
    assert found.bias == pytest.approx((0.0, -1.0, -1.0, -1.5, -2.0), abs=0.08)


def test_the_fit_is_the_one_scipy_finds():
    labels, logits = drawn(1, records=133)

    def penalised(theta):
        scores = theta[0] * logits + theta[1:]
        likelihood = np.logaddexp(0, scores) - labels * scores
        return likelihood.sum() + ((theta[0] - 1) / 0.5) ** 2 / 2 + (theta[1:] ** 2).sum() / 2.0**2 / 2

    expected = minimize(penalised, np.array([1.0] + [0.0] * 5), method="BFGS", options={"gtol": 1e-7}).x
    found = fit_calibration(labels, logits)
    assert [found.slope[0], *found.bias] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_sixteen_positives_split_perfectly_do_not_make_it_certain(scale):
    labels = np.arange(133)[:, None] < 16
    logits = np.where(labels, scale, -scale)
    found = fit_calibration(labels, logits)
    assert np.isfinite([*found.slope, *found.bias]).all()
    if scale == 1.0:
        assert found.apply(logits).max() < 0.999


def test_a_class_without_positives_gets_a_low_probability_and_breaks_nothing():
    labels, logits = drawn(2, records=133)
    labels[:, 4] = False
    found = fit_calibration(labels, logits)
    assert np.isfinite(found.bias).all()
    assert found.apply(logits)[:, 4].mean() < 0.05


def test_a_model_that_ranks_backwards_is_not_turned_round():
    labels, logits = drawn(3, records=400)
    found = fit_calibration(labels, -logits)
    assert found.slope == (0.05,) * 5
    assert found.apply(-logits).mean(axis=0) == pytest.approx(labels.mean(axis=0), abs=0.02)


def test_a_temperature_is_one_slope_and_no_biases():
    labels, logits = drawn(0, records=20_000, slope=0.4, bias=(0.0,) * 5)
    found = fit_calibration(labels, logits, kind="temperature")
    assert found.slope == pytest.approx((0.4,) * 5, abs=0.02)
    assert found.bias == (0.0,) * 5


def test_the_temperature_is_the_one_scipy_finds():
    labels, logits = drawn(1, records=133)

    def penalised(slope):
        return (np.logaddexp(0, slope * logits) - labels * slope * logits).sum() + ((slope[0] - 1) / 0.5) ** 2 / 2

    expected = minimize(penalised, np.array([1.0]), method="BFGS", options={"gtol": 1e-7}).x
    assert fit_calibration(labels, logits, kind="temperature").slope[0] == pytest.approx(expected[0], abs=1e-4)


def test_no_temperature_turns_a_model_round():
    labels, logits = drawn(3, records=400)
    found = fit_calibration(labels, -logits, kind="temperature")
    assert (found.slope, found.bias) == ((0.05,) * 5, (0.0,) * 5)


def test_calibrated_probabilities_keep_the_order_of_logits_and_stay_finite():
    logits = np.array([[-1e4, -3.0, 0.0, 3.0, 1e4]]).T
    probabilities = Calibration(slope=(0.7,), bias=(0.3,)).apply(logits)[:, 0]
    assert probabilities[0] == 0
    assert probabilities[-1] == 1
    assert (np.diff(probabilities) > 0).all()
    assert probabilities[2] == pytest.approx(1 / (1 + np.exp(-0.3)))


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_has_a_higher_f1(seed):
    labels, logits = drawn(seed, records=150)
    truth, said = labels[:, 1], 1 / (1 + np.exp(-logits[:, 1]))
    threshold = f1_threshold(truth, said, plateau_f1=0)
    best = max(f1_score(truth, said >= cut) for cut in said)
    assert f1_score(truth, said >= threshold) == pytest.approx(best)


def test_the_threshold_lies_in_the_middle_of_the_plateau():
    said, truth = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    assert f1_threshold(truth, said, plateau_f1=0) == pytest.approx(0.5)
    # Wrongly calling 0.2 positive costs 1 - 0.8 in F1: with that allowed the stretch runs from 0.1 to 0.8.
    assert f1_threshold(truth, said, plateau_f1=0.201) == pytest.approx(0.45)
    assert f1_threshold(np.array([True, True]), np.array([0.4, 0.6]), plateau_f1=0) == pytest.approx(0.2)


@pytest.mark.parametrize("at", [0.5, 0.7, 0.9, 0.95])
@pytest.mark.parametrize("seed", range(3))
def test_a_fixed_sensitivity_is_reached_by_the_highest_threshold_that_reaches_it(seed, at):
    labels, logits = drawn(seed, records=150)
    truth, said = labels[:, 1], np.round(1 / (1 + np.exp(-logits[:, 1])), 2)
    threshold = sensitivity_threshold(truth, said, at=at)
    assert recall_score(truth, said >= threshold) >= at
    higher = said[said > threshold].min()  # at it the same are found; above it fewer, or there is nobody more
    assert recall_score(truth, said > higher, zero_division=0) < at


@pytest.mark.parametrize("at", [0.5, 0.7, 0.9, 0.95])
@pytest.mark.parametrize("seed", range(3))
def test_a_fixed_specificity_is_reached_by_the_lowest_threshold_that_reaches_it(seed, at):
    labels, logits = drawn(seed, records=150)
    truth, said = labels[:, 1], np.round(1 / (1 + np.exp(-logits[:, 1])), 2)
    threshold = specificity_threshold(truth, said, at=at)
    assert recall_score(~truth, said < threshold) >= at
    assert recall_score(~truth, said < said[said < threshold].max()) < at


def test_fixed_shares_of_ten_worked_by_hand():
    said = np.arange(1, 21) / 20  # negatives at .05, .15 …, positives at .10, .20 … 1
    truth = np.arange(1, 21) % 2 == 0
    # Seven of ten positives lie at .40 and above; the next below is .35.
    assert sensitivity_threshold(truth, said, at=0.7) == pytest.approx(0.375)
    # Seven of ten negatives lie at .65 and below; the next above is .70.
    assert specificity_threshold(truth, said, at=0.7) == pytest.approx(0.675)
    assert specificity_threshold(np.zeros(20, bool), said, at=0.99) == pytest.approx(1 - 1e-6)
    assert 0 < sensitivity_threshold(np.ones(20, bool), said - 0.05, at=0.99) < 0.05


def test_seven_of_twenty_five_are_the_share_of_0_28():
    assert 0.28 * 25 > 7  # in floats; eight would be one too many
    said = np.arange(1, 26) / 26
    assert sensitivity_threshold(np.ones(25, bool), said, at=0.28) == pytest.approx((said[-8] + said[-7]) / 2)
    assert specificity_threshold(np.zeros(25, bool), said, at=0.28) == pytest.approx((said[6] + said[7]) / 2)


def test_a_rule_is_used_for_each_class_and_the_pooled_threshold_for_one_with_too_few():
    labels, logits = drawn(4, records=133)
    labels[:, 4] = np.arange(133) < 3
    labels[:, 0] = np.arange(133) >= 3
    said = 1 / (1 + np.exp(-logits))
    sensitive = choose_thresholds(
        labels, said, codes=CODES, min_positives=10, rule=ThresholdRule(rule="sensitivity", at=0.9)
    )
    assert sensitive.pooled == ("HYP",)
    assert sensitive.values[0] == sensitivity_threshold(labels[:, 0], said[:, 0], at=0.9)
    assert sensitive.values[4] == sensitivity_threshold(labels.ravel(), said.ravel(), at=0.9)
    specific = choose_thresholds(
        labels, said, codes=CODES, min_positives=10, rule=ThresholdRule(rule="specificity", at=0.9)
    )
    assert specific.pooled == ("NORM",)
    assert specific.values[4] == specificity_threshold(labels[:, 4], said[:, 4], at=0.9)
    assert specific.values[0] == specificity_threshold(labels.ravel(), said.ravel(), at=0.9)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"rule": "sensitivity"}, "at is None, and the rule sensitivity needs one, such as 0.9"),
        ({"rule": "f1_plateau", "at": 0.9}, "at is 0.9, and the rule f1_plateau takes none: it must be null"),
        ({"rule": "specificity", "at": 1.0}, "less than 1"),
        ({"rule": "youden"}, "'f1_plateau', 'sensitivity' or 'specificity'"),
    ],
)
def test_rules_that_mean_nothing_are_refused(rule, message):
    with pytest.raises(ValidationError, match=message):
        ThresholdRule(**rule)


def test_a_threshold_is_never_0_or_1():
    certain = np.array([0.0, 0.0, 1.0])
    assert 0 < f1_threshold(np.array([True, True, False]), certain, plateau_f1=0) < 1
    assert 0 < f1_threshold(np.array([False, False, True]), certain, plateau_f1=0) < 1


def test_a_class_with_too_few_positives_takes_the_pooled_threshold():
    labels, logits = drawn(4, records=133)
    labels[:, 4] = np.arange(133) < 3
    said = 1 / (1 + np.exp(-logits))
    found = choose_thresholds(labels, said, codes=CODES, min_positives=10)
    assert found.pooled == ("HYP",)
    assert found.values[4] == f1_threshold(labels.ravel(), said.ravel(), plateau_f1=0.01)
    assert found.values[0] == f1_threshold(labels[:, 0], said[:, 0], plateau_f1=0.01)
    assert choose_thresholds(labels, said, codes=CODES, min_positives=3).pooled == ()


def test_a_class_without_positives_is_pooled_even_when_none_are_asked_for():
    labels, logits = drawn(4, records=133)
    labels[:, 4] = False
    said = 1 / (1 + np.exp(-logits))
    assert choose_thresholds(labels, said, codes=CODES, min_positives=0).pooled == ("HYP",)


def test_an_operating_point_survives_its_file(tmp_path):
    path = tmp_path / "operating_point.json"
    path.write_text(point().to_json(), encoding="utf-8")
    assert OperatingPoint.read(path) == point()
    assert OperatingPoint.read(path).to_json() == point().to_json()


def test_a_label_is_positive_at_its_threshold():
    assert point().positives([[0.5, 0.39, 0.3, 0.1, 0.9]]).tolist() == [[True, False, True, False, True]]


def test_the_model_abstains_when_no_label_is_clearly_positive():
    nothing, barely, clearly = [0.1] * 5, [0.55, 0.1, 0.1, 0.1, 0.1], [0.61, 0.1, 0.1, 0.1, 0.1]
    assert point().abstains([nothing, barely, clearly]).tolist() == [True, True, False]
    assert point(abstain_margin=0).abstains([nothing, barely, clearly]).tolist() == [True, False, False]


def test_probabilities_are_slope_times_logit_plus_bias_through_the_logistic_function():
    found = point().probabilities(np.full((1, 5), 2.0))
    assert found == pytest.approx(1 / (1 + np.exp(-np.array([[1.0, 0.0, 1.0, 1.0, 2.0]]))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: point().probabilities(np.zeros((2, 4))), r"logits must be \(records, 5\), got \(2, 4\)"),
        (lambda: point(slope=(1.0,)), "one slope, bias and threshold for each class"),
        (lambda: point(slope=(1.0, 1.0, 1.0, 1.0, -1.0)), "every slope must be finite and above 0"),
        (lambda: point(bias=(0.0, 0.0, 0.0, 0.0, float("nan"))), "every bias must be finite"),
        (lambda: point(thresholds=(0.5, 0.5, 0.5, 0.5, 1.0)), "every threshold must be between 0 and 1"),
        (lambda: point(pooled_thresholds=("AFIB",)), "classes must be distinct and hold the pooled ones"),
        (lambda: Calibration(slope=(), bias=()), "a slope and a bias for each class, got 0 and 0"),
        (lambda: fit_calibration(np.zeros((0, 5)), np.zeros((0, 5))), r"must both be \(records, classes\)"),
        (lambda: fit_calibration([[1]], [[np.inf]]), "scores must be finite, got 1 that are not"),
        (
            lambda: choose_thresholds([[0]], [[0.5]], codes=("A",), min_positives=1),
            r"none of 1 records has any of \['A'\]",
        ),
        (
            lambda: choose_thresholds(
                [[1]], [[0.5]], codes=("A",), min_positives=1, rule=ThresholdRule(rule="specificity", at=0.9)
            ),
            r"no threshold can be chosen: all have all of \['A'\]",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "op.json is no operating point: content: Invalid JSON.*; run evaluate again"),
        (
            point().to_json().replace('"schema_version": 1', '"schema_version": 2'),
            "op.json is no operating point: schema_version: Input should be 1; run evaluate again",
        ),
        (point().to_json().replace('"bias"', '"basi"'), "op.json is no operating point: bias: Field required"),
    ],
)
def test_a_file_that_is_no_operating_point_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        OperatingPoint.from_json(text, source="op.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"operating_point\.json is not there; run evaluate first"):
        OperatingPoint.read(tmp_path / "operating_point.json")
