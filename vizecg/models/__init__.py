"""Architectures: VizECGNet and its parts."""

from vizecg.models.vizecgnet import Logits, VizECGNet, build_model

__all__ = ["Logits", "VizECGNet", "build_model"]
