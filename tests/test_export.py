import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from vizecg.errors import InputError
from vizecg.export import export_onnx, load_model, save_weights
from vizecg.models import build_model
from vizecg.recipe import ModelConfig

CONFIG = ModelConfig(image_width=4, image_blocks=(1, 1, 1, 1), signal_width=8, signal_blocks=(1,), dim=16, heads=2)
SIZE = {"image_height_px": 96, "image_width_px": 160}


@pytest.fixture(scope="module")
def model():
    """A small network none of whose parts is the identity, its norms' statistics included."""
    made = build_model(CONFIG, labels=5, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in made.state_dict().values():
            if value.is_floating_point():
                value.add_(0.2 * torch.rand(value.shape, generator=generator))
    return made.eval()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(model, path, **SIZE)
    return path


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_onnx_answers_as_torch_does_for_any_batch(model, exported, batch):
    image = np.random.default_rng(batch).random((batch, 1, 96, 160), dtype=np.float32)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    logits, evidence = session.run(["logits", "evidence"], {"image": image})
    with torch.no_grad():
        expected_logits, expected_evidence = model.explain_image(torch.from_numpy(image))
    assert evidence.shape == (batch, 5, 3, 5)
    np.testing.assert_allclose(logits, expected_logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(evidence, expected_evidence.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(ModelConfig(architecture="resnet18"), id="a-rival-that-reads-pages"),
        pytest.param(CONFIG.model_copy(update={"image_stream": "convnext"}), id="convnext-stream"),
    ],
)
def test_whatever_reads_pages_answers_as_onnx_too(config, tmp_path):
    network = build_model(config, labels=5, seed=0).eval()
    export_onnx(network, tmp_path / "model.onnx", **SIZE)
    image = np.random.default_rng(0).random((3, 1, 96, 160), dtype=np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    logits, evidence = session.run(["logits", "evidence"], {"image": image})
    with torch.no_grad():
        expected_logits, expected_evidence = network.explain_image(torch.from_numpy(image))
    assert evidence.shape == (3, 5, 3, 5)
    np.testing.assert_allclose(logits, expected_logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(evidence, expected_evidence.numpy(), atol=1e-4)


def test_what_is_served_has_no_signal_input(exported):
    graph = onnx.load(exported).graph
    assert [entry.name for entry in graph.input] == ["image"]
    assert [entry.name for entry in graph.output] == ["logits", "evidence"]
    assert not any("signal" in weights.name for weights in graph.initializer)


def test_the_file_is_float32_with_norms_folded_and_weights_inside(exported):
    written = onnx.load(exported, load_external_data=False)
    onnx.checker.check_model(written, full_check=True)
    assert {node.op_type for node in written.graph.node}.isdisjoint({"BatchNormalization", "Dropout"})
    floats = [weights for weights in written.graph.initializer if len(weights.dims) > 1]
    assert {weights.data_type for weights in floats} == {onnx.TensorProto.FLOAT}
    assert not any(weights.external_data for weights in written.graph.initializer)


def test_the_file_tells_nothing_of_the_machine_it_was_made_on(exported):
    content = exported.read_bytes()
    for trace in (b"/vizecg", b".py", b"stack_trace", b"site-packages"):
        assert trace not in content


def test_equal_weights_are_equal_bytes(model, exported, tmp_path):
    export_onnx(model, tmp_path / "again.onnx", **SIZE)
    save_weights(model, tmp_path / "one.safetensors")
    save_weights(model, tmp_path / "two.safetensors")
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_weights_survive_their_file(model, tmp_path):
    save_weights(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors", config=CONFIG, labels=5)
    assert not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_model_in_training_mode_is_not_exported(tmp_path):
    with pytest.raises(ValueError, match="only a model in evaluation mode can be exported"):
        export_onnx(build_model(CONFIG, labels=5, seed=0), tmp_path / "model.onnx", **SIZE)
    assert not (tmp_path / "model.onnx").exists()


def test_weights_that_cannot_be_used_are_refused_by_name(model, tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match=r"model\.safetensors is not there; train first"):
        load_model(path, config=CONFIG, labels=5)
    save_weights(model, path)
    with pytest.raises(InputError, match=r"model\.safetensors do not fit the model they are said to be of"):
        load_model(path, config=CONFIG.model_copy(update={"dim": 32}), labels=5)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model\.safetensors is not a safetensors file or is damaged"):
        load_model(path, config=CONFIG, labels=5)
