"""Hold records and pages against what must be true of them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vizecg.errors import GateRefused, InputError
from vizecg.validation.limits import Limits

if TYPE_CHECKING:
    from vizecg.pages import PageSet
    from vizecg.records import RecordSet
    from vizecg.validation.judge import Outcome

VALIDATION: Final = "validation"
SCHEMA_VERSION: Final = 1


class Params(Limits):
    """Section `validate` of params.yaml."""


def run(params: Params, *, records: Path, pages: Path, report: Path) -> None:
    """Write the report; when a hard expectation fails, beside its place, so that nothing trains on it.

    Raises:
        InputError: a set is damaged, or the pages were drawn from other records.
        GateRefused: a hard expectation does not hold; the page for people is in `<report>-failed`.
        Conflict: another process is writing the report.
    """
    from vizecg.pages import read_page_set
    from vizecg.records import read_record_set

    record_set, page_set = read_record_set(records), read_page_set(pages)
    if page_set.records_digest != record_set.digest:
        raise InputError(f"{pages} was drawn from other records than those in {records}; run render again")
    outcomes = _judge(params, record_set=record_set, page_set=page_set)
    failed = [outcome for outcome in outcomes if outcome.check.hard and not outcome.passed]
    refused = report.with_name(f"{report.name}-failed")
    _publish(refused if failed else report, outcomes=outcomes, record_set=record_set, page_set=page_set)
    if failed:
        named = "; ".join(f"{outcome.check.id} ({outcome.found})" for outcome in failed)
        raise GateRefused(f"the data must not be trained on: {named}; read {refused / 'index.html'}")
    shutil.rmtree(refused, ignore_errors=True)  # of an earlier run: it is mended now
    numbers = _numbers(outcomes)
    print(
        f"validate: {numbers['passed']} of {numbers['expectations']} expectations hold, {numbers['warnings']} warnings"
    )


def _judge(params: Params, *, record_set: "RecordSet", page_set: "PageSet") -> "Sequence[Outcome]":
    from vizecg.camera import PRESETS
    from vizecg.page import STYLES
    from vizecg.validation.judge import judge
    from vizecg.validation.suites import checks
    from vizecg.validation.tables import tables_of

    tables = tables_of(
        record_set.table,
        signals_uv=record_set.signals_uv,
        sampling_hz=record_set.sampling_hz,
        index=page_set.index,
    )
    expected = checks(params, records=len(record_set), copies=page_set.recipe["copies"], styles=STYLES, cameras=PRESETS)
    return judge(tables, checks=expected)


def _publish(folder: Path, *, outcomes: "Sequence[Outcome]", record_set: "RecordSet", page_set: "PageSet") -> None:
    from vizecg.publish import publishing, to_json
    from vizecg.validation.page import render_page

    numbers = _numbers(outcomes)
    verdict = {"passed": numbers["failed"] == 0, "records": record_set.digest, "pages": page_set.digest}
    with publishing(folder, kind=VALIDATION, schema_version=SCHEMA_VERSION) as staging:
        page = render_page(outcomes, record_set=record_set, pages=len(page_set.index))
        (staging / "index.html").write_text(page, encoding="utf-8")
        (staging / "validation.json").write_text(to_json(numbers), encoding="utf-8")
        (staging / "verdict.json").write_text(to_json(verdict), encoding="utf-8")


def _numbers(outcomes: "Sequence[Outcome]") -> dict[str, int]:
    broken = [outcome.check.hard for outcome in outcomes if not outcome.passed]
    return {
        "expectations": len(outcomes),
        "passed": len(outcomes) - len(broken),
        "warnings": broken.count(False),
        "failed": broken.count(True),
    }
