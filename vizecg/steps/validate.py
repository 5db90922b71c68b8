"""Hold records and pages against what must be true of them, and against the data that was last accepted."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vizecg.errors import GateRefused, InputError
from vizecg.validation.limits import Limits

if TYPE_CHECKING:
    from vizecg.pages import PageSet
    from vizecg.records import RecordSet
    from vizecg.validation.baseline import Comparison
    from vizecg.validation.judge import Outcome
    from vizecg.validation.tables import Tables

VALIDATION: Final = "validation"
SCHEMA_VERSION: Final = 2


class Params(Limits):
    """Section `validate` of params.yaml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found, and what the data look like on the whole."""

    outcomes: "Sequence[Outcome]"
    profile: dict[str, Any]
    comparison: "Comparison"


def run(params: Params, *, records: Path, pages: Path, baseline: Path, report: Path) -> None:
    """Write the report; when a hard expectation fails, beside its place, so that nothing trains on it.

    Raises:
        InputError: a set is damaged, the pages were drawn from other records, or the baseline cannot be read.
        GateRefused: a hard expectation does not hold; the page for people is in `<report>-failed`.
        Conflict: another process is writing the report.
    """
    from vizecg.pages import read_page_set
    from vizecg.records import read_record_set
    from vizecg.validation.baseline import read_baseline

    accepted = read_baseline(baseline)
    record_set, page_set = read_record_set(records), read_page_set(pages)
    if page_set.records_digest != record_set.digest:
        raise InputError(f"{pages} was drawn from other records than those in {records}; run render again")
    judged = _judge(params, record_set=record_set, page_set=page_set, accepted=accepted)
    failed = [outcome for outcome in judged.outcomes if outcome.check.hard and not outcome.passed]
    refused = report.with_name(f"{report.name}-failed")
    _publish(refused if failed else report, judged=judged, record_set=record_set, page_set=page_set)
    if failed:
        named = "; ".join(f"{outcome.check.id} ({outcome.found})" for outcome in failed)
        raise GateRefused(f"the data must not be trained on: {named}; read {refused / 'index.html'}")
    shutil.rmtree(refused, ignore_errors=True)  # of an earlier run: it is mended now
    numbers = _numbers(judged.outcomes)
    print(
        f"validate: {numbers['passed']} of {numbers['expectations']} expectations hold, {numbers['warnings']} warnings"
    )


def _judge(params: Params, *, record_set: "RecordSet", page_set: "PageSet", accepted: Any) -> Judged:  # noqa: ANN401
    from vizecg.camera import PRESETS
    from vizecg.page import STYLES
    from vizecg.pages import ON_PAPER
    from vizecg.validation.baseline import compare
    from vizecg.validation.judge import judge
    from vizecg.validation.profile import profile_of
    from vizecg.validation.suites import Subject, checks

    tables = _tables(record_set, page_set=page_set)
    profile = profile_of(tables, record_set=record_set)
    comparison = compare(profile, accepted=accepted, tables=tables, limits=params)
    subject = Subject(
        task=record_set.task,
        classes=record_set.classes,
        sources=[part["uri"] for part in record_set.source["parts"]] or [record_set.source["uri"]],
        records=len(record_set),
        copies=page_set.recipe["copies"],
        styles=[*STYLES, ON_PAPER],
        cameras=list(PRESETS),
    )
    outcomes = judge(replace(tables, baseline=comparison.table()), checks=checks(params, subject=subject))
    return Judged(outcomes=outcomes, profile=profile, comparison=comparison)


def _tables(record_set: "RecordSet", *, page_set: "PageSet") -> "Tables":
    import pandas as pd

    from vizecg.validation.tables import Tables, class_table, page_table, record_table, signal_table

    table, codes = record_set.table, record_set.codes
    return Tables(
        records=record_table(table, codes=codes),
        classes=class_table(table, codes=codes),
        signals=signal_table(
            table, signals_uv=record_set.signals_uv, sampling_hz=record_set.sampling_hz, upload=record_set.upload
        ),
        pages=page_table(page_set.index, table=table),
        baseline=pd.DataFrame(),
    )


def _publish(folder: Path, *, judged: Judged, record_set: "RecordSet", page_set: "PageSet") -> None:
    from vizecg.publish import publishing, to_json
    from vizecg.validation.page import render_page

    numbers = _numbers(judged.outcomes)
    verdict = {"passed": numbers["failed"] == 0, "records": record_set.digest, "pages": page_set.digest}
    with publishing(folder, kind=VALIDATION, schema_version=SCHEMA_VERSION) as staging:
        page = render_page(
            judged.outcomes, record_set=record_set, pages=len(page_set.index), comparison=judged.comparison
        )
        (staging / "index.html").write_text(page, encoding="utf-8")
        (staging / "validation.json").write_text(to_json(numbers), encoding="utf-8")
        (staging / "verdict.json").write_text(to_json(verdict), encoding="utf-8")
        (staging / "profile.json").write_text(to_json(judged.profile), encoding="utf-8")


def _numbers(outcomes: "Sequence[Outcome]") -> dict[str, int]:
    broken = [outcome.check.hard for outcome in outcomes if not outcome.passed]
    return {
        "expectations": len(outcomes),
        "passed": len(outcomes) - len(broken),
        "warnings": broken.count(False),
        "failed": broken.count(True),
    }
