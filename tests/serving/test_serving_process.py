"""The service as a process: what it imports, which port it takes, how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from serving.server import listen
from serving.settings import ServingSettings, read_settings
from vizecg.client import Client
from vizecg.errors import InputError

PATIENCE_S = 30
NOT_IN_THE_SERVING_IMAGE = {
    "alembic",
    "dvc",
    "flask",
    "great_expectations",
    "mlflow",
    "numba",
    "pandas",
    "prefect",
    "pyarrow",
    "scipy",
    "sqlalchemy",
    "torch",
}


@pytest.fixture
def start(bundle, tmp_path):
    processes = []

    def starting(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "vizecg", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "VIZECG_BUNDLE": str(bundle), "VIZECG_STATE_DIR": str(tmp_path), **environment},
        )
        processes.append(process)
        return process

    yield starting
    for process in processes:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_importing_the_service_brings_nothing_of_the_training_stack():
    code = "import json, sys, serving.app, serving.server, vizecg.predicting; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded & NOT_IN_THE_SERVING_IMAGE == set()
    assert {"onnxruntime", "fastapi"} <= loaded


@pytest.mark.servers
def test_it_answers_and_on_sigterm_finishes_what_it_accepted_and_ends_with_0(start, page_png):
    port = free_port()
    process = start("--port", str(port))
    assert process.stdout.readline().startswith(f"VizECG answers at http://127.0.0.1:{port}, its API is described at")
    answers, refused = [], []

    def ask():
        with Client(f"http://127.0.0.1:{port}") as client:
            try:
                answers.append(client.predict(page_png))
            except InputError as error:
                refused.append(error)

    with Client(f"http://127.0.0.1:{port}") as client:
        until = time.monotonic() + PATIENCE_S
        while not client.ready():
            assert time.monotonic() < until
            time.sleep(0.05)
    asking = [threading.Thread(target=ask) for _ in range(6)]
    for thread in asking:
        thread.start()
    time.sleep(0.15)
    process.send_signal(signal.SIGTERM)
    for thread in asking:
        thread.join()
    assert process.wait(timeout=15) == 0
    # What had not been accepted when it stopped listening may be refused; nothing accepted is cut off.
    assert all("ConnectError" in str(error) for error in refused)
    assert answers
    assert "Traceback" not in process.stderr.read()


@pytest.mark.servers
@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        pytest.param(
            (), {"VIZECG_BUNDLE": "/nowhere"}, "vizecg: /nowhere is not there: it has no manifest.json", id="bundle"
        ),
        pytest.param(
            (), {"VIZECG_POLL_S": "0"}, "vizecg: VIZECG_POLL_S is '0': input should be greater than 0", id="env"
        ),
        pytest.param(("--host", "203.0.113.1"), {}, "vizecg: cannot listen on 203.0.113.1 port 8000: ", id="address"),
    ],
)
def test_what_cannot_be_served_is_one_sentence_and_exit_code_2(start, arguments, environment, sentence):
    process = start(*arguments, **environment)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert said.startswith(sentence), said
    assert said.count("\n") == 1


def test_a_port_that_was_asked_for_and_is_taken_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} on 127\.0\.0\.1 is in use; stop what uses it, or ask for"):
            listen(ServingSettings(port=port))


def test_without_a_wish_the_next_free_port_is_taken():
    with listen(ServingSettings()) as first, listen(ServingSettings()) as second:
        assert first.getsockname()[1] >= 8000
        assert second.getsockname()[1] > first.getsockname()[1]


def test_replies_are_sent_at_once_and_not_when_headers_are_acknowledged():
    with listen(ServingSettings()) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_it_listens_on_loopback_unless_told_otherwise(monkeypatch):
    assert read_settings(host=None, port=None).host == "127.0.0.1"
    monkeypatch.setenv("VIZECG_PORT", "8123")
    assert read_settings(port=None).port == 8123
    assert read_settings(port=9000).port == 9000
