"""The expectations: what must hold, in plain words and as Great Expectations understands it.

Hard ones stop the pipeline: training on such data would be wrong or could not
be trusted. The others are warnings: somebody should look.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vizecg.labels import SUPERDIAGNOSTIC
from vizecg.records import AGE_BANDS, AGE_HIDDEN_ABOVE, FOLDS, TABLE_COLUMNS, UV_PER_MV
from vizecg.signals import MAX_LEAD_RESIDUAL_UV, QUALITY_FLAGS, SMALL_SQUARE_UV
from vizecg.validation.limits import Limits
from vizecg.validation.tables import SPLITS, TABLES, TableName

REFERENCE_PREVALENCE: Final[Mapping[str, float]] = {
    code: records / 21_799
    for code, records in {"NORM": 9514, "MI": 5469, "STTC": 5235, "CD": 4898, "HYP": 2649}.items()
}
"""Share of the records of PTB-XL 1.0.3 that carry each class."""

PAPER_MM_PER_S: Final = (25.0, 50.0)
PAPER_MM_PER_MV: Final = (5.0, 10.0, 20.0)
PLAUSIBLE_PEAK_MV: Final = 10.0
"""The tallest QRS of a human heart stays below half of it; more is an artefact or wrong units."""

FLAG_NAMES: Final[Mapping[str, str]] = {
    "flat_lead": "a lead that is flat",
    "clipped": "a lead cut off at the top or bottom",
    "noisy": "a noisy lead",
    "drifting": "a baseline that drifts by more than 1 mV",
    "arm_reversal_suspected": "arm electrodes that look exchanged",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One expectation: `says` is what must hold, `why` what goes wrong when it does not."""

    id: str
    table: TableName
    hard: bool
    says: str
    why: str
    expectation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def checks(
    limits: Limits, *, records: int, copies: int, styles: Collection[str], cameras: Collection[str]
) -> tuple[Check, ...]:
    """List every expectation.

    Args:
        limits: where warnings begin.
        records: in the record set.
        copies: pages that were to be drawn of each.
        styles: names of the page styles there are.
        cameras: names of the camera presets there are.
    """
    return (
        *_records_hard(limits),
        *_records_warnings(limits),
        *_signals_hard(records=records),
        *_signals_warnings(limits),
        *_pages_hard(pages=records * copies, styles=styles, cameras=cameras),
        *_pages_warnings(limits),
    )


def _hard(name: str, *, says: str, why: str, expectation: str, **arguments: Any) -> Check:  # noqa: ANN401
    return _check(name, hard=True, says=says, why=why, expectation=expectation, arguments=arguments)


def _warning(name: str, *, says: str, why: str, expectation: str, **arguments: Any) -> Check:  # noqa: ANN401
    return _check(name, hard=False, says=says, why=why, expectation=expectation, arguments=arguments)


def _check(name: str, *, hard: bool, says: str, why: str, expectation: str, arguments: Mapping[str, Any]) -> Check:
    table: TableName = next(known for known in TABLES if name.startswith(f"{known}/"))
    return Check(id=name, table=table, hard=hard, says=says, why=why, expectation=expectation, arguments=arguments)


def _records_hard(limits: Limits) -> tuple[Check, ...]:
    return (
        _hard(
            "records/columns",
            says="The table has exactly the agreed columns.",
            why="A missing or extra column means another version wrote it.",
            expectation="ExpectTableColumnsToMatchSet",
            column_set=[*TABLE_COLUMNS, "folds_of_patient", "labelled_agrees", "split"],
            exact_match=True,
        ),
        _hard(
            "records/enough",
            says=f"There are at least {limits.min_records} records.",
            why="With fewer, no number about the model means anything.",
            expectation="ExpectTableRowCountToBeBetween",
            min_value=limits.min_records,
        ),
        _hard(
            "records/ecg-id-unique",
            says="No record comes twice.",
            why="A record counted twice weighs twice, and may be on two sides.",
            expectation="ExpectColumnValuesToBeUnique",
            column="ecg_id",
        ),
        _hard(
            "records/fold-known",
            says="Every record is in one of the folds 1 to 10.",
            why="Folds decide what is learned from and what is tested on.",
            expectation="ExpectColumnValuesToBeInSet",
            column="fold",
            value_set=list(FOLDS),
        ),
        _hard(
            "records/patient-one-fold",
            says="All records of a patient are in one fold.",
            why="Else the model is tested on patients it has learned.",
            expectation="ExpectColumnValuesToBeInSet",
            column="folds_of_patient",
            value_set=[1],
        ),
        _hard(
            "records/splits-present",
            says="There are labelled records to learn from, to tune on and to test on.",
            why="Without one of the three, training or its score is impossible.",
            expectation="ExpectColumnDistinctValuesToContainSet",
            column="split",
            value_set=list(SPLITS),
        ),
        _hard(
            "records/labelled-agrees",
            says="A record is marked labelled exactly when it has a diagnosis.",
            why="Else records without a label would be learned as healthy of everything.",
            expectation="ExpectColumnValuesToBeInSet",
            column="labelled_agrees",
            value_set=[True],
        ),
        _hard(
            "records/sex-known-word",
            says="Sex is male, female or unknown.",
            why="Scores by sex are made from this column.",
            expectation="ExpectColumnValuesToBeInSet",
            column="sex",
            value_set=["male", "female", "unknown"],
        ),
        _hard(
            "records/age-possible",
            says=f"An age is between 0 and {AGE_HIDDEN_ABOVE} years, or hidden.",
            why="PTB-XL writes 300 for the very old; as a number that would be learned.",
            expectation="ExpectColumnValuesToBeBetween",
            column="age_years",
            min_value=0,
            max_value=AGE_HIDDEN_ABOVE,
        ),
        _hard(
            "records/age-band-known",
            says="Every age band is one of the agreed ones.",
            why="Scores by age are made from this column.",
            expectation="ExpectColumnValuesToBeInSet",
            column="age_band",
            value_set=list(AGE_BANDS),
        ),
    )


