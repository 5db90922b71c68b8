"""Pages as they are stored: what the service's own intake made of a file, whoever drew it and in which order."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vizecg import intake
from vizecg.errors import InputError
from vizecg.labels import TASKS
from vizecg.pages import PAGES_PER_SHARD, SCHEMA_VERSION, DrawnPage, draw_upload, read_page_set, write_pages
from vizecg.publish import publishing
from vizecg.records import Age, Provenance, Record, read_record_set, writing_record_set
from vizecg.simulate.recording import record
from vizecg.steps.render import Params, page_recipe, run

RECORDS = 5
SIMULATED = Provenance(uri="folder:made-up", simulated=True, digest="d" * 64)


def params(**changes):
    options = {
        "seed": 7,
        "copies": 2,
        "style": "standard",
        "camera": "scan",
        "upload_px_per_mm": 3.0,
        "px_per_mm": 1.5,
        "workers": 0,
    }
    return Params(**(options | changes))


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "records"
    with writing_record_set(
        folder, task=TASKS["superdiagnostic"], sampling_hz=100, samples=1000, source=SIMULATED
    ) as writer:
        for ecg_id in range(1, RECORDS + 1):
            heart = record(("NORM",), patient=(0, ecg_id), visit=(0, ecg_id))
            writer.add(an_entry(ecg_id), signals_uv=heart.low_uv.astype(np.int16))
    return folder


def an_entry(ecg_id: int) -> Record:
    return Record(
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
        classes=("NORM",),
    )


@pytest.fixture(scope="session")
def pages(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "pages"
    run(params(), records=records, pages=folder)
    return folder


def test_every_record_has_every_copy_in_order(pages):
    index = read_page_set(pages).index
    assert index["ecg_id"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert index["copy"].tolist() == [0, 1] * RECORDS
    assert index["camera"].tolist() == ["clean", "scan"] * RECORDS
    assert index["is_ecg"].all()


def test_what_is_stored_is_what_the_service_would_see_of_the_file(records, pages):
    record_set, page_set = read_record_set(records), read_page_set(pages)
    recipe = page_recipe(params())
    for page, (row, copy) in enumerate(zip(page_set.index["row"], page_set.index["copy"], strict=True)):
        upload = draw_upload(
            record_set.signal_mv(row), sampling_hz=100, ecg_id=int(row) + 1, copy=int(copy), recipe=recipe
        )
        seen = intake.normalise(intake.decode(upload.data), spec=recipe.spec).canonical
        np.testing.assert_array_equal(page_set.canonical(np.array([page]))[0], seen)


@pytest.mark.parametrize("executor", [pytest.param("processes", marks=pytest.mark.slow), "threads"])
def test_workers_do_not_change_a_byte(records, pages, tmp_path, executor, monkeypatch):
    monkeypatch.setattr("vizecg.pages.drawing.RECORDS_PER_TASK", 1)
    run(params(workers=2, executor=executor), records=records, pages=tmp_path / "pages")
    assert (tmp_path / "pages" / "manifest.json").read_bytes() == (pages / "manifest.json").read_bytes()


def test_another_seed_takes_other_photographs_of_the_same_page(records, pages, tmp_path):
    run(params(seed=8), records=records, pages=tmp_path / "pages")
    first, other = read_page_set(pages), read_page_set(tmp_path / "pages")
    rows = np.arange(RECORDS)
    np.testing.assert_array_equal(
        first.canonical(first.pages_of(rows, copy=0)), other.canonical(other.pages_of(rows, copy=0))
    )
    assert (first.canonical(first.pages_of(rows, copy=1)) != other.canonical(other.pages_of(rows, copy=1))).any()


def test_the_box_of_a_lead_holds_its_trace(records, pages):
    record_set, entry = read_record_set(records), read_page_set(pages).index.iloc[0]
    upload = draw_upload(record_set.signal_mv(0), sampling_hz=100, ecg_id=1, copy=0, recipe=page_recipe(params()))
    image = intake.decode(upload.data)
    strips = json.loads(entry["strips"])
    assert {strip["key"] for strip in strips} >= {"I", "V6", "II rhythm"}
    for x0, y0, x1, y1 in (strip["box_px"] for strip in strips):
        inside = image[max(round(y0), 0) : round(y1), round(x0) : round(x1)]
        assert (inside.max(axis=-1) < 190).any(axis=0).mean() > 0.9, "the trace crosses its box from left to right"


def test_people_get_files_to_open_and_a_sheet(pages):
    assert len(list((pages / "previews").iterdir())) == 2 * RECORDS
    with (pages / "contact_sheet.png").open("rb") as opened:
        assert opened.read(8) == b"\x89PNG\r\n\x1a\n"


def test_pages_beyond_one_shard_are_found_again(tmp_path):
    recipe = page_recipe(params(px_per_mm=1.0))
    total = PAGES_PER_SHARD + 3

    def drawn():
        for page in range(total):
            canonical = np.full((recipe.spec.height_px, recipe.spec.width_px), page % 251, np.uint8)
            yield DrawnPage(canonical=canonical, entry={"row": page, "copy": 0})

    with publishing(tmp_path / "pages", kind="page-set", schema_version=SCHEMA_VERSION) as staging:
        write_pages(staging, drawn(), total=total, recipe=recipe, records_digest="r")
    page_set = read_page_set(tmp_path / "pages")
    wanted = np.array([total - 1, 0, PAGES_PER_SHARD])
    assert page_set.canonical(page_set.pages_of(wanted, copy=0))[:, 0, 0].tolist() == [v % 251 for v in wanted]


def test_pages_of_more_than_a_thousand_shards_are_found_again_with_few_files_open(tmp_path, monkeypatch):
    monkeypatch.setattr("vizecg.pages.page_set.PAGES_PER_SHARD", 1)
    monkeypatch.setattr("vizecg.pages.page_set.SHARDS_OPEN", 16)
    recipe = page_recipe(params(px_per_mm=1.0))
    numbers = np.arange(1003)

    def drawn():
        for number in numbers.tolist():
            canonical = np.zeros((recipe.spec.height_px, recipe.spec.width_px), np.uint8)
            canonical[0, :2] = divmod(number, 256)
            yield DrawnPage(canonical=canonical, entry={"row": number, "copy": 0})

    with publishing(tmp_path / "pages", kind="page-set", schema_version=SCHEMA_VERSION, flush=False) as staging:
        write_pages(staging, drawn(), total=len(numbers), recipe=recipe, records_digest="r")
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    read = read_page_set(tmp_path / "pages").stored(numbers)
    found = np.array([read[position][0, :2] for position in range(len(numbers))]).astype(int)
    assert (found[:, 0] * 256 + found[:, 1]).tolist() == numbers.tolist()
    assert len(list(Path("/proc/self/fd").iterdir())) - open_before <= 17


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"style": "standrad"}, r"render.style is 'standrad'; known: \[.*'drawn', 'standard', 'standard-12x1'\]"),
        (
            {"camera": "polaroid"},
            r"render.camera is 'polaroid'; known: \['clean', 'drawn', 'fax', 'photo', .*'worst'\]",
        ),
    ],
)
def test_an_unknown_style_or_camera_is_refused_before_anything_is_drawn(records, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(params(**changes), records=records, pages=tmp_path / "pages")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_shard_is_noticed(pages, tmp_path):
    copy = Path(shutil.copytree(pages, tmp_path / "pages"))
    shard = copy / "shard-000.npy"
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"shard-000\.npy is damaged"):
        read_page_set(copy)
