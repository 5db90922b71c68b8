"""Any upload -> model input, for training and serving alike: decode, measure, normalise."""

from vizecg.intake.files import DecodeLimits, ImageTooLarge, UnreadableImage, UnsupportedImage, decode
from vizecg.intake.findings import Finding
from vizecg.intake.normalising import CanonicalSpec, Intake, normalise, to_tensor

__all__ = [
    "CanonicalSpec",
    "DecodeLimits",
    "Finding",
    "ImageTooLarge",
    "Intake",
    "UnreadableImage",
    "UnsupportedImage",
    "decode",
    "normalise",
    "to_tensor",
]
