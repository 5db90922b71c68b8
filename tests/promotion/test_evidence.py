"""Both models on the same pages of fold 10, by the predictor that serves."""

from dataclasses import replace

import numpy as np
import pytest

from vizecg import publish
from vizecg.errors import InputError
from vizecg.intake import CanonicalSpec
from vizecg.labels import TASKS
from vizecg.page import draw_page, encode_png
from vizecg.pages import PAGE_SET, DrawnPage, PageRecipe, write_pages
from vizecg.pages import SCHEMA_VERSION as PAGES_VERSION
from vizecg.predictor import Predictor
from vizecg.promotion import gather_evidence
from vizecg.records import RECORD_SET, SCHEMA_VERSION, Age, Provenance, Record, writing_record_set

TASK = TASKS["superdiagnostic"]
CODES = TASK.codes
SPEC = CanonicalSpec(height_px=32, width_px=48, px_per_mm=1.5)
RECIPE = PageRecipe(style="standard", camera="clean", copies=2, upload_px_per_mm=4.0, seed=1, spec=SPEC)
FOLDS = (1, 10, 9, 10, 10)
LABELS = (("NORM",), ("MI", "CD"), ("NORM",), (), ("HYP",))


def write_records(folder, *, folds=FOLDS, on_paper=()):
    source = Provenance(uri="tests", simulated=True, digest="0" * 64)
    with writing_record_set(folder, task=TASK, sampling_hz=100, samples=1000, source=source) as writer:
        for row, fold in enumerate(folds):
            record = Record(
                ecg_id=100 + row,
                source="tests",
                name=f"record {row}",
                patient_id=7 + row // 2,
                age=Age.of(50),
                sex="female",
                site="1",
                device="CS100",
                recorded_at=None,
                fold=fold,
                classes=LABELS[row],
            )
            wave = 1000 * np.sin(np.arange(1000) / (9 + row))
            signals_uv = np.tile(wave.astype(np.int16), (12, 1))
            if row in on_paper:
                page = draw_page(signals_uv / 1000, sampling_hz=100, px_per_mm=RECIPE.upload_px_per_mm)
                writer.add(record, signals_uv=None, upload=encode_png(page))
            else:
                writer.add(record, signals_uv=signals_uv)
    return folder


def write_page_set(folder, *, records, folds=FOLDS):
    digest = publish.read_manifest(records, kind=RECORD_SET, schema_version=SCHEMA_VERSION).digest
    rng = np.random.default_rng(3)
    pages = [
        DrawnPage(
            canonical=rng.integers(0, 256, (SPEC.height_px, SPEC.width_px), dtype=np.uint8),
            entry={"row": row, "ecg_id": 100 + row, "copy": copy},
        )
        for row in range(len(folds))
        for copy in range(2)
    ]
    with publish.publishing(folder, kind=PAGE_SET, schema_version=PAGES_VERSION) as staging:
        write_pages(staging, iter(pages), total=len(pages), recipe=RECIPE, records_digest=digest)
    return [page.canonical for page in pages]


@pytest.fixture
def data(tmp_path):
    records = write_records(tmp_path / "records")
    drawn = write_page_set(tmp_path / "pages", records=records)
    return records, tmp_path / "pages", drawn


def test_both_are_asked_about_the_standard_pages_of_the_labelled_records_of_fold_ten(data, make_bundle):
    records, pages, drawn = data
    first, second = make_bundle("first", seed=1), make_bundle("second", seed=2, simulated=False)
    evidence = gather_evidence(second, first, records=records, pages=pages)
    # Rows 1, 3 and 4 are of fold 10; row 3 has no class of the task. Copy 0 of row n is page 2 n.
    asked = np.stack([drawn[2], drawn[8]])
    for candidate, bundle in ((evidence.challenger, second), (evidence.champion, first)):
        predictor = Predictor.load(bundle)
        expected = 1 / (1 + np.exp(-predictor.model.logits(asked).astype(float)))  # slope 1, bias 0
        np.testing.assert_allclose(candidate.probabilities, expected, rtol=1e-6)
    assert evidence.labels.tolist() == [[False, True, False, True, False], [False, False, False, False, True]]
    assert evidence.patient_ids.tolist() == [7, 9]
    assert (evidence.challenger.simulated, evidence.champion.simulated) == (False, True)


