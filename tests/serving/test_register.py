"""The step, with a real network in torch and in ONNX."""

import shutil
from pathlib import Path

import pytest

from vizecg import bundle as bundles
from vizecg import publish
from vizecg.errors import InputError
from vizecg.predictor import Predictor
from vizecg.steps import register
from vizecg.tracking import TrackingUnavailable

PARAMS = register.Params(goldens=2)


@pytest.fixture(scope="module")
def model_run(make, tmp_path_factory) -> Path:
    """As train would leave it, of an untrained network of a hundredth of the size."""
    import json

    from safetensors.torch import save_file

    from vizecg.export import export_onnx
    from vizecg.models import build_model
    from vizecg.recipe import ModelConfig

    config = ModelConfig(image_width=4, image_blocks=(1, 1, 1, 1), dim=8, heads=2, signal=False)
    network = build_model(config, labels=5, seed=3).eval()
    folder = tmp_path_factory.mktemp("register") / "run"
    make.model_run(folder)
    with publish.publishing(folder.with_name("real"), kind="model-run", schema_version=2) as staging:
        description = json.loads((folder / "model.json").read_text()) | {"config": config.model_dump(mode="json")}
        (staging / "model.json").write_text(publish.to_json(description))
        save_file(
            {name: value.contiguous() for name, value in network.state_dict().items()}, staging / "model.safetensors"
        )
        export_onnx(network, staging / "model.onnx", image_height_px=288, image_width_px=384)
        (staging / "metrics.jsonl").write_text('{"epoch": 1, "loss/total": 1.0}\n')
    return folder.with_name("real")


@pytest.fixture
def evaluation(make, model_run, tmp_path):
    return make.evaluation(tmp_path / "evaluation", model_run=model_run)


@pytest.fixture
def away(tmp_path, monkeypatch):
    monkeypatch.setenv("VIZECG_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("VIZECG_TRACKING_URI", "http://127.0.0.1:9")


@pytest.mark.usefixtures("away", "mlflow_environment")
def test_mlflow_down_is_one_sentence_and_leaves_a_whole_bundle_or_none(model_run, evaluation, tmp_path):
    with pytest.raises(TrackingUnavailable, match=r"MLflow at http://127\.0\.0\.1:9 does not answer; start it, or set"):
        register.run(PARAMS, model_run=model_run, evaluation=evaluation, bundle=tmp_path / "bundle")
    bundles.check_goldens(Predictor.load(tmp_path / "bundle"), folder=tmp_path / "bundle")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith((".part", ".old"))]


@pytest.mark.usefixtures("away")
def test_weights_and_onnx_of_two_models_are_never_bundled(make, model_run, tmp_path):
    with publish.publishing(tmp_path / "mixed", kind="model-run", schema_version=2) as staging:
        shutil.copytree(model_run, staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        make.onnx(staging / "model.onnx")
    evaluation = make.evaluation(tmp_path / "evaluation", model_run=tmp_path / "mixed")
    with pytest.raises(
        InputError,
        match=r"page-0: the logits of model\.safetensors and model\.onnx differ by .*, allowed 0\.001; train again",
    ):
        register.run(PARAMS, model_run=tmp_path / "mixed", evaluation=evaluation, bundle=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.servers
def test_it_registers_once_and_sets_no_alias(model_run, evaluation, tmp_path, mlflow_server, monkeypatch, capsys):
    monkeypatch.setenv("VIZECG_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("VIZECG_TRACKING_URI", mlflow_server.settings.tracking_uri)
    aliases = mlflow_server.aliases()
    for said in ("registered as", "already registered as"):
        register.run(PARAMS, model_run=model_run, evaluation=evaluation, bundle=tmp_path / "bundle")
        assert f", {said} vizecgnet version " in capsys.readouterr().out
    assert mlflow_server.aliases() == aliases