def _records_warnings(limits: Limits) -> tuple[Check, ...]:
    factor = limits.prevalence_factor
    prevalence = (
        _warning(
            f"records/prevalence-{entry.code}",
            says=(
                f"Between {reference / factor:.0%} and {min(1.0, reference * factor):.0%} of the records show "
                f"{entry.name} ({entry.code}); in PTB-XL {reference:.0%} do."
            ),
            why="Another mixture of patients shifts thresholds and scores.",
            expectation="ExpectColumnMeanToBeBetween",
            column=entry.code,
            min_value=reference / factor,
            max_value=min(1.0, reference * factor),
        )
        for entry in SUPERDIAGNOSTIC
        for reference in (REFERENCE_PREVALENCE[entry.code],)
    )
    return (
        *prevalence,
        _warning(
            "records/age-known",
            says=f"Of at most {limits.max_age_unknown:.0%} of the records the age is unknown.",
            why="Scores by age leave these out.",
            expectation="ExpectColumnValuesToNotBeInSet",
            column="age_band",
            value_set=["unknown"],
            mostly=1 - limits.max_age_unknown,
        ),
        _warning(
            "records/sex-known",
            says=f"Of at most {limits.max_sex_unknown:.0%} of the records the sex is unknown.",
            why="Scores by sex leave these out.",
            expectation="ExpectColumnValuesToNotBeInSet",
            column="sex",
            value_set=["unknown"],
            mostly=1 - limits.max_sex_unknown,
        ),
        _warning(
            "records/mostly-labelled",
            says=f"At most {limits.max_unlabelled:.0%} of the records have no diagnosis.",
            why="They are kept, but nothing is learned from them.",
            expectation="ExpectColumnValuesToBeInSet",
            column="labelled",
            value_set=[True],
            mostly=1 - limits.max_unlabelled,
        ),
    )


def _signals_hard(*, records: int) -> tuple[Check, ...]:
    return (
        _hard(
            "signals/as-many-as-records",
            says="There is one recording for each row of the table.",
            why="Else diagnoses would be learned with the wrong recordings.",
            expectation="ExpectTableRowCountToEqual",
            value=records,
        ),
        _hard(
            "signals/leads-agree",
            says="The limb leads of every recording follow from each other.",
            why="Leads that contradict each other were not recorded from one heart.",
            expectation="ExpectColumnValuesToBeBetween",
            column="lead_residual_mv",
            max_value=MAX_LEAD_RESIDUAL_UV / UV_PER_MV,
        ),
        _hard(
            "signals/not-empty",
            says="Every recording has at least one lead that moves.",
            why="A page of straight lines has no diagnosis.",
            expectation="ExpectColumnValuesToBeBetween",
            column="liveliest_lead_mv",
            min_value=SMALL_SQUARE_UV / UV_PER_MV,
        ),
        _hard(
            "signals/flags-agree",
            says="Measured again, every recording has the quality flags that the table says.",
            why="Else table and recordings do not belong together.",
            expectation="ExpectColumnValuesToBeInSet",
            column="flags_agree",
            value_set=[True],
        ),
        _hard(
            "signals/no-leak",
            says="No two folds hold the same recording.",
            why="A recording that was learned is no test, whatever its number.",
            expectation="ExpectColumnValuesToBeInSet",
            column="folds_of_samples",
            value_set=[1],
        ),
    )


