"""Other paper and other cameras, each against the clean standard page of the same record; and what a sceptic asks."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vizecg import controls, intake, robustness
from vizecg.errors import InputError
from vizecg.executors import InlineExecutor
from vizecg.intake import CanonicalSpec
from vizecg.labels import TASKS
from vizecg.page import STANDARD
from vizecg.pages import PageRecipe, draw_pages, make_unlettered_upload, make_upload
from vizecg.pages.foreign import make_ecg_plot_upload
from vizecg.predictor import Outputs
from vizecg.records import Age, Provenance, Record, read_record_set, writing_record_set
from vizecg.robustness import REFERENCE, Condition
from vizecg.simulate.recording import record
from vizecg.textbook import expected_classes, textbook_pages

TASK = TASKS["superdiagnostic"]
SPEC = CanonicalSpec()
RECIPE = PageRecipe(style=STANDARD.name, camera="scan", copies=2, upload_px_per_mm=4.0, seed=7, spec=SPEC)
STATEMENTS = {"NORM": "NORM", "MI": "IMI", "STTC": "NDT", "CD": "CLBBB", "HYP": "LVH"}
PER_CLASS = 6
RESAMPLES = 200


@pytest.fixture(scope="module")
def record_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness") / "records"
    source = Provenance(uri="folder:made-up", simulated=True, digest="d" * 64)
    with writing_record_set(folder, task=TASK, sampling_hz=100, samples=1000, source=source) as writer:
        for ecg_id in range(1, 5 * PER_CLASS + 1):
            code = TASK.codes[ecg_id % 5]
            heart = record((STATEMENTS[code],), patient=(2, ecg_id), visit=(2, ecg_id))
            entry = Record(
                ecg_id=ecg_id,
                source="folder:made-up",
                name=f"record {ecg_id}",
                patient_id=ecg_id,
                age=Age.of(50.0),
                sex="female",
                site="0",
                device="made up",
                recorded_at=None,
                fold=10,
                classes=(code,),
            )
            writer.add(entry, signals_uv=heart.low_uv.astype(np.int16))
    return read_record_set(folder)


@pytest.fixture(scope="module")
def executor():
    with InlineExecutor() as inline:
        yield inline


class InkReader:
    """A model whose logit of every class is how much ink lies in chosen cells of the page, and says so."""

    def __init__(self, weights, *, says=None):
        self.weights = weights
        self.says = weights if says is None else says

    def run(self, canonical):
        pages, height, width = canonical.shape
        rows, columns = self.weights.shape
        ink = 255.0 - canonical
        cells = ink.reshape(pages, rows, height // rows, columns, width // columns).mean(axis=(2, 4))
        logits = (cells * self.weights).mean(axis=(1, 2))
        evidence = cells * self.says
        return Outputs(
            logits=np.repeat(logits[:, None], 5, axis=1).astype(np.float32),
            evidence=np.repeat(evidence[:, None], 5, axis=1).astype(np.float32),
        )

    def logits(self, canonical):
        return self.run(canonical).logits


class Oracle:
    """Answers by the order it is asked in, whatever is on the page: right in the calls named, else by chance."""

    def __init__(self, labels, *, right_in):
        self.labels, self.right_in, self.calls = labels, right_in, 0
        self.rng = np.random.default_rng(0)

    def logits(self, canonical):
        said = self.rng.normal(size=(len(canonical), 5))
        if self.calls in self.right_in:
            said += 3.0 * self.labels
        self.calls += 1
        return said.astype(np.float32)


def asking(record_set, network):
    rows = record_set.rows(folds=[10])
    return controls.Asking(
        network=network, record_set=record_set, rows=rows, recipe=RECIPE, resamples=RESAMPLES, seed=3
    )


def canonical(record_set, executor, *, make=make_upload, copies=(0,), recipe=RECIPE, rows=None):
    rows = record_set.rows(folds=[10]) if rows is None else rows
    pages = draw_pages(record_set, rows=rows, copies=copies, recipe=recipe, executor=executor, make=make)
    return np.stack([page.canonical for page in pages])


# Robustness.


def test_every_style_meets_every_camera_once_and_the_clean_standard_page_comes_first():
    found = robustness.conditions([STANDARD.name, "drawn"], ["clean", "photo"])
    assert [(each.style, each.camera) for each in found] == [
        (STANDARD.name, "clean"),
        (STANDARD.name, "photo"),
        ("drawn", "clean"),
        ("drawn", "photo"),
    ]


@pytest.mark.parametrize(
    ("style", "camera", "message"),
    [("papyrus", "clean", "there is no style 'papyrus'; known: "), ("drawn", "telex", "there is no camera 'telex'")],
)
def test_an_unknown_condition_is_refused(style, camera, message):
    with pytest.raises(InputError, match=message):
        robustness.conditions([style], [camera])


def test_pages_of_a_program_that_is_not_installed_are_refused_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"need the package ecg_plot: pip install"):
        Condition(style="ecg_plot", camera="clean")


def test_a_model_that_only_the_clean_page_shows_the_answer_to_is_found_out(record_set, executor):
    rows = record_set.rows(folds=[10])
    labels = record_set.labels()[rows]
    network = Oracle(labels, right_in={0})
    reference, other = (
        robustness.read(network, each, record_set=record_set, rows=rows, recipe=RECIPE, executor=executor)
        for each in (REFERENCE, Condition(style="12x1", camera="clean"))
    )
    how = {
        "labels": labels,
        "patient_ids": rows,
        "codes": TASK.codes,
        "resamples": RESAMPLES,
        "seed": 1,
    }
    cell = robustness.compare(other, reference, **how)
    itself = robustness.compare(reference, reference, **how)
    assert (itself.difference, itself.low) == (None, None)
    assert itself.auroc > 0.95
    assert cell.difference == pytest.approx(cell.auroc - itself.auroc)
    assert cell.high < -0.1
    assert (cell.records, cell.refused, cell.classes) == (30, 0, TASK.codes)


def test_pages_of_a_layout_and_a_paper_speed_are_scored_against_the_standard_pages_of_their_records():
    rng = np.random.default_rng(2)
    labels = (rng.random((60, 2)) < 0.4).astype(np.uint8)
    layouts = np.array(["3x4"] * 40 + ["6x2"] * 20)
    right, wrong = labels + rng.normal(0, 0.1, labels.shape), rng.normal(size=labels.shape)
    only_3x4 = np.where((layouts == "3x4")[:, np.newaxis], right, wrong).astype(np.float32)

    def reading(condition, logits):
        speeds = np.where(np.arange(60) < 50, 25.0, 50.0)
        return robustness.Reading(
            condition=condition, logits=logits, is_ecg=np.ones(60, bool), layouts=layouts, mm_per_s=speeds
        )

    reference = reading(REFERENCE, right.astype(np.float32))
    readings = [reading(Condition(style="drawn", camera=camera), only_3x4) for camera in ("clean", "scan")]
    how = {"labels": labels, "patient_ids": np.arange(60), "codes": ("A", "B"), "resamples": RESAMPLES, "seed": 1}
    found = robustness.by_paper([reference, *readings], reference, min_records=20, **how)
    parts = {(part.kind, part.value): part for part in found}
    assert list(parts) == [("layout", "3x4"), ("layout", "6x2"), ("mm/s", "25"), ("mm/s", "50")]
    assert (parts["layout", "3x4"].records, parts["layout", "3x4"].pages) == (40, 80)
    assert parts["layout", "3x4"].difference == pytest.approx(0)
    twice = np.tile(np.arange(40, 60), 2)
    expected = np.mean([roc_auc_score(labels[twice, k], only_3x4[twice, k]) for k in range(2)])
    assert parts["layout", "6x2"].auroc == pytest.approx(expected)
    assert parts["layout", "6x2"].high < 0
    assert parts["mm/s", "50"].reason == "10 records, at least 20 are needed"
    assert parts["mm/s", "50"].auroc is None
    assert robustness.by_paper([reference], reference, min_records=20, **how) == []


def test_layouts_are_those_of_the_catalogue(record_set, executor):
    rows = record_set.rows(folds=[10])[:2]
    network = Oracle(record_set.labels()[rows], right_in=set())
    for style, layout, mm_per_s in (("12x1", "12x1", 25), ("6x2-50mm-rhythm", "6x2", 50), ("3x4-rhythm", "3x4", 25)):
        condition = Condition(style=style, camera="clean")
        found = robustness.read(network, condition, record_set=record_set, rows=rows, recipe=RECIPE, executor=executor)
        assert found.layouts.tolist() == [layout] * 2
        assert found.mm_per_s.tolist() == [mm_per_s] * 2


def test_records_of_the_matrix_are_drawn_once_and_are_of_the_fold(record_set):
    some = robustness.rows_of(record_set, folds=[10], most=7, seed=5)
    assert len(set(some.tolist())) == 7
    assert some.tolist() == robustness.rows_of(record_set, folds=[10], most=7, seed=5).tolist()
    assert robustness.rows_of(record_set, folds=[10], most=None, seed=5).tolist() == list(range(30))
    assert not len(robustness.rows_of(record_set, folds=[9], most=None, seed=5))


def test_pages_of_ecg_plot_are_taken_in_at_their_true_scale(record_set, executor):
    pages = list(
        draw_pages(record_set, rows=[0, 1], copies=[1], recipe=RECIPE, executor=executor, make=make_ecg_plot_upload)
    )
    assert [page.entry["style"] for page in pages] == ["ecg_plot", "ecg_plot"]
    assert all(page.entry["camera"] == "scan" for page in pages)
    assert all(page.entry["is_ecg"] for page in pages)
    # The camera keeps the sheet's size: 4 pixels a millimetre.
    assert [page.entry["measured_px_per_mm"] for page in pages] == pytest.approx([4.0, 4.0], rel=0.03)


# Controls.


def test_erased_pages_have_everything_but_traces(record_set, executor):
    drawn = canonical(record_set, executor, rows=[0, 1])
    erased = canonical(record_set, executor, rows=[0, 1], make=controls.make_erased_upload)
    assert not np.array_equal(drawn, erased)
    # What is left is the same for every record: a standard page carries no text of its own.
    assert np.array_equal(erased[0], erased[1])
    assert (erased < 90).mean() < 0.3 * (drawn < 90).mean()


def test_a_model_that_needs_the_traces_is_at_chance_without_them(record_set, executor):
    control = controls.without_traces(asking(record_set, Oracle(record_set.labels(), right_in=())), executor=executor)
    assert control.held is True
    assert control.low < 0.5 < control.high


def test_a_model_that_knows_the_answer_without_the_traces_is_found_out(record_set, executor):
    control = controls.without_traces(asking(record_set, Oracle(record_set.labels(), right_in={0})), executor=executor)
    assert control.held is False
    assert control.value > 0.9


def test_a_model_that_reads_the_header_is_found_out(record_set, executor):
    # Asked first with the text, then without.
    honest = controls.without_header(asking(record_set, InkReader(np.ones((6, 12)))), executor=executor)
    reader = controls.without_header(asking(record_set, Oracle(record_set.labels(), right_in={0})), executor=executor)
    assert honest.held is True
    assert reader.held is False
    assert reader.high < 0


def test_a_page_without_header_still_has_its_traces(record_set):
    lettered = draw(record_set, make_upload)
    bare = draw(record_set, make_unlettered_upload)
    ink = [int((intake.decode(page.data) < 100).sum()) for page in (lettered, bare)]
    assert 0.5 * ink[0] < ink[1] < ink[0]


def draw(record_set, make):
    # A style whose pages carry a header.
    recipe = PageRecipe(style="3x4-rhythm", camera="clean", copies=1, upload_px_per_mm=4.0, seed=7, spec=SPEC)
    return make(signal_mv=record_set.signal_mv(0), paper=None, sampling_hz=100, ecg_id=1, copy=0, recipe=recipe)


def test_an_evidence_map_that_tells_the_truth_beats_random_deletion_and_one_that_lies_does_not(record_set, executor):
    pages = canonical(record_set, executor)
    weights = np.zeros((6, 12))
    weights[2, 3:6] = 10.0
    truthful = controls.evidence_by_deletion(asking(record_set, InkReader(weights)), canonical=pages)
    lying = controls.evidence_by_deletion(asking(record_set, InkReader(weights, says=1.0 - weights)), canonical=pages)
    # Where all ink counts alike, the places with least of it matter too, and less than any others.
    everywhere = np.ones((6, 12))
    evasive = controls.evidence_by_deletion(
        asking(record_set, InkReader(everywhere, says=-everywhere)), canonical=pages
    )
    assert truthful.held is True
    assert truthful.low > 0
    assert lying.held is False
    assert evasive.held is False
    assert evasive.high < 0
    assert truthful.records == 30


def test_textbook_pages_belong_to_the_classes_cardiology_gives_them():
    codes = TASK.codes
    assert expected_classes("IMI", task="superdiagnostic", codes=codes) == ("MI",)
    assert expected_classes("CLBBB", task="superdiagnostic", codes=codes) == ("CD",)
    assert expected_classes("NORM", task="superdiagnostic", codes=("MI",)) == ()
    assert expected_classes("IMI", task="somebody's own", codes=codes) == ()
    assert len(set(textbook_pages(3))) == 3
