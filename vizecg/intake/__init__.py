"""Any upload -> model input, for training and serving alike: unpack, find the paper, measure, normalise."""

from vizecg.intake.files import (
    READ,
    DecodeLimits,
    ImageTooLarge,
    Picture,
    UnreadableImage,
    UnsupportedImage,
    decode,
)
from vizecg.intake.findings import Finding
from vizecg.intake.normalising import CanonicalSpec, Intake, normalise, open_upload, to_tensor

__all__ = [
    "READ",
    "CanonicalSpec",
    "DecodeLimits",
    "Finding",
    "ImageTooLarge",
    "Intake",
    "Picture",
    "UnreadableImage",
    "UnsupportedImage",
    "decode",
    "normalise",
    "open_upload",
    "to_tensor",
]
