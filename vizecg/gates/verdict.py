"""What gates answer: a row each, and the verdict of all of them."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

Result = Literal["pass", "fail", "not enough data", "not applicable"]

MACRO_FLOOR: Final = "macro AUROC"
SHADOW: Final = "shadow agreement"
LOST: Final = "AUROC lost by "
CLASSES: Final = "classes"
PROVENANCE: Final = "provenance"
SERVICE: Final = "service"
NO_REASON_MENDS: Final = frozenset({CLASSES, PROVENANCE, SERVICE})
"""Gates that no person may set aside: answers of other labels, answers of simulated records, and none at all."""
MOST_NAMED: Final = 8
"""Classes that one sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one gate says, in numbers and in a sentence."""

    gate: str
    result: Result
    sentence: str
    value: float | str | None = None
    limit: float | str | None = None
    records: int | None = None
    positives: int | None = None

    @property
    def support(self) -> str:
        """On how much the value stands, in words."""
        parts = [(self.records, "records"), (self.positives, "positive")]
        return ", ".join(f"{number:,} {what}" for number, what in parts if number is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, with every gate's row."""

    allowed: bool
    already_champion: bool
    rows: tuple[Row, ...]
    overridden: bool = False
    """A person has set its refusals aside."""

    def overriding(self) -> "Verdict":
        """The same with its refusals set aside by a person, unless one is among them that no reason mends."""
        if self.allowed or any(row.gate in NO_REASON_MENDS for row in self.refusals):
            return self
        return replace(self, allowed=True, overridden=True)

    @property
    def refusals(self) -> tuple[Row, ...]:
        """The gates that said no."""
        return tuple(row for row in self.rows if row.result == "fail")

    @property
    def sentence(self) -> str:
        """The verdict for a log line or an error."""
        if self.already_champion:
            return "already champion: this bundle is the one in service"
        if self.refusals:
            names = ", ".join(row.gate for row in self.refusals)
            if self.overridden:
                return f"let through by a person against {len(self.refusals)} of {len(self.rows)} gates: {names}"
            return f"refused by {len(self.refusals)} of {len(self.rows)} gates: {names}"
        undecided = sum(row.result == "not enough data" for row in self.rows)
        return "no gate says no" + (f", {undecided} had not enough data" if undecided else "")

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "allowed": self.allowed,
            "already_champion": self.already_champion,
            "overridden": self.overridden,
            "sentence": self.sentence,
            "rows": [asdict(row) for row in self.rows],
        }


def versus(score: str) -> str:
    """Name of the gate that compares a score with the champion's."""
    return f"{score} vs champion"
