"""Several processes on one port: all answer, what they count adds up, and they live and end as one service."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from serving.together import forget_gauges
from vizecg import auditing, chain
from vizecg.collecting import survey
from vizecg.monitoring.window import read_window
from vizecg.settings import Settings

pytestmark = pytest.mark.servers

PATIENCE_S = 60
END_S = 15
CALLERS = 6


@pytest.fixture
def start_two(start_service):
    """Start a service with two workers and wait until both answer."""

    def start(**settings: object):
        service = start_service(workers=2, **settings)
        until(lambda: "2 workers answer" in service.said())
        return service

    return start


@pytest.fixture
def two(start_two, bundle):
    return start_two(bundle=bundle)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def workers_of(service) -> set[int]:
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    found = set()
    for child in map(int, children):
        with suppress(OSError):  # it has ended meanwhile
            if b"serving.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.add(child)
    return found


def audit_of(service) -> Path:
    return service.state / "audit"


def answered_by(service) -> dict[str, int]:
    """Predictions in each chain, which is each worker."""
    return {
        report.name: sum(line.content["kind"] == "prediction" for line in lines)
        for report, lines in chain.verify(audit_of(service))
    }


def metrics_of(service) -> dict[str, float]:
    """By a new connection, so by either worker."""
    reply = httpx.get(f"{service.url}/metrics", trust_env=False, timeout=PATIENCE_S)
    assert reply.status_code == 200, service.said()
    lines = reply.text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def ask_until_both_have_answered(service, page: bytes) -> int:
    """How many were asked, each by a connection of its own and some at once."""
    asked = 0

    def ask() -> None:
        reply = httpx.post(f"{service.url}/v1/predict", content=page, trust_env=False, timeout=PATIENCE_S)
        assert reply.status_code == 200

    def both() -> bool:
        return len([number for number in answered_by(service).values() if number]) == 2

    while not asked or not both():
        asking = [threading.Thread(target=ask) for _ in range(CALLERS)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        asked += len(asking)
        assert asked < 50 * CALLERS, "one worker answers everything"
    return asked


def test_both_answer_each_with_a_chain_and_every_reader_of_the_trail_sees_both(two, page_png, bundle, make, tmp_path):
    asked = ask_until_both_have_answered(two, page_png)
    trail = audit_of(two)
    assert sum(answered_by(two).values()) == asked
    assert set(answered_by(two)) == {"audit-0", "audit-1"}
    assert len(list(auditing.predictions(trail))) == asked
    window = read_window(trail, bundle_digest=make.digest(bundle), days=1, now=datetime.now(UTC))
    assert len(window.lines) + window.again == asked
    (tmp_path / "page.png").write_bytes(page_png)
    replayed = subprocess.run(
        [sys.executable, "-m", "vizecg", "audit", "replay", trail, "--images", tmp_path, "--bundle", bundle],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{asked} same, 0 differ" in replayed.stdout, replayed
    kept = survey(
        Settings(state_dir=tmp_path),
        older_than=timedelta(0),
        audit=trail,
        audit_older_than=timedelta(0),
        now=datetime.now(UTC),
    )
    assert [thing.why.endswith("somebody is at work with it") for thing in kept] == [True, True]


def test_whichever_worker_is_asked_for_metrics_tells_the_sum(two, page_png):
    asked = ask_until_both_have_answered(two, page_png)
    for _ in range(10):
        told = metrics_of(two)
        assert told['vizecg_predictions_total{decision="ok"}'] == asked
        assert told['vizecg_requests_total{method="POST",route="/v1/predict",status="200"}'] == asked
        assert told['vizecg_request_seconds_count{route="/v1/predict"}'] == asked
        assert told['vizecg_request_seconds_bucket{le="+Inf",route="/v1/predict"}'] == asked
        assert (told["vizecg_ready"], told["vizecg_predictions_waiting"], told["vizecg_upload_bytes"]) == (1, 0, 0)
    assert not [name for name in told if "pid=" in name]


def test_it_tells_the_same_series_as_one_process_does(two, start_service, bundle, page_png):
    one = start_service(bundle=bundle)
    series = {}
    for service in (one, two):
        httpx.post(f"{service.url}/v1/predict", content=page_png, trust_env=False, timeout=PATIENCE_S)
        metrics_of(service)
        series[service] = {name for name in metrics_of(service) if '"/ready"' not in name and "_created" not in name}
    assert series[two] == series[one] | {"vizecg_worker_restarts_total"}


def test_a_killed_worker_comes_back_and_nothing_it_had_counted_is_lost(two, page_png):
    asked = ask_until_both_have_answered(two, page_png)
    before = workers_of(two)
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    until(lambda: metrics_of(two).get("vizecg_worker_restarts_total") == 1)
    assert len(workers_of(two)) == 2
    assert workers_of(two) > before - {killed}
    until(lambda: metrics_of(two)["vizecg_ready"] == 1)
    assert metrics_of(two)['vizecg_predictions_total{decision="ok"}'] == asked
    assert len([name for name in metrics_of(two) if name.startswith("vizecg_model_info")]) == 1
    reply = httpx.post(f"{two.url}/v1/predict", content=page_png, trust_env=False, timeout=PATIENCE_S)
    assert reply.status_code == 200
    assert metrics_of(two)['vizecg_predictions_total{decision="ok"}'] == asked + 1
    assert set(answered_by(two)) == {"audit-0", "audit-1"}  # whoever replaces it goes on with its chain
    assert "is started again after 0 s: a worker ended by signal 9" in two.said()


def test_a_worker_that_hangs_is_replaced_and_one_with_nothing_to_do_is_not(start_two, bundle):
    two = start_two(bundle=bundle, worker_silent_s=2)
    before = workers_of(two)
    time.sleep(4)
    assert workers_of(two) == before
    hanging = min(before)
    os.kill(hanging, signal.SIGSTOP)
    until(lambda: metrics_of(two).get("vizecg_worker_restarts_total") == 1)
    assert workers_of(two) > before - {hanging}
    assert "was not heard for 2 s and is killed" in two.said()


def test_after_a_pause_of_all_nobody_is_taken_for_hanging(start_two, bundle):
    two = start_two(bundle=bundle, worker_silent_s=2)
    all_of_it = [two.pid, *workers_of(two)]
    for process in all_of_it:
        os.kill(process, signal.SIGSTOP)
    time.sleep(3)
    for process in all_of_it:  # the supervisor first: it looks before anybody can have been heard
        os.kill(process, signal.SIGCONT)
        time.sleep(0.3)
    time.sleep(1.5)
    assert [two.pid, *workers_of(two)] == all_of_it


def test_on_sigterm_under_load_everything_accepted_is_answered_and_all_end_with_0(two, page_png, processes):
    statuses: dict[str, int] = {}

    def ask(caller: int) -> None:
        with httpx.Client(base_url=two.url, trust_env=False, timeout=PATIENCE_S) as client:
            for number in range(10_000):
                name = f"caller-{caller}.{number}"
                try:
                    reply = client.post("/v1/predict", content=page_png, headers={"X-Request-ID": name})
                except httpx.TransportError:
                    return
                statuses[name] = reply.status_code

    ask_until_both_have_answered(two, page_png)
    left = workers_of(two)
    left |= {decoder for worker in left for decoder in processes.decoders_of(worker)}
    assert len(left) == 2 + 2 * 2
    callers = [threading.Thread(target=ask, args=(number,)) for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    until(lambda: len(statuses) > CALLERS)
    two.process.send_signal(signal.SIGTERM)
    assert two.process.wait(timeout=END_S) == 0, two.said()
    for caller in callers:
        caller.join()
    said = [json.loads(line) for line in two.said().splitlines()]
    accepted = {line["request_id"]: line["status"] for line in said if line.get("route") == "/v1/predict"}
    assert statuses.items() <= accepted.items()
    assert {name: status for name, status in accepted.items() if name.startswith("caller-")} == statuses
    assert set(statuses.values()) == {200}
    assert [line for line in said if line["level"] not in {"info", "debug"}] == []
    until(lambda: not [process for process in left if Path(f"/proc/{process}").exists()])


def test_workers_end_with_a_supervisor_that_is_killed(two):
    left = workers_of(two)
    two.process.kill()
    two.process.wait()
    until(lambda: not [worker for worker in left if is_alive(worker)])


def is_alive(process: int) -> bool:
    """Not gone, and not a zombie whom nobody here can bury."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_that_cannot_start_ends_all_with_one_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "vizecg", "serve", "--workers", "3"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={**os.environ, "VIZECG_STATE_DIR": str(tmp_path), "VIZECG_BUNDLE": "/nowhere"},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("vizecg: /nowhere is not there: it has no manifest.json")
    assert (done.stderr.count("\n"), done.stdout) == (1, "")


