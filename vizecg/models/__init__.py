"""Architectures: VizECGNet, its parts, and its rivals."""

from vizecg.models.network import Head, Logits, Network, PageNetwork, page_network, refuse_missing_signal
from vizecg.models.registry import build_model, empty_model
from vizecg.models.signal_teacher import SignalTeacher
from vizecg.models.vizecgnet import VizECGNet

__all__ = [
    "Head",
    "Logits",
    "Network",
    "PageNetwork",
    "SignalTeacher",
    "VizECGNet",
    "build_model",
    "empty_model",
    "page_network",
    "refuse_missing_signal",
]
