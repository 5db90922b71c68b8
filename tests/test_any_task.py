"""Records of any task, and pages of paper, all the way to an answer: small sets through the real steps."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from vizecg import bundle as bundles
from vizecg import bundling, contact, evaluation, intake, publish, textbook
from vizecg.batches import at_stream_rate
from vizecg.errors import InputError
from vizecg.labels import TASKS
from vizecg.learning import training_data
from vizecg.operating_point import OperatingPoint
from vizecg.page import draw_page, encode_png
from vizecg.pages import make_upload, read_page_set, take_in, upload_of, uploads
from vizecg.predictor import Predictor
from vizecg.recipe import DistillationParams, ModelConfig
from vizecg.records import Age, Provenance, Record, read_record_set, writing_record_set
from vizecg.simulate import write_database
from vizecg.simulate.recording import record
from vizecg.sources import write_pin
from vizecg.steps import evaluate, ingest, render, train

STATEMENTS = (("NORM", "SR"), ("IMI", "SR"), ("CLBBB", "AFIB"), ("LVH", "STACH"), ("LAFB", "SBRAD"), ("NDT", "PVC"))
FOLDS = (1, 9, 10)
SIMULATED = Provenance(uri="folder:made-up", simulated=True, digest="d" * 64)
TOLERANCE = bundles.GoldenTolerance(gray_levels=2.0, logits=1e-3, probabilities=0.02)
RENDER = render.Params(
    seed=7, copies=2, style="standard", camera="scan", upload_px_per_mm=3.0, px_per_mm=1.0, workers=0
)
TRAIN = train.Params(
    seed=1,
    model=ModelConfig(image_width=4, image_blocks=(1, 1, 1, 1), signal_width=8, signal_blocks=(1,), dim=16, heads=2),
    distillation=DistillationParams(warmup_epochs=0, ramp_epochs=0),
    epochs=1,
    batch_size=4,
    precision="float32",
    threads=1,
)
# One condition beside the reference: what test_evaluation and test_robustness ask of the matrix has no task.
ROBUSTNESS = evaluate.RobustnessParams(records=10, styles=("standard",), cameras=("scan",), workers=0)
EVALUATE = evaluate.Params(
    robustness=ROBUSTNESS, min_positives=2, min_scored=1, abstain_margin=0.0, resamples=100, seed=7, threads=1
)
# It gives the same pictures as the drawn pages do, which is what makes the two comparable.
PAPER_PX_PER_MM = RENDER.upload_px_per_mm


def hearts():
    """(ecg_id, fold, statements, recording), twice each statement in each fold."""
    numbered = enumerate(((fold, said) for fold in FOLDS for said in STATEMENTS for _ in range(2)), start=1)
    for ecg_id, (fold, said) in numbered:
        known = tuple(code for code in said if code in {"NORM", "IMI", "CLBBB", "LVH", "LAFB", "NDT"})
        yield ecg_id, fold, said, record(known, patient=(5, ecg_id), visit=(5, ecg_id))


def an_entry(ecg_id, *, fold, classes):
    return Record(
        ecg_id=ecg_id,
        source=SIMULATED.uri,
        name=f"record {ecg_id}",
        patient_id=ecg_id,
        age=Age.of(50.0),
        sex="female",
        site="0",
        device="made up",
        recorded_at=None,
        fold=fold,
        classes=classes,
    )


def paper_of(heart):
    return encode_png(draw_page(heart.high_uv / 1000, sampling_hz=500, px_per_mm=PAPER_PX_PER_MM))


def no_ecg():
    """A page of something else, as finds its way into every folder of scans."""
    picture = np.full((600, 850, 3), 250, np.uint8)
    cv2.putText(picture, "Arztbrief", (60, 120), cv2.FONT_HERSHEY_SIMPLEX, 2, (20, 20, 20), 3)
    return cv2.imencode(".png", picture)[1].tobytes()


def write_records(folder, *, task="superdiagnostic", on_paper=lambda _: False, sampling_hz=500):
    chosen = TASKS[task]
    with writing_record_set(
        folder, task=chosen, sampling_hz=sampling_hz, samples=10 * sampling_hz, source=SIMULATED
    ) as writer:
        for ecg_id, fold, said, heart in hearts():
            entry = an_entry(ecg_id, fold=fold, classes=chosen.classes_of(said))
            if on_paper(ecg_id):
                writer.add(entry, signals_uv=None, upload=paper_of(heart))
            else:
                writer.add(entry, signals_uv=heart.high_uv if sampling_hz == 500 else heart.low_uv)
    return folder


def learn(folder, records):
    """Render, if nobody has, and train; validation is another step's matter, so its verdict is written here."""
    if not (folder / "pages").exists():
        render.run(RENDER, records=records, pages=folder / "pages")
    record_set, page_set = read_record_set(records), read_page_set(folder / "pages")
    verdict = {"passed": True, "records": record_set.digest, "pages": page_set.digest}
    (folder / "verdict.json").write_text(json.dumps(verdict))
    train.run(
        TRAIN,
        verdict=folder / "verdict.json",
        records=records,
        pages=folder / "pages",
        model_run=folder / "run",
    )
    return folder


