"""What other thresholds and margins would have given."""

import csv

import numpy as np
import pytest
from sklearn import metrics as sk

from vizecg.metrics import RISK_FILE, SWEEP_FILE, risk_at, risk_coverage, write_sweeps
from vizecg.operating_point import OperatingPoint

CODES = ("A", "B/C")
THRESHOLDS = (0.5, 0.305)


@pytest.fixture(scope="module")
def said():
    rng = np.random.default_rng(0)
    labels = rng.random((250, 2)) < [0.6, 0.3]
    return labels, 1 / (1 + np.exp(-(rng.normal(size=(250, 2)) + 2 * labels - 1)))


@pytest.fixture(scope="module")
def written(said, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps")
    labels, probabilities = said
    write_sweeps(
        folder, labels=labels, probabilities=probabilities, codes=CODES, thresholds=THRESHOLDS, in_use=THRESHOLDS
    )
    return folder


def rows_of(path):
    with path.open() as opened:
        return list(csv.DictReader(opened))


def test_each_threshold_has_the_scores_of_scikit_learn(said, written):
    labels, probabilities = said
    rows = rows_of(written / SWEEP_FILE)
    assert [row["class"] for row in rows[:: len(rows) - 1]] == list(CODES)
    for row in rows[::10]:
        k = CODES.index(row["class"])
        truth, called = labels[:, k], probabilities[:, k] >= float(row["threshold"])
        assert int(row["called"]) == called.sum()
        assert float(row["precision"]) == pytest.approx(sk.precision_score(truth, called, zero_division=0), abs=1e-5)
        assert float(row["recall"]) == pytest.approx(sk.recall_score(truth, called), abs=1e-5)
        assert float(row["f1"]) == pytest.approx(sk.f1_score(truth, called), abs=1e-5)
        assert float(row["specificity"]) == pytest.approx(sk.recall_score(~truth, ~called), abs=1e-5)


def test_the_thresholds_in_use_are_marked_once_a_class(written):
    marked = [(row["class"], float(row["threshold"])) for row in rows_of(written / SWEEP_FILE) if row["in_use"] == "1"]
    assert marked == list(zip(CODES, THRESHOLDS, strict=True))


def test_a_class_nobody_has_has_an_empty_recall(tmp_path):
    write_sweeps(
        tmp_path,
        labels=np.zeros((3, 1), bool),
        probabilities=np.full((3, 1), 0.4),
        codes=("A",),
        thresholds=(0.5,),
        in_use=(0.5,),
    )
    row = rows_of(tmp_path / SWEEP_FILE)[0]
    assert (row["recall"], row["precision"], row["specificity"]) == ("", "", "0")


def test_risk_at_a_margin_worked_by_hand():
    labels = np.array([[True, False], [True, False], [False, True], [False, False]])
    probabilities = np.array([[0.9, 0.1], [0.6, 0.6], [0.55, 0.1], [0.2, 0.2]])
    # At 0 three are answered: all right; B wrongly; both classes wrong. The last has no label at all.
    found = risk_at(labels, probabilities, thresholds=(0.5, 0.5), abstain_margin=0.0)
    assert (found.records, found.answered_share) == (3, 0.75)
    assert found.error_rate == pytest.approx(3 / 6)
    assert found.mismatch_rate == pytest.approx(2 / 3)
    assert found.class_error_rates == pytest.approx((1 / 3, 2 / 3))
    clear = risk_at(labels, probabilities, thresholds=(0.5, 0.5), abstain_margin=0.3)
    assert (clear.records, clear.error_rate) == (1, 0)
    nobody = risk_at(labels, probabilities, thresholds=(0.5, 0.5), abstain_margin=0.5)
    assert (nobody.records, nobody.error_rate, nobody.class_error_rates) == (0, None, (None, None))


def test_a_record_is_answered_at_a_margin_when_the_service_would_answer_it(said):
    labels, probabilities = said
    for margin in (0.0, 0.1, 0.25):
        point = OperatingPoint(
            classes=CODES, slope=(1.0, 1.0), bias=(0.0, 0.0), thresholds=THRESHOLDS, abstain_margin=margin, fitted_on={}
        )
        found = risk_at(labels, probabilities, thresholds=THRESHOLDS, abstain_margin=margin)
        assert found.records == (~point.abstains(probabilities)).sum()


def test_the_curve_begins_with_everybody_and_loses_a_hundredth_at_a_time(said, written):
    labels, probabilities = said
    curve = risk_coverage(labels, probabilities, thresholds=THRESHOLDS)
    shares = [risk.answered_share for risk in curve]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert max(-np.diff(shares)) <= 0.02
    called = probabilities >= np.asarray(THRESHOLDS)
    assert curve[0].error_rate == pytest.approx(sk.hamming_loss(labels, called))
    assert curve[0].mismatch_rate == pytest.approx(1 - sk.accuracy_score(labels, called))
    rows = rows_of(written / RISK_FILE)
    assert [int(row["records"]) for row in rows] == [risk.records for risk in curve]
    assert {"error_rate_A", "error_rate_B-C"} <= rows[0].keys()


def test_the_margins_of_the_file_give_the_records_of_the_file(said, written):
    labels, probabilities = said
    for row in rows_of(written / RISK_FILE):
        again = risk_at(labels, probabilities, thresholds=THRESHOLDS, abstain_margin=float(row["abstain_margin"]))
        assert again.records == int(row["records"])


def test_records_that_stand_exactly_at_a_margin_are_answered_at_it():
    # 0.01 - 0.04 + 0.04 is above 0.01 in floats: who stands at a margin would be lost to rounding.
    assert 0.01 - 0.04 + 0.04 > 0.01
    (risk,) = risk_coverage(np.array([[False]]), np.array([[0.01]]), thresholds=(0.04,))
    assert (risk.records, risk.abstain_margin) == (1, pytest.approx(-0.03, abs=2e-6))


def test_a_model_that_is_surer_where_it_is_right_errs_less_the_less_it_answers(said):
    labels, probabilities = said
    curve = risk_coverage(labels, probabilities, thresholds=THRESHOLDS)
    assert curve[len(curve) // 2].mismatch_rate < curve[0].mismatch_rate
