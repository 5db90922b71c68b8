"""Rivals are what their papers describe: of that size, able to learn, and given no more than they claim to read."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vizecg.models import build_model
from vizecg.models.baselines.convnext_t import ConvNextT
from vizecg.models.baselines.inception1d import Inception1d
from vizecg.models.baselines.lstm_bidir import BidirectionalLstm
from vizecg.models.baselines.resnet import ResNet
from vizecg.models.baselines.resnet1d_wang import ResNet1dWang
from vizecg.models.baselines.ribeiro import RibeiroResNet
from vizecg.models.baselines.xresnet1d101 import XResNet1d101
from vizecg.models.registry import BUILDERS
from vizecg.recipe import ModelConfig

ROOT = Path(__file__).parent.parent
RIVALS = sorted(set(BUILDERS) - {"vizecgnet"})
READ_SIGNALS = [
    *("inception1d", "late_fusion", "lstm_bidir", "resnet1d_wang", "resnet1d_wang_as_printed", "ribeiro"),
    "xresnet1d101",
]
READ_PAGES = ["convnext_t", "resnet18", "resnet34", "resnet50"]


def names(literal):
    return {name for entry in get_args(literal) for name in (get_args(entry) or (entry,))}


def weights_of(network):
    return sum(weight.numel() for weight in network.parameters())


def rival(name, *, labels=5, seed=0):
    return build_model(ModelConfig(architecture=name), labels=labels, seed=seed)


def images(batch=2, *, size=(64, 96), seed=0):
    return torch.rand(batch, 1, *size, generator=torch.Generator().manual_seed(seed))


def signals(batch=2, *, samples=1000, seed=0):
    return 0.2 * torch.randn(batch, 12, samples, generator=torch.Generator().manual_seed(seed))


# Sizes


@pytest.mark.parametrize(
    ("network", "published"),
    [
        # torchvision's `num_params`: https://docs.pytorch.org/vision/stable/models.html
        pytest.param(lambda: ResNet(blocks=(2, 2, 2, 2), bottleneck=False, labels=1000, in_channels=3), 11_689_512),
        pytest.param(lambda: ResNet(blocks=(3, 4, 6, 3), bottleneck=False, labels=1000, in_channels=3), 21_797_672),
        pytest.param(lambda: ResNet(blocks=(3, 4, 6, 3), bottleneck=True, labels=1000, in_channels=3), 25_557_032),
        pytest.param(lambda: ConvNextT(labels=1000, in_channels=3), 28_589_128),
    ],
    ids=["resnet18", "resnet34", "resnet50", "convnext_t"],
)
def test_image_networks_have_the_published_number_of_weights(network, published):
    assert weights_of(network()) == published


# By hand, from helme/ecg_ptbxl_benchmarking as its `fastai_model.py` builds them: no bias before a norm, a norm has two
# weights a channel. The head: a norm of what is pooled, to 128 hidden units, their norm, to 5 labels.
HEAD = {pooled: 2 * pooled + (pooled * 128 + 128) + 2 * 128 + (128 * 5 + 5) for pooled in (256, 512, 1536)}
WANG = (
    (12 * 128 * 7 + 2 * 128)  # stem
    + 3 * (128 * 128 * 5 + 128 * 128 * 3 + 2 * 2 * 128)  # three blocks
    + 2 * (128 * 128 + 2 * 128)  # the last two halve the rate, so their shortcut is a convolution
    + HEAD[256]
)
XRESNET = (
    (12 * 32 * 5 + 2 * 32) + (32 * 32 * 5 + 2 * 32) + (32 * 64 * 5 + 2 * 64)  # stem
    + 33 * ((64 * 64 * 5 + 2 * 64) + (64 * 256 + 2 * 256))  # 3 + 4 + 23 + 3 blocks: middle and last convolution
    + (64 * 64 + 2 * 64) + 32 * (256 * 64 + 2 * 64)  # their first one reads the stem once, then 256 channels
    + (64 * 256 + 2 * 256)  # one shortcut changes the number of channels
    + HEAD[512]
)  # fmt: skip
INCEPTION = (
    6 * (32 * 32 * (39 + 19 + 9) + 2 * 128)  # kernels of six blocks, and their norms
    + 2 * 12 * 32 + 5 * 2 * 128 * 32  # bottleneck, and the convolution of the maximum
    + (12 * 128 + 2 * 128) + (128 * 128 + 2 * 128)  # two shortcuts
    + HEAD[256]
)  # fmt: skip
LSTM = (
    2 * (4 * 256 * (12 + 256) + 2 * 4 * 256)  # two directions of four gates, two biases each
    + 2 * (4 * 256 * (512 + 256) + 2 * 4 * 256)
    + HEAD[1536]
)


@pytest.mark.parametrize(
    ("network", "by_hand"),
    [(ResNet1dWang, WANG), (XResNet1d101, XRESNET), (Inception1d, INCEPTION), (BidirectionalLstm, LSTM)],
)
def test_signal_networks_have_the_size_of_the_benchmarks_layers(network, by_hand):
    assert weights_of(network(leads=12, labels=5)) == by_hand


def test_ribeiros_network_has_the_number_of_weights_that_keras_counts():
    # "Trainable params: 6,421,910" of `model.summary()` of antonior92/automatic-ecg-diagnosis (model.py): kernels of
    # 16, six classes. Ours has the same layers, and one sample more in every kernel.
    assert weights_of(RibeiroResNet(leads=12, labels=6, kernel=16)) == 6_421_910


def test_ribeiros_features_have_the_rate_of_the_original_and_its_16_places():
    rates = []
    network = RibeiroResNet(leads=12, labels=5).eval()
    for unit in network.units:
        unit.register_forward_hook(lambda _unit, _given, made: rates.append(made[0].shape[2]))
    network(signals())  # ten seconds
    # 4,096 samples at 400 Hz became 1024, 256, 64 and 16: 100 a second, then 25, 6.25 and 1.56.
    assert rates == [1000, 250, 63, 16]


@pytest.mark.parametrize("kernel", [16, 17])
def test_ribeiros_network_runs_with_the_original_kernel_too(kernel):
    assert RibeiroResNet(leads=12, labels=6, kernel=kernel).eval()(signals()).shape == (2, 6)


def test_the_lstm_answers_from_where_each_direction_ends():
    network, read = BidirectionalLstm(leads=12, labels=5).eval(), []
    network.head.register_forward_pre_hook(lambda _head, given: read.append(given[0]))
    network(signals(samples=50))
    _, (ends, _) = network.lstm(signals(samples=50).transpose(1, 2) / 0.24)  # (layers * directions, batch, units)
    torch.testing.assert_close(read[0][:, -512:], torch.cat([ends[-2], ends[-1]], dim=1))


# Learning


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_learns_one_batch_by_heart_in_bfloat16(name):
    network = rival(name).to(memory_format=torch.channels_last)
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # what it drops it cannot learn by heart
    image, signal_mv = images(8, size=(32, 64)), signals(8, samples=1000 if "printed" in name else 100)
    labels = (torch.arange(40).reshape(8, 5) % 3 == 0).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    for _ in range(60):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(image, signal_mv).float()
        loss = binary_cross_entropy_with_logits(logits.scored, labels)
        if loss.item() < 0.05:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@pytest.mark.parametrize("samples", [250, 1000, 5000])
@pytest.mark.parametrize("name", sorted(set(READ_SIGNALS) - {"lstm_bidir", "late_fusion"}))
def test_a_signal_rival_takes_signals_of_any_length(name, samples):
    assert rival(name).eval()(images(), signals(samples=samples)).scored.shape == (2, 5)


@pytest.mark.parametrize("name", RIVALS)
def test_first_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = rival(name, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    same, other = rival(name, seed=3).state_dict(), rival(name, seed=4).state_dict()
    assert all(torch.equal(one[weight], same[weight]) for weight in one)
    assert any(not torch.equal(one[weight], other[weight]) for weight in one)
