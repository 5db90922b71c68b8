"""Ask Great Expectations. Nothing is kept: no project folder, no report home, no progress bars."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from vizecg.validation.check import Check
from vizecg.validation.tables import NAMED_BY, TABLES, TableName, Tables

EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Whether one expectation holds, and what was found, in words."""

    check: Check
    passed: bool
    found: str


def judge(tables: Tables, *, checks: Sequence[Check]) -> tuple[Outcome, ...]:
    """Hold the tables against the expectations; outcomes come in the order of `checks`."""
    outcomes: dict[str, Outcome] = {}
    with warnings.catch_warnings():
        # Great Expectations warns of its own dependencies; none of it is about our data.
        warnings.simplefilter("ignore")
        for name in TABLES:
            of_table = [check for check in checks if check.table == name]
            if of_table:
                outcomes |= _judge_table(tables[name], name=name, checks=of_table)
    return tuple(outcomes[check.id] for check in checks)


def _judge_table(table: pd.DataFrame, *, name: TableName, checks: Sequence[Check]) -> dict[str, Outcome]:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = context.data_sources.add_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=[_expectation(check) for check in checks]))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    result = definition.run(
        batch_parameters={"dataframe": table},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [NAMED_BY[name]]},
    )
    by_id = {check.id: check for check in checks}
    outcomes = {}
    for one in result.results:
        if one.expectation_config is None:
            raise RuntimeError("Great Expectations gave a result without its expectation")
        check = by_id[one.expectation_config.meta["id"]]
        outcomes[check.id] = Outcome(
            check=check, passed=bool(one.success), found=_in_words(one, named_by=NAMED_BY[name])
        )
    return outcomes


def _expectation(check: Check) -> Any:  # noqa: ANN401 (Great Expectations' own base class)
    from great_expectations import expectations

    severity = "critical" if check.hard else "warning"
    return getattr(expectations, check.expectation)(**check.arguments, severity=severity, meta={"id": check.id})


def _in_words(one: Any, *, named_by: str) -> str:  # noqa: ANN401 (ExpectationValidationResult)
    result: Mapping[str, Any] = one.result
    if not result:
        return f"could not be checked: {_exception(one.exception_info)}"
    if "unexpected_count" in result:
        return _counted(result, named_by=named_by)
    if missing := result.get("missing_list") or result.get("partial_missing_list"):
        return f"missing: {', '.join(map(str, missing))}"
    if mismatched := result.get("details", {}).get("mismatched"):
        return "; ".join(f"{kind}: {', '.join(map(str, names))}" for kind, names in sorted(mismatched.items()))
    return _observed(result.get("observed_value"))


def _counted(result: Mapping[str, Any], *, named_by: str) -> str:
    unexpected, total = result["unexpected_count"], result["element_count"]
    if not unexpected:
        return f"holds for all {total:,}"
    places = result.get("unexpected_index_list") or []
    names = sorted({place[named_by] for place in places if named_by in place})
    shown = ", ".join(map(str, names[:EXAMPLES])) + (" and others" if len(names) > EXAMPLES else "")
    kind = {"ecg_id": "record ", "code": "class "}.get(named_by, "")
    return f"{unexpected:,} of {total:,} ({unexpected / total:.1%}) do not" + (f": {kind}{shown}" if names else "")


def _observed(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, int):
        return f"found {value:,}"
    if value is None or isinstance(value, (list, set, tuple)):
        return "found all of them"
    return f"found {float(value):.1%}"


def _exception(info: Mapping[str, Any]) -> str:
    nested = [entry for entry in info.values() if isinstance(entry, Mapping)] or [info]
    return str(nested[0].get("exception_message") or "no reason given").splitlines()[0][:200]
