"""First weights from a file: the named content, whole, or a refusal that says what does not fit."""

import hashlib
import re

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from vizecg.errors import InputError
from vizecg.export import load_model, save_weights
from vizecg.models import build_model, empty_model
from vizecg.models.baselines.convnext_t import ConvNextT
from vizecg.models.baselines.resnet import ResNet
from vizecg.models.convnext import convnext_stages, patch_stem
from vizecg.recipe import ModelConfig

SMALL = ModelConfig(image_width=4, signal_width=8, signal_blocks=(1, 1), dim=16, heads=2)


def named(path, config, *, sha256=None):
    """`config` with this file for its first weights."""
    sha256 = sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
    return ModelConfig.model_validate(config.model_dump() | {"init": {"path": str(path), "sha256": sha256}})


def written(path, tensors):
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return path


@pytest.fixture(scope="module")
def imagenet():
    """A ResNet-18 as it would be trained on coloured pictures of 1000 kinds."""
    torch.manual_seed(5)
    network = ResNet(blocks=(2, 2, 2, 2), bottleneck=False, labels=1000, in_channels=3)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.add_(0.01 * torch.rand(value.shape))
    return network.eval()


@pytest.fixture(scope="module")
def imagenet_file(imagenet, tmp_path_factory):
    return written(tmp_path_factory.mktemp("weights") / "resnet18.safetensors", imagenet.state_dict())


def test_resnets_and_convnext_have_the_names_that_others_publish():
    # `len(torchvision.models.resnet18().state_dict())`, and of resnet50; timm's convnext_tiny: 4 of the stem, 3 × 4
    # where the picture is halved, 18 blocks × 9, 4 of the head.
    resnet18 = ResNet(blocks=(2, 2, 2, 2), bottleneck=False, labels=5).state_dict()
    resnet50 = ResNet(blocks=(3, 4, 6, 3), bottleneck=True, labels=5).state_dict()
    convnext = ConvNextT(labels=5).state_dict()
    assert (len(resnet18), len(resnet50), len(convnext)) == (122, 320, 4 + 12 + 18 * 9 + 4)
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.1.bias", "layer4.1.conv2.weight"} <= set(resnet18)
    assert {"layer1.0.downsample.0.weight", "layer3.5.conv3.weight", "layer3.5.bn3.bias", "fc.bias"} <= set(resnet50)
    assert {"stem.1.bias", "stages.1.downsample.0.weight", "stages.1.downsample.1.weight"} <= set(convnext)
    assert {f"stages.2.blocks.8.{part}" for part in ("conv_dw.bias", "norm.bias", "mlp.fc2.weight", "gamma")} <= set(
        convnext
    )
    assert {"head.norm.weight", "head.fc.weight"} <= set(convnext)


def test_a_rival_with_weights_of_coloured_pictures_sees_a_gray_page_as_they_would(imagenet, imagenet_file):
    rival = build_model(named(imagenet_file, ModelConfig(architecture="resnet18")), labels=5, seed=0).eval()
    seen = []
    for network in (imagenet, rival.network):
        network.layer4.register_forward_hook(lambda _layer, _given, made: seen.append(made))
    page = torch.rand(1, 1, 64, 96)
    imagenet(page.expand(-1, 3, -1, -1))
    rival.predict_image(page)
    torch.testing.assert_close(seen[0], seen[1], atol=1e-4, rtol=1e-4)
    assert torch.equal(
        rival.network.fc.weight, empty_model(ModelConfig(architecture="resnet18"), labels=5).network.fc.weight
    )


def test_published_weights_fill_the_image_stream_and_nothing_else(imagenet, imagenet_file):
    config = ModelConfig(image_width=64, image_blocks=(2, 2, 2, 2), signal_width=8, signal_blocks=(1,), dim=16, heads=2)
    filled = build_model(named(imagenet_file, config), labels=5, seed=3).state_dict()
    drawn = build_model(config, labels=5, seed=3).state_dict()
    given = imagenet.state_dict()
    for ours, theirs in {
        "stages.0.first.weight": "layer1.0.conv1.weight",
        "stages.1.second_norm.running_mean": "layer1.1.bn2.running_mean",
        "stages.2.shortcut.1.weight": "layer2.0.downsample.0.weight",
        "stages.2.shortcut.2.running_var": "layer2.0.downsample.1.running_var",
        "stages.7.second.weight": "layer4.1.conv2.weight",
        "stem.1.bias": "bn1.bias",
    }.items():
        assert torch.equal(filled[f"image_stream.{ours}"], given[theirs])
    body = [name for name in drawn if name.startswith(("image_stream.stem", "image_stream.stages"))]
    assert all(torch.equal(filled[name], drawn[name]) for name in drawn if name not in body)
    assert not any(torch.equal(filled[name], drawn[name]) for name in body if drawn[name].ndim == 4)


