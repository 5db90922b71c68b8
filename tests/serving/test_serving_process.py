"""The service as a process: what it imports, which port it takes, how it ends."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI

from serving.server import configuration, listen
from serving.settings import ServingSettings, read_settings
from vizecg import keys
from vizecg.client import Client
from vizecg.errors import InputError
from vizecg.keys import Scope

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


def test_importing_the_service_brings_nothing_of_the_training_stack():
    code = "import json, sys, serving.app, serving.server, vizecg.predicting; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded & NOT_IN_THE_SERVING_IMAGE == set()
    assert {"onnxruntime", "fastapi"} <= loaded


@pytest.mark.servers
def test_it_answers_and_on_sigterm_finishes_what_it_accepted_and_ends_with_0(start, page_png, own_port):
    port = own_port()
    process = start("--port", str(port), VIZECG_DRAIN_S="60")
    assert process.stdout.readline().startswith(f"VizECG answers at http://127.0.0.1:{port}, its API is described at")
    answers, refused = [], []

    def ask():
        with Client(f"http://127.0.0.1:{port}") as client:
            try:
                answers.append(client.predict(page_png))
            except InputError as error:
                refused.append(error)

    assert process.stdout.readline() == "anybody on this machine may ask: there are no API keys\n"
    with Client(f"http://127.0.0.1:{port}") as client:
        until = time.monotonic() + PATIENCE_S
        while not client.ready():
            assert time.monotonic() < until
            time.sleep(0.05)
    asking = [threading.Thread(target=ask) for _ in range(6)]
    for thread in asking:
        thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        until = time.monotonic() + PATIENCE_S
        while not answers and "vizecg_predictions_waiting 0.0" in client.get("/metrics").text:
            assert time.monotonic() < until
            time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    for thread in asking:
        thread.join()
    assert process.wait(timeout=90) == 0
    said = process.stderr.read()
    # What had not been accepted when it stopped listening is refused, or cut off where its connection waited to be
    # accepted; everything accepted is answered.
    assert len(answers) + len(refused) == len(asking)
    accepted = [line["status"] for line in map(json.loads, said.splitlines()) if line.get("route") == "/v1/predict"]
    assert accepted == [200] * len(answers)
    assert answers
    assert "Traceback" not in said


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
        pytest.param(
            ("--host", "203.0.113.1"),
            {},
            "vizecg: 203.0.113.1 can be reached from other machines and there are no API keys: make one with ",
            id="open-door",
        ),
        pytest.param(
            ("--host", "203.0.113.1"),
            {"VIZECG_API_KEYS_FILE": "KEYS"},
            "vizecg: cannot listen on 203.0.113.1 port 8000: ",
            id="address",
        ),
        pytest.param(
            (), {"VIZECG_API_KEYS_FILE": "/nowhere"}, "vizecg: /nowhere cannot be read: no such file", id="keys"
        ),
    ],
)
def test_what_cannot_be_served_is_one_sentence_and_exit_code_2(start, arguments, environment, sentence, tmp_path):
    if environment.get("VIZECG_API_KEYS_FILE") == "KEYS":
        keys.issue(tmp_path / "keys.json", scopes=[Scope.PREDICT], now=datetime.now(UTC))
        environment = {"VIZECG_API_KEYS_FILE": str(tmp_path / "keys.json")}
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


def test_a_connection_that_was_idle_for_as_long_as_callers_keep_one_is_still_answered(start_service, bundle):
    service = start_service(bundle=bundle)
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_S)) as caller:
        for pause_s in (httpx.Limits().keepalive_expiry + 1, 0):
            caller.request("GET", "/health")
            reply = caller.getresponse()
            assert (reply.status, json.loads(reply.read())) == (200, {"status": "ok"})
            assert caller.sock is not None, "the service has closed it"
            time.sleep(pause_s)


@pytest.mark.servers
def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(start, own_port):
    port = own_port()
    start("--port", str(port)).stdout.readline()
    allowed, sent = 65_536, 0
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as caller:
        caller.sendall(b"GET /health HTTP/1.1\r\nHost: service\r\n")
        with suppress(ConnectionError):
            while sent < 100 * allowed:
                caller.sendall(b"X-More: " + b"x" * 8_000 + b"\r\n")
                sent += 8_010
        with suppress(ConnectionError):
            assert caller.recv(1_000).startswith(b"HTTP/1.1 400 ")
    assert sent < 100 * allowed, "it goes on reading"


def test_http_is_spoken_the_same_whatever_else_is_installed():
    config = configuration(FastAPI(), ServingSettings())
    # With httptools, which uvicorn would prefer where it finds it, a head may be of any size.
    assert (config.http, config.loop) == ("h11", "asyncio")