def test_groups_are_those_of_the_records_and_cameras_show_both_models_the_same_photographs(data, make_bundle):
    records, pages, _ = data
    first, second = make_bundle("first", seed=1), make_bundle("second", seed=2)
    how = {"records": records, "pages": pages, "cameras": ["scan", "photo"]}
    evidence = gather_evidence(second, first, **how)
    assert {kind: list(values) for kind, values in evidence.groups.items()} == {
        "sex": ["female"], "age": ["50-59"], "device": ["CS100"], "site": ["1"]
    }  # fmt: skip
    assert evidence.groups["sex"]["female"].tolist() == [True, True]
    assert [found.camera for found in evidence.cameras] == ["scan", "photo"]
    scan, photo = evidence.cameras
    assert scan.at.tolist() == [0, 1]
    assert not np.allclose(scan.challenger, photo.challenger)
    assert not np.allclose(scan.challenger, scan.champion)
    # Asked the other way round each says the same of the same photographs.
    swapped = gather_evidence(first, second, **how)
    np.testing.assert_array_equal(swapped.cameras[1].champion, photo.challenger)
    one = gather_evidence(second, None, **how, camera_records=1).cameras[0]
    assert one.champion is None
    np.testing.assert_array_equal(one.challenger[0], scan.challenger[one.at[0]])


def test_records_that_came_on_paper_are_sent_through_no_camera(make_bundle, tmp_path):
    paper = write_records(tmp_path / "paper", on_paper=(1, 4))
    write_page_set(tmp_path / "paper-pages", records=paper)
    how = {"records": paper, "pages": tmp_path / "paper-pages", "cameras": ["scan"]}
    assert gather_evidence(make_bundle("only"), None, **how).cameras == ()


def test_without_a_champion_only_the_challenger_is_asked(data, make_bundle):
    records, pages, _ = data
    assert gather_evidence(make_bundle("only"), None, records=records, pages=pages).champion is None


def test_labels_follow_the_order_of_the_models_classes(data, make_bundle):
    records, pages, _ = data
    evidence = gather_evidence(make_bundle("two", codes=("HYP", "MI")), None, records=records, pages=pages)
    assert evidence.labels.tolist() == [[False, True], [True, False]]


def test_a_champion_of_another_input_size_is_asked_about_the_same_records_at_its_own(data, make_bundle):
    records, pages, _ = data
    larger = make_bundle("larger", spec=replace(SPEC, height_px=48, width_px=64))
    evidence = gather_evidence(make_bundle("new", seed=1), larger, records=records, pages=pages)
    assert evidence.champion.probabilities.shape == (2, len(CODES))
    assert len(np.unique(evidence.champion.probabilities, axis=0)) == 2  # two different records


def test_a_champion_of_another_input_size_sees_the_paper_of_a_record_that_came_on_it(data, make_bundle, tmp_path):
    records, pages, _ = data
    paper = write_records(tmp_path / "paper", on_paper=(1, 4))
    write_page_set(tmp_path / "paper-pages", records=paper)
    larger, new = make_bundle("larger", spec=replace(SPEC, height_px=48, width_px=64)), make_bundle("new", seed=1)
    drawn = gather_evidence(new, larger, records=records, pages=pages)
    printed = gather_evidence(new, larger, records=paper, pages=tmp_path / "paper-pages")
    np.testing.assert_array_equal(drawn.champion.probabilities, printed.champion.probabilities)


def test_a_challenger_of_another_task_is_told_so(data, make_bundle):
    records, pages, _ = data
    other = make_bundle("other", task="rhythm")
    with pytest.raises(
        InputError,
        match=r"answers the task rhythm, the labels of .* are those of superdiagnostic; judge it on records of its own",
    ):
        gather_evidence(other, None, records=records, pages=pages)


def test_a_champion_of_another_task_is_asked_and_left_to_the_gates(data, make_bundle):
    records, pages, _ = data
    evidence = gather_evidence(make_bundle("new"), make_bundle("old", task="rhythm"), records=records, pages=pages)
    assert (evidence.challenger.task, evidence.champion.task) == ("superdiagnostic", "rhythm")
    assert evidence.champion.probabilities.shape == (2, 12)


def test_pages_of_other_records_are_refused(data, make_bundle, tmp_path):
    _, pages, _ = data
    others = write_records(tmp_path / "others", folds=(10, 10))
    with pytest.raises(InputError, match=r"pages was drawn from other records than .*others; run render again"):
        gather_evidence(make_bundle("only"), None, records=others, pages=pages)


def test_a_record_set_without_a_test_fold_is_refused(make_bundle, tmp_path):
    records = write_records(tmp_path / "records", folds=(1, 9))
    write_page_set(tmp_path / "pages", records=records, folds=(1, 9))
    with pytest.raises(InputError, match="has no labelled record in fold 10, so no model can be judged on it"):
        gather_evidence(make_bundle("only"), None, records=records, pages=tmp_path / "pages")
