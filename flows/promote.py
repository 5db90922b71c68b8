"""Promote: register the bundle again if MLflow lacks it, hold it against the champion, move the alias."""

import io
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from rich.console import Console

from flows.outcomes import failed, failed_like, payload
from vizecg import bundle as bundles
from vizecg import promotion, steps
from vizecg.config import PARAMS_FILE, read_params
from vizecg.errors import VizecgError
from vizecg.gates import Params
from vizecg.patience import patiently
from vizecg.promoting import actor
from vizecg.promotion import tables
from vizecg.promotion.moves import Outcome
from vizecg.publish import sha256_of
from vizecg.restoring import LOCK_TAG, place_of
from vizecg.settings import Settings, shown
from vizecg.tracking import PIN_TAG, RegisteredVersion, attach, ensure_registered, tag_run
from vizecg.workspace import LOCK_FILE, PIN_FILE, changed_parameters, head_commit

_WIDTH = 100
_LONGEST_TAG = 5000  # what MLflow's databases take


@flow(name="promote", retries=0, validate_parameters=False)
def promote(workspace: Path) -> State[Any]:
    """Make this workspace's bundle the champion if every gate agrees."""
    registered: State[Any] = register_again(workspace, return_state=True)
    if not registered.is_completed():
        return failed_like(registered)
    decided: State[Any] = decide(workspace, registered=payload(registered), return_state=True)
    # A state of a task that is handed on becomes Prefect's own `All states completed.`
    return Completed(message=decided.message) if decided.is_completed() else failed_like(decided)


@task(name="ensure registered", task_run_name="registry", persist_result=False)
def register_again(workspace: Path) -> State[Any]:
    """A stage restored from DVC's cache has run nothing, so MLflow may be empty; nothing happens when it is not."""
    settings = Settings()
    try:
        registered = patiently(
            lambda: _registered(workspace, settings=settings),
            patience_s=settings.patience_s,
            say=get_run_logger().info,
        )
    except VizecgError as error:
        return failed(error)
    get_run_logger().info("%s version %s is registered", registered.name, registered.version)
    _link(settings, registered)
    return Completed(data=registered)


def _link(settings: Settings, registered: RegisteredVersion) -> None:
    """To the version's run, where MLflow has pages of its own."""
    if not settings.tracking_uri.startswith(("http://", "https://")):
        return
    name = f"{registered.name} version {registered.version}"
    place = f"#/models/{registered.name}/versions/{registered.version}"
    address = shown(settings.tracking_uri.rstrip("/"))
    create_link_artifact(f"{address}/{place}", link_text=name, key="mlflow", description=f"Run {registered.run_id}")


def _registered(workspace: Path, *, settings: Settings) -> RegisteredVersion:
    bundle = workspace / "models" / "bundle"
    registered = ensure_registered(
        bundle,
        settings=settings,
        model_run=workspace / "models" / "run",
        evaluation=workspace / "reports" / "evaluation",
        tags=_origin(workspace),
    )
    tag_run(settings, run_id=registered.run_id, tags=_parameters(workspace))
    # With these, and DVC's cache, anybody restores the very data of a version.
    files = [workspace / PARAMS_FILE, workspace / LOCK_FILE, workspace / PIN_FILE]
    attach(settings, run_id=registered.run_id, files=files, place=place_of(bundles.read(bundle)[0]))
    return registered


def _origin(workspace: Path) -> dict[str, str]:
    """Which code and which pipeline state made the bundle: tags of the version, no content of the bundle."""
    tags = {}
    if (lock := workspace / LOCK_FILE).is_file():
        tags[LOCK_TAG] = sha256_of(lock)
    if (pin := workspace / PIN_FILE).is_file():
        tags[f"{PIN_TAG}{sha256_of(pin)[:16]}"] = "true"
    if commit := head_commit(workspace):
        tags["git_sha"] = commit
    return tags | _parameters(workspace)


def _parameters(workspace: Path) -> dict[str, str]:
    """What was overridden, for whoever compares runs: against the params.yaml that is committed."""
    changed = changed_parameters(workspace)
    return {} if changed is None else {"overrides": shown(", ".join(changed))[:_LONGEST_TAG] or "none"}


@task(name="gates", task_run_name="gates", persist_result=False)
def decide(workspace: Path, *, registered: RegisteredVersion) -> State[Any]:
    """Judge, and move the alias if allowed. Refused is a failed state: nobody should overlook it."""
    params = read_params(workspace / PARAMS_FILE, models=steps.params_models())["promote"]
    assert isinstance(params, Params)  # noqa: S101 (params_models says so)
    gather = partial(
        promotion.gather_evidence,
        records=workspace / "data" / "records",
        pages=workspace / "data" / "pages",
        cameras=params.cameras,
        camera_records=params.camera_records,
        seed=params.seed,
        serve=True,
    )
    settings = Settings()
    try:
        outcome = patiently(
            lambda: promotion.promote(
                settings,
                version=registered.version,
                gather=gather,
                params=params,
                actor=actor(),
                reason="retrain",
                automatic=True,
            ),
            patience_s=settings.patience_s,
            say=get_run_logger().info,
        )
    except VizecgError as error:
        return failed(error)
    _show(outcome)
    if outcome.exit_code:
        return Failed(message=outcome.sentence, data=outcome.exit_code)
    return Completed(message=outcome.sentence)


def _show(outcome: Outcome) -> None:
    logger = get_run_logger()
    if outcome.verdict is not None and outcome.verdict.rows:
        text = io.StringIO()
        Console(file=text, width=_WIDTH, highlight=False).print(tables.verdict_table(outcome.verdict))
        logger.info("the gates:\n%s", text.getvalue().rstrip())
        heading = f"Version {outcome.version}: {outcome.state}"
        create_markdown_artifact(tables.verdict_markdown(outcome.verdict, heading=heading), key="gates")
    for note in outcome.notes:
        logger.info("note: %s", note)
    logger.info(outcome.sentence)
