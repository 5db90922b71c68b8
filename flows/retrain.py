"""Retrain: the stages of dvc.yaml as tasks, then promotion through the gates."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.commands import TimeLimit
from flows.outcomes import exit_code, failed, failed_like, payload, spare_empty_tracebacks
from flows.promote import promote, register_again
from flows.stages import StageResult, run_stage, stage_names
from vizecg import steps
from vizecg.config import PARAMS_FILE, override, read_params
from vizecg.errors import InputError, VizecgError
from vizecg.settings import Settings

# A million records on one core take 50 h to render, and 68 h to train on two (docs/scale.md): what is still at work
# after that hangs. Larger sets and slower machines have VIZECG_STAGE_TIMEOUT_H.
TIMEOUT_H: Final = {"render": 100.0, "train": 200.0}
DEFAULT_TIMEOUT_H: Final = 24.0
TIMEOUT_SETTING: Final = "VIZECG_STAGE_TIMEOUT_H"
_HOURS: Final = re.compile(r"(?=.*[1-9])\d+(\.\d+)?")
VALIDATE: Final = "validate"
REGISTER: Final = "register"
VALIDATION_REPORT: Final = Path("reports") / "validation"
NUMBERS_FILE: Final = "validation.json"


def retrain_here(*, overrides: Sequence[str], promote: bool, stages: Sequence[str] = ()) -> int:
    """Run the flow in the current folder.

    Returns:
        The exit code: 0 done, or nothing to do; else of the error that stopped it.

    Raises:
        InputError: a parameter or a stage is not known, or there is no pipeline here.
    """
    workspace = Path.cwd()
    _chosen(stages, of=stage_names(workspace))
    if overrides:
        override(workspace / PARAMS_FILE, overrides, models=steps.params_models())
    read_params(workspace / PARAMS_FILE, models=steps.params_models())
    spare_empty_tracebacks()
    return exit_code(retrain(workspace=workspace, promote_it=promote, stages=stages, return_state=True))


@flow(name="retrain", retries=0, validate_parameters=False)
def retrain(workspace: Path, promote_it: bool = True, stages: Sequence[str] = ()) -> State[Any]:
    """Bring every stage up to date, then hold the new version against the champion.

    Args:
        workspace: where.
        promote_it: whether the gates are asked.
        stages: only these, in the order of dvc.yaml; without `register` among them nothing is registered.
    """
    logger = get_run_logger()
    try:
        names = _chosen(stages, of=stage_names(workspace))
    except VizecgError as error:
        return failed(error)
    done: list[StageResult] = []
    for name in names:
        state: State[Any] = stage_task(name)(name, workspace=workspace, return_state=True)
        if name == VALIDATE:
            _show_validation(workspace)
        if not state.is_completed():
            return failed_like(state)
        done.append(payload(state))
    _show_stages(done)
    if all(result.outcome == "unchanged" for result in done):
        logger.info("nothing has changed: every stage is as it was")
    said = ", ".join(f"{result.name} {result.outcome}" for result in done)
    if REGISTER not in names:
        return Completed(message=said)
    ended: State[Any] = (promote if promote_it else register_again)(workspace=workspace, return_state=True)
    if not ended.is_completed():
        return failed_like(ended)
    return Completed(message=f"{said}; {ended.message}" if promote_it else said)


def stage_task(name: str) -> Any:  # noqa: ANN401 (Prefect's Task type carries the wrapped signature)
    """The Prefect task of one stage: same name, its own time limit, and no retry.

    A stage that fails here fails for bad input, a refusal or a conflict, which
    trying again would not mend; what the network does wrong is retried inside ingest.
    """
    return task(name=name, task_run_name=name, retries=0, persist_result=False)(_bring_up_to_date)


def _bring_up_to_date(name: str, *, workspace: Path) -> State[Any]:
    logger = get_run_logger()
    try:
        limits_h = time_limits_h(Settings().stage_timeout_h, stages=stage_names(workspace))
        result = run_stage(name, workspace=workspace, timeout_s=3600 * limits_h[name], say=logger.info)
    except TimeLimit as error:
        return failed(InputError(f"{error}; a longer one is set by {TIMEOUT_SETTING}={name}=HOURS"))
    except VizecgError as error:
        return failed(error)
    return Completed(message=f"{result.outcome} in {result.seconds:.0f} s", data=result)


def time_limits_h(said: str, *, stages: Sequence[str]) -> dict[str, float]:
    """How long each stage may take, in hours.

    Args:
        said: `STAGE=HOURS` of those that are not as by default, with spaces between.
        stages: of the pipeline.

    Raises:
        InputError: there is no such stage, or these are no hours.
    """
    limits_h = {name: TIMEOUT_H.get(name, DEFAULT_TIMEOUT_H) for name in stages}
    for entry in said.split():
        name, _, hours = entry.partition("=")
        if name not in limits_h or not _HOURS.fullmatch(hours):
            raise InputError(
                f"{TIMEOUT_SETTING} has {entry!r}, expected STAGE=HOURS, hours above 0 and a stage of "
                f"{', '.join(stages)}"
            )
        limits_h[name] = float(hours)
    return limits_h


def _chosen(asked: Sequence[str], *, of: Sequence[str]) -> list[str]:
    if unknown := [name for name in asked if name not in of]:
        raise InputError(f"the pipeline has no stage {unknown[0]!r}; it has {', '.join(of)}")
    return [name for name in of if not asked or name in asked]


def _show_validation(workspace: Path) -> None:
    """What the data were held against, also where that ends the run; the page for people is in the report's folder."""
    # A refusal lies beside the report of before, and goes with the next validation that is none.
    found = (VALIDATION_REPORT.with_name(f"{VALIDATION_REPORT.name}-failed"), VALIDATION_REPORT)
    report = next((workspace / path for path in found if (workspace / path / NUMBERS_FILE).is_file()), None)
    if report is None:
        return
    numbers = json.loads((report / NUMBERS_FILE).read_text(encoding="utf-8"))
    row = {"report": str(report.relative_to(workspace)), **numbers}
    create_table_artifact(table=[row], key="validation", description="Expectations that the data were held against")


def _show_stages(done: Sequence[StageResult]) -> None:
    table = [{"stage": result.name, "outcome": result.outcome, "seconds": round(result.seconds)} for result in done]
    create_table_artifact(table=table, key="stages", description="What each stage did")
