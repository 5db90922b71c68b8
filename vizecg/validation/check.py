"""One expectation: what must hold, in plain words and as Great Expectations understands it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vizecg.validation.tables import TABLES, TableName


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


def hard(name: str, *, says: str, why: str, expectation: str, **arguments: Any) -> Check:  # noqa: ANN401
    """What must hold: else the pipeline stops."""
    return _check(name, hard=True, says=says, why=why, expectation=expectation, arguments=arguments)


def warning(name: str, *, says: str, why: str, expectation: str, **arguments: Any) -> Check:  # noqa: ANN401
    """What somebody should look at when it does not hold."""
    return _check(name, hard=False, says=says, why=why, expectation=expectation, arguments=arguments)


def _check(name: str, *, hard: bool, says: str, why: str, expectation: str, arguments: Mapping[str, Any]) -> Check:
    table: TableName = next(known for known in TABLES if name.startswith(f"{known}/"))
    return Check(id=name, table=table, hard=hard, says=says, why=why, expectation=expectation, arguments=arguments)