def make_model(folder, records):
    """Learn, evaluate and bundle."""
    learn(folder, records)
    evaluate.run(
        EVALUATE,
        records=records,
        pages=folder / "pages",
        model_run=folder / "run",
        evaluation=folder / "evaluation",
        metrics=folder / "metrics.json",
    )
    with publish.publishing(folder / "bundle", kind=bundles.BUNDLE, schema_version=bundles.SCHEMA_VERSION) as staging:
        sources = bundling.build(
            staging, model_run=folder / "run", evaluation=folder / "evaluation", goldens=1, tolerance=TOLERANCE
        )
        bundling.check_torch_agrees(staging, description=sources.description, tolerance=TOLERANCE)
    return folder


@pytest.fixture(scope="module")
def away(tmp_path_factory):
    """No MLflow: a training shows itself there, and says so when it cannot."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIZECG_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        patch.setenv("VIZECG_TRACKING_URI", "http://127.0.0.1:9")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield


# Any task


@pytest.mark.parametrize(
    "task",
    ["rhythm", pytest.param("subdiagnostic", marks=pytest.mark.slow), pytest.param("all", marks=pytest.mark.slow)],
)
@pytest.mark.usefixtures("away")
def test_a_model_of_any_task_answers_with_its_classes(task, tmp_path):
    records = write_records(tmp_path / "records", task=task)
    made = make_model(tmp_path, records)
    predictor = Predictor.load(made / "bundle")
    bundles.check_goldens(predictor, folder=made / "bundle")
    answer = predictor.predict((made / "bundle" / "goldens" / "page-0.png").read_bytes())
    assert [(label.code, label.name) for label in answer.labels] == [
        (entry.code, entry.name) for entry in TASKS[task].classes
    ]
    assert bundles.read(made / "bundle")[1].task == task

    said = json.loads((made / "metrics.json").read_text())
    table = read_record_set(records).table.query("fold == 10")
    codes = TASKS[task].codes
    assert [code for code in codes if said["classes"][code]["auroc"] is not None] == said["macro_classes"]
    assert said["macro_classes"] == [code for code in codes if 0 < table[code].sum() < table["labelled"].sum()]
    point = OperatingPoint.read(made / "evaluation" / "operating_point.json")
    assert set(point.pooled_thresholds) == {code for code in codes if table[code].sum() < 2}  # fold 9 is as fold 10


def test_the_contact_sheet_of_71_classes_shows_the_commonest(tmp_path, monkeypatch):
    heart = record(("NORM",), patient=(5, 0), visit=(5, 0)).low_uv
    codes = TASKS["all"].codes
    with writing_record_set(
        tmp_path / "records", task=TASKS["all"], sampling_hz=100, samples=1000, source=SIMULATED
    ) as writer:
        for ecg_id in range(1, 41):  # the first twenty classes twice, the next twenty once
            writer.add(an_entry(ecg_id, fold=1, classes=(codes[ecg_id], codes[ecg_id // 2])), signals_uv=heart)
    shown = []
    strip = contact._strip
    monkeypatch.setattr(
        contact, "_strip", lambda *args, **kwargs: shown.append(kwargs["code"]) or strip(*args, **kwargs)
    )
    record_set = read_record_set(tmp_path / "records")
    contact.write_contact_sheet(tmp_path / "sheet.png", record_set=record_set, recipe=render.page_recipe(RENDER))
    positives = record_set.table[list(codes)].sum()
    assert len(shown) == 12
    assert min(positives[shown]) >= max(positives.drop(shown))
    with Image.open(tmp_path / "sheet.png") as opened:
        assert opened.height < 5000


# Records on paper


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """All records with their signals."""
    return write_records(tmp_path_factory.mktemp("drawn") / "records")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """The same hearts, every other one as a page that was printed before."""
    return write_records(tmp_path_factory.mktemp("mixed") / "records", on_paper=lambda ecg_id: ecg_id % 2 == 0)


@pytest.fixture(scope="module")
def mixed_model(mixed, tmp_path_factory, away):  # noqa: ARG001 (it must be set up before)
    return make_model(tmp_path_factory.mktemp("mixed-model"), mixed)


def test_paper_is_taken_as_it_came_and_photographed_for_the_other_copies(mixed, mixed_model):
    record_set, page_set = read_record_set(mixed), read_page_set(mixed_model / "pages")
    recipe = render.page_recipe(RENDER)
    index = page_set.index
    paper = index[index["style"] == "paper"]
    assert set(paper["ecg_id"]) == {ecg_id for ecg_id in record_set.table["ecg_id"] if ecg_id % 2 == 0}
    assert paper["camera"].tolist() == ["clean", "scan"] * (len(paper) // 2)
    assert paper[["mm_per_s", "mm_per_mv", "px_per_mm"]].isna().all(axis=None)
    assert set(paper["strips"]) == {"[]"}
    assert index.loc[index["style"] == "standard", "px_per_mm"].eq(RENDER.upload_px_per_mm).all()
    as_it_came = intake.normalise(intake.decode(record_set.upload(1)), spec=recipe.spec).canonical
    np.testing.assert_array_equal(page_set.canonical(page_set.pages_of(np.array([1]), copy=0))[0], as_it_came)
    photograph = upload_of(record_set, 1, copy=1, recipe=recipe)
    seen = intake.normalise(intake.decode(photograph.data), spec=recipe.spec).canonical
    np.testing.assert_array_equal(page_set.canonical(page_set.pages_of(np.array([1]), copy=1))[0], seen)
    assert (seen != as_it_came).any()


@pytest.fixture(scope="module")
def on_paper_alone(tmp_path_factory):
    """A folder with records that all came on paper, and their pages, made where drawing a record is an error."""
    place = tmp_path_factory.mktemp("paper-alone")
    records = write_records(place / "records", on_paper=lambda _: True)

    def never(*_, **__):
        raise AssertionError("a record on paper was drawn")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "draw_page", never)
        render.run(RENDER, records=records, pages=place / "pages")
    return place


def test_nothing_is_ever_drawn_for_a_record_on_paper(on_paper_alone):
    assert (read_page_set(on_paper_alone / "pages").index["style"] == "paper").all()


def test_gray_paper_goes_through_the_camera_too():
    gray = cv2.imencode(".png", np.full((400, 600), 240, np.uint8))[1].tobytes()
    recipe = render.page_recipe(RENDER)
    one, same, other = (
        make_upload(signal_mv=None, paper=gray, sampling_hz=100, ecg_id=ecg_id, copy=1, recipe=recipe).data
        for ecg_id in (3, 3, 4)
    )
    assert one == same != other
    assert intake.decode(one).shape == (400, 600, 3)


@pytest.mark.parametrize("copy", [0, 1])
def test_a_page_that_cannot_be_read_is_named(copy):
    recipe = render.page_recipe(RENDER)
    with pytest.raises(InputError, match=r"the page of record 3 cannot be read: the PNG file is broken .*run ingest"):
        upload = make_upload(
            signal_mv=None, paper=b"\x89PNG\r\n\x1a\n...", sampling_hz=100, ecg_id=3, copy=copy, recipe=recipe
        )
        take_in(upload, row=0, ecg_id=3, copy=copy, spec=recipe.spec)


def test_a_large_photograph_of_paper_goes_through_the_camera_at_the_size_of_a_scan():
    large = cv2.imencode(".jpg", np.full((3000, 5000, 3), 240, np.uint8))[1].tobytes()
    upload = make_upload(
        signal_mv=None, paper=large, sampling_hz=100, ecg_id=3, copy=1, recipe=render.page_recipe(RENDER)
    )
    assert intake.decode(upload.data).shape == (2105, 3508, 3)


def test_paper_that_shows_what_would_be_drawn_is_scored_alike(drawn, mixed, mixed_model):
    model = evaluation.read_model(mixed_model / "run", threads=1)
    ours, theirs = (evaluation.ask(model, record_set=read_record_set(one), fold=10) for one in (drawn, mixed))
    np.testing.assert_array_equal(ours.logits, theirs.logits)
    assert json.loads((mixed_model / "metrics.json").read_text())["on_paper"] == 6


def test_the_card_says_how_much_was_learned_from_paper(mixed_model):
    card = (mixed_model / "bundle" / "model_card.md").read_text()
    assert "with the signal beside the image, but for 6 of 12 records that came on paper" in card
    assert "6 of the 12 pages it learned from came on paper, the others were drawn by software" in card


@pytest.mark.usefixtures("away")
def test_a_set_entirely_on_paper_ends_in_a_model_that_answers_and_carries_no_patients_page(on_paper_alone, capsys):
    records = on_paper_alone / "records"
    made = make_model(on_paper_alone, records)
    assert "no training record has a signal, so the image head was trained alone" in capsys.readouterr().out
    assert json.loads((made / "run" / "model.json").read_text())["config"]["signal"] is False
    (golden,) = (made / "bundle" / "goldens").glob("*.png")
    assert golden.read_bytes() == textbook.textbook_pages(1)[0]
    assert Predictor.load(made / "bundle").predict(golden.read_bytes()).decision in {"ok", "abstain"}
    assert "that came on paper, from the image alone, without a teacher" in (made / "bundle/model_card.md").read_text()

    record_set = read_record_set(records)
    patients = [record_set.upload(row) for row in range(len(record_set))]
    for folder in ("run", "evaluation", "bundle"):
        for path in (made / folder).rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert not any(page in content for page in patients), path
    # What leaves the data folder is what these three hold; the sheet stays, and no page of it is a file of its own.
    assert (made / "pages" / "contact_sheet.png").is_file()
    assert list((made / "pages" / "previews").iterdir()) == []


@pytest.mark.usefixtures("away")
def test_a_page_that_is_no_ecg_is_kept_and_counted_and_not_learned_from(tmp_path, capsys):
    with writing_record_set(
        tmp_path / "records", task=TASKS["superdiagnostic"], sampling_hz=100, samples=1000, source=SIMULATED
    ) as writer:
        for ecg_id, fold, said, heart in hearts():
            entry = an_entry(ecg_id, fold=fold, classes=TASKS["superdiagnostic"].classes_of(said))
            spoiled = ecg_id == 3
            writer.add(entry, signals_uv=None if spoiled else heart.low_uv, upload=no_ecg() if spoiled else None)
    made = learn(tmp_path, tmp_path / "records")
    page_set = read_page_set(made / "pages")
    spoiled = page_set.index.query("ecg_id == 3")
    assert len(spoiled) == 2
    assert not spoiled["is_ecg"].any()
    assert spoiled["findings"].str.contains("not_an_ecg").all()
    data = training_data(
        read_record_set(tmp_path / "records"), page_set=page_set, training_folds=range(1, 9), validation_folds=[9]
    )
    assert 2 not in data.training_rows
    assert len(data.training_rows) == 11
    assert len(data.pages) == len(page_set.index) - 2
    assert "train: 2 pages are no ECG to the intake and were not learned from" in capsys.readouterr().out
    assert json.loads((made / "run" / "model.json").read_text())["learned_from"] == {
        "records": 11,
        "on_paper": 0,
        "pages_left_out": 2,
    }


# Both rates


@pytest.fixture(scope="module")
def at_both_rates(tmp_path_factory, away):  # noqa: ARG001 (it must be set up before)
    """Rate -> record set of one simulated database that has both, as PTB-XL does."""
    place = tmp_path_factory.mktemp("rates")
    write_database(place / "ptb-xl", records=70, seed=7, both_rates=True)
    for sampling_hz in (100, 500):
        chosen = ingest.Params(
            source=str(place / "ptb-xl"),
            task="superdiagnostic",
            limit=None,
            sampling_hz=sampling_hz,
            label_map=None,
            max_quarantined=0.0,
            workers=0,
            fetch={"connections": 1, "part_mb": 1, "tries": 1, "deadline_s": 60},
            s3={"endpoint_url": None, "region": None, "signed": False},
            simulated={"records": 1, "seed": 7},
        )
        write_pin(place / f"{sampling_hz}.json", chosen)
        ingest.run(chosen, source=place / f"{sampling_hz}.json", records=place / str(sampling_hz))
    return {sampling_hz: place / str(sampling_hz) for sampling_hz in (100, 500)}


def test_the_same_records_at_both_rates_give_nearly_the_same_pages_and_lessons(at_both_rates):
    slow, fast = (read_record_set(at_both_rates[sampling_hz]) for sampling_hz in (100, 500))
    assert (slow.signals_uv.shape, fast.signals_uv.shape) == ((70, 12, 1000), (70, 12, 5000))
    recipe = render.page_recipe(RENDER)
    for row in range(5):
        lessons = [at_stream_rate(one.signal_mv(row), sampling_hz=one.sampling_hz) for one in (slow, fast)]
        assert np.corrcoef(lessons[0][:, 10:-10].ravel(), lessons[1][:, 10:-10].ravel())[0, 1] > 0.99
        seen = [
            take_in(upload_of(one, row, copy=0, recipe=recipe), row=row, ecg_id=row, copy=0, spec=recipe.spec).canonical
            for one in (slow, fast)
        ]
        assert likeness(*seen) > 0.95


def likeness(one, other):
    """Correlation once they lie on one another: the chart is found to half a millimetre, which is less than a pixel."""
    inks = [255 - picture.astype(np.float32) for picture in (one, other)]
    (across, down), _ = cv2.phaseCorrelate(*inks, cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F))
    assert max(abs(across), abs(down)) < 1
    laid = cv2.warpAffine(inks[1], np.array([[1, 0, -across], [0, 1, -down]]), one.shape[::-1])
    soft = [cv2.GaussianBlur(ink, (3, 3), 0.7).ravel() for ink in (inks[0], laid)]
    return np.corrcoef(*soft)[0, 1]


@pytest.mark.slow  # of its parts, test_ingest reads such records, the test above draws them, test_training learns
def test_records_of_500_hz_end_in_a_model_that_answers(at_both_rates, tmp_path):
    made = make_model(tmp_path, at_both_rates[500])
    bundles.check_goldens(Predictor.load(made / "bundle"), folder=made / "bundle")
    assert json.loads((made / "run" / "model.json").read_text())["sampling_hz"] == 500
    (epoch,) = (made / "run" / "metrics.jsonl").read_text().splitlines()
    assert {"loss/signal", "loss/fused", "loss/distillation", "fold9/auroc_signal"} <= json.loads(epoch).keys()