@pytest.mark.slow  # one that dies and can start again is in the test of the killed worker
def test_one_that_cannot_start_again_leaves_the_others_at_work_and_is_tried_again(
    start_two, bundle, page_png, tmp_path
):
    served = tmp_path / "bundle"
    served.symlink_to(bundle)
    service = start_two(bundle=served)
    served.unlink()
    killed = min(workers_of(service))
    os.kill(killed, signal.SIGKILL)
    until(lambda: "is not there: it has no manifest.json" in service.said())
    reply = httpx.post(f"{service.url}/v1/predict", content=page_png, trust_env=False, timeout=PATIENCE_S)
    assert reply.status_code == 200
    assert service.process.poll() is None
    assert metrics_of(service)["vizecg_worker_restarts_total"] == 0
    served.symlink_to(bundle)
    until(lambda: metrics_of(service)["vizecg_worker_restarts_total"] == 1)
    assert len(workers_of(service)) == 2


COUNTING = """
import sys
from pathlib import Path
from types import SimpleNamespace
from serving.together import Together
together = Together(folder=Path(sys.argv[1]), place=int(sys.argv[2]))
together.count_together()
from serving.metrics import Metrics
metrics = Metrics(together)
for version in sys.argv[3:]:
    metrics.serves(SimpleNamespace(name="m", version=version, bundle_digest="d" + version))
    metrics.shadows(None)
    metrics.model_loads.labels("ok").inc()
print(metrics.text().decode())
"""


