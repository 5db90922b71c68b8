"""The whole job on one machine: servers up, pipeline through Prefect, promotion, a first real answer."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from vizecg.answer import Answer, Label
from vizecg.client import Client
from vizecg.environment import house_environment
from vizecg.errors import GateRefused, InputError
from vizecg.places import SIMULATED, Place, clone_for, source_of
from vizecg.process import start_supervised, stop
from vizecg.publish import locked
from vizecg.servers import (
    LOOPBACK,
    MLFLOW_PORT,
    PREFECT_PORT,
    SERVICE_PORT,
    Server,
    free_port,
    mlflow_command,
    prefect_command,
    started,
    wait_until_healthy,
)
from vizecg.settings import Settings, repository_root

if TYPE_CHECKING:
    from vizecg.records import RecordSet

SERVERS_UP_WITHIN_S: Final = 180
SERVICE_UP_WITHIN_S: Final = 90
MOST_LABELS_SHOWN: Final = 10


def run_demo(*, data: str | None, leave: bool) -> int:
    """Run it.

    Args:
        data: None for simulated records, "physionet", or a folder or archive in PTB-XL's layout.
        leave: stop everything after the first answer; else serve until Ctrl-C.

    Returns:
        0, or 3 when a gate kept the old champion.

    Raises:
        InputError: something given cannot be used, or a server did not start.
        Conflict: a demo is running in this checkout already.
    """
    began_s = time.monotonic()
    checkout = repository_root()
    settings = Settings(state_dir=checkout / ".state")
    console = Console(highlight=False, soft_wrap=True)
    with locked(settings.state_dir / "demo"), ExitStack() as stack:
        place = _prepare_place(checkout, data=data, settings=settings, console=console)
        servers = _start_servers(stack, place=place, settings=settings, console=console)
        code = _run_flow(place, servers=servers)
        if code != 0 and not _champion_can_answer(code, servers=servers, settings=settings):
            return code  # the flow has said why
        log, page = settings.state_dir / "logs" / "service.log", settings.state_dir / "demo-page.png"
        service = _start_service(stack, place=place, servers=servers, log=log)
        console.rule("one page, as an application would send it")
        question = _ask_about_unseen_record(place, service=service, page=page)
        _show_answer(question, console=console)
        seconds = time.monotonic() - began_s
        _show_addresses(console, servers=servers, service=service, page=question.page, seconds=seconds)
        if not leave:
            console.print("Serving until Ctrl-C.")
            _wait_for_interrupt(service)
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The two servers the job needs, and the environment that names them."""

    mlflow: Server
    prefect: Server
    environment: Mapping[str, str]
    since: datetime


def _prepare_place(checkout: Path, *, data: str | None, settings: Settings, console: Console) -> Place:
    if data is not None:
        source, _ = source_of(data)
        begun = _first_weights(checkout, say=console.print) if source != SIMULATED else []
        return clone_for("demo", checkout=checkout, data=data, settings=settings, say=console.print, overrides=begun)
    console.print(f"Records: {_configured_source(checkout)}. Running in this checkout.")
    return Place(folder=checkout, environment={**os.environ, **house_environment(settings)})


def _first_weights(checkout: Path, *, say: Callable[[str], object]) -> list[str]:
    """What lets few real records begin with what was learned from simulated ones, where such weights fit."""
    from vizecg.first_weights import shipped_for

    init = shipped_for(checkout)
    if init is None:
        return []
    say(f"The network begins with weights learned from simulated records, {init.path}.")
    return [f'train.model.init={{path: {init.path}, sha256: "{init.sha256}"}}']


def _configured_source(checkout: Path) -> str:
    from vizecg import steps
    from vizecg.config import PARAMS_FILE, read_params
    from vizecg.steps.ingest import Params

    params = read_params(checkout / PARAMS_FILE, models=steps.params_models())["ingest"]
    assert isinstance(params, Params)  # noqa: S101 (params_models says so)
    return "simulated (they have no medical meaning)" if params.source == "simulated" else " + ".join(params.names)


def _start_servers(stack: ExitStack, *, place: Place, settings: Settings, console: Console) -> Servers:
    mlflow_port, prefect_port = free_port(MLFLOW_PORT), free_port(PREFECT_PORT)
    for name, wanted, port in (("MLflow", MLFLOW_PORT, mlflow_port), ("Prefect", PREFECT_PORT, prefect_port)):
        if port != wanted:
            console.print(f"Port {wanted} is taken: {name} listens on {port}.")
    settings.artifact_root.mkdir(parents=True, exist_ok=True)
    database_url = f"sqlite:///{settings.state_dir / 'mlflow.db'}"
    logs = settings.state_dir / "logs"
    mlflow = stack.enter_context(
        started(
            "MLflow",
            mlflow_command(port=mlflow_port, database_url=database_url, artifact_root=settings.artifact_root),
            url=f"http://{LOOPBACK}:{mlflow_port}",
            health="/health",
            cwd=settings.state_dir,
            environment=place.environment,
            log=logs / "mlflow.log",
        )
    )
    prefect = stack.enter_context(
        started(
            "Prefect",
            prefect_command(port=prefect_port),
            url=f"http://{LOOPBACK}:{prefect_port}",
            health="/api/health",
            cwd=settings.state_dir,
            environment=place.environment,
            log=logs / "prefect.log",
        )
    )
    with console.status("Starting MLflow and Prefect"):
        for server in (mlflow, prefect):
            wait_until_healthy(server, timeout_s=SERVERS_UP_WITHIN_S)
    console.print(f"MLflow {mlflow.url} and Prefect {prefect.url} are up; their logs: {logs.name}/ in .state.")
    environment = {
        **place.environment,
        "VIZECG_TRACKING_URI": mlflow.url,
        "PREFECT_API_URL": f"{prefect.url}/api",
        # The console is for people: the time of day and what was said.
        "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(task_run_name)-8s  %(message)s",
        "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  %(flow_name)-8s  %(message)s",
        "PREFECT_LOGGING_COLORS": "false",
    }
    return Servers(mlflow=mlflow, prefect=prefect, environment=environment, since=datetime.now(UTC))


