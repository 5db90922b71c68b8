"""Rivals are what their papers describe: of that size, for signals of any length, able to learn."""

import pytest
import torch

from vizecg.models.baselines.resnet1d_wang import ResNet1dWang


def test_resnet1d_wang_has_the_size_of_its_layout():
    # By hand: stem 12·128·7 + norm; three blocks of 128·128·(5 + 3) + 2 norms, two of them with a 128·128 shortcut
    # and its norm; norm of 256 and 256·5 + 5 weights on top. A norm has two weights a channel.
    stem, blocks, shortcuts, head = 10_752 + 256, 3 * (131_072 + 512), 2 * (16_384 + 256), 512 + 1_285
    assert sum(weight.numel() for weight in ResNet1dWang(classes=5).parameters()) == stem + blocks + shortcuts + head


@pytest.mark.parametrize("samples", [250, 1000, 5000])
def test_resnet1d_wang_takes_signals_of_any_length(samples):
    assert ResNet1dWang(classes=5)(torch.zeros(2, 12, samples)).shape == (2, 5)


def test_resnet1d_wang_learns_one_batch_by_heart():
    torch.manual_seed(0)
    signals, labels = torch.randn(8, 12, 200), (torch.arange(40).reshape(8, 5) % 3 == 0).float()
    network = ResNet1dWang(classes=5, dropout=0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    for _ in range(40):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(signals), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
