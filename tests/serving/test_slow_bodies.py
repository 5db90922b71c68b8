"""Whoever sends a body without end, or a byte now and then, is told so and keeps no connection."""

import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from serving.app import create_app
from serving.settings import ServingSettings

pytestmark = pytest.mark.servers

PATIENCE_S = 30
FORM = "Content-Type: multipart/form-data; boundary=B\r\n"
BEGUN = '--B\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


@pytest.fixture(scope="module")
def port(serve, bundle, tmp_path_factory):
    settings = ServingSettings(bundle=bundle, state_dir=tmp_path_factory.mktemp("state"), body_s=0.5)
    with serve(create_app(settings)) as url:
        yield urlsplit(url).port


@pytest.mark.parametrize("framing", ["Content-Length: 10000\r\n", "Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize(
    ("path", "headers", "begun", "what"),
    [
        pytest.param("/v1/predict", "", "", "picture", id="picture"),
        pytest.param("/v1/predict", FORM, BEGUN, "picture", id="form"),
        pytest.param("/v1/explain", "", "", "picture", id="explanation"),
        pytest.param("/v1/predict/batch", FORM, BEGUN, "batch", id="batch"),
        pytest.param("/v1/feedback", "", "{", "feedback", id="feedback"),
        pytest.param("/v2/models/vizecgnet/infer", "", "{", "request", id="inference"),
    ],
)
def test_a_body_that_drips_is_refused_when_it_should_have_been_there(port, framing, path, headers, begun, what):
    chunked = "chunked" in framing

    def piece(content: str) -> bytes:
        return (f"{len(content):x}\r\n{content}\r\n" if chunked else content).encode()

    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as caller:
        caller.sendall(f"POST {path} HTTP/1.1\r\nHost: service\r\n{headers}{framing}\r\n".encode())
        if begun:
            caller.sendall(piece(begun))
        caller.settimeout(0.1)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                caller.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                caller.sendall(piece("x"))
        caller.settimeout(PATIENCE_S)
        response = http.client.HTTPResponse(caller)
        response.begin()
        told = json.loads(response.read())
    assert response.status == 408
    assert response.getheader("Connection") == "close"
    assert told.get("detail", told.get("error")) == f"the {what} did not arrive within 0.5 s"
