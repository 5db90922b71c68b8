"""A body that is taken whole is the body that was sent, and the connection goes on behind it."""

import asyncio
import hashlib
import http.client
import json
import socket
import threading
import time
from contextlib import closing
from urllib.parse import urlsplit

import numpy as np
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from serving.http_protocol import whole_body

pytestmark = pytest.mark.servers

PATIENCE_S = 30


class Echo:
    """Says how a body came and what it was; `/hasty` answers after 0.2 s whether it has come or not."""

    def __init__(self) -> None:
        self.left = threading.Event()
        """Somebody ended a connection before the body."""

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        try:
            body = await asyncio.wait_for(whole_body(scope), 0.2 if scope["path"] == "/hasty" else None)
        except ClientDisconnect:
            self.left.set()
            return
        except TimeoutError:
            await JSONResponse({}, status_code=408)(scope, receive, send)
            return
        told = {"whole": body is not None}
        body = await request.body() if body is None else body
        told |= {"path": scope["path"], "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        await JSONResponse(told)(scope, receive, send)


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def port(serve, echo):
    with serve(echo) as url:
        yield urlsplit(url).port


@pytest.fixture
def caller(port):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def content(size: int) -> bytes:
    return np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()


def request(body: bytes, *, path: str = "/", more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: service\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def reply_on(connection: socket.socket) -> tuple[int, dict]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read())


def as_sent(body: bytes, *, path: str = "/", whole: bool = True) -> tuple[int, dict]:
    told = {"whole": whole, "path": path, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    return 200, told


@pytest.mark.parametrize("size", [0, 1, 3_000, 4_096, 65_536, 70_001, 3_000_001])
def test_one_body_after_the_other_arrives_as_it_was_sent(caller, size):
    for number in range(3):
        body = content(size + number)
        caller.sendall(request(body))
        assert reply_on(caller) == as_sent(body)


@pytest.mark.parametrize("pieces", [[10, 5, 1], [50, 4_000, 100_000], [70_000, 1, 1, 70_000]])
def test_it_may_come_in_any_pieces(caller, pieces):
    body = content(200_000)
    sent, at = request(body), 0
    for length in pieces:
        caller.sendall(sent[at : at + length])
        at += length
        time.sleep(0.02)
    caller.sendall(sent[at:])
    assert reply_on(caller) == as_sent(body)


@pytest.mark.parametrize("size", [10, 300_000])
def test_requests_that_are_sent_without_waiting_are_answered_in_their_order(caller, size):
    bodies = [content(size), content(20), content(size + 1), b""]
    requests = b"".join(request(body, path=f"/{number}") for number, body in enumerate(bodies))
    sending = threading.Thread(target=caller.sendall, args=(requests,))
    sending.start()
    with caller.makefile("rb") as stream:  # replies may come together, which HTTPResponse on a socket would swallow
        for number, body in enumerate(bodies):
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            head = [line.split(b": ") for line in iter(stream.readline, b"\r\n")]
            assert json.loads(stream.read(int(dict(head)[b"content-length"]))) == as_sent(body, path=f"/{number}")[1]
    sending.join()


def test_a_body_of_no_declared_length_comes_in_pieces(caller):
    head = b"POST / HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n"
    caller.sendall(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert reply_on(caller) == as_sent(b"abcde", whole=False)
    caller.sendall(request(b"next"))
    assert reply_on(caller) == as_sent(b"next")


def test_whoever_waits_to_be_told_to_send_is_told(caller):
    body = content(100_000)
    sent = request(body, more="Expect: 100-continue\r\n")
    caller.sendall(sent[: -len(body)])
    assert caller.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    caller.sendall(body)
    assert reply_on(caller) == as_sent(body)


def test_whoever_leaves_within_a_body_leaves_nothing_behind(caller, echo, port):
    caller.sendall(request(content(100_000))[:50_000])
    time.sleep(0.1)
    caller.close()
    assert echo.left.wait(PATIENCE_S)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as other:
        other.request("POST", "/", b"still there")
        assert other.getresponse().status == 200


def test_a_connection_answered_before_its_body_came_is_closed_for_what_follows_would_be_taken_for_a_request(caller):
    caller.sendall(request(content(100_000), path="/hasty")[:50_000])
    assert reply_on(caller)[0] == 408
    assert caller.recv(1000) == b""


def test_head_and_body_of_a_reply_come_together(caller):
    caller.sendall(request(b""))
    head, _, body = caller.recv(65_536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["bytes"] == 0


def test_a_reply_without_a_body_is_sent(caller):
    caller.sendall(b"HEAD / HTTP/1.1\r\nHost: service\r\n\r\n")
    assert caller.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")
