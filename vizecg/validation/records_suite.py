"""Expectations about patients and diagnoses: what the tables say of each record."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from vizecg.labels import LabelClass
from vizecg.records import AGE_BANDS, AGE_HIDDEN_ABOVE, FOLDS, table_columns
from vizecg.validation.check import Check, hard, warning
from vizecg.validation.limits import Limits
from vizecg.validation.tables import ADDED_COLUMNS, SPLITS

REFERENCE_PREVALENCE: Final[Mapping[str, float]] = {
    code: records / 21_799
    for code, records in {"NORM": 9514, "MI": 5469, "STTC": 5235, "CD": 4898, "HYP": 2649}.items()
}
"""Share of the records of PTB-XL 1.0.3 that carry each class."""
REFERENCE_TASK: Final = "superdiagnostic"
"""For the classes of other tasks no such shares are published; the baseline is what they are held against."""


def records_suite(
    limits: Limits, *, task: str, classes: Collection[LabelClass], sources: Collection[str]
) -> tuple[Check, ...]:
    """List what must hold of the table of records, then what is worth a look."""
    codes = [entry.code for entry in classes]
    return (
        *_table(limits, codes=codes),
        *_origin(sources),
        *_split(),
        *_people(),
        *(_prevalence(entry, factor=limits.prevalence_factor) for entry in classes if task == REFERENCE_TASK),
        *_known(limits),
    )


def _table(limits: Limits, *, codes: Sequence[str]) -> tuple[Check, ...]:
    return (
        hard(
            "records/columns",
            says="The table has exactly the agreed columns.",
            why="A missing or extra column means another version wrote it.",
            expectation="ExpectTableColumnsToMatchSet",
            column_set=[*table_columns(codes), *ADDED_COLUMNS],
            exact_match=True,
        ),
        hard(
            "records/enough",
            says=f"There are at least {limits.min_records} records.",
            why="With fewer, no number about the model means anything.",
            expectation="ExpectTableRowCountToBeBetween",
            min_value=limits.min_records,
        ),
        hard(
            "records/ecg-id-unique",
            says="No record comes twice.",
            why="A record counted twice weighs twice, and may be on two sides.",
            expectation="ExpectColumnValuesToBeUnique",
            column="ecg_id",
        ),
        hard(
            "records/labelled-agrees",
            says="A record is marked labelled exactly when it has a diagnosis.",
            why="Else records without a label would be learned as healthy of everything.",
            expectation="ExpectColumnValuesToBeInSet",
            column="labelled_agrees",
            value_set=[True],
        ),
    )


def _origin(sources: Collection[str]) -> tuple[Check, ...]:
    return (
        hard(
            "records/source-known",
            says="Every record comes from one of the sources of the set.",
            why="Else nobody can tell where it came from.",
            expectation="ExpectColumnValuesToBeInSet",
            column="source",
            value_set=sorted(sources),
        ),
        hard(
            "records/name-once",
            says="Nothing of a source was taken in twice.",
            why="A record counted twice weighs twice, and may be on two sides.",
            expectation="ExpectCompoundColumnsToBeUnique",
            column_list=["source", "name"],
        ),
        hard(
            "records/something-to-see",
            says="Every record has a recording or the image of a page.",
            why="Without either there is nothing to learn from.",
            expectation="ExpectColumnValuesToBeInSet",
            column="something_to_see",
            value_set=[True],
        ),
    )


def _split() -> tuple[Check, ...]:
    return (
        hard(
            "records/fold-known",
            says="Every record is in one of the folds 1 to 10.",
            why="Folds decide what is learned from and what is tested on.",
            expectation="ExpectColumnValuesToBeInSet",
            column="fold",
            value_set=list(FOLDS),
        ),
        hard(
            "records/patient-one-fold",
            says="All records of a patient are in one fold.",
            why="Else the model is tested on patients it has learned.",
            expectation="ExpectColumnValuesToBeInSet",
            column="folds_of_patient",
            value_set=[1],
        ),
        hard(
            "records/splits-present",
            says="There are labelled records to learn from, to tune on and to test on.",
            why="Without one of the three, training or its score is impossible.",
            expectation="ExpectColumnDistinctValuesToContainSet",
            column="split",
            value_set=list(SPLITS),
        ),
    )


def _people() -> tuple[Check, ...]:
    return (
        hard(
            "records/sex-known-word",
            says="Sex is male, female or unknown.",
            why="Scores by sex are made from this column.",
            expectation="ExpectColumnValuesToBeInSet",
            column="sex",
            value_set=["male", "female", "unknown"],
        ),
        hard(
            "records/age-possible",
            says=f"An age is between 0 and {AGE_HIDDEN_ABOVE} years, or hidden.",
            why="PTB-XL writes 300 for the very old; as a number that would be learned.",
            expectation="ExpectColumnValuesToBeBetween",
            column="age_years",
            min_value=0,
            max_value=AGE_HIDDEN_ABOVE,
        ),
        hard(
            "records/age-band-known",
            says="Every age band is one of the agreed ones.",
            why="Scores by age are made from this column.",
            expectation="ExpectColumnValuesToBeInSet",
            column="age_band",
            value_set=list(AGE_BANDS),
        ),
    )


def _prevalence(entry: LabelClass, *, factor: float) -> Check:
    reference = REFERENCE_PREVALENCE[entry.code]
    least, most = reference / factor, min(1.0, reference * factor)
    return warning(
        f"records/prevalence-{entry.code}",
        says=(
            f"Between {least:.0%} and {most:.0%} of the records show {entry.name} ({entry.code}); "
            f"in PTB-XL {reference:.0%} do."
        ),
        why="Another mixture of patients shifts thresholds and scores.",
        expectation="ExpectColumnMeanToBeBetween",
        column=entry.code,
        min_value=least,
        max_value=most,
    )


def _known(limits: Limits) -> tuple[Check, ...]:
    return (
        warning(
            "records/age-known",
            says=f"Of at most {limits.max_age_unknown:.0%} of the records the age is unknown.",
            why="Scores by age leave these out.",
            expectation="ExpectColumnValuesToNotBeInSet",
            column="age_band",
            value_set=["unknown"],
            mostly=1 - limits.max_age_unknown,
        ),
        warning(
            "records/sex-known",
            says=f"Of at most {limits.max_sex_unknown:.0%} of the records the sex is unknown.",
            why="Scores by sex leave these out.",
            expectation="ExpectColumnValuesToNotBeInSet",
            column="sex",
            value_set=["unknown"],
            mostly=1 - limits.max_sex_unknown,
        ),
        warning(
            "records/mostly-labelled",
            says=f"At most {limits.max_unlabelled:.0%} of the records have no diagnosis.",
            why="They are kept, but nothing is learned from them.",
            expectation="ExpectColumnValuesToBeInSet",
            column="labelled",
            value_set=[True],
            mostly=1 - limits.max_unlabelled,
        ),
        warning(
            "records/mostly-with-signal",
            says=f"At most {limits.max_without_signal:.0%} of the records came on paper alone.",
            why="They train the image stream and cannot be taught by a signal.",
            expectation="ExpectColumnValuesToBeInSet",
            column="has_signal",
            value_set=[True],
            mostly=1 - limits.max_without_signal,
        ),
    )