def _signals_warnings(limits: Limits) -> tuple[Check, ...]:
    flagged = (
        _warning(
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
        _warning(
            "signals/no-copies",
            says="No two records hold the same recording.",
            why="A recording that comes twice weighs twice.",
            expectation="ExpectColumnValuesToBeInSet",
            column="copies_of_samples",
            value_set=[1],
        ),
        _warning(
            "signals/peaks-plausible",
            says=f"At most {limits.max_implausible_peak:.1%} of the recordings go beyond ±{PLAUSIBLE_PEAK_MV:g} mV.",
            why="A heart does not; an artefact or a wrong unit does.",
            expectation="ExpectColumnValuesToBeBetween",
            column="peak_mv",
            max_value=PLAUSIBLE_PEAK_MV,
            mostly=1 - limits.max_implausible_peak,
        ),
    )


def _pages_hard(*, pages: int, styles: Collection[str], cameras: Collection[str]) -> tuple[Check, ...]:
    return (
        _hard(
            "pages/as-many-as-ordered",
            says="Every record has all its pages.",
            why="A missing page is a record the model never sees.",
            expectation="ExpectTableRowCountToEqual",
            value=pages,
        ),
        _hard(
            "pages/once-each",
            says="No page comes twice.",
            why="A page counted twice weighs twice.",
            expectation="ExpectCompoundColumnsToBeUnique",
            column_list=["row", "copy"],
        ),
        _hard(
            "pages/right-record",
            says="Every page belongs to the record it names.",
            why="Else diagnoses would be learned with the wrong pages.",
            expectation="ExpectColumnValuesToBeInSet",
            column="ecg_id_agrees",
            value_set=[True],
        ),
        _hard(
            "pages/standard-taken-in",
            says="Every page as printed, without a camera, is recognised as an ECG.",
            why="The intake that refuses a clean page refuses every hospital's.",
            expectation="ExpectColumnValuesToBeInSet",
            column="standard_taken_in",
            value_set=[True],
        ),
        _hard(
            "pages/style-known",
            says="Every page is drawn in a known style.",
            why="Scores by layout are made from this column.",
            expectation="ExpectColumnValuesToBeInSet",
            column="style",
            value_set=sorted(styles),
        ),
        _hard(
            "pages/camera-known",
            says="Every page went through a known camera, or none.",
            why="Scores by distortion are made from this column.",
            expectation="ExpectColumnValuesToBeInSet",
            column="camera",
            value_set=sorted(cameras),
        ),
        _hard(
            "pages/speed-on-paper",
            says="Every page runs at 25 or 50 mm per second.",
            why="No ECG paper has another speed; the model would learn wrong times.",
            expectation="ExpectColumnValuesToBeInSet",
            column="mm_per_s",
            value_set=list(PAPER_MM_PER_S),
        ),
        _hard(
            "pages/gain-on-paper",
            says="Every page is drawn at 5, 10 or 20 mm per millivolt.",
            why="No ECG paper has another gain; the model would learn wrong heights.",
            expectation="ExpectColumnValuesToBeInSet",
            column="mm_per_mv",
            value_set=list(PAPER_MM_PER_MV),
        ),
        _hard(
            "pages/not-blank",
            says="Every page that is an ECG has ink on it, and is not black all over.",
            why="A blank page teaches that the diagnosis is in the paper.",
            expectation="ExpectColumnValuesToBeBetween",
            column="ink_fraction",
            min_value=0.001,
            max_value=0.5,
        ),
    )


def _pages_warnings(limits: Limits) -> tuple[Check, ...]:
    return (
        _warning(
            "pages/mostly-taken-in",
            says=f"At most {limits.max_not_taken_in:.0%} of the pages are not recognised.",
            why="The camera makes them harder to read than the intake can bear.",
            expectation="ExpectColumnValuesToBeInSet",
            column="is_ecg",
            value_set=[True],
            mostly=1 - limits.max_not_taken_in,
        ),
        _warning(
            "pages/few-findings",
            says=f"The intake remarks on at most {limits.max_with_findings:.0%} of the pages.",
            why="Remarks on pages that we drew ourselves hint at a fault of the intake.",
            expectation="ExpectColumnMeanToBeBetween",
            column="has_findings",
            max_value=limits.max_with_findings,
        ),
        _warning(
            "pages/scale-found",
            says=f"The intake measures the scale of 95% of the pages to within {limits.max_scale_error:.1%}.",
            why="A wrong scale makes every interval and height wrong by as much.",
            expectation="ExpectColumnValuesToBeBetween",
            column="scale_error",
            max_value=limits.max_scale_error,
            mostly=0.95,
        ),
        _warning(
            "pages/light-paper",
            says="95% of the pages are light on the whole.",
            why="The model expects dark ink on white; a dark mean hints at an inverted page.",
            expectation="ExpectColumnValuesToBeBetween",
            column="mean",
            min_value=200,
            max_value=255,
            mostly=0.95,
        ),
    )
