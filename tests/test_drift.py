"""Drift by numbers alone: what chance does is not called drift, what is not chance is."""

import math

import numpy as np
import pytest
from scipy import stats

from vizecg.audit import ImageStatistics
from vizecg.drift import Measure, Params, holm, psi, shifts_of
from vizecg.errors import InputError
from vizecg.reference import MOST_VALUES, describe, read_reference, write_reference

PARAMS = Params(days=28, minimum_pictures=30, bins=10, psi_limit=0.2, alpha=0.01, minimum_confirmed=50, resamples=200,
                cool_down_days=7, seed=7)  # fmt: skip


def measure(reference, window, **more):
    return Measure(name="light", kind="picture", reference=np.asarray(reference), window=np.asarray(window), **more)


def one(reference, window, *, params=PARAMS, **more):
    (shift,) = shifts_of([measure(reference, window, **more)], params=params)
    return shift


def test_the_index_is_that_of_the_textbook():
    # 0.3 against 0.5: (0.5 - 0.3) ln(0.5 / 0.3), and 0.7 against 0.5: (0.5 - 0.7) ln(0.5 / 0.7).
    expected = 0.2 * math.log(0.5 / 0.3) - 0.2 * math.log(0.5 / 0.7)
    assert psi(np.array([300_000, 700_000]), np.array([500_000, 500_000])) == pytest.approx(expected, abs=1e-5)


def test_holm_is_that_of_the_textbook():
    # Holm 1979, by hand: 0.01 × 4, then 0.013 × 3 which must not be less, 0.03 × 2, 0.04 × 1.
    assert holm([0.03, 0.01, 0.04, 0.013]) == pytest.approx([0.06, 0.04, 0.06, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_by_chance_the_index_is_what_theory_says_of_sets_of_this_size():
    # With both sets from one source it is (1/n + 1/m) times chi squared of bins - 1 degrees (Yurdakul 2018).
    rng = np.random.default_rng(1)
    shift = one(rng.normal(size=400), rng.normal(size=300))
    scale = 1 / 400 + 1 / 300
    assert shift.psi_by_chance == pytest.approx(9 * scale, rel=0.05)
    assert shift.psi_noticed == pytest.approx(stats.chi2.ppf(0.99, 9) * scale, rel=0.08)
    assert shift.ks == pytest.approx(stats.ks_2samp(*normals(1, 400, 300)).statistic)


def normals(seed, *sizes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=size) for size in sizes]


def test_of_a_hundred_small_windows_of_the_same_source_hardly_one_is_called_changed():
    params = PARAMS.model_copy(update={"alpha": 0.05, "psi_limit": 0.01})
    called = 0
    for seed in range(100):
        rng = np.random.default_rng([2, seed])
        measures = [measure(rng.normal(size=60), rng.normal(size=40)) for _ in range(3)]
        called += any(shift.result == "changed" for shift in shifts_of(measures, params=params))
    # 0.05 for all three measures together: 11 or fewer in 100 with a probability of .996.
    assert called <= 11


@pytest.mark.parametrize(
    ("reference", "window", "more"),
    [
        pytest.param(np.linspace(0, 1, 60), np.linspace(0.7, 1.7, 60), {}, id="moved"),
        pytest.param(np.linspace(0, 1, 60), np.linspace(0.45, 0.55, 60), {}, id="narrower"),
        pytest.param(np.linspace(0, 1, 60), np.full(60, np.nan), {}, id="no-number-any-more"),
        pytest.param(np.zeros(60), np.ones(60), {"categories": True}, id="another-category"),
        pytest.param(np.zeros(60), np.full(60, 1e-3), {}, id="two-constants"),
    ],
)
def test_what_has_moved_is_called_changed(reference, window, more):
    shift = one(reference, window, **more)
    assert (shift.result, shift.reference, shift.window) == ("changed", 60, 60)
    assert shift.psi - shift.psi_by_chance > 1
    assert shift.p < 0.01


def test_a_constant_that_stays_is_not_changed():
    shift = one(np.full(60, 25.0), np.full(50, 25.0))
    assert (shift.result, shift.psi, shift.ks, shift.p) == ("not changed", 0, 0, 1)


def test_what_is_certain_but_small_is_not_called_changed():
    shift = one(*(side + at * 0.15 for at, side in enumerate(normals(3, 5000, 5000))))
    assert shift.p < 1e-3
    assert 0 < shift.psi < 0.2
    assert shift.result == "not changed"


def test_few_pictures_are_not_decided():
    shift = one(np.zeros(60), np.ones(29))
    assert (shift.result, shift.psi, shift.p) == ("not enough data", None, None)


def test_many_measures_are_corrected_together():
    same = measure(*normals(4, 60, 60))
    alone = one(np.linspace(0, 1, 60), np.linspace(0.18, 1.18, 60))
    among = shifts_of([measure(np.linspace(0, 1, 60), np.linspace(0.18, 1.18, 60)), *[same] * 40], params=PARAMS)
    assert among[0].p > 5 * alone.p


def image(**changes):
    numbers = dict.fromkeys(set(ImageStatistics.model_fields) - {"scale_from"}, 1.0)
    return ImageStatistics(scale_from="grid", **{**numbers, **changes})


def test_a_reference_keeps_the_distribution_of_each_measure_and_no_row_of_any_patient(tmp_path):
    light = np.random.default_rng(5).permutation(np.arange(5000) / 5000)
    images = [image(light=float(value), mm_per_mv=None if at % 5 == 0 else 10.0) for at, value in enumerate(light)]
    reference = describe(of="pictures", images=images, rejected=3, probabilities={"MI": light, "NORM": 1 - light})
    write_reference(tmp_path / "reference.json", reference)
    read = read_reference(tmp_path / "reference.json")
    assert read == reference
    assert (read.pictures, read.rejected, read.scale_from) == (5000, 3, {"grid": 5000})
    kept = read.images["light"].array()
    assert len(kept) == MOST_VALUES
    assert stats.ks_2samp(kept, light).statistic < 0.002
    # Each is sorted by itself: what belonged together cannot be found again.
    assert np.all(np.diff(kept) > 0)
    assert np.all(np.diff(read.probabilities["NORM"].array()) > 0)
    pulses = read.images["mm_per_mv"]
    assert (set(pulses.values), len(pulses.values), pulses.missing) == ({10.0}, 800, 200)


def test_what_is_no_reference_is_one_sentence_and_what_is_not_there_none(tmp_path):
    assert read_reference(tmp_path / "reference.json") is None
    (tmp_path / "reference.json").write_text('{"schema_version": 2}')
    with pytest.raises(InputError, match=r"is no reference: schema_version: .*; register the model again"):
        read_reference(tmp_path / "reference.json")
