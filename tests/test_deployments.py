"""Deployments on a real Prefect server with a real worker: by hand, by the monitor's event, and one that is killed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from flows import deploy, deployed
from vizecg import promoting, tracking
from vizecg.environment import house_environment
from vizecg.errors import InputError
from vizecg.publish import sha256_of
from vizecg.registry import Registry
from vizecg.servers import LOOPBACK, free_port, prefect_command, started, wait_until_healthy
from vizecg.settings import CHAMPION, Settings
from vizecg.simulate import write_database
from vizecg.tracking import PIN_TAG
from vizecg.workspace import PIN_FILE

ROOT = Path(__file__).parent.parent
DEPLOYED = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
# What the stage of the cloned repository does before anything else.
AT_ONCE_OR_NEVER = """\
print("making", epochs, flush=True)
time.sleep(600 if epochs == 500 else 0)
"""
# Waits until it is told to go on, so that what is asked meanwhile is asked while the run is under way.
WHEN_TOLD = """\
while not pathlib.Path({go!r}).exists():
    time.sleep(0.1)
"""
# Other data make another model; `epochs` stays what it is.
BY_ITS_DATA = """\
import hashlib
pinned = hashlib.sha256(pathlib.Path("data/source.json").read_bytes()).hexdigest()
made.write_model_run(pathlib.Path("models/run"), epochs=epochs)
made.write_evaluation(pathlib.Path("reports/evaluation"))
made.write_bundle(pathlib.Path("models/bundle"), seed=int(pinned[:8], 16))
"""

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("ports"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # MLflow 3.17 under SQLAlchemy 2.1
]


class Team:
    """A worker's checkout, the repository it clones, and a Prefect server."""

    def __init__(self, folder, *, stack, repository):
        self.folder = folder / "worker"
        self.repository = repository
        self.remote = folder / "remote"
        self.state = folder / "state"
        self.settings = Settings(
            state_dir=self.state,
            repository=str(repository.folder),
            tracking_uri=f"sqlite:///{self.state}/mlflow.db",
            ledger_url=f"sqlite:///{self.state}/ledger.db",
        )
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, **house_environment(self.settings), "PATH": path, "PYTHONPATH": str(ROOT)}
        self._stack = stack
        self.state.mkdir()
        shutil.copytree(ROOT / "flows", self.folder / "flows")
        shutil.copy2(ROOT / "prefect.yaml", self.folder)
        for name in ("params.yaml", *([str(PIN_FILE)] if (repository.folder / PIN_FILE).is_file() else [])):
            (self.folder / name).parent.mkdir(exist_ok=True)
            shutil.copy2(repository.folder / name, self.folder / name)
        self._start_prefect()

    @property
    def log(self):
        return self.state / "logs" / "worker.log"

    def _start_prefect(self):
        port = free_port(4300)
        server = self._stack.enter_context(
            started(
                "Prefect",
                prefect_command(port=port),
                url=f"http://{LOOPBACK}:{port}",
                health="/api/health",
                cwd=self.folder,
                environment=self.environment,
                log=self.state / "logs" / "prefect.log",
            )
        )
        wait_until_healthy(server, timeout_s=600)
        self.environment["PREFECT_API_URL"] = f"{server.url}/api"

    def run(self, *command, cwd=None):
        done = subprocess.run(
            command, cwd=cwd or self.folder, env=self.environment, capture_output=True, text=True, timeout=1200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def prefect(self, *arguments):
        return self.run(sys.executable, "-m", "prefect", *arguments)

    def vizecg(self, *arguments):
        return self.run(sys.executable, "-m", "vizecg", *arguments)

    def start_worker(self, *options, wait=True):
        worker = self._stack.enter_context(
            started(
                "the worker",
                [sys.executable, "-m", "vizecg", "worker", *options],
                url="none",
                health="none",
                cwd=self.folder,
                environment=self.environment,
                log=self.log,
            )
        )
        if wait:
            wait_for(lambda: "started!" in self.log.read_text(), seconds=600, log=self.log)
        return worker

    def ask(self, code):
        """Ask the server as its client; `code` prints one line of JSON."""
        preamble = "import json\nfrom prefect.client.orchestration import get_client\n"
        said = self.run(sys.executable, "-c", f"{preamble}with get_client(sync_client=True) as client:\n{code}")
        (line,) = (line for line in said.splitlines() if line.startswith("["))
        return json.loads(line)

    def make_pool(self, template, *, of_type):
        """A pool with a template, which the server holds against its own schema; what it is called and is."""
        return self.ask(
            "    from prefect.client.schemas.actions import WorkPoolCreate\n"
            f"    template = json.load(open({str(template)!r}))\n"
            f"    wanted = WorkPoolCreate(name='containers', type={of_type!r}, base_job_template=template)\n"
            "    made = client.create_work_pool(wanted)\n"
            "    print(json.dumps([made.name, made.type]))\n"
        )

    def automations(self):
        """Every automation of the server, by its name, and whether it is switched on."""
        told = self.ask("    print(json.dumps([[found.name, found.enabled] for found in client.read_automations()]))\n")
        return dict(told)

    def runs(self, flow):
        """State and message of every run of a flow that a deployment began, the oldest first."""
        told = self.ask(
            "    flows = {flow.id: flow.name for flow in client.read_flows()}\n"
            "    runs = sorted(client.read_flow_runs(), key=lambda run: run.created)\n"
            "    print(json.dumps([[flows[run.flow_id], run.state_name, run.state.message or ''] for run in runs]))\n"
        )
        return [(state, message) for name, state, message in told if name == flow]

    def checkout(self):
        """What lies in the worker's checkout; in a container nothing can be written there."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path: path.read_bytes() for path in files}

    def deployed(self, deployment, *options, **parameters):
        """Let a worker run a deployment."""
        given = ["--params", json.dumps(parameters)] if parameters else []
        return self.prefect("deployment", "run", deployment, *given, *options)


@pytest.fixture
def make_team(tmp_path):
    with ExitStack() as stack:
        yield lambda repository: Team(tmp_path, stack=stack, repository=repository)


@pytest.fixture
def team(make_team, one_stage, tmp_path):
    return make_team(one_stage(tmp_path / "repository", remote=str(tmp_path / "remote"), first=AT_ONCE_OR_NEVER))


def wait_for(condition, *, seconds, log):
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, log.read_text()[-4000:] if log.is_file() else "no log"
        time.sleep(1)


def test_every_deployment_names_a_flow_of_ours_with_its_parameters():
    from prefect.flows import load_flow_from_entrypoint

    assert len(DEPLOYED) == 5
    for deployment in DEPLOYED:
        flow = load_flow_from_entrypoint(str(ROOT / deployment["entrypoint"]))
        given = set(deployment.get("parameters", {}))
        assert given <= set(flow.parameters.properties), deployment["entrypoint"]
        # What has no default is asked of whoever starts it, and never scheduled.
        assert set(flow.parameters.required) <= given or not deployment["schedules"]


def test_nothing_is_scheduled_until_somebody_says_so():
    schedules = [schedule for deployment in DEPLOYED for schedule in deployment["schedules"]]
    assert len(schedules) == 3
    assert not any(schedule["active"] for schedule in schedules)
    triggers = [trigger for deployment in DEPLOYED for trigger in deployment.get("triggers", ())]
    assert [trigger["enabled"] for trigger in triggers] == [False, False]


def test_the_triggers_wait_for_the_very_events_that_the_monitor_sends_and_take_the_data_as_they_are_now():
    from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
    from prefect.events.schemas.events import Resource
    from prefect.flows import load_flow_from_entrypoint

    from flows.monitor import NEW_DATA, RESOURCE, SOMEBODY_SHOULD_LOOK

    (deployment,) = (one for one in DEPLOYED if one["entrypoint"].endswith(":retraining"))
    flow = load_flow_from_entrypoint(str(ROOT / deployment["entrypoint"]))
    for written, event in zip(deployment["triggers"], (NEW_DATA, SOMEBODY_SHOULD_LOOK), strict=True):
        trigger = DeploymentEventTrigger.model_validate(written)
        assert set(trigger.expect) == {event}
        assert trigger.match.matches(Resource({"prefect.resource.id": RESOURCE}))
        assert not trigger.match.matches(Resource({"prefect.resource.id": "vizecg.model.another"}))
        assert written["parameters"] == {"pin_source": True}
        assert set(written["parameters"]) <= set(flow.parameters.properties)


def test_without_a_server_deploying_and_working_are_one_sentence(monkeypatch, capsys):
    from vizecg.cli import main

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    for command in ("deploy", "worker"):
        monkeypatch.setattr(sys, "argv", ["vizecg", command])
        with pytest.raises(SystemExit, match="2"):
            main()
        assert capsys.readouterr().err.startswith("vizecg: PREFECT_API_URL names no Prefect server; set it")


def test_a_server_that_is_silent_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(deploy, "PREFECT_TIMEOUT_S", 0.05)
    with pytest.raises(
        InputError, match=r"^prefect version did not end within 0\.05 s and was stopped; see whether the P"
    ):
        deploy._prefect(["version"], cwd=tmp_path)


def test_who_asks_is_in_the_ledger_beside_the_account_that_does_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VIZECG_STATE_DIR", str(tmp_path))
    monkeypatch.setattr("getpass.getuser", lambda: "worker")
    deployed._settings()
    assert promoting.actor() == "worker"
    deployed._settings(actor=" anna\n")
    assert promoting.actor() == "anna (through worker)"
    monkeypatch.setenv("VIZECG_ACTOR", "a" * 300)
    assert promoting.actor() == f"{'a' * 150} (through worker)"
    monkeypatch.setenv("VIZECG_ACTOR", "worker")
    assert promoting.actor() == "worker"


def test_every_deployment_that_writes_into_the_ledger_asks_who_wants_it():
    flows = (deployed.retraining, deployed.promotion_by_gates, deployed.rollback)
    assert all("actor" in flow.parameters.properties for flow in flows)


@pytest.mark.slow
def test_a_deployment_run_from_the_command_line_ends_completed_in_a_workspace_of_its_own(team):
    before = team.checkout()
    assert "deployed; start a worker" in team.vizecg("deploy")
    team.vizecg("deploy")  # again changes nothing
    assert team.automations() == {"runs without a heartbeat are crashed": True, "new data are trained on": False}
    assert team.make_pool(ROOT / "docker" / "work-pool.json", of_type="docker") == ["containers", "docker"]
    team.start_worker()
    said = team.deployed("retraining/vizecg", "--watch", overrides=["train.epochs=4"], promote_it=False)
    assert team.runs("retraining") == [("Completed", "register ran")], said + team.log.read_text()
    assert (team.remote / "runs").is_dir(), "nothing was pushed"
    assert not list((team.state / "workspaces").glob("run-*"))
    assert team.repository.git("status", "--porcelain") == ""
    assert team.checkout() == before
    (version,) = tracking.all_versions(team.settings)
    assert version.tags["overrides"] == "train.epochs=4"
    mlflow = tracking.client(team.settings)
    assert mlflow.get_run(version.run_id).data.tags["overrides"] == "train.epochs=4"


@pytest.mark.slow
def test_new_data_that_the_monitor_finds_are_trained_on_once_by_the_trigger(make_team, one_stage, tmp_path):
    source, go = tmp_path / "records", tmp_path / "go"
    go.touch()
    write_database(source, records=4, seed=1)
    makes = {"first": WHEN_TOLD.format(go=str(go)), "body": BY_ITS_DATA, "pin": "{}"}
    repository = one_stage(tmp_path / "repository", remote=str(tmp_path / "remote"), **makes)
    repository.vizecg("source", "pin", "--set", f"ingest.source={source}")
    repository.git("commit", "-qam", "b")
    team = make_team(repository)
    switch_on_the_trigger(team.folder / "prefect.yaml")
    before = team.checkout()
    team.vizecg("deploy")
    assert all(team.automations().values())
    team.start_worker("--runs-at-once", "2")

    def monitor():
        team.deployed("monitoring/vizecg", "--watch")
        state, message = team.runs("monitoring")[-1]
        assert state == "Completed", team.log.read_text()[-4000:]
        return message

    team.deployed("retraining/vizecg", "--watch")
    tracking.set_alias(team.settings, alias=CHAMPION, pinned=Registry(team.settings).version("1"))
    assert monitor() == "all is well"
    shutil.rmtree(source)
    write_database(source, records=5, seed=1)
    go.unlink()
    assert monitor() == "somebody should look: data"
    wait_for(lambda: len(team.runs("retraining")) > 1, seconds=300, log=team.log)
    assert monitor() == "somebody should look: data"
    go.touch()
    wait_for(lambda: team.runs("retraining")[1][0] in ENDED, seconds=900, log=team.log)
    assert team.runs("retraining")[1] == ("Completed", "register ran"), team.log.read_text()[-4000:]
    newest, _ = tracking.all_versions(team.settings)
    pin = tmp_path / "pin" / PIN_FILE
    repository.vizecg("source", "pin", "--to", str(pin))
    assert newest.tags[f"{PIN_TAG}{sha256_of(pin)[:16]}"] == "true", "it was made from the data as they are now"
    assert repository.git("status", "--porcelain") == "", "what the repository agreed on is as it was"
    assert monitor() == "all is well"
    assert len(team.runs("retraining")) == 2, "it was found twice, and asked for once"
    assert team.checkout() == before
    assert (team.state / "reports" / "monitor" / "index.html").is_file()


def switch_on_the_trigger(prefect_yaml):
    """As docs/monitoring.md says; its runs are not held against the champion, for there are no pages here."""
    content = yaml.safe_load(prefect_yaml.read_text())
    (deployment,) = (one for one in content["deployments"] if one["entrypoint"].endswith(":retraining"))
    deployment["triggers"][0]["enabled"] = True
    deployment["parameters"]["promote_it"] = False
    prefect_yaml.write_text(yaml.safe_dump(content))


@pytest.mark.slow
def test_a_run_whose_worker_and_process_are_killed_is_crashed_within_three_minutes_and_the_next_one_runs(team):
    team.vizecg("deploy")
    worker = team.start_worker()
    team.deployed("retraining/vizecg", overrides=["train.epochs=500"])
    wait_for(lambda: "making 500" in team.log.read_text(), seconds=900, log=team.log)
    team.deployed("retraining/vizecg", overrides=["train.epochs=4"], promote_it=False)
    kill_all_below(worker.process.pid)
    killed_s = time.monotonic()
    team.start_worker(wait=False)
    wait_for(lambda: team.runs("retraining")[0][0] == "Crashed", seconds=180, log=team.log)
    crashed_s = time.monotonic()
    assert "no heartbeat for 150 s" in team.runs("retraining")[0][1]
    # Its place is free: one run of a deployment at a time, and the other was waiting for it.
    wait_for(lambda: team.runs("retraining")[1][0] in ENDED, seconds=300, log=team.log)
    assert team.runs("retraining")[1] == ("Completed", "register ran"), team.log.read_text()[-4000:]
    print(f"crashed after {crashed_s - killed_s:.0f} s, the next one done {time.monotonic() - crashed_s:.0f} s later")


def kill_all_below(process):
    """Kill -9 a process and all its descendants, the leaves last, so that nobody tells anybody."""
    for one in [process, *descendants_of(process)]:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself meanwhile
            os.kill(one, signal.SIGKILL)


def descendants_of(process):
    """Their numbers, each before those of what it started."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()):
            found += [child, *descendants_of(child)]
    return found
