"""Every gate can say yes, no, and that it does not know."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console
from sklearn.metrics import roc_auc_score

from vizecg.gates import Candidate, Evidence, Params, expected_calibration_error, judge
from vizecg.promotion.tables import verdict_markdown, verdict_table

CODES = ("NORM", "MI", "STTC", "CD", "HYP")
PARAMS = Params(
    macro_auroc_floor=0.7,
    macro_auroc_margin=0.03,
    class_auroc_margin=0.08,
    calibration_error_ceiling=0.1,
    minimum_records=100,
    minimum_positives=15,
    resamples=400,
    seed=0,
)
RECORDS = 600


def truth(records=RECORDS):
    rng = np.random.default_rng(1)
    return rng.random((records, len(CODES))) < (0.4, 0.25, 0.25, 0.2, 0.1)


def says(labels, *, skill, seed=2):
    """Probabilities that are calibrated by construction: the log odds of two unit normals `skill` apart."""
    rng = np.random.default_rng(seed)
    prevalence = labels.mean(axis=0).clip(0.01, 0.99)
    shift = rng.normal(labels * skill, 1.0)
    log_odds = skill * shift - skill**2 / 2 + np.log(prevalence / (1 - prevalence))
    return 1 / (1 + np.exp(-log_odds))


def candidate(name, probabilities, **changes):
    return Candidate(
        **{
            "bundle_digest": name,
            "task": "superdiagnostic",
            "classes": CODES,
            "simulated": False,
            "probabilities": probabilities,
            **changes,
        }
    )


def evidence(*, challenger=None, champion=None, labels=None, **changes):
    labels = truth() if labels is None else labels
    challenger = candidate("new", says(labels, skill=1.8)) if challenger is None else challenger
    patients = np.arange(len(labels)) // 2  # two records each
    return Evidence(labels=labels, patient_ids=patients, challenger=challenger, champion=champion, **changes)


def row(verdict, gate):
    (found,) = [row for row in verdict.rows if row.gate == gate]
    return found


def test_without_a_champion_a_good_model_passes_by_its_floors_alone():
    verdict = judge(evidence(), params=PARAMS)
    assert verdict.allowed
    assert not verdict.already_champion
    assert {row.gate: row.result for row in verdict.rows} == {
        "classes": "not applicable",
        "provenance": "not applicable",
        "macro AUROC": "pass",
        "calibration": "pass",
        "macro AUROC vs champion": "not applicable",
    }


def test_the_floor_is_held_by_the_lower_end_of_the_interval_not_by_the_score():
    labels = truth()
    weak = says(labels, skill=0.82)
    score = roc_auc_score(labels, weak, average="macro")
    low = row(judge(evidence(challenger=candidate("new", weak)), params=PARAMS), "macro AUROC").value
    assert low < score - 0.01
    between = (low + score) / 2
    verdict = judge(
        evidence(challenger=candidate("new", weak)), params=PARAMS.model_copy(update={"macro_auroc_floor": between})
    )
    assert not verdict.allowed
    refused = row(verdict, "macro AUROC")
    assert refused.result == "fail"
    assert refused.sentence == (
        f"the lower end of the interval of its macro AUROC is {low:.3f}, below the floor of {between:.3f}"
    )


def test_a_model_that_says_ninety_and_means_fifty_fails_calibration():
    labels = truth()
    honest = says(labels, skill=1.8)
    boastful = honest ** (1 / 4)
    verdict = judge(evidence(challenger=candidate("new", boastful)), params=PARAMS)
    assert row(verdict, "macro AUROC").result == "pass"  # the order is the same
    assert row(verdict, "calibration").result == "fail"
    assert "is above 0.100" in row(verdict, "calibration").sentence


def test_calibration_error_of_an_example_worked_by_hand():
    labels = np.array([[1], [0], [1], [1]], bool)
    probabilities = np.array([[0.15], [0.15], [0.85], [1.0]])
    # Two records said to be 0.15, equal and so in one bin, of which one happens; one of |0.85 - 1|; one that is right.
    assert expected_calibration_error(labels, probabilities) == pytest.approx((2 * 0.35 + 0.15) / 4)


def test_an_equal_model_is_no_worse_and_a_clearly_worse_one_is():
    labels = truth()
    champion = candidate("old", says(labels, skill=1.8))
    equal = judge(evidence(champion=champion, challenger=candidate("new", champion.probabilities**1.05)), params=PARAMS)
    assert equal.allowed
    assert row(equal, "macro AUROC vs champion").value == pytest.approx(0)
    worse = judge(
        evidence(champion=champion, challenger=candidate("new", says(labels, skill=1.2, seed=3))), params=PARAMS
    )
    assert not worse.allowed
    assert row(worse, "macro AUROC").result == "pass"  # good enough by itself, and still worse than what there is
    refused = row(worse, "macro AUROC vs champion")
    assert refused.result == "fail"
    assert refused.sentence.endswith("beyond the margin of 0.030")


def test_a_model_that_may_be_worse_is_refused_although_its_score_is_within_the_margin():
    labels = truth()
    champion = candidate("old", says(labels, skill=1.4))
    challenger = candidate("new", says(labels, skill=1.4, seed=11))  # as good, and right about other records
    difference = roc_auc_score(labels, challenger.probabilities) - roc_auc_score(labels, champion.probabilities)
    margin = abs(difference) + 0.005
    params = PARAMS.model_copy(update={"macro_auroc_margin": margin, "class_auroc_margin": 0.5})
    refused = row(judge(evidence(champion=champion, challenger=challenger), params=params), "macro AUROC vs champion")
    assert refused.result == "fail"
    assert refused.value < -margin < difference


def test_a_class_that_got_much_worse_is_refused_although_the_macro_score_is_within_its_margin():
    labels = truth()
    champion = candidate("old", says(labels, skill=1.8))
    challenger = champion.probabilities.copy()
    challenger[:, 4] = np.random.default_rng(5).permutation(challenger[:, 4])
    verdict = judge(
        evidence(champion=champion, challenger=candidate("new", challenger)),
        params=PARAMS.model_copy(update={"macro_auroc_margin": 0.5}),
    )
    assert [refused.gate for refused in verdict.refusals] == ["AUROC of HYP vs champion"]


@pytest.mark.parametrize("gate", ["macro AUROC", "calibration", "macro AUROC vs champion", "AUROC of HYP vs champion"])
def test_too_few_records_are_said_and_block_nobody(gate):
    labels = truth(records=60)
    champion = candidate("old", says(labels, skill=3.0))
    verdict = judge(
        evidence(labels=labels, champion=champion, challenger=candidate("new", says(labels, skill=0.0))), params=PARAMS
    )
    assert verdict.allowed
    assert row(verdict, gate).result == "not enough data"
    assert row(verdict, gate).sentence == "60 records, at least 100 are needed"
    assert "had not enough data" in verdict.sentence


def test_a_class_with_too_few_positives_has_no_gate_of_its_own_and_says_so():
    labels = truth()
    labels[:, 4] = False
    labels[:14, 4] = True
    champion = candidate("old", says(labels, skill=1.8))
    challenger = champion.probabilities.copy()
    challenger[:, 4] = 1 - challenger[:, 4]
    params = PARAMS.model_copy(update={"macro_auroc_margin": 0.5, "calibration_error_ceiling": 1.0})
    verdict = judge(evidence(labels=labels, champion=champion, challenger=candidate("new", challenger)), params=params)
    assert verdict.allowed
    undecided = row(verdict, "AUROC of HYP vs champion")
    assert (undecided.result, undecided.positives) == ("not enough data", 14)
    assert undecided.sentence == "14 positive records, at least 15 are needed"


def test_a_test_set_without_positives_decides_no_score():
    labels = np.zeros((RECORDS, len(CODES)), bool)
    said = np.full((RECORDS, len(CODES)), 0.02)
    verdict = judge(evidence(labels=labels, challenger=candidate("new", said)), params=PARAMS)
    assert row(verdict, "macro AUROC").sentence == "no class has both positives and negatives"
    assert row(verdict, "macro AUROC").result == "not enough data"


@pytest.mark.parametrize(
    ("challenger", "champion", "result"),
    [(True, False, "fail"), (False, True, "pass"), (True, True, "pass"), (False, False, "pass")],
)
def test_simulated_never_replaces_real(challenger, champion, result):
    labels = truth()
    verdict = judge(
        evidence(
            champion=candidate("old", says(labels, skill=0.5), simulated=champion),
            challenger=candidate("new", says(labels, skill=3.0), simulated=challenger),
        ),
        params=PARAMS,
    )
    assert row(verdict, "provenance").result == result
    assert verdict.allowed is (result == "pass")


def test_a_model_of_other_classes_is_refused():
    labels = truth()
    champion = candidate("old", says(labels, skill=1.0)[:, :3], classes=CODES[:3])
    verdict = judge(evidence(champion=champion), params=PARAMS)
    assert [refused.gate for refused in verdict.refusals] == ["classes"]
    assert verdict.refusals[0].sentence == (
        "it answers NORM MI STTC CD HYP (superdiagnostic), the champion NORM MI STTC (superdiagnostic): "
        "applications would read other labels; a model of another task needs a registry and a ledger of its own "
        "(VIZECG_STATE_DIR)"
    )
    assert row(verdict, "macro AUROC vs champion").result == "not applicable"


def test_the_same_codes_of_another_task_are_other_classes():
    # PTB-XL calls a superclass and a subclass STTC.
    labels = truth()
    champion = candidate("old", says(labels, skill=1.0), task="subdiagnostic")
    verdict = judge(evidence(champion=champion), params=PARAMS)
    assert [refused.gate for refused in verdict.refusals] == ["classes"]
    assert "(superdiagnostic), the champion NORM MI STTC CD HYP (subdiagnostic)" in verdict.refusals[0].sentence


def many_classes(*, common=3, rare=68):
    """71 classes, most of them of one record or none, as on a small set."""
    rng = np.random.default_rng(4)
    labels = np.zeros((RECORDS, common + rare), bool)
    labels[:, :common] = rng.random((RECORDS, common)) < 0.3
    labels[rng.integers(0, RECORDS, rare // 2), np.arange(common, common + rare // 2)] = True
    return labels, tuple(f"C{k}" for k in range(common + rare))


def test_of_many_classes_those_without_a_gate_share_one_row():
    labels, codes = many_classes()
    said = says(labels, skill=1.8)
    verdict = judge(
        evidence(
            labels=labels,
            challenger=candidate("new", said, classes=codes, task="all"),
            champion=candidate("old", said.copy(), classes=codes, task="all"),
        ),
        params=PARAMS,
    )
    assert verdict.allowed
    undecided = row(verdict, "AUROC of 68 classes vs champion")
    assert undecided.result == "not enough data"
    assert undecided.sentence == ("68 of 71 classes have fewer than 15 positive records, or too few to compare")
    assert row(verdict, "AUROC of C0 vs champion").result == "pass"
    assert len(verdict.rows) < 12


def test_rare_classes_do_not_keep_the_macro_gates_from_deciding():
    # A class of one record is missing from a third of all resamples, so hardly any resample has all 37.
    labels, codes = many_classes()
    challenger = candidate("new", says(labels, skill=1.8), classes=codes, task="all")
    champion = candidate("old", says(labels, skill=1.8, seed=5), classes=codes, task="all")
    verdict = judge(evidence(labels=labels, challenger=challenger, champion=champion), params=PARAMS)
    assert row(verdict, "macro AUROC").result in {"pass", "fail"}
    assert row(verdict, "macro AUROC vs champion").result in {"pass", "fail"}


def test_other_classes_are_named_by_the_first_few():
    labels, codes = many_classes()
    challenger = candidate("new", says(labels, skill=1.0), classes=codes, task="all")
    champion = candidate("old", says(labels, skill=1.0)[:, :5])
    sentence = (
        judge(evidence(labels=labels, challenger=challenger, champion=champion), params=PARAMS).refusals[0].sentence
    )
    assert sentence.startswith("it answers C0 C1 C2 C3 C4 C5 C6 C7 and 63 more (all), the champion NORM MI STTC CD HYP")


def test_the_same_classes_in_another_order_are_other_classes():
    labels = truth()
    champion = candidate("old", says(labels, skill=1.0), classes=CODES[::-1])
    assert row(judge(evidence(champion=champion), params=PARAMS), "classes").result == "fail"


def test_a_champion_that_cannot_be_run_leaves_the_floors_to_decide():
    gone = candidate("old", None, simulated=True)
    verdict = judge(evidence(champion=gone), params=PARAMS)
    assert verdict.allowed
    assert row(verdict, "macro AUROC vs champion").sentence == "the champion's files are gone, so it cannot be run"


def test_a_model_that_was_rolled_back_does_not_come_back_by_itself():
    verdict = judge(evidence(withdrawn="version 3 was rolled back by anna"), params=PARAMS)
    assert [refused.gate for refused in verdict.refusals] == ["withdrawn"]
    assert verdict.sentence == "refused by 1 of 6 gates: withdrawn"
    assert verdict.refusals[0].sentence == "version 3 was rolled back by anna; name it by its version to try again"


def test_the_champion_itself_is_already_champion():
    verdict = judge(evidence(champion=candidate("new", None)), params=PARAMS)
    assert verdict.already_champion
    assert verdict.allowed
    assert verdict.rows == ()


def test_the_same_numbers_give_the_same_verdict():
    champion = candidate("old", says(truth(), skill=1.7, seed=9))
    assert judge(evidence(champion=champion), params=PARAMS) == judge(evidence(champion=champion), params=PARAMS)


def test_a_verdict_can_be_written_as_json():
    verdict = judge(evidence(champion=candidate("old", says(truth(), skill=1.7, seed=9))), params=PARAMS)
    again = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert again["allowed"] is verdict.allowed
    assert [entry["gate"] for entry in again["rows"]] == [row.gate for row in verdict.rows]


def test_both_tables_name_every_gate_with_its_result_and_sentence():
    labels = truth()
    worse = evidence(
        champion=candidate("old", says(labels, skill=1.8)), challenger=candidate("new", says(labels, skill=1.0, seed=3))
    )
    verdict = judge(worse, params=PARAMS)
    written = io.StringIO()
    Console(width=250, file=written).print(verdict_table(verdict))
    shown = (written.getvalue(), verdict_markdown(verdict, heading="Promotion of version 4"))
    for text in shown:
        for entry in verdict.rows:
            assert entry.gate in text
            assert entry.result in text
        for entry in verdict.refusals:
            assert entry.sentence in text
        assert verdict.sentence in text
    assert "| **fail** |" in shown[1]


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.full((5, 5), np.nan), "between 0 and 1, and none of them NaN"),
        (np.full((5, 5), 1.5), "between 0 and 1, and none of them NaN"),
        (np.full((5, 4), 0.5), r"\(records, 5 classes\), got \(5, 4\)"),
    ],
)
def test_numbers_that_are_no_probabilities_are_refused(probabilities, message):
    with pytest.raises(ValueError, match=message):
        candidate("new", probabilities)


def test_evidence_about_different_records_is_refused():
    labels = truth()
    with pytest.raises(ValueError, match="must be of the same records, got 600, 600 and 599"):
        evidence(champion=candidate("old", says(labels, skill=1.0)[:-1]))
    with pytest.raises(ValueError, match="a challenger without probabilities cannot be judged"):
        evidence(challenger=candidate("new", None))
    with pytest.raises(ValueError, match="labels must have 3 columns, got 5"):
        evidence(challenger=candidate("new", says(labels, skill=1.0)[:, :3], classes=CODES[:3]))


def test_a_typo_in_the_section_is_refused():
    with pytest.raises(ValidationError, match="macro_auroc_flor"):
        Params(**{**PARAMS.model_dump(), "macro_auroc_flor": 0.7})


def test_patients_are_resampled_and_not_records():
    labels = truth()
    once = evidence(labels=labels)
    copies = replace(
        once,
        labels=np.repeat(labels, 8, axis=0),
        patient_ids=np.repeat(once.patient_ids, 8),
        challenger=candidate("new", np.repeat(once.challenger.probabilities, 8, axis=0)),
    )
    low_once, low_copies = (row(judge(which, params=PARAMS), "macro AUROC").value for which in (once, copies))
    # Eight copies of every record are no news about more patients.
    assert low_copies == pytest.approx(low_once, abs=1e-9)
