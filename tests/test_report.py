import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vizecg.report import Scored, reliability, write_figures, write_tables


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
    roc = pd.read_csv(tmp_path / "roc_class 0.csv")
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
        assert len(pd.read_csv(tmp_path / f"{name}_class 0.csv"))
        assert pd.read_csv(tmp_path / f"{name}_class 1.csv").empty


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