def test_published_bottlenecks_and_convnexts_fill_streams_of_their_kind(tmp_path):
    torch.manual_seed(0)
    colours = nn.ModuleDict({"stem": patch_stem(3, 4), "stages": convnext_stages(4, (1, 1, 2, 1))})
    tensors = colours.state_dict() | {"head.norm.weight": torch.ones(32), "head.fc.weight": torch.ones(1000, 32)}
    config = named(
        written(tmp_path / "convnext.safetensors", tensors),
        SMALL.model_copy(update={"image_stream": "convnext", "image_blocks": (1, 1, 2, 1)}),
    )
    filled = build_model(config, labels=5, seed=0).state_dict()
    assert torch.equal(
        filled["image_stream.stages.2.blocks.1.conv_dw.weight"], tensors["stages.2.blocks.1.conv_dw.weight"]
    )
    torch.testing.assert_close(filled["image_stream.stem.0.weight"], tensors["stem.0.weight"].sum(1, keepdim=True))
    bottlenecks = ResNet(blocks=(1, 1, 1, 1), bottleneck=True, labels=7)
    wide = SMALL.model_copy(update={"image_width": 64, "image_block": "bottleneck"})
    filled = build_model(
        named(written(tmp_path / "resnet.safetensors", bottlenecks.state_dict()), wide), labels=5, seed=0
    ).state_dict()
    assert torch.equal(filled["image_stream.stages.3.third.weight"], bottlenecks.layer4[0].conv3.weight)
    assert torch.equal(filled["image_stream.stages.0.shortcut.1.weight"], bottlenecks.layer1[0].downsample[0].weight)


@pytest.mark.parametrize("config", [SMALL, ModelConfig(architecture="resnet1d_wang_as_printed")], ids=["ours", "rival"])
def test_a_training_can_begin_where_another_ended(config, tmp_path):
    before = build_model(config, labels=5, seed=1)
    save_weights(before, tmp_path / "model.safetensors")
    same = build_model(named(tmp_path / "model.safetensors", config), labels=5, seed=2).state_dict()
    assert all(torch.equal(value, same[name]) for name, value in before.state_dict().items())
    other_task = build_model(named(tmp_path / "model.safetensors", config), labels=19, seed=2).state_dict()
    changed = {name for name, value in before.state_dict().items() if not torch.equal(value, other_task[name])}
    assert changed
    assert all(value.shape[0] == 19 for name, value in other_task.items() if name in changed)


def test_a_trained_model_is_read_without_the_file_it_began_with(tmp_path):
    config = named(written(tmp_path / "gone.safetensors", {"any": torch.ones(1)}), SMALL)
    (tmp_path / "gone.safetensors").unlink()
    save_weights(build_model(SMALL, labels=5, seed=0), tmp_path / "model.safetensors")
    load_model(tmp_path / "model.safetensors", config=config, labels=5)


def test_the_first_weights_that_stay_are_those_of_the_seed(imagenet_file):
    config = named(imagenet_file, ModelConfig(architecture="resnet18"))
    one, same, other = (build_model(config, labels=5, seed=seed).network.fc.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


# Refusals


def test_another_content_under_the_name_is_refused(imagenet_file):
    config = named(imagenet_file, ModelConfig(architecture="resnet18"), sha256="0" * 64)
    with pytest.raises(
        InputError, match=r"resnet18\.safetensors has the SHA-256 [0-9a-f]{64}, .*it is another file or"
    ):
        build_model(config, labels=5, seed=0)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    config = named(tmp_path / "none.safetensors", SMALL, sha256="0" * 64)
    with pytest.raises(InputError, match=r"train\.model\.init\.path: .*none\.safetensors cannot be read"):
        build_model(config, labels=5, seed=0)


def test_a_pickle_is_never_opened(tmp_path):
    torch.save({"conv1.weight": torch.ones(1)}, tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match=r"resnet18\.pth is not a safetensors file .* a pickle can run code"):
        build_model(named(tmp_path / "resnet18.pth", SMALL), labels=5, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda given: given.pop("layer1.0.conv1.weight"),
            "it lacks network.layer1.0.conv1.weight; give",
            id="missing",
        ),
        pytest.param(
            lambda given: given.update({"layer5.0.conv1.weight": torch.ones(1)}),
            "it has besides network.layer5.0.conv1.weight; give",
            id="unknown",
        ),
        pytest.param(
            lambda given: given.update({"layer1.0.conv1.weight": torch.ones(8, 64, 3, 3)}),
            "it has network.layer1.0.conv1.weight (8, 64, 3, 3) where it is (64, 64, 3, 3); give",
            id="other-shape",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(imagenet, tmp_path, change, message):
    given = dict(imagenet.state_dict())
    change(given)
    config = named(written(tmp_path / "resnet18.safetensors", given), ModelConfig(architecture="resnet18"))
    with pytest.raises(InputError, match=re.escape(message)):
        build_model(config, labels=5, seed=0)


def test_weights_of_a_stream_of_another_size_are_refused_in_one_sentence(imagenet_file):
    with pytest.raises(
        InputError, match=r"does not fit vizecgnet as train\.model describes it: .* and \d+ more; .* null$"
    ):
        build_model(named(imagenet_file, SMALL), labels=5, seed=0)


def test_a_hash_that_is_none_is_refused():
    with pytest.raises(ValidationError, match="String should match pattern"):
        ModelConfig.model_validate({"init": {"path": "a.safetensors", "sha256": "abc"}})
