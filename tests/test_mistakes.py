"""Whose pages are shown beside a model's mistakes, and which mistakes those are."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vizecg.intake import CanonicalSpec
from vizecg.labels import TASKS
from vizecg.pages import PageRecipe
from vizecg.predictor import ImageModel
from vizecg.records import Age, Provenance, Record, read_record_set, writing_record_set
from vizecg.report import Scored, worst_mistakes
from vizecg.simulate.recording import record

TASK = TASKS["superdiagnostic"]
HOSPITAL = Provenance(uri="folder:hospital", simulated=False, digest="d" * 64)
MADE = Provenance(uri="simulated:records=4,seed=1", simulated=True, digest="e" * 64)
PTBXL = Provenance(uri="https://physionet.org/files/ptb-xl/1.0.3/", simulated=False, digest="f" * 64)
SPEC = CanonicalSpec()
RECIPE = PageRecipe(style="standard", camera="scan", copies=1, upload_px_per_mm=4.0, seed=7, spec=SPEC)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = Path(__file__).parent / "serving" / "conftest.py"
    spec = importlib.util.spec_from_file_location("serving_conftest", path)
    assert spec is not None
    assert spec.loader is not None
    serving = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serving)
    onnx = tmp_path_factory.mktemp("network") / "model.onnx"
    serving.write_onnx(onnx)
    return ImageModel(onnx, spec=SPEC)


def record_set(folder, *, sources, on_paper=()):
    """Four records, of the sources in turn; all of them are normal."""
    joined = sources[0] if len(sources) == 1 else Provenance(
        uri=" + ".join(source.uri for source in sources),
        simulated=any(source.simulated for source in sources),
        digest="a" * 64,
        parts=tuple(sources),
    )  # fmt: skip
    page = io.BytesIO()
    Image.new("RGB", (600, 400), "white").save(page, "PNG")
    with writing_record_set(folder, task=TASK, sampling_hz=100, samples=1000, source=joined) as writer:
        for ecg_id in (1, 2, 3, 4):
            entry = Record(
                ecg_id=ecg_id,
                source=sources[(ecg_id - 1) % len(sources)].uri,
                name=f"record {ecg_id}",
                patient_id=ecg_id,
                age=Age.of(50.0),
                sex="male",
                site="0",
                device="made up",
                recorded_at=None,
                fold=10,
                classes=("NORM",),
            )
            if ecg_id in on_paper:
                writer.add(entry, signals_uv=None, upload=page.getvalue())
            else:
                heart = record(("NORM",), patient=(1, ecg_id), visit=(1, ecg_id))
                writer.add(entry, signals_uv=heart.low_uv.astype(np.int16))
    return read_record_set(folder)


def ask(records, network, *, normal=(0.9, 0.3, 0.01, 0.2), most=6):
    """What is shown when these probabilities of `NORM` were said, and no other class was."""
    probabilities = np.full((4, len(TASK.codes)), 0.02)
    probabilities[:, TASK.codes.index("NORM")] = normal
    scored = Scored(
        codes=TASK.codes,
        labels=records.labels(),
        probabilities=probabilities,
        thresholds=np.full(len(TASK.codes), 0.5),
        note="made up",
    )
    return worst_mistakes(records, rows=np.arange(4), scored=scored, network=network, recipe=RECIPE, most=most)


@pytest.mark.parametrize("source", [MADE, PTBXL], ids=["simulated", "ptb-xl"])
def test_the_surest_mistakes_come_first_and_what_is_right_is_none(source, network, tmp_path):
    found = ask(record_set(tmp_path / "records", sources=[source]), network)
    assert [mistake.ecg_id for mistake in found.shown] == [3, 4, 2]
    assert (found.wrong, found.withheld) == (3, 0)
    worst = found.shown[0]
    assert (worst.drawn.code, worst.drawn.written, worst.drawn.positive) == ("NORM", True, False)
    assert worst.loss == pytest.approx(-np.log(0.01) - 4 * np.log(0.98))


def test_the_picture_is_the_field_the_model_sees_and_the_same_every_time(network, tmp_path):
    records = record_set(tmp_path / "records", sources=[MADE])
    first, again = (ask(records, network, most=1).shown[0].jpeg for _ in range(2))
    assert first == again
    with Image.open(io.BytesIO(first)) as picture:
        assert picture.size == (960, 960 * SPEC.height_px // SPEC.width_px)
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels.max(axis=2) < 70).mean() > 0.005  # the traces
    assert len(first) < 250_000


def test_pages_of_a_hospital_are_never_shown(network, tmp_path):
    found = ask(record_set(tmp_path / "records", sources=[HOSPITAL]), network)
    assert found.shown == ()
    assert (found.wrong, found.withheld) == (3, 3)


def test_of_joined_sources_only_the_public_ones_are_shown(network, tmp_path):
    found = ask(record_set(tmp_path / "records", sources=[HOSPITAL, MADE]), network)
    assert [mistake.ecg_id for mistake in found.shown] == [4, 2]
    assert found.withheld == 1


@pytest.mark.parametrize("source", [MADE, PTBXL], ids=["simulated", "ptb-xl"])
def test_what_came_on_paper_is_never_shown_whatever_its_source(source, network, tmp_path):
    found = ask(record_set(tmp_path / "records", sources=[source], on_paper={3, 4}), network)
    assert [mistake.ecg_id for mistake in found.shown] == [2]
    assert found.withheld == 2