def _run_flow(place: Place, *, servers: Servers) -> int:
    command = [sys.executable, "-m", "vizecg", "retrain"]
    sys.stdout.flush()
    process = start_supervised(command, cwd=place.folder, environment=servers.environment, output=sys.stdout)
    try:
        return process.wait()
    finally:
        stop(process)


def _champion_can_answer(code: int, *, servers: Servers, settings: Settings) -> bool:
    """After a gate's no the champion goes on; a failed pipeline, or data that were refused, is the end."""
    from vizecg.promotion import history

    entries = history(Settings(state_dir=settings.state_dir, tracking_uri=servers.mlflow.url))
    refused_just_now = bool(entries) and entries[-1].state == "refused" and entries[-1].created_at >= servers.since
    has_champion = any(entry.state == "committed" for entry in entries)
    return code == GateRefused.exit_code and refused_just_now and has_champion


def _start_service(stack: ExitStack, *, place: Place, servers: Servers, log: Path) -> Server:
    port = free_port(SERVICE_PORT)
    service = stack.enter_context(
        started(
            "the service",
            [sys.executable, "-m", "vizecg", "serve", "--port", str(port)],
            url=f"http://{LOOPBACK}:{port}",
            health="/ready",
            cwd=place.folder,
            environment=servers.environment,
            log=log,
        )
    )
    wait_until_healthy(service, timeout_s=SERVICE_UP_WITHIN_S)
    return service


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A page of a record of fold 10, what was written beside the record, and the service's answer.

    `page` is where it was drawn; None for one that came on paper, of which no copy is made.
    """

    ecg_id: int
    page: Path | None
    written: tuple[str, ...]
    answer: Answer


def _ask_about_unseen_record(place: Place, *, service: Server, page: Path) -> Question:
    from vizecg.records import TEST_FOLD, read_record_set

    record_set = read_record_set(place.folder / "data" / "records")
    rows = record_set.rows(folds=[TEST_FOLD])
    # One that can be drawn, if there is any: what came on paper is a patient's own page.
    row = int(next((row for row in rows if record_set.has_signal[row]), rows[0]))
    data = _page_of(record_set, row, page=page)
    labels = record_set.labels()[row]
    with Client(service.url) as client:
        answer = client.predict(data)
    return Question(
        ecg_id=int(record_set.table["ecg_id"].iloc[row]),
        page=page if record_set.has_signal[row] else None,
        written=tuple(code for code, present in zip(record_set.codes, labels, strict=True) if present),
        answer=answer,
    )


def _page_of(record_set: "RecordSet", row: int, *, page: Path) -> bytes:
    """Draw the record into a file that may be looked at; paper stays where it is, in the data folder."""
    from vizecg.printing import draw_signal

    paper = None if record_set.has_signal[row] else record_set.upload(row)
    if paper is not None:
        return paper
    draw_signal(record_set.signal_mv(row), page, sampling_hz=record_set.sampling_hz)
    return page.read_bytes()


def _show_answer(question: Question, *, console: Console) -> None:
    answer = question.answer
    console.print(
        f"Record {question.ecg_id} of fold 10, never trained on; written beside it: {', '.join(question.written)}."
    )
    console.print(
        f"POST /v1/predict answers {answer.decision!r}, by {answer.model.name} version {answer.model.version}:"
    )
    table = Table("label", "", "probability", "threshold", "", box=None, pad_edge=False)
    shown = _worth_showing(answer.labels)
    for label in shown:
        said = "yes" if label.positive else "no"
        table.add_row(label.code, label.name, f"{label.probability:.3f}", f"{label.threshold:.3f}", said)
    console.print(table)
    if len(shown) < len(answer.labels):
        console.print(f"And {len(answer.labels) - len(shown)} labels more, all of them 'no'.")
    for note in (*answer.notes, answer.disclaimer):
        console.print(note)


def _worth_showing(labels: Sequence[Label]) -> list[Label]:
    """All of a few labels; of many the positive and the likeliest, in the model's order."""
    likeliest = sorted(labels, key=lambda label: -label.probability)[:MOST_LABELS_SHOWN]
    return [label for label in labels if label.positive or label in likeliest]


def _show_addresses(console: Console, *, servers: Servers, service: Server, page: Path | None, seconds: float) -> None:
    console.rule(f"done in {seconds:.0f} s")
    image = os.path.relpath(page) if page is not None else "ecg.png"
    for name, address in (
        ("service", f"{service.url}/v1/predict"),
        ("API docs", f"{service.url}/docs"),
        # MLflow 3 opens its view for language models unless told otherwise.
        ("MLflow", f"{servers.mlflow.url}/#/experiments?workflowType=machine_learning"),
        ("Prefect", servers.prefect.url),
        ("ask again", f"curl --data-binary @{image} {service.url}/v1/predict"),
    ):
        console.print(f"{name:<10} {address}")


def _wait_for_interrupt(service: Server) -> None:
    """Return at Ctrl-C or SIGTERM.

    Raises:
        InputError: the service ended by itself.
    """
    asked_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    try:
        while not asked_to_stop.wait(timeout=1):
            if service.process.poll() is not None:
                raise InputError(f"the service ended with code {service.process.returncode}; its log: {service.log}")
    except KeyboardInterrupt:
        pass
