"""Compare: every contender as a task of its own, so that Prefect shows which one runs; then the table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.commands import error_of, run_command
from flows.outcomes import exit_code, failed, failed_like, spare_empty_tracebacks
from vizecg import steps
from vizecg.comparing import Params, names_of
from vizecg.comparison_files import TABLE_FILE
from vizecg.config import PARAMS_FILE, read_params
from vizecg.errors import VizecgError

OUT: Final = Path("reports") / "comparison"
TIMEOUT_S: Final = 7 * 24 * 3600  # of one contender: ten trainings for every seed


def compare_here(*, contenders: Sequence[str]) -> int:
    """Run the flow in the current folder.

    Returns:
        The exit code: 0 done, else of the error that stopped it.
    """
    params = read_params(PARAMS_FILE, models=steps.params_models())["compare"]
    assert isinstance(params, Params)  # noqa: S101 (params_models says so)
    names = names_of(contenders, params=params)
    spare_empty_tracebacks()
    return exit_code(compare(workspace=Path.cwd(), contenders=names, return_state=True))


@flow(name="compare", retries=0, validate_parameters=False)
def compare(workspace: Path, contenders: Sequence[str]) -> State[Any]:
    """Train and score every contender out of fold, one after another, then hold them against each other."""
    for name in contenders:
        state: State[Any] = contender_task(name)(
            ["--contender", name, "--train-only"], workspace=workspace, what=f"contender {name}", return_state=True
        )
        if not state.is_completed():
            return failed_like(state)
    asked = [word for name in contenders for word in ("--contender", name)]
    table: State[Any] = contender_task("table")(asked, workspace=workspace, what="table", return_state=True)
    if not table.is_completed():
        return failed_like(table)
    text = (workspace / OUT / TABLE_FILE).read_text(encoding="utf-8")
    create_markdown_artifact(text, key="comparison", description="Contenders and metrics with 95 % intervals")
    return Completed(message=f"{len(contenders)} contenders compared")


def contender_task(name: str) -> Any:  # noqa: ANN401 (Prefect's Task type carries the wrapped signature)
    """The task of one contender; what was trained is kept, so trying again is for whoever starts the flow."""
    return task(
        name="compare", task_run_name=name.replace("{", "(").replace("}", ")"), retries=0, persist_result=False
    )(_command)


def _command(arguments: Sequence[str], *, workspace: Path, what: str) -> State[Any]:
    """Run `vizecg compare` once."""
    try:
        done = run_command(
            ["vizecg", "compare", *arguments],
            workspace=workspace,
            timeout_s=TIMEOUT_S,
            what=what,
            say=get_run_logger().info,
        )
    except VizecgError as error:
        return failed(error)
    if done.exit_code != 0:
        return failed(error_of(what, lines=done.lines, exit_code=done.exit_code))
    return Completed(message=done.lines[-1] if done.lines else what)
