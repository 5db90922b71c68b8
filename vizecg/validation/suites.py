"""Every expectation of a record set and its pages.

Hard ones stop the pipeline: training on such data would be wrong or could not
be trusted. The others are warnings: somebody should look.
"""

from collections.abc import Collection
from dataclasses import dataclass

from vizecg.labels import LabelClass
from vizecg.validation.check import Check, warning
from vizecg.validation.limits import Limits
from vizecg.validation.pages_suite import pages_suite
from vizecg.validation.records_suite import records_suite
from vizecg.validation.signals_suite import signals_suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is judged: the facts that expectations are made of.

    Attributes:
        task: of the record set.
        classes: of the task.
        sources: URIs of the sources that the set says it has.
        records: in the set.
        copies: pages that were to be drawn of each.
        styles: names of the page styles that may occur.
        cameras: names of the camera presets there are.
    """

    task: str
    classes: tuple[LabelClass, ...]
    sources: Collection[str]
    records: int
    copies: int
    styles: Collection[str]
    cameras: Collection[str]


def checks(limits: Limits, *, subject: Subject) -> tuple[Check, ...]:
    """List every expectation, in the order they are shown."""
    return (
        *records_suite(limits, task=subject.task, classes=subject.classes, sources=subject.sources),
        *_classes_suite(limits),
        *signals_suite(limits, records=subject.records),
        *pages_suite(limits, pages=subject.records * subject.copies, styles=subject.styles, cameras=subject.cameras),
        *_baseline_suite(),
    )


def _classes_suite(limits: Limits) -> tuple[Check, ...]:
    least = limits.min_positives
    return (
        warning(
            "classes/enough-to-tune-on",
            says=f"Every class has at least {least} records in fold 9.",
            why="With fewer its threshold is shared with the other classes.",
            expectation="ExpectColumnValuesToBeBetween",
            column="validation_positives",
            min_value=least,
        ),
        warning(
            "classes/enough-to-test-on",
            says=f"Every class has at least {least} records in fold 10.",
            why="With fewer its score means little, and with none there is no score.",
            expectation="ExpectColumnValuesToBeBetween",
            column="test_positives",
            min_value=least,
        ),
    )


def _baseline_suite() -> tuple[Check, ...]:
    return (
        warning(
            "baseline/as-last-accepted",
            says="Nothing has changed by more than chance since the last data that was accepted.",
            why="Other patients, other devices or a fault on the way here: find out which before training on it.",
            expectation="ExpectColumnValuesToBeInSet",
            column="changed",
            value_set=[False],
        ),
    )
