"""What is noticed about a picture, in words that say what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from vizecg.intake.ink import Ink
from vizecg.intake.traces import TraceReading

MIN_PX_PER_MM: Final = 1.0
_BLURRED_MM, _UNREADABLE_MM = 1.0, 1.9
_GLARE, _BLINDING = 0.01, 0.25

Code = Literal["not_an_ecg", "too_small", "blurred", "cropped", "glare", "no_grid", "several_pages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something noticed about a picture: `reject` means that no model should answer for it."""

    code: Code
    severity: Literal["reject", "warning"]
    message: str


def too_small(px_per_mm: float) -> Finding:
    """The picture has too few pixels."""
    return Finding(
        code="too_small",
        severity="reject",
        message=f"the picture has {px_per_mm:.2f} pixels a millimetre of paper; "
        f"traces can be read from {MIN_PX_PER_MM:g} upwards, well from 4: scan it at 100 dpi or more",
    )


def several_pages(number: int) -> Finding:
    """The file has more than one page."""
    message = f"the file has {number} pages; the first was read: send the others one by one"
    return Finding(code="several_pages", severity="warning", message=message)


def findings_of(
    ink: Ink, traces: TraceReading, *, glare: float, px_per_mm: float, scale_from: str, cut_off: bool
) -> Iterator[Finding]:
    """Name all that stands in the way of a good reading.

    Args:
        ink: light and sharpness.
        traces: whether there are any.
        glare: share of the chart that a reflection has burnt out.
        px_per_mm: scale of the picture as uploaded.
        scale_from: `grid`, or what else the scale was taken from.
        cut_off: traces run out of the picture.
    """
    if px_per_mm < MIN_PX_PER_MM:
        yield too_small(px_per_mm)
    if traces.objection is not None:
        message = f"this does not look like a page of ECG traces: {traces.objection}"
        yield Finding(code="not_an_ecg", severity="reject", message=message)
    if scale_from != "grid":
        taken = {
            "pulse": "its calibration pulses",
            "paper": "the size of its paper",
            "picture": "an A4 page from edge to edge",
        }
        message = f"no grid could be measured; the scale was taken from {taken[scale_from]}"
        yield Finding(code="no_grid", severity="warning", message=message)
    if traces.objection is None and ink.edge_mm > _BLURRED_MM:
        unreadable = ink.edge_mm > _UNREADABLE_MM
        message = f"lines are smeared over {ink.edge_mm:.1f} mm of paper: hold the camera still and let it focus"
        yield Finding(code="blurred", severity="reject" if unreadable else "warning", message=message)
    if glare > _GLARE:
        message = f"a reflection hides {glare:.0%} of the chart: turn the paper away from the lamp"
        # Without a measured grid, what is taken for the print may be a sensor's noise.
        blinding = glare > _BLINDING and scale_from == "grid"
        yield Finding(code="glare", severity="reject" if blinding else "warning", message=message)
    if cut_off and traces.objection is None:
        message = "traces run out of the picture: a part of the page is missing"
        yield Finding(code="cropped", severity="warning", message=message)
