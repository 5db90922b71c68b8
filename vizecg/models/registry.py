"""Name of an architecture -> the network, with its first weights."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import nn

from vizecg.labels import LEADS
from vizecg.models.baselines.as_printed import AsPrinted, printed_strips
from vizecg.models.baselines.convnext_t import ConvNextT
from vizecg.models.baselines.inception1d import Inception1d
from vizecg.models.baselines.late_fusion import LateFusion
from vizecg.models.baselines.lstm_bidir import BidirectionalLstm
from vizecg.models.baselines.resnet import ResNet
from vizecg.models.baselines.resnet1d_wang import ResNet1dWang
from vizecg.models.baselines.ribeiro import RibeiroResNet
from vizecg.models.baselines.rivals import ImageRival, SignalRival
from vizecg.models.baselines.xresnet1d101 import XResNet1d101
from vizecg.models.initial import load_initial
from vizecg.models.network import Network
from vizecg.models.signal_teacher import SignalTeacher
from vizecg.models.vizecgnet import VizECGNet
from vizecg.page.catalogue import STANDARD
from vizecg.recipe import ModelConfig

Builder = Callable[[ModelConfig, int], Network]
"""Config and number of labels -> the network."""


def _reading_signals(network: Callable[..., nn.Module]) -> Builder:
    return lambda config, labels: SignalRival(config, network(leads=len(LEADS), labels=labels))


def _reading_pages(network: Callable[[int], nn.Module]) -> Builder:
    return lambda config, labels: ImageRival(config, network(labels))


def _as_printed(config: ModelConfig, labels: int) -> Network:
    network = ResNet1dWang(leads=len(printed_strips(STANDARD)), labels=labels)
    return SignalRival(config, AsPrinted(network, style=STANDARD))


def _late_fusion(config: ModelConfig, labels: int) -> Network:
    return LateFusion(
        config, image_network=_resnet18(labels), signal_network=ResNet1dWang(leads=len(LEADS), labels=labels)
    )


def _resnet18(labels: int) -> ResNet:
    return ResNet(blocks=(2, 2, 2, 2), bottleneck=False, labels=labels)


def _resnet34(labels: int) -> ResNet:
    return ResNet(blocks=(3, 4, 6, 3), bottleneck=False, labels=labels)


def _resnet50(labels: int) -> ResNet:
    return ResNet(blocks=(3, 4, 6, 3), bottleneck=True, labels=labels)


BUILDERS: Final[Mapping[str, Builder]] = MappingProxyType(
    {
        "vizecgnet": lambda config, labels: VizECGNet(config, labels=labels),
        "vizecgnet_signal": lambda config, labels: SignalTeacher(config, labels=labels),
        "resnet1d_wang": _reading_signals(ResNet1dWang),
        "resnet1d_wang_as_printed": _as_printed,
        "xresnet1d101": _reading_signals(XResNet1d101),
        "inception1d": _reading_signals(Inception1d),
        "lstm_bidir": _reading_signals(BidirectionalLstm),
        "ribeiro": _reading_signals(RibeiroResNet),
        "resnet18": _reading_pages(_resnet18),
        "resnet34": _reading_pages(_resnet34),
        "resnet50": _reading_pages(_resnet50),
        "convnext_t": _reading_pages(lambda labels: ConvNextT(labels=labels)),
        "late_fusion": _late_fusion,
    }
)


def build_model(config: ModelConfig, *, labels: int, seed: int) -> Network:
    """A network to train, for so many labels.

    Its first weights are a function of `seed`, and of the file that `config.init` names;
    torch's own generator stays as it was.

    Raises:
        ValueError: no architecture has that name.
        InputError: the file of first weights is not the one named, or does not fit.
    """
    network = empty_model(config, labels=labels, seed=seed)
    if config.init is not None:
        load_initial(network, config.init)
    return network


def empty_model(config: ModelConfig, *, labels: int, seed: int = 0) -> Network:
    """The same network without the file of first weights, to be filled with those of a training.

    Raises:
        ValueError: no architecture has that name.
    """
    if config.architecture not in BUILDERS:
        raise ValueError(f"unknown architecture {config.architecture!r}; known: {sorted(BUILDERS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BUILDERS[config.architecture](config, labels)
