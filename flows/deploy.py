"""What a Prefect server must know before workers start: a pool, the deployments, and how a dead run is told."""

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from vizecg.errors import InputError
from vizecg.process import run_within
from vizecg.settings import repository_root, shown

POOL: Final = "vizecg"
CRASHED_RUNS: Final = "runs without a heartbeat are crashed"
# Five beats of 30 s (vizecg/environment.py): those of a minute in which the server itself was away are lost, and with
# 100 s a run that was alive was marked. The server looks every few seconds, so it is still within three minutes.
SILENCE: Final = timedelta(seconds=150)
PREFECT_TIMEOUT_S: Final = 900.0
CHECKOUT_VARIABLE: Final = "VIZECG_CHECKOUT"


def deploy() -> None:
    """Write pool, deployments of prefect.yaml and the automation into the server; again changes nothing.

    Raises:
        InputError: no server is named, or it refuses.
    """
    checkout = repository_root()
    _refuse_without_server()
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
    _prefect(["--no-prompt", "deploy", "--all"], cwd=checkout)
    _write_automation()


def work(*, runs_at_once: int) -> None:
    """Become a worker of the pool; returns only by an error.

    Raises:
        InputError: no server is named.
    """
    _refuse_without_server()
    os.environ[CHECKOUT_VARIABLE] = str(repository_root())
    command = ["worker", "start", "--pool", POOL, "--type", "process", "--limit", str(runs_at_once)]
    os.execv(sys.executable, [sys.executable, "-m", "prefect", *command])  # noqa: S606 (a list of arguments of ours)


def crashed_runs() -> AutomationCore:
    """A run that has sent a heartbeat, and then neither another nor an end, is marked Crashed.

    Without it a run whose worker and process are both gone stays Running for ever, and keeps its place
    in the concurrency limit.
    """
    ends = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Cancelled", "Crashed")}
    return AutomationCore(
        name=CRASHED_RUNS,
        description="A run whose process is gone sends no heartbeat; see docs/operating.md.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ends},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message=f"no heartbeat for {SILENCE.total_seconds():.0f} s: its process is gone",
                force=False,
            )
        ],
    )


def _write_automation() -> None:
    wanted = crashed_runs()
    with get_client(sync_client=True) as client:
        there = client.read_automations_by_name(CRASHED_RUNS)
        if there:
            client.update_automation(there[0].id, wanted)
        else:
            client.create_automation(wanted)


def _refuse_without_server() -> None:
    if not os.environ.get("PREFECT_API_URL"):
        raise InputError("PREFECT_API_URL names no Prefect server; set it, such as to http://127.0.0.1:4200/api")


def _prefect(arguments: Sequence[str], *, cwd: Path) -> None:
    mend = "see whether the Prefect server answers (PREFECT_API_URL), then deploy again"
    done = run_within(
        PREFECT_TIMEOUT_S,
        [sys.executable, "-m", "prefect", *arguments],
        cwd=cwd,
        what=f"prefect {' '.join(arguments)}",
        mend=mend,
    )
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise InputError(f"prefect {' '.join(arguments)}: {shown(' / '.join(said[-3:]))}")
