"""Slices: the same model on men and women, old and young, each device; said only where the records can say it."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from vizecg.signals import QUALITY_FLAGS
from vizecg.slices import ANY_FLAG, UNSTATED, Slice, score_slices, slices_of, summary, write_slices

CODES = ("A", "B")


def case(seed, *, records=400, worse=0.0):
    """Labels and probabilities; in the first half the signal is weaker by `worse`."""
    rng = np.random.default_rng(seed)
    labels = rng.random((records, 2)) < [0.5, 0.3]
    strength = np.where(np.arange(records) < records // 2, 2.0 - worse, 2.0)[:, None]
    return labels, 1 / (1 + np.exp(-(rng.normal(size=(records, 2)) + strength * labels - 1)))


def half(records=400):
    chosen = np.arange(records) < records // 2
    return Slice(kind="sex", value="male", chosen=chosen, rest=~chosen)


def scored(labels, said, *slices, **changes):
    arguments = {"codes": CODES, "patient_ids": np.arange(len(labels)), "resamples": 200}
    return score_slices(labels, said, slices=slices, **(arguments | changes))


def table(**changes):
    rows = 4
    columns = {
        "sex": ["male", "female", "female", "unknown"],
        "age_band": ["90+", "40-49", "90+", "unknown"],
        "device": ["CS-12", "", "CS-12", "  "],
        "site": ["0", "1", "0", "0"],
        "has_signal": [True, True, True, False],
        **{flag: [False] * rows for flag in QUALITY_FLAGS},
    }
    return pd.DataFrame(columns | changes)


def test_every_value_that_occurs_is_a_slice_and_90_and_above_is_one_band():
    found = {(part.kind, part.value): part for part in slices_of(table())}
    assert {value for kind, value in found if kind == "sex"} == {"male", "female", "unknown"}
    assert {value for kind, value in found if kind == "age"} == {"90+", "40-49", "unknown"}
    assert found["age", "90+"].chosen.tolist() == [True, False, True, False]
    assert found["age", "90+"].rest.tolist() == [False, True, False, True]
    assert {value for kind, value in found if kind == "site"} == {"0", "1"}
    assert found["device", UNSTATED].chosen.tolist() == [False, True, False, True]


def test_every_quality_flag_is_a_slice_and_paper_is_on_neither_side_of_it():
    flags = table(noisy=[True, False, False, True], clipped=[False, True, False, False])
    found = {part.value: part for part in slices_of(flags) if part.kind == "quality"}
    assert set(found) == {ANY_FLAG, *QUALITY_FLAGS}
    assert found["noisy"].chosen.tolist() == [True, False, False, False]
    assert found["noisy"].rest.tolist() == [False, True, True, False]
    assert found[ANY_FLAG].chosen.tolist() == [True, True, False, False]


def test_auroc_and_difference_of_a_slice_are_those_of_scikit_learn():
    labels, said = case(0, worse=1.0)
    (found,) = scored(labels, said, half())
    within = [roc_auc_score(labels[:200, k], said[:200, k]) for k in range(2)]
    rest = [roc_auc_score(labels[200:, k], said[200:, k]) for k in range(2)]
    assert found.auroc.value == pytest.approx(np.mean(within))
    assert [found.class_auroc[code].value for code in CODES] == pytest.approx(within)
    assert found.difference.value == pytest.approx(np.mean(within) - np.mean(rest))
    assert (found.records, found.patients, found.classes, found.reason) == (200, 200, CODES, None)
    assert found.positives == dict(zip(CODES, labels[:200].sum(axis=0).tolist(), strict=True))


def test_a_slice_where_the_model_is_worse_is_found_and_one_where_it_is_not_is_not():
    labels, said = case(1, worse=1.2)
    rng = np.random.default_rng(0)
    mixed = rng.random(400) < 0.5
    worse, same = scored(labels, said, half(), Slice(kind="site", value="0", chosen=mixed, rest=~mixed))
    assert worse.difference.low < worse.difference.value < worse.difference.high < 0
    assert worse.p_holm < 0.05
    assert same.difference.low < 0 < same.difference.high
    assert same.p_holm > 0.05
    assert summary([worse, same])["beyond_chance"] == ["sex male"]


def test_differences_of_equal_slices_cover_0_as_often_as_they_say():
    inside, significant = 0, 0
    for trial in range(100):
        labels, said = case([trial, 3], records=200)
        (found,) = scored(labels, said, half(200), seed=trial)
        inside += found.difference.low <= 0 <= found.difference.high
        significant += found.p <= 0.05
    assert 0.88 <= inside / 100 <= 1
    assert significant / 100 <= 0.12


def test_p_values_are_corrected_for_how_many_slices_were_asked_about():
    labels, said = case(2, worse=0.6)
    (alone,) = scored(labels, said, half())
    rng = np.random.default_rng(1)
    others = [
        Slice(kind="site", value=str(n), chosen=part, rest=~part) for n, part in enumerate(rng.random((4, 400)) < 0.5)
    ]
    found = scored(labels, said, half(), *others)
    assert found[0].p == alone.p == alone.p_holm
    assert found[0].p_holm == pytest.approx(min(1.0, 5 * alone.p))


def test_a_slice_too_small_says_so_and_has_no_number():
    labels, said = case(3)
    few = np.arange(400) < 29
    (found,) = scored(labels, said, Slice(kind="age", value="90+", chosen=few, rest=~few))
    assert found.reason == "29 records, at least 30 are needed"
    assert (found.auroc.value, found.difference.value, found.p, found.p_holm) == (None,) * 4
    assert found.records == 29


def test_a_slice_without_ten_of_each_of_any_class_says_so():
    labels, said = case(4)
    labels[:200] = np.arange(200)[:, None] < 9
    (found,) = scored(labels, said, half())
    assert found.reason == "no class has 10 positive and as many negative records in it"
    assert found.auroc.value is None


def test_a_class_that_a_slice_cannot_say_is_left_out_on_both_sides():
    labels, said = case(5)
    labels[:200, 1] = False
    (found,) = scored(labels, said, half())
    assert found.classes == found.compared == ("A",)
    expected = [roc_auc_score(labels[part, 0], said[part, 0]) for part in (slice(200), slice(200, None))]
    assert found.difference.value == pytest.approx(expected[0] - expected[1])


@pytest.mark.parametrize("change", ["nobody else", "29 others", "no class in common"])
def test_a_slice_without_a_rest_has_an_auroc_and_no_difference(change):
    labels, said = case(6)
    if change == "nobody else":
        everybody = np.ones(400, dtype=bool)
        part = Slice(kind="site", value="0", chosen=everybody, rest=~everybody)
    elif change == "29 others":
        most = np.arange(400) < 371
        labels[371:] = np.arange(29)[:, None] < 14
        part = Slice(kind="site", value="0", chosen=most, rest=~most)
    else:
        labels[200:] = False
        part = half()
    (found,) = scored(labels, said, part)
    assert found.auroc.value is not None
    assert (found.difference.value, found.p) == (None, None)
    assert found.reason == "too few other records to compare with"


def test_records_of_a_patient_are_drawn_together():
    labels, said = case(7, records=200)
    twice = [np.repeat(part, 2, axis=0) for part in (labels, said)]
    chosen = np.repeat(np.arange(200) < 100, 2)
    part = Slice(kind="sex", value="male", chosen=chosen, rest=~chosen)
    by_patient, by_record = (
        scored(*twice, part, patient_ids=ids, resamples=1500)[0].difference
        for ids in (np.repeat(np.arange(200), 2), np.arange(400))
    )
    assert (by_patient.high - by_patient.low) / (by_record.high - by_record.low) == pytest.approx(np.sqrt(2), rel=0.1)


def test_a_slice_of_one_patient_has_an_interval_of_no_width():
    # However often that patient is drawn, the slice is the same records; those of others do not move it.
    labels, said = case(10)
    chosen = np.arange(400) >= 200
    part = Slice(kind="site", value="0", chosen=chosen, rest=~chosen)
    (found,) = scored(labels, said, part, patient_ids=np.where(chosen, -1, np.arange(400)))
    assert (found.auroc.low, found.auroc.high) == (pytest.approx(found.auroc.value),) * 2
    assert found.difference.low < found.difference.high


def test_both_files_say_the_same(tmp_path):
    labels, said = case(8, worse=0.5)
    few = np.arange(400) < 5
    found = scored(labels, said, half(), Slice(kind="age", value="90+", chosen=few, rest=~few))
    write_slices(tmp_path, found, codes=CODES, limits={"min_records": 30, "min_scored": 10})
    content = json.loads((tmp_path / "slices.json").read_text())
    with (tmp_path / "slices.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert (content["min_records"], content["min_scored"]) == (30, 10)
    for row, entry in zip(rows, content["slices"], strict=True):
        assert (row["kind"], row["value"], int(row["records"])) == (entry["kind"], entry["value"], entry["records"])
        for name in ("auroc", "auroc_low", "difference", "difference_high", "p", "p_holm"):
            assert (float(row[name]) if row[name] else None) == pytest.approx(entry[name], rel=1e-5), name
        assert int(row["positives_B"]) == entry["positives"]["B"]
    assert rows[1]["reason"] == "5 records, at least 30 are needed"
    assert rows[0]["classes"] == "A B"


def test_the_summary_names_the_lowest_and_counts_those_too_small():
    labels, said = case(9, worse=1.5)
    few = np.arange(400) < 5
    other = half()
    found = scored(
        labels, said, half(), Slice(kind="sex", value="female", chosen=other.rest, rest=other.chosen),
        Slice(kind="age", value="90+", chosen=few, rest=~few),
    )  # fmt: skip
    said_of = summary(found)
    assert (said_of["scored"], said_of["too_small"], said_of["lowest"]) == (2, 1, "sex male")
    assert said_of["lowest_auroc"] == found[0].auroc.value
    assert summary([])["lowest"] is None
