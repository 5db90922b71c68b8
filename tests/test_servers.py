import os
import socket
import sys
import urllib.request

import pytest

from vizecg.errors import InputError
from vizecg.servers import LOOPBACK, free_port, reserved, started, wait_until_healthy

# Two workers looking for a free port at once could find the same.
pytestmark = pytest.mark.xdist_group("ports")

HTTP = (
    "import http.server, sys\n"
    "class Answer(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200 if self.path == '/health' else 404)\n"
    "        self.end_headers()\n"
    f"http.server.HTTPServer(({LOOPBACK!r}, int(sys.argv[1])), Answer).serve_forever()\n"
)


def server(code, *, port, tmp_path):
    return started(
        "the test server",
        [sys.executable, "-c", code, str(port)],
        url=f"http://{LOOPBACK}:{port}",
        health="/health",
        cwd=tmp_path,
        environment=os.environ,
        log=tmp_path / "server.log",
    )


def test_a_port_that_is_held_is_passed_over_until_it_is_let_go():
    port = free_port(7300)
    with reserved(port):
        assert free_port(port) != port
        with pytest.raises(InputError, match=f"port {port} on 127.0.0.1 was taken by another program just now"):
            reserved(port)
    assert free_port(port) == port


def test_a_taken_port_gives_way_to_the_next_free_one():
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = free_port(port)
    assert port < found < port + 50


def test_a_server_is_waited_for_and_gone_afterwards(tmp_path):
    port = free_port(18_000)
    with server(HTTP, port=port, tmp_path=tmp_path) as running:
        wait_until_healthy(running, timeout_s=30)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://{LOOPBACK}:{port}/health", timeout=2)


def test_a_proxy_is_not_asked_whether_a_server_of_this_machine_is_well(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://{LOOPBACK}:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with server(HTTP, port=free_port(18_000), tmp_path=tmp_path) as running:
        wait_until_healthy(running, timeout_s=30)


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path):
    code = "print('no disk left'); raise SystemExit(7)"
    with (
        server(code, port=free_port(18_000), tmp_path=tmp_path) as running,
        pytest.raises(InputError, match=r"the test server ended with code 7: no disk left \(all of it: .*server.log\)"),
    ):
        wait_until_healthy(running, timeout_s=30)


def test_a_server_that_never_answers_is_not_waited_for_for_ever(tmp_path):
    code = "import time; time.sleep(60)"
    with (
        server(code, port=free_port(18_000), tmp_path=tmp_path) as running,
        pytest.raises(InputError, match=r"did not answer at http://.* within 1 s: it printed nothing"),
    ):
        wait_until_healthy(running, timeout_s=1)
