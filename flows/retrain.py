"""Retrain: the stages of dvc.yaml as tasks, then promotion through the gates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.outcomes import exit_code, failed, failed_like, payload, spare_empty_tracebacks
from flows.promote import promote
from flows.stages import StageResult, run_stage, stage_names
from vizecg import steps
from vizecg.config import PARAMS_FILE, override, read_params
from vizecg.errors import VizecgError

TIMEOUT_S: Final = {"ingest": 6 * 3600, "train": 24 * 3600}
DEFAULT_TIMEOUT_S: Final = 3600


def retrain_here(*, overrides: Sequence[str], promote: bool) -> int:
    """Run the flow in the current folder.

    Returns:
        The exit code: 0 done, or nothing to do; else of the error that stopped it.
    """
    workspace = Path.cwd()
    if overrides:
        override(workspace / PARAMS_FILE, overrides, models=steps.params_models())
    read_params(workspace / PARAMS_FILE, models=steps.params_models())
    spare_empty_tracebacks()
    return exit_code(retrain(workspace=workspace, promote_it=promote, return_state=True))


@flow(name="retrain", retries=0, validate_parameters=False)
def retrain(workspace: Path, promote_it: bool = True) -> State[Any]:
    """Bring every stage up to date, then hold the new version against the champion."""
    logger = get_run_logger()
    done: list[StageResult] = []
    for name in stage_names(workspace):
        state: State[Any] = stage_task(name)(name, workspace=workspace, return_state=True)
        if not state.is_completed():
            return failed_like(state)
        done.append(payload(state))
    _show_stages(done)
    if all(result.outcome == "unchanged" for result in done):
        logger.info("nothing has changed: every stage is as it was")
    if promote_it:
        verdict: State[Any] = promote(workspace=workspace, return_state=True)
        if not verdict.is_completed():
            return failed_like(verdict)
    return Completed(message=", ".join(f"{result.name} {result.outcome}" for result in done))


def stage_task(name: str) -> Any:  # noqa: ANN401 (Prefect's Task type carries the wrapped signature)
    """The Prefect task of one stage: same name, its own time limit, and no retry.

    A stage that fails here fails for bad input, a refusal or a conflict, which
    trying again would not mend; what the network does wrong is retried inside ingest.
    """
    return task(name=name, task_run_name=name, retries=0, persist_result=False)(_bring_up_to_date)


def _bring_up_to_date(name: str, *, workspace: Path) -> State[Any]:
    logger = get_run_logger()
    try:
        result = run_stage(name, workspace=workspace, timeout_s=TIMEOUT_S.get(name, DEFAULT_TIMEOUT_S), say=logger.info)
    except VizecgError as error:
        return failed(error)
    return Completed(message=f"{result.outcome} in {result.seconds:.0f} s", data=result)


def _show_stages(done: Sequence[StageResult]) -> None:
    table = [{"stage": result.name, "outcome": result.outcome, "seconds": round(result.seconds)} for result in done]
    create_table_artifact(table=table, key="stages", description="What each stage did")
