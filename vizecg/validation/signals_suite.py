"""Expectations about recordings: the voltages themselves, measured again."""

from collections.abc import Mapping
from typing import Final

from vizecg.records import UV_PER_MV
from vizecg.signals import MAX_LEAD_RESIDUAL_UV, QUALITY_FLAGS, SMALL_SQUARE_UV
from vizecg.validation.check import Check, hard, warning
from vizecg.validation.limits import Limits

FLAG_NAMES: Final[Mapping[str, str]] = {
    "flat_lead": "a lead that is flat",
    "clipped": "a lead cut off at the top or bottom",
    "noisy": "a noisy lead",
    "burst_noise": "a burst of noise",
    "mains_hum": "the hum of the mains",
    "drifting": "a baseline that drifts by more than 1 mV",
    "implausible_amplitude": "voltages that no heart makes",
    "arm_reversal_suspected": "arm electrodes that look exchanged",
}


def signals_suite(limits: Limits, *, records: int) -> tuple[Check, ...]:
    """List what must hold of the recordings, then what is worth a look."""
    return (*_hard(records=records), *_warnings(limits))


def _hard(*, records: int) -> tuple[Check, ...]:
    return (
        hard(
            "signals/as-many-as-records",
            says="There is one recording for each row of the table.",
            why="Else diagnoses would be learned with the wrong recordings.",
            expectation="ExpectTableRowCountToEqual",
            value=records,
        ),
        hard(
            "signals/leads-agree",
            says="The limb leads of every recording follow from each other.",
            why="Leads that contradict each other were not recorded from one heart.",
            expectation="ExpectColumnValuesToBeBetween",
            column="lead_residual_mv",
            max_value=MAX_LEAD_RESIDUAL_UV / UV_PER_MV,
        ),
        hard(
            "signals/not-empty",
            says="Every recording has at least one lead that moves.",
            why="A page of straight lines has no diagnosis.",
            expectation="ExpectColumnValuesToBeBetween",
            column="liveliest_lead_mv",
            min_value=SMALL_SQUARE_UV / UV_PER_MV,
        ),
        hard(
            "signals/flags-agree",
            says="Measured again, every recording has the quality flags that the table says.",
            why="Else table and recordings do not belong together.",
            expectation="ExpectColumnValuesToBeInSet",
            column="flags_agree",
            value_set=[True],
        ),
        hard(
            "signals/no-leak",
            says="No two folds hold the same recording.",
            why="A recording that was learned is no test, whatever its number.",
            expectation="ExpectColumnValuesToBeInSet",
            column="folds_of_samples",
            value_set=[1],
        ),
    )


def _warnings(limits: Limits) -> tuple[Check, ...]:
    flagged = (
        warning(
            f"signals/few-{flag.replace('_', '-')}",
            says=f"At most {share:.0%} of the recordings have {FLAG_NAMES[flag]}.",
            why="Poor recordings are kept, as in a hospital; very many of them hint at a fault.",
            expectation="ExpectColumnMeanToBeBetween",
            column=flag,
            max_value=share,
        )
        for flag in QUALITY_FLAGS
        for share in (getattr(limits.max_flagged, flag),)
    )
    return (
        *flagged,
        warning(
            "signals/no-copies",
            says="No two records hold the same recording.",
            why="A recording that comes twice weighs twice.",
            expectation="ExpectColumnValuesToBeInSet",
            column="copies_of_samples",
            value_set=[1],
        ),
    )
