"""Every gate can say yes, no, and that it does not know."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console
from sklearn.metrics import roc_auc_score

from vizecg.errors import InputError
from vizecg.gates import CameraPages, Candidate, Evidence, Params, Served, expected_calibration_error, judge
from vizecg.promotion.tables import verdict_markdown, verdict_table
from vizecg.shadow import Agreement

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


@pytest.mark.parametrize(
    ("pictures", "differing", "result", "value"),
    [
        pytest.param(99, {}, "not enough data", None, id="too-few-pictures"),
        pytest.param(100, {}, "pass", 1.0, id="always-the-same"),
        pytest.param(200, {"MI": 40, "CD": 39}, "pass", 0.8, id="just-agree"),
        pytest.param(200, {"MI": 10, "CD": 41}, "fail", 0.795, id="one-label-differs-too-often"),
    ],
)
def test_on_uploads_the_label_counts_on_which_the_two_agree_least(pictures, differing, result, value):
    seen = Agreement(pictures=pictures, differing=differing)
    champion = candidate("old", says(truth(), skill=1.8))
    verdict = judge(evidence(champion=champion, shadow=seen), params=PARAMS)
    found = row(verdict, "shadow agreement")
    assert (found.result, found.records, found.limit) == (result, pictures, 0.8)
    assert found.value == (None if value is None else pytest.approx(value))
    assert verdict.allowed == (result != "fail")
    if result == "fail":
        assert "of 200 uploads both say the same of CD on 0.795" in found.sentence
        assert "below the floor of 0.800" in found.sentence


def test_without_a_shadow_there_is_no_gate_about_one():
    champion = candidate("old", says(truth(), skill=1.8))
    assert "shadow agreement" not in {row.gate for row in judge(evidence(champion=champion), params=PARAMS).rows}


# Groups and cameras


def grouped(labels, *, size=300):
    """The first `size` records are women's, the others men's, five have no sex."""
    at = np.arange(len(labels))
    women = at < size
    return {"sex": {"female": women, "male": ~women & (at < len(labels) - 5), "not stated": at >= len(labels) - 5}}


def spoiled(probabilities, chosen):
    """Right as before for all but some, whose answers are another record's."""
    changed = probabilities.copy()
    changed[chosen] = changed[chosen][::-1]
    return changed


def test_a_challenger_that_is_certainly_worse_for_one_sex_is_refused_though_it_is_well_on_the_whole():
    labels = truth(1200)
    good = says(labels, skill=2.5)
    groups = grouped(labels, size=150)
    worse = candidate("new", spoiled(good, groups["sex"]["female"]))
    lenient = PARAMS.model_copy(update={"macro_auroc_margin": 0.5, "class_auroc_margin": 0.5})
    verdict = judge(
        evidence(labels=labels, challenger=worse, champion=candidate("old", good), groups=groups), params=lenient
    )
    assert [found.gate for found in verdict.refusals] == ["AUROC, sex female vs champion"]
    found = row(verdict, "AUROC, sex female vs champion")
    assert (found.records, found.limit) == (150, -0.05)
    women = groups["sex"]["female"]
    ours, theirs = (
        np.mean([roc_auc_score(labels[women, at], said[women, at]) for at in range(5)])
        for said in (worse.probabilities, good)
    )
    assert f"{ours:.3f} against {theirs:.3f}" in found.sentence
    # Even the upper end of its interval, wider for two groups than 95 %, lies beyond the margin.
    assert ours - theirs < found.value < -0.05
    assert "certainly more than 0.050 worse" in found.sentence
    assert row(verdict, "AUROC, sex male vs champion").result == "pass"


def test_a_group_too_small_is_shown_as_undecided_and_refuses_nothing():
    labels = truth()
    good = says(labels, skill=2.5)
    groups = grouped(labels, size=49)
    worse = candidate("new", spoiled(good, groups["sex"]["female"]))
    lenient = PARAMS.model_copy(update={"macro_auroc_margin": 0.5, "class_auroc_margin": 0.5})
    verdict = judge(
        evidence(labels=labels, challenger=worse, champion=candidate("old", good), groups=groups), params=lenient
    )
    assert verdict.allowed
    found = row(verdict, "AUROC, sex: 2 small vs champion")
    assert (found.result, found.records, found.limit) == ("not enough data", 49 + 5, -0.05)
    assert found.sentence == "female, not stated: fewer than 50 records each"


