"""How an evaluation divides the records, in the words that report, model card and MLflow share."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

Protocol = Literal["folds", "cross"]
"""`folds`: calibrated on fold 9, scored on fold 10. `cross`: calibrated and scored out of fold, on all ten."""

FOLDS: Final[Protocol] = "folds"
CROSS: Final[Protocol] = "cross"
BY_THE_SERVED: Final = "fold 10, by the network that is served"
"""What other papers, controls and textbook pages are asked of, whatever the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A protocol as it is said.

    Attributes:
        fitted_on: where calibration and thresholds come from.
        scored_on: what the scores are of.
        summary: what a reader must know before the numbers.
    """

    fitted_on: str
    scored_on: str
    summary: str


_WORDS: Final[Mapping[str, Words]] = MappingProxyType(
    {
        FOLDS: Words(
            fitted_on="fold 9",
            scored_on="fold 10",
            summary="One network: it learned from folds 1 to 8, was calibrated on fold 9, and is scored on fold 10, "
            "which nothing was chosen on.",
        ),
        CROSS: Words(
            fitted_on="what was said of folds 1 to 10 out of fold",
            scored_on="folds 1 to 10, out of fold",
            summary="Ten networks of the same recipe, each trained to its last epoch on nine folds: every record is "
            "scored once, by the network, the calibration and the thresholds that know nothing of its fold. So this is "
            "the score of the recipe. The network that is served is none of the ten: it learned from folds 1 to 8, and "
            "its answers are read by a calibration and thresholds fitted on the ten networks' answers.",
        ),
    }
)


def words_of(said: Mapping[str, Any]) -> Words:
    """The words for what `metrics.json`, or `fitted_on` of an operating point, says; older ones know one protocol."""
    return _WORDS[said.get("protocol", FOLDS)]


def measured_on(protocol: Protocol) -> dict[str, str]:
    """Which records each block of `metrics.json` is about."""
    scored_on = _WORDS[protocol].scored_on
    of_scores = dict.fromkeys(("macro", "classes", "abstain", "slices"), scored_on)
    return of_scores | dict.fromkeys(("robustness", "paper", "controls"), BY_THE_SERVED)
