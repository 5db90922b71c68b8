"""Flows for a worker: each works in a clone of the repository, so that a worker's own checkout stays as it is.

The worker's code runs the flow; steps and parameters are those of the revision.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from prefect import flow, get_run_logger, runtime, task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import compare as comparing
from flows.commands import error_of, run_command
from flows.monitor import monitor
from flows.outcomes import exit_code, failed, failed_like, spare_empty_tracebacks
from flows.retrain import retrain, stage_task
from vizecg import promoting, promotion, steps, workspace
from vizecg.comparing import Params as CompareParams
from vizecg.comparing import names_of
from vizecg.config import PARAMS_FILE, override, read_params
from vizecg.environment import enter
from vizecg.errors import GateRefused, InputError, VizecgError
from vizecg.publish import locked
from vizecg.settings import Settings, shown

TRANSFER_TIMEOUT_S: Final = 6 * 3600
PATIENCE_S: Final = 300
# What the gates and the comparison look at; a stage that was run before comes from the cache.
DATA_STAGES: Final = ("ingest", "render")


class _Stopped(Exception):
    """A task ended badly, and its state says why."""

    def __init__(self, state: State[Any]) -> None:
        super().__init__(state.message)
        self.state = state


@flow(name="retraining", retries=0)
def retraining(
    revision: str = "HEAD",
    overrides: list[str] | None = None,
    promote_it: bool = True,
    pin_source: bool = False,
    stages: list[str] | None = None,
    actor: str = "",
) -> State[Any]:
    """Run the pipeline at a revision with changed parameters, then hold the new version against the champion.

    Args:
        revision: branch, tag or commit of the repository.
        overrides: `section.name=value`, written into the workspace's params.yaml and kept with the run.
        promote_it: whether the gates are asked.
        pin_source: take what the source holds now, not what the revision agreed on.
        stages: only these; what they need of the others comes from DVC. None: all, and only with `register` among
            them is a version registered and held against the champion.
        actor: who asks, for the ledger.
    """
    try:
        settings = _settings(actor=actor)
        with _workspace(settings, revision=revision, overrides=overrides or ()) as place:
            if pin_source:
                _vizecg(["source", "pin"], place=place)
            ended: State[Any] = retrain(workspace=place, promote_it=promote_it, stages=stages or (), return_state=True)
            # A version that a gate refused is kept too: somebody will want to see what it was made from.
            if exit_code(ended) in (0, GateRefused.exit_code):
                _transfer(["push", "--run-cache"], place=place)
            if not ended.is_completed():
                raise _Stopped(ended)
            return Completed(message=ended.message)
    except _Stopped as stopped:
        return failed_like(stopped.state)
    except VizecgError as error:
        return failed(error)


@flow(name="promotion", retries=0)
def promotion_by_gates(
    version: str = promotion.NEWEST,
    reason: str = "",
    revision: str = "HEAD",
    overrides: list[str] | None = None,
    actor: str = "",
) -> State[Any]:
    """Hold a registered version against the champion on the records and pages of a revision.

    Args:
        version: of the registered model, or `newest`.
        reason: why, for the ledger.
        revision: branch, tag or commit of the repository.
        overrides: `section.name=value`, such as those the version was trained with.
        actor: who asks, for the ledger.
    """
    try:
        settings = _settings(actor=actor)
        with _workspace(settings, revision=revision, overrides=overrides or ()) as place:
            _bring_data(place)
            _vizecg(["promote", "--version", version, "--reason", reason or "by deployment"], place=place)
    except _Stopped as stopped:
        return failed_like(stopped.state)
    except VizecgError as error:
        return failed(error)
    return Completed(message=f"version {version} was judged; see the log and `vizecg models history`")


@flow(name="rollback", retries=0)
def rollback(reason: str, actor: str = "") -> State[Any]:
    """Make the champion before this one the champion again.

    Args:
        reason: why, for the ledger.
        actor: who asks, for the ledger.
    """
    try:
        _settings(actor=actor)
    except VizecgError as error:
        return failed(error)
    return _roll_back(reason)


@flow(name="comparison", retries=0)
def comparison(
    revision: str = "HEAD", overrides: list[str] | None = None, contenders: list[str] | None = None
) -> State[Any]:
    """Train and score every contender out of fold; one that was cut off goes on where it was.

    Args:
        revision: branch, tag or commit of the repository.
        overrides: `section.name=value`.
        contenders: of section compare; all when none is named.
    """
    try:
        settings = _settings()
        place = settings.state_dir / "workspaces" / "comparison"
        with locked(place):
            workspace.clone_at(place, settings=settings, revision=revision)
            _make_ready(place, overrides=overrides or ())
            _bring_data(place)
            params = read_params(place / PARAMS_FILE, models=steps.params_models())["compare"]
            assert isinstance(params, CompareParams)  # noqa: S101 (params_models says so)
            names = names_of(contenders or (), params=params)
            ended: State[Any] = comparing.compare(workspace=place, contenders=names, return_state=True)
    except _Stopped as stopped:
        return failed_like(stopped.state)
    except VizecgError as error:
        return failed(error)
    return Completed(message=ended.message) if ended.is_completed() else failed_like(ended)


@flow(name="monitoring", retries=0)
def monitoring(put_alias_back: bool = False, look_for_data: bool = True) -> State[Any]:
    """Look at what the service was sent, and at the data; in the worker's checkout, which may be read-only.

    The report is in the state folder: `reports/monitor`.

    Args:
        put_alias_back: move a champion's alias that somebody moved by hand to where the ledger says.
        look_for_data: pin the source anew, and ask for training when it differs.
    """
    try:
        out = _settings().state_dir / "reports" / "monitor"
    except VizecgError as error:
        return failed(error)
    ended: State[Any] = monitor(put_alias_back=put_alias_back, look_for_data=look_for_data, out=out, return_state=True)
    return Completed(message=ended.message) if ended.is_completed() else failed_like(ended)


def _settings(*, actor: str = "") -> Settings:
    """Settings of the worker, set for the programs it starts too."""
    spare_empty_tracebacks()
    if actor.strip():
        os.environ["VIZECG_ACTOR"] = actor
    # A run of hours is not lost to a registry that is restarted; a person at a keyboard is told at once.
    os.environ.setdefault("VIZECG_PATIENCE_S", str(PATIENCE_S))
    settings = Settings()
    enter(settings)
    return settings


@contextmanager
def _workspace(settings: Settings, *, revision: str, overrides: Sequence[str]) -> Iterator[Path]:
    name = str(runtime.flow_run.id or "by-hand")
    with workspace.of_one_run(name, settings=settings, revision=revision) as place:
        _make_ready(place, overrides=overrides)
        yield place


def _make_ready(place: Path, *, overrides: Sequence[str]) -> None:
    get_run_logger().info("workspace %s at %s", place, workspace.head_commit(place))
    if overrides:
        override(place / PARAMS_FILE, overrides, models=steps.params_models())
        get_run_logger().info("overridden: %s", shown(", ".join(overrides)))
    # What the remote lacks is made anew; what it has need not be.
    _transfer(["pull", "--run-cache", "--allow-missing"], place=place)


def _transfer(command: Sequence[str], *, place: Path) -> None:
    if workspace.has_remote(place):
        _ended_well(_dvc.with_options(task_run_name=command[0])(list(command), place=place, return_state=True))


def _bring_data(place: Path) -> None:
    for name in DATA_STAGES:
        _ended_well(stage_task(name)(name, workspace=place, return_state=True))


def _vizecg(command: Sequence[str], *, place: Path) -> None:
    _ended_well(_our_command.with_options(task_run_name=command[0])(list(command), place=place, return_state=True))


def _ended_well(state: State[Any]) -> None:
    if not state.is_completed():
        raise _Stopped(state)


@task(name="dvc", retries=2, retry_delay_seconds=30, persist_result=False)
def _dvc(command: list[str], *, place: Path) -> None:
    """Pull or push: the one thing here that trying again may mend, so its failure is an exception."""
    done = run_command(
        ["dvc", *command],
        workspace=place,
        timeout_s=TRANSFER_TIMEOUT_S,
        what=f"dvc {command[0]}",
        say=get_run_logger().info,
    )
    if done.exit_code != 0:
        raise InputError(f"dvc {command[0]}: {' / '.join(done.lines[-3:])}")


@task(name="command", persist_result=False)
def _our_command(command: list[str], *, place: Path) -> State[Any]:
    done = run_command(
        ["vizecg", *command],
        workspace=place,
        timeout_s=TRANSFER_TIMEOUT_S,
        what=command[0],
        say=get_run_logger().info,
    )
    if done.exit_code != 0:
        return failed(error_of(command[0], lines=done.lines, exit_code=done.exit_code))
    return Completed(message=done.lines[-1] if done.lines else command[0])


@task(name="roll back", task_run_name="ledger", persist_result=False)
def _roll_back(reason: str) -> State[Any]:
    try:
        # Not patiently: a second attempt, after one that got further than it could see, would go back two.
        outcome = promotion.rollback(Settings(), actor=promoting.actor(), reason=reason)
    except VizecgError as error:
        return failed(error)
    return Completed(message=outcome.sentence)