def test_equal_models_are_refused_for_no_group_however_many_there_are():
    labels = truth(1000)
    ours, theirs = (candidate(name, says(labels, skill=1.8, seed=seed)) for name, seed in (("new", 5), ("old", 6)))
    sites = {"site": {str(at): np.arange(1000) // 50 == at for at in range(20)}}
    verdict = judge(evidence(labels=labels, challenger=ours, champion=theirs, groups=sites), params=PARAMS)
    rows = [found for found in verdict.rows if found.gate.startswith("AUROC, site")]
    assert len(rows) == 20
    assert {found.result for found in rows} == {"pass"}


def test_without_a_champion_groups_have_nothing_to_be_held_against():
    verdict = judge(evidence(groups=grouped(truth())), params=PARAMS)
    assert verdict.allowed
    assert row(verdict, "AUROC by sex vs champion").result == "not applicable"


def through(camera, challenger, champion, *, at):
    return CameraPages(
        camera=camera, at=at, challenger=challenger[at], champion=None if champion is None else champion[at]
    )


def test_a_challenger_that_reads_photographs_certainly_worse_than_the_champion_is_refused():
    labels = truth()
    good = says(labels, skill=2.5)
    at = np.arange(0, 600, 2)
    bad = spoiled(good, at)
    cameras = (through("scan", good, good, at=at), through("photo", bad, good, at=at))
    verdict = judge(
        evidence(labels=labels, challenger=candidate("new", good), champion=candidate("old", good), cameras=cameras),
        params=PARAMS,
    )
    # It reads its own clean pages well, and the champion reads these very photographs well.
    assert {found.gate for found in verdict.refusals} == {"AUROC lost by photo", "AUROC by photo vs champion"}
    assert row(verdict, "AUROC by scan vs champion").result == "pass"
    assert row(verdict, "AUROC lost by scan").value == 0
    assert row(verdict, "AUROC by photo vs champion").records == 300
    table = io.StringIO()
    Console(file=table, width=200).print(verdict_table(verdict))
    (line,) = [line for line in table.getvalue().splitlines() if line.strip().startswith("AUROC lost by photo")]
    assert "> -0.200" in line


def test_without_a_champion_what_a_camera_costs_is_held_against_the_models_own_clean_pages():
    labels = truth()
    good = says(labels, skill=2.5)
    at = np.arange(300)
    lost = through("photo", spoiled(good, at), None, at=at)
    verdict = judge(evidence(labels=labels, challenger=candidate("new", good), cameras=(lost,)), params=PARAMS)
    assert [found.gate for found in verdict.refusals] == ["AUROC lost by photo"]
    assert row(verdict, "AUROC by photo vs champion").result == "not applicable"
    few = through("photo", spoiled(good, at), None, at=at[:99])
    verdict = judge(evidence(labels=labels, challenger=candidate("new", good), cameras=(few,)), params=PARAMS)
    assert row(verdict, "AUROC lost by photo").result == "not enough data"
    assert verdict.allowed


@pytest.mark.parametrize(
    ("served", "result", "words"),
    [
        (Served(pages=3), "pass", "answers its 3 stored pages as it should"),
        (Served(pages=3, wrong="it ended with code 2"), "fail", "it ended with code 2"),
        (Served(pages=0), "not applicable", "the service is not installed here"),
    ],
)
def test_a_model_that_no_service_answers_with_is_refused(served, result, words):
    verdict = judge(evidence(served=served), params=PARAMS)
    (row,) = (row for row in verdict.rows if row.gate == "service")
    assert row.result == result
    assert words in row.sentence
    assert verdict.allowed == (result != "fail")
    assert not any(row.gate == "service" for row in judge(evidence(), params=PARAMS).rows)


@pytest.mark.parametrize(("target", "name"), [("macro", "macro AUROC"), ("MI", "AUROC of MI")])
def test_a_target_asks_for_better_where_the_other_gates_ask_for_no_worse(target, name):
    labels = truth()
    params = PARAMS.model_copy(update={"target": target})
    gate = f"better {name} vs champion"

    def judged(*, skill, against):
        both = {"challenger": skill, "champion": against}
        said = {who: candidate(who, says(labels, skill=of, seed=3)) for who, of in both.items()}
        verdict = judge(evidence(labels=labels, **said), params=params)
        return verdict, next(row for row in verdict.rows if row.gate == gate)

    verdict, row = judged(skill=2.2, against=1.2)
    assert (verdict.allowed, row.result, row.limit) == (True, "pass", 0.0)
    assert row.sentence.endswith(", better for certain")
    verdict, row = judged(skill=1.8, against=1.8)
    assert [row.gate for row in verdict.refusals] == [gate], "no worse, and no better"
    assert row.sentence.endswith(", which is not better for certain")


def test_without_a_champion_a_target_asks_for_nothing_and_an_unknown_one_is_refused():
    params = PARAMS.model_copy(update={"target": "macro"})
    row = next(row for row in judge(evidence(), params=params).rows if row.gate.startswith("better"))
    assert row.result == "not applicable"
    with pytest.raises(InputError, match=r"promote\.target is 'mi'; allowed are null, macro, NORM, MI, STTC, CD, HYP"):
        judge(evidence(), params=PARAMS.model_copy(update={"target": "mi"}))


def test_a_person_may_set_gates_of_scores_aside_and_the_verdict_says_so():
    refused = judge(evidence(challenger=candidate("new", says(truth(), skill=0.1))), params=PARAMS)
    assert not refused.allowed
    overridden = refused.overriding()
    assert (overridden.allowed, overridden.overridden, overridden.rows) == (True, True, refused.rows)
    assert overridden.sentence.startswith("let through by a person against 1 of ")
    assert overridden.to_dict()["overridden"] is True
    passed = judge(evidence(), params=PARAMS)
    assert passed.overriding() == passed, "there is nothing to set aside"


@pytest.mark.parametrize(
    "changes",
    [
        {"served": Served(pages=1, wrong="it does not start")},
        {"challenger": candidate("new", says(truth(), skill=1.8), simulated=True), "champion": True},
        {"challenger": candidate("new", says(truth(), skill=1.8), task="form"), "champion": True},
    ],
    ids=["service", "provenance", "classes"],
)
def test_no_reason_mends_a_model_that_does_not_serve_or_answers_something_else(changes):
    if changes.get("champion"):
        changes = {**changes, "champion": candidate("old", says(truth(), skill=1.8))}
    refused = judge(evidence(**changes), params=PARAMS)
    assert not refused.allowed
    assert refused.overriding() == refused
