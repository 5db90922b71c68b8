import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vizecg.labels import TASKS, slug
from vizecg.report import Line, Scored, reliability, write_figures, write_tables


def scored(labels, probabilities):
    count = labels.shape[1]
    return Scored(
        codes=[f"class {k}" for k in range(count)],
        labels=labels,
        probabilities=probabilities,
        thresholds=np.full(count, 0.5),
        note="made up",
    )


@pytest.fixture
def four_records():
    labels = np.array([[0, 0], [0, 0], [1, 0], [1, 0]], np.uint8)
    return scored(labels, np.array([[0.1, 0.2], [0.6, 0.2], [0.4, 0.2], [0.9, 0.2]]))


def test_the_roc_of_four_records_is_the_one_drawn_by_hand(four_records, tmp_path):
    write_tables(tmp_path, four_records)
    roc = pd.read_csv(tmp_path / "roc_class-0.csv")
    assert list(zip(roc["false_positive_rate"], roc["true_positive_rate"], strict=True)) == [
        (0.0, 0.0),
        (0.0, 0.5),
        (0.5, 0.5),
        (0.5, 1.0),
        (1.0, 1.0),
    ]


def test_a_class_without_positives_has_no_curve(four_records, tmp_path):
    write_tables(tmp_path, four_records)
    for name in ("roc", "precision_recall", "reliability"):
        assert len(pd.read_csv(tmp_path / f"{name}_class-0.csv"))
        assert pd.read_csv(tmp_path / f"{name}_class-1.csv").empty


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_codes_of_a_task_make_distinct_names_of_files_and_metrics(task):
    slugs = [slug(code) for code in task.codes]
    assert len({name.lower() for name in slugs}) == len(task.codes)  # some file systems do not tell A from a
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in slugs)


def test_codes_that_are_no_file_names_are_written_all_the_same(four_records, tmp_path):
    write_tables(tmp_path, replace(four_records, codes=["LAO/LAE", "PRC(S)"]))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{kind}_{name}.csv" for kind in ("roc", "precision_recall", "reliability") for name in ("LAO-LAE", "PRC-S")
    }


@pytest.fixture
def all_statements():
    """The largest task on a small fold: a few common classes, many of one record, some of none."""
    codes = TASKS["all"].codes
    rng = np.random.default_rng(0)
    labels = (rng.random((60, len(codes))) < np.linspace(0.4, 0, len(codes))).astype(np.uint8)
    return Scored(
        codes=codes,
        labels=labels,
        probabilities=rng.random(labels.shape),
        thresholds=np.full(len(codes), 0.5),
        note="made up",
        intervals=[(0.4, 0.9)] * len(codes),
    )


def test_figures_of_71_classes_fit_a_screen(all_statements, tmp_path):
    write_figures(tmp_path, all_statements)
    for path in tmp_path.iterdir():
        with Image.open(path) as opened:
            assert opened.width <= 2000
            assert opened.height <= 2400


def test_a_fold_that_defines_no_curve_has_figures_all_the_same(four_records, tmp_path):
    write_figures(tmp_path, replace(four_records, labels=np.zeros((4, 2), np.uint8)))
    assert len(list(tmp_path.iterdir())) == 7


def test_only_the_commonest_classes_have_a_colour_and_a_name(all_statements):
    lines = all_statements.lines()
    named = [line for line in lines if line.code is not None]
    assert len(named) == len({line.colour for line in named}) == 7
    assert len(lines) == len(all_statements.drawable())
    positives = all_statements.labels.sum(axis=0)
    rarest_named = min(positives[line.column] for line in named)
    assert all(positives[line.column] <= rarest_named for line in lines if line.code is None)
    assert [line.code for line in lines[-7:]] == [line.code for line in named]  # drawn above the others


def test_a_code_that_begins_with_an_underscore_is_in_the_legend():
    assert Line(column=0, code="_AVB", colour="k").label(" (0.9)") == " _AVB (0.9)"


def test_reliability_bins_hold_equally_many_records():
    rng = np.random.default_rng(0)
    said = rng.random(1000)
    bins = reliability((rng.random(1000) < said).astype(np.uint8), said)
    assert [count for _, _, count in bins] == [100] * 10
    for mean_probability, observed_share, _ in bins:
        assert observed_share == pytest.approx(mean_probability, abs=0.15)


def test_equal_scores_are_equal_files(four_records, tmp_path):
    for name in ("one", "two"):
        write_figures(tmp_path / name, four_records)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        with Image.open(path) as opened:
            assert min(opened.size) > 300
