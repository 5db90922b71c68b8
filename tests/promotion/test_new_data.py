"""New data: only what neither the pin nor any version knows asks for training."""

import shutil

import pytest

from vizecg import steps
from vizecg.config import read_params
from vizecg.monitoring.data import look_for_new_data
from vizecg.publish import sha256_of
from vizecg.simulate import write_database
from vizecg.sources import write_pin
from vizecg.tracking import PIN_TAG, ensure_registered
from vizecg.workspace import PIN_FILE

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow 3.17 under SQLAlchemy 2.1


@pytest.fixture
def source(request, tmp_path):
    """A folder of records, and the parameters that name it."""
    write_database(tmp_path / "records", records=4, seed=1)
    params = read_params(request.config.rootpath / "params.yaml", models=steps.params_models())["ingest"]
    return params.model_copy(update={"source": str(tmp_path / "records")})


def test_a_record_more_is_new_until_a_version_was_made_from_it(source, settings, make_bundle, tmp_path):
    pin_file = tmp_path / "project" / PIN_FILE
    write_pin(pin_file, source)
    before = pin_file.read_bytes()

    def looked():
        return look_for_new_data(source, pin_file=pin_file, settings=settings)

    assert looked().result == "as pinned"
    shutil.rmtree(tmp_path / "records")
    write_database(tmp_path / "records", records=5, seed=1)
    found = looked()
    assert found.result == "new"
    assert "not what" in found.sentence
    assert pin_file.read_bytes() == before, "looking agrees to nothing"
    # What a retraining with `pin_source` writes into its clone is the very pin that was found.
    write_pin(tmp_path / "clone" / PIN_FILE, source)
    assert sha256_of(tmp_path / "clone" / PIN_FILE) == found.pin
    ensure_registered(make_bundle("first"), settings=settings, tags={f"{PIN_TAG}{found.pin[:16]}": "true"})
    assert looked().result == "already trained on"


def test_a_source_that_is_gone_is_said_and_asks_for_no_training(source, settings, tmp_path):
    gone = source.model_copy(update={"source": str(tmp_path / "elsewhere")})
    found = look_for_new_data(gone, pin_file=tmp_path / "source.json", settings=settings)
    assert found.result == "not known"
    assert found.sentence.startswith("the source cannot be pinned: ")


def test_promoting_tags_a_version_with_the_pin_of_its_workspace(tmp_path):
    from flows.promote import _origin

    pin = tmp_path / PIN_FILE
    pin.parent.mkdir()
    pin.write_text("{}")
    assert _origin(tmp_path)[f"{PIN_TAG}{sha256_of(pin)[:16]}"] == "true"