def test_a_model_is_named_as_long_as_a_worker_answers_with_it_and_counts_for_ever(tmp_path):
    def told(*arguments: str) -> tuple[set[str], int]:
        done = subprocess.run(
            [sys.executable, "-c", COUNTING, tmp_path, *arguments], capture_output=True, text=True, check=True
        )
        (loads,) = re.findall(r'^vizecg_model_loads_total\{outcome="ok"\} (\d+)', done.stdout, flags=re.MULTILINE)
        return {*re.findall(r'vizecg_model_info\{.*version="(\w+)"\} 1\.0', done.stdout)}, int(loads)

    assert told("0", "1") == ({"1"}, 1)
    assert told("1", "1", "2") == ({"1", "2"}, 3)
    assert told("0", "1", "2") == ({"2"}, 5)
    assert told("1", "3") == ({"2", "3"}, 6)
    forget_gauges(tmp_path, place=1)  # which has ended
    assert told("0", "2") == ({"2"}, 7)


@pytest.mark.slow
def test_two_services_with_one_state_folder_count_apart(start_two, bundle, page_png, tmp_path):
    services = [start_two(bundle=bundle, state_dir=tmp_path) for _ in range(2)]
    for _ in range(3):
        httpx.post(f"{services[0].url}/v1/predict", content=page_png, trust_env=False, timeout=PATIENCE_S)
    counted = [metrics_of(service).get('vizecg_predictions_total{decision="ok"}', 0) for service in services]
    assert counted == [3, 0]


def test_workers_follow_a_promotion_and_one_that_comes_back_refuses_nothing(
    start_two, mlflow_server, bundle, second_bundle, page_png
):
    first, second = mlflow_server.register(bundle), mlflow_server.register(second_bundle)
    mlflow_server.promote(first)
    service = start_two(tracking_uri=mlflow_server.settings.tracking_uri, poll_s=0.2)

    def served() -> list[str]:
        return [name for name in metrics_of(service) if name.startswith("vizecg_model_info")]

    assert [f'version="{first}"' in name for name in served()] == [True]
    assert metrics_of(service)["vizecg_ready"] == 1
    mlflow_server.promote(second)
    until(lambda: [f'version="{second}"' in name for name in served()] == [True])
    until(lambda: metrics_of(service)['vizecg_model_loads_total{outcome="ok"}'] == 4)  # counted when it has been taken
    assert metrics_of(service)['vizecg_model_loads_total{outcome="failed"}'] == 0
    os.kill(min(workers_of(service)), signal.SIGKILL)
    statuses, until_s = [], time.monotonic() + PATIENCE_S
    while metrics_of(service)["vizecg_worker_restarts_total"] == 0 or len(statuses) < 10:
        reply = httpx.post(f"{service.url}/v1/predict", content=page_png, trust_env=False, timeout=PATIENCE_S)
        statuses.append(reply.status_code)
        assert time.monotonic() < until_s, service.said()
    assert set(statuses) == {200}
