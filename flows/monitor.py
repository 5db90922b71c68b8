"""Monitor: a look at what the service was sent and at the data, as a flow that tells Prefect what it found."""

from pathlib import Path
from typing import Any, Final

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed

from flows.outcomes import exit_code, failed, failed_like, payload, spare_empty_tracebacks
from vizecg.errors import VizecgError
from vizecg.monitoring import Report
from vizecg.monitoring.watch import ATTENTION, DATA, lines_of, read_everything, tell, watch, write
from vizecg.settings import MODEL_NAME

OUT: Final = Path("reports") / "monitor"
RESOURCE: Final = f"vizecg.model.{MODEL_NAME}"
SOMEBODY_SHOULD_LOOK: Final = "vizecg.monitor.attention"
NEW_DATA: Final = "vizecg.monitor.new-data"
"""What the trigger of the deployment `retraining` in prefect.yaml waits for."""


def monitor_here(*, put_alias_back: bool, look_for_data: bool) -> int:
    """Run the flow in the current folder.

    Returns:
        The exit code: 0 all is well, 3 somebody should look, else of the error that stopped it.
    """
    spare_empty_tracebacks()
    state: State[Any] = monitor(put_alias_back=put_alias_back, look_for_data=look_for_data, return_state=True)
    if not state.is_completed():
        return exit_code(state)
    return ATTENTION if payload(state) is False else 0


@flow(name="monitor", retries=0)
def monitor(put_alias_back: bool = False, look_for_data: bool = True, out: Path = OUT) -> State[Any]:
    """Look at champion, pictures, confirmed diagnoses and data; drift is something found, not a failure of the run.

    Args:
        put_alias_back: move a champion's alias that somebody moved by hand to where the ledger says.
        look_for_data: pin the source anew, and ask for training when it differs.
        out: folder of the report.
    """
    looked: State[Any] = look(put_alias_back=put_alias_back, look_for_data=look_for_data, out=out, return_state=True)
    if not looked.is_completed():
        return failed_like(looked)
    report: Report = payload(looked)
    _show(report, out=out)
    ill = [found.about for found in report.looks if not found.well]
    said = f"somebody should look: {', '.join(ill)}" if ill else "all is well"
    return Completed(message=said, data=report.well)


@task(name="look", task_run_name="look", persist_result=False)
def look(*, put_alias_back: bool, look_for_data: bool, out: Path) -> State[Any]:
    """Look, tell people, and leave the report."""
    try:
        settings, params, source = read_everything(look_for_data=look_for_data)
        report = watch(settings, params=params, source=source, put_alias_back=put_alias_back)
        report = tell(report, settings=settings, params=params, emit=_emit)
        write(report, out=out)
    except VizecgError as error:
        return failed(error)
    return Completed(message="looked", data=report)


def _show(report: Report, *, out: Path) -> None:
    for line in lines_of(report, out=out):
        get_run_logger().info(line)
    rows = [f"| {found.about} | {'well' if found.well else '**look**'} | {found.sentence} |" for found in report.looks]
    text = "\n".join(["| about | | |", "|---|---|---|", *rows]) + "\n"
    create_markdown_artifact(text, key="monitor", description="What the monitor found")


def _emit(report: Report) -> None:
    """Events for automations; not the same every day, see `monitor.cool_down_days`."""
    resource = {"prefect.resource.id": RESOURCE, "prefect.resource.name": MODEL_NAME}
    model = {"bundle_digest": report.model["bundle_digest"], "version": report.model["version"]}
    found = {one.about: one.sentence for one in report.looks if one.about in report.told}
    emit_event(event=SOMEBODY_SHOULD_LOOK, resource=resource, payload={**model, "found": found})
    if report.wants_training and DATA in report.told:
        emit_event(event=NEW_DATA, resource=resource, payload={**model, "pin": report.data.pin})
