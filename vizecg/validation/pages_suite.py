"""Expectations about pages: what the model will look at."""

from collections.abc import Collection
from typing import Final

from vizecg.validation.check import Check, hard, warning
from vizecg.validation.limits import Limits

PAPER_MM_PER_S: Final = (25.0, 50.0)
PAPER_MM_PER_MV: Final = (5.0, 10.0, 20.0)


def pages_suite(limits: Limits, *, pages: int, styles: Collection[str], cameras: Collection[str]) -> tuple[Check, ...]:
    """List what must hold of the pages, then what is worth a look."""
    return (*_whole(pages=pages), *_drawing(styles=styles, cameras=cameras), *_warnings(limits))


def _whole(*, pages: int) -> tuple[Check, ...]:
    return (
        hard(
            "pages/as-many-as-ordered",
            says="Every record has all its pages.",
            why="A missing page is a record the model never sees.",
            expectation="ExpectTableRowCountToEqual",
            value=pages,
        ),
        hard(
            "pages/once-each",
            says="No page comes twice.",
            why="A page counted twice weighs twice.",
            expectation="ExpectCompoundColumnsToBeUnique",
            column_list=["row", "copy"],
        ),
        hard(
            "pages/right-record",
            says="Every page belongs to the record it names.",
            why="Else diagnoses would be learned with the wrong pages.",
            expectation="ExpectColumnValuesToBeInSet",
            column="ecg_id_agrees",
            value_set=[True],
        ),
        hard(
            "pages/standard-taken-in",
            says="Every page as printed, without a camera, is recognised as an ECG.",
            why="The intake that refuses a clean page refuses every hospital's.",
            expectation="ExpectColumnValuesToBeInSet",
            column="standard_taken_in",
            value_set=[True],
        ),
    )


def _drawing(*, styles: Collection[str], cameras: Collection[str]) -> tuple[Check, ...]:
    return (
        hard(
            "pages/style-known",
            says="Every page is drawn in a known style.",
            why="Scores by layout are made from this column.",
            expectation="ExpectColumnValuesToBeInSet",
            column="style",
            value_set=sorted(styles),
        ),
        hard(
            "pages/camera-known",
            says="Every page went through a known camera, or none.",
            why="Scores by distortion are made from this column.",
            expectation="ExpectColumnValuesToBeInSet",
            column="camera",
            value_set=sorted(cameras),
        ),
        hard(
            "pages/speed-on-paper",
            says="Every page runs at 25 or 50 mm per second.",
            why="No ECG paper has another speed; the model would learn wrong times.",
            expectation="ExpectColumnValuesToBeInSet",
            column="mm_per_s",
            value_set=list(PAPER_MM_PER_S),
        ),
        hard(
            "pages/gain-on-paper",
            says="Every page is drawn at 5, 10 or 20 mm per millivolt.",
            why="No ECG paper has another gain; the model would learn wrong heights.",
            expectation="ExpectColumnValuesToBeInSet",
            column="mm_per_mv",
            value_set=list(PAPER_MM_PER_MV),
        ),
        hard(
            "pages/not-blank",
            says="Every page that is an ECG has ink on it, and is not black all over.",
            why="A blank page teaches that the diagnosis is in the paper.",
            expectation="ExpectColumnValuesToBeBetween",
            column="ink_fraction",
            min_value=0.001,
            max_value=0.5,
        ),
    )


def _warnings(limits: Limits) -> tuple[Check, ...]:
    return (
        warning(
            "pages/mostly-taken-in",
            says=f"At most {limits.max_not_taken_in:.0%} of the pages are not recognised.",
            why="The camera makes them harder to read than the intake can bear.",
            expectation="ExpectColumnValuesToBeInSet",
            column="is_ecg",
            value_set=[True],
            mostly=1 - limits.max_not_taken_in,
        ),
        warning(
            "pages/few-findings",
            says=f"The intake remarks on at most {limits.max_with_findings:.0%} of the pages.",
            why="Remarks on pages that we drew ourselves hint at a fault of the intake.",
            expectation="ExpectColumnMeanToBeBetween",
            column="has_findings",
            max_value=limits.max_with_findings,
        ),
        warning(
            "pages/scale-found",
            says=f"The intake measures the scale of 95% of the pages and scans to within {limits.max_scale_error:.1%}.",
            why="A wrong scale makes every interval and height wrong by as much.",
            expectation="ExpectColumnValuesToBeBetween",
            column="scale_error",
            max_value=limits.max_scale_error,
            mostly=0.95,
        ),
        warning(
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
