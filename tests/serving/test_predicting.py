import json
from pathlib import Path

import pytest

from serving.settings import ServingSettings
from vizecg.client import ServiceUnavailable
from vizecg.errors import InputError
from vizecg.predicting import predict_files
from vizecg.registry import RegistryUnavailable
from vizecg.settings import LARGEST_PICTURE_BYTES, Settings


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.delenv("VIZECG_BUNDLE", raising=False)
    return Settings(state_dir=tmp_path / "state", tracking_uri=f"sqlite:///{tmp_path}/none.db")


@pytest.fixture
def images(tmp_path, page_png):
    good, text, missing = tmp_path / "ä good.png", tmp_path / "text.png", tmp_path / "missing.png"
    good.write_bytes(page_png)
    text.write_text("Dear doctor")
    return [text, missing, good]


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("by", ["bundle", "service", "environment"])
def test_every_file_gets_a_line_and_one_that_cannot_be_read_makes_the_code_2(
    settings, images, bundle, service, capsys, by
):
    if by == "environment":
        settings = settings.model_copy(update={"bundle": bundle})
    code = predict_files(
        images, settings=settings, bundle=bundle if by == "bundle" else None, url=service if by == "service" else None
    )
    text, missing, good = lines(capsys)
    assert code == 2
    assert text["error"].startswith(
        "the picture must be a PNG, JPEG, TIFF or PDF file, got something that starts with b'Dear"
    )
    assert missing == {"file": str(images[1]), "error": "cannot be read: no such file or directory"}
    assert good["file"] == str(images[2])
    assert good["decision"] == "ok"
    assert {"code", "probability", "threshold", "positive"} <= good["labels"][0].keys()


def test_readable_files_alone_make_the_code_0(settings, images, bundle, capsys):
    assert predict_files([images[2]], settings=settings, bundle=bundle, url=None) == 0
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize(
    ("file", "why"),
    [("/dev/zero", "the picture is larger than 20000000 bytes"), (".", "cannot be read: is a directory")],
)
def test_what_is_no_file_of_a_picture_gets_a_line_too(settings, bundle, capsys, file, why):
    assert predict_files([Path(file)], settings=settings, bundle=bundle, url=None) == 2
    assert lines(capsys) == [{"file": file, "error": why}]


def test_the_command_line_takes_what_the_service_takes():
    assert ServingSettings.model_fields["max_body_bytes"].default == LARGEST_PICTURE_BYTES


def test_two_models_at_once_are_refused(settings, images, bundle):
    with pytest.raises(InputError, match=r"--bundle and --url name two models; give one of them"):
        predict_files(images, settings=settings, bundle=bundle, url="http://127.0.0.1:9")


def test_nobody_to_ask_is_one_sentence(settings, images):
    with pytest.raises(RegistryUnavailable, match=r"there is no model registry yet: .*; run `make demo` first"):
        predict_files(images, settings=settings, bundle=None, url=None)
    with pytest.raises(ServiceUnavailable, match=r"no service answers at http://127.0.0.1:9"):
        predict_files(images, settings=settings, bundle=None, url="http://127.0.0.1:9")


@pytest.mark.servers
def test_without_a_wish_the_champion_answers(mlflow_server, tmp_path, images, bundle, capsys):
    version = mlflow_server.register(bundle)
    mlflow_server.promote(version)
    settings = Settings(state_dir=tmp_path, tracking_uri=mlflow_server.settings.tracking_uri)
    assert predict_files([images[2]], settings=settings, bundle=None, url=None) == 0
    (line,) = lines(capsys)
    assert (line["model"]["version"], line["model"]["alias"]) == (version, "champion")
