"""Many slow callers at once: what their bodies may take of the memory, who is refused, and that all comes back."""

import base64
import json
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from serving.app import create_app
from serving.settings import ServingSettings
from vizecg.errors import InputError
from vizecg.settings import MODEL_NAME

PATIENCE_S = 30
BODY_BYTES = 1_000_000
FIT = 4
CALLERS = 20


@pytest.fixture(scope="module")
def api(bundle, serve, tmp_path_factory):
    settings = ServingSettings(
        bundle=bundle,
        state_dir=tmp_path_factory.mktemp("state"),
        max_body_bytes=BODY_BYTES,
        max_batch_bytes=BODY_BYTES,
        uploads_mb=FIT * BODY_BYTES / 1e6,
    )
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture(autouse=True)
def all_given_back(api):
    """Whatever a test does: a moment later nothing is taken."""
    yield
    until(lambda: taken(api) == 0)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def sample(api: httpx.Client, name: str) -> float:
    (line,) = [line for line in api.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def taken(api: httpx.Client) -> float:
    return sample(api, "vizecg_upload_bytes")


def refused(api: httpx.Client) -> float:
    return sample(api, 'vizecg_refused_total{reason="uploads"}')


@contextmanager
def slow(api: httpx.Client, *, path: str = "/v1/predict", header: str, first: bytes):
    """A caller who has sent the head and some of the body."""
    with socket.create_connection((api.base_url.host, api.base_url.port), timeout=PATIENCE_S) as caller:
        caller.sendall(f"POST {path} HTTP/1.1\r\nHost: service\r\n{header}\r\n\r\n".encode() + first)
        yield caller


def reply_of(caller: socket.socket) -> tuple[int, dict[str, str], dict]:
    """Status, headers and problem or answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += caller.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    top, *lines = head.decode().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in lines)
    while len(body) < int(headers["content-length"]):
        body += caller.recv(65536)
    return int(top.split()[1]), headers, json.loads(body)


FORM = "Content-Type: multipart/form-data; boundary=x"
PATHS = [
    pytest.param("/v1/predict", "Content-Type: image/png", id="predict"),
    pytest.param("/v1/explain", "Content-Type: image/png", id="explain"),
    pytest.param("/v1/predict/batch", FORM, id="batch"),
    pytest.param(f"/v2/models/{MODEL_NAME}/infer", "Content-Type: application/json", id="infer"),
]


@pytest.mark.parametrize(("path", "kind"), PATHS)
def test_of_many_slow_bodies_as_many_are_received_as_fit_and_the_rest_refused_at_once(api, path, kind):
    before = refused(api)
    with ExitStack() as open_ones:
        first = b"--x\r\n" if kind == FORM else b"{"
        header = f"{kind}\r\nContent-Length: {BODY_BYTES}"
        callers = [open_ones.enter_context(slow(api, path=path, header=header, first=first)) for _ in range(CALLERS)]
        until(lambda: refused(api) - before == CALLERS - FIT)
        assert taken(api) == FIT * BODY_BYTES
        until(lambda: len(select.select(callers, [], [], 0)[0]) == CALLERS - FIT)  # the others are being received
        replies = [reply_of(caller) for caller in select.select(callers, [], [], 0)[0]]
        for status, headers, problem in replies:
            assert (status, headers["retry-after"]) == (503, "2")
            said = problem["error"] if path.startswith("/v2") else problem["detail"]
            assert said == (
                "the service is at its limit: bodies of other requests take the 4 MB that there are for them; "
                "ask again after 2 s"
            )
        assert path.startswith("/v2") or replies[0][1]["content-type"] == "application/problem+json"


def test_a_caller_who_goes_away_makes_room_for_the_next(api, page_png):
    header = f"Content-Length: {BODY_BYTES}"
    with ExitStack() as open_ones:
        for _ in range(FIT):
            open_ones.enter_context(slow(api, header=header, first=b"x"))
        until(lambda: taken(api) == FIT * BODY_BYTES)
        assert api.post("/v1/predict", content=page_png).status_code == 503
    until(lambda: taken(api) == 0)
    assert api.post("/v1/predict", content=page_png).status_code == 200


def test_bodies_of_no_declared_length_are_counted_as_they_come(api):
    pieces = BODY_BYTES // 2
    piece = f"{pieces:x}\r\n".encode() + bytes(pieces) + b"\r\n"
    with ExitStack() as open_ones:
        header = "Transfer-Encoding: chunked"
        callers = [open_ones.enter_context(slow(api, header=header, first=piece)) for _ in range(2 * FIT)]
        until(lambda: taken(api) == FIT * BODY_BYTES)
        callers[0].sendall(piece)  # who sends more now is the one who is refused
        status, headers, problem = reply_of(callers[0])
        assert (status, headers["retry-after"]) == (503, "2")
        assert problem["detail"].startswith("the service is at its limit: bodies of other requests")
        until(lambda: taken(api) == FIT * BODY_BYTES - pieces)


def test_who_was_let_in_is_answered_however_slowly_the_body_comes(api, page_png):
    header = f"X-Request-ID: slow\r\nContent-Length: {len(page_png)}"
    with slow(api, header=header, first=page_png[:1000]) as caller:
        until(lambda: taken(api) == len(page_png))
        for at in range(1000, len(page_png), 100_000):
            caller.sendall(page_png[at : at + 100_000])
            time.sleep(0.05)
        status, _, answer = reply_of(caller)
    assert (status, answer["request_id"]) == (200, "slow")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param("/v1/predict", b"no picture", 415, id="refused-picture"),
        pytest.param("/v1/predict", bytes(BODY_BYTES + 1), 413, id="too-large"),
        pytest.param("/v1/predict", b"", 422, id="nothing"),
        pytest.param("/v1/predict/batch", b"no form", 415, id="no-form"),
        pytest.param(f"/v2/models/{MODEL_NAME}/infer", b"{", 400, id="no-json"),
        pytest.param("/v1/feedback", b"{}", 422, id="feedback"),
    ],
)
def test_a_refused_body_takes_no_room_afterwards(api, path, body, status):
    assert api.post(path, content=body).status_code == status


def test_an_answered_request_of_the_protocol_takes_no_room_afterwards(api, page_png):
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(page_png).decode()]}
    reply = api.post(f"/v2/models/{MODEL_NAME}/infer", json={"inputs": [tensor]})
    assert reply.status_code == 200, reply.text


def test_a_bound_below_the_largest_body_is_refused_at_the_start(bundle, tmp_path):
    sentence = (
        "VIZECG_UPLOADS_MB is 50, and one body may have 100 MB; raise it, or lower VIZECG_MAX_BODY_BYTES and VIZECG"
    )
    with pytest.raises(InputError, match=sentence):
        create_app(ServingSettings(bundle=bundle, state_dir=tmp_path, uploads_mb=50))
