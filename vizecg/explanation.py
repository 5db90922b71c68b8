"""An answer with what it was seen by: the page as the model sees it, tinted for each label."""

import io
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vizecg import tiles
from vizecg.answer import Answer, Label
from vizecg.evidence_map import AGAINST, FOR, field_of, film, overlaid
from vizecg.intake import CanonicalSpec
from vizecg.predictor import Reading

MOST_LABELS: Final = 12
"""Drawn when none were asked for: a task of 71 classes would make a sheet that nobody reads."""
PAGE_WIDTH_PX: Final = 960
_PANEL_WIDTH_PX: Final = 720
_JPEG_QUALITY: Final = 85
# Packing harder than this takes longer than reading the page, for a tenth of the bytes.
_PNG_LEVEL: Final = 3
_SWATCH_PX: Final = (34, 14)
_GAP: Final = " " * 18
"""Wider than a swatch, which stands in its middle."""
_DECIDED: Final = {
    "ok": "the labels may be read",
    "abstain": "undecided, no label is clearly positive",
    "reject": "not read",
}

Pixels = NDArray[np.uint8]


def drawn_labels(answer: Answer, *, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Codes of the labels to draw: those asked for, else all, or of many those nearest to or above their thresholds."""
    if asked:
        return tuple(label.code for label in answer.labels if label.code in asked)
    nearest = sorted(answer.labels, key=lambda label: label.threshold - label.probability)[:MOST_LABELS]
    return tuple(label.code for label in answer.labels if label in nearest)


def sheet(reading: Reading, *, spec: CanonicalSpec, codes: Sequence[str]) -> bytes:
    """Draw a panel for each label under a legend; of a rejected picture, the page and why it was not read.

    Args:
        reading: of the picture.
        spec: of the model that read it.
        codes: labels to draw, see `drawn_labels`.

    Returns:
        A PNG file.
    """
    width_px = _PANEL_WIDTH_PX if len(codes) > 1 else PAGE_WIDTH_PX
    page = field_of(reading.picture, reading.taken, spec=spec, width_px=width_px)
    answer = reading.answer
    if reading.evidence is None:
        why = "\n".join(finding.message for finding in answer.quality.findings)
        panels = [tiles.tile(page, why or "The picture was not read.", width_px=width_px)]
    else:
        panels = [
            tiles.tile(overlaid(page, evidence), _caption(label), width_px=width_px)
            for label, evidence in zip(answer.labels, reading.evidence, strict=True)
            if label.code in codes
        ]
    rows = [tiles.side_by_side(panels[at : at + 2]) for at in range(0, len(panels), 2)]
    width = max(row.shape[1] for row in rows)
    return as_png(np.concatenate([_head(answer, width_px=width), *(_widened(row, width_px=width) for row in rows)]))


def page_jpeg(reading: Reading, *, spec: CanonicalSpec) -> bytes:
    """The part of the page that the model sees, upright and in its own colours."""
    encoded = io.BytesIO()
    page = field_of(reading.picture, reading.taken, spec=spec, width_px=PAGE_WIDTH_PX)
    Image.fromarray(page).save(encoded, "JPEG", quality=_JPEG_QUALITY)
    return encoded.getvalue()


def films(reading: Reading, *, spec: CanonicalSpec, codes: Sequence[str]) -> dict[str, bytes]:
    """A film as PNG for each label, to be multiplied with the page; none of a picture that was rejected."""
    if reading.evidence is None:
        return {}
    # A cell of the map is larger than 16 pixels of the model's input: half of these show it as smoothly.
    size_px = (spec.width_px // 2, spec.height_px // 2)
    return {
        label.code: as_png(film(evidence, size_px=size_px))
        for label, evidence in zip(reading.answer.labels, reading.evidence, strict=True)
        if label.code in codes
    }


def as_png(pixels: Pixels) -> bytes:
    """Pack (height, width, 3 or 4) pixels."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG", compress_level=_PNG_LEVEL)
    return encoded.getvalue()


def _caption(label: Label) -> str:
    verdict = "positive" if label.positive else "negative"
    return f"{label.code}, {label.name}: {label.probability:.2f}, {verdict} (threshold {label.threshold:.2f})"


def _head(answer: Answer, *, width_px: int) -> Pixels:
    version = f"version {answer.model.version}" if answer.model.version else f"bundle {answer.model.bundle_digest[:12]}"
    lines = [f"{answer.model.name} {version}. Decision: {answer.decision}, {_DECIDED[answer.decision]}."]
    keyed = answer.decision != "reject"
    if keyed:
        lines.append(f"{_GAP}speaks for the label{_GAP}speaks against it; each panel has a scale of its own")
    lines += [*answer.notes, answer.disclaimer]
    head = tiles.blank(tiles.CAPTION_PX * len(lines) + tiles.GAP_PX, width_px)
    tiles.write(head, "\n".join(lines))
    if keyed:
        _swatches(head)
    return head


def _swatches(head: Pixels) -> None:
    """The two colours, in place, in the gaps that the second line of the head leaves for them."""
    space = tiles.text_width_px(_GAP)
    second = tiles.text_width_px(f"{_GAP}speaks for the label")
    width, height = _SWATCH_PX
    top = tiles.CAPTION_PX + (tiles.CAPTION_PX - height) // 2
    for left, colour in ((0, FOR), (second, AGAINST)):
        first = tiles.GAP_PX + round(left + (space - width) / 2)
        cv2.rectangle(head, (first, top), (first + width, top + height), colour, thickness=-1)


def _widened(row: Pixels, *, width_px: int) -> Pixels:
    widened = tiles.blank(row.shape[0], width_px)
    widened[:, : row.shape[1]] = row
    return widened
