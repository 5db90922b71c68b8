"""Textbook ECGs of simulated hearts as files: what a bundle is checked with, and what a model is asked about.

Simulated whatever the model was trained on, so they can be shown to anybody and shipped.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# One picture of each class, the three that everybody knows first.
STATEMENTS: Final = (
    ("NORM",),
    ("IMI",),
    ("CLBBB",),
    ("LVH",),
    ("ISCAL",),
    ("ASMI", "CRBBB"),
    ("LAFB",),
    ("NDT",),
)
KNOWN_TO_EVERYBODY: Final = {"NORM": "normal", "IMI": "inferior infarction", "CLBBB": "left bundle branch block"}
# Resolutions people scan at.
_PX_PER_MM: Final = (4.0, 6.0, 5.0)
MOST_PAGES: Final = len(STATEMENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextbookAnswer:
    """What a model said about one textbook page.

    Attributes:
        statement: SCP code of what was drawn.
        name: of it in words.
        expected: classes of the model's task that it belongs to; empty where the task has none.
        probabilities: class -> calibrated probability.
        positives: classes that were given.
        held: whether every expected class was given; None where none is expected.
    """

    statement: str
    name: str
    expected: tuple[str, ...]
    probabilities: dict[str, float]
    positives: tuple[str, ...]
    held: bool | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "statement": self.statement,
            "name": self.name,
            "expected": list(self.expected),
            "probabilities": self.probabilities,
            "positives": list(self.positives),
            "held": self.held,
        }


def textbook_pages(number: int) -> list[bytes]:
    """Draw as PNG files, always the same.

    Raises:
        ValueError: more are asked for than there are.
    """
    from vizecg.page import draw_page, encode_png
    from vizecg.simulate.heart import SAMPLING_HZ
    from vizecg.simulate.recording import record

    if not 1 <= number <= MOST_PAGES:
        raise ValueError(f"textbook pages must be from 1 to {MOST_PAGES}, got {number}")
    pages = []
    for at, statements in enumerate(STATEMENTS[:number]):
        heart = record(statements, patient=(0, at), visit=(0, at))
        px_per_mm = _PX_PER_MM[at % len(_PX_PER_MM)]
        page = draw_page(heart.high_uv / 1000, sampling_hz=SAMPLING_HZ, px_per_mm=px_per_mm)
        pages.append(encode_png(page))
    return pages


def expected_classes(statement: str, *, task: str, codes: "Sequence[str]") -> tuple[str, ...]:
    """Classes of a task that a statement belongs to; none where the task is not PTB-XL's, or the model lacks them."""
    from vizecg.labels import TASKS, task_of

    if task not in TASKS:
        return ()
    return tuple(code for code in task_of(task).classes_of([statement]) if code in codes)
