"""How our tasks and flows end: with a state whose message is the user's sentence and whose data is what came out.

A state instead of an exception, because Prefect prints the call stack of an
exception, and what the user can mend needs none.
"""

import logging
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Failed

from vizecg.errors import VizecgError


def failed(error: VizecgError) -> State[Any]:
    """The state of a task that met something the user can mend; carries the exit code."""
    return Failed(message=str(error), data=error.exit_code)


def failed_like(state: State[Any]) -> State[Any]:
    """The same failure, one level up: a state belongs to one run."""
    return Failed(message=state.message or "no reason given", data=exit_code(state))


def payload(state: State[Any]) -> Any:  # noqa: ANN401 (whatever the task returned)
    """What a task or flow gave back; Prefect wraps it in a record of its own."""
    return getattr(state.data, "result", state.data)


def exit_code(state: State[Any]) -> int:
    """0 for a run that ended well, the error's code for one of ours, else 1."""
    if state.is_completed():
        return 0
    code = payload(state)
    return code if isinstance(code, int) and code else 1


def spare_empty_tracebacks() -> None:
    """Without an exception Prefect still logs one: `NoneType: None` below every failed state."""
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addFilter(_without_empty_traceback)


def _without_empty_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[0] is None:
        record.exc_info = None
    return True
