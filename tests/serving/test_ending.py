"""SIGTERM while callers ask: what was accepted is answered, and the process ends with 0.

`--endings 20` does it so often (`make fuzz`).
"""

import json
import os
import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import pytest

from serving.server import _Server, configuration
from serving.settings import ServingSettings

pytestmark = pytest.mark.servers

CALLERS = 6
END_S = 90


@pytest.fixture(scope="module")
def endings(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--endings"))


class Callers:
    """Ask until nobody answers; each request has a name of its own."""

    def __init__(self, url: str, page: bytes) -> None:
        self.statuses: dict[str, int] = {}
        self._url, self._page = url, page
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CALLERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join()

    def _ask(self, caller: int) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=60) as client:
            for number in range(10_000):
                name = f"caller-{caller}.{number}"
                try:
                    reply = client.post("/v1/predict", content=self._page, headers={"X-Request-ID": name})
                except httpx.TransportError:
                    return
                self.statuses[name] = reply.status_code


def test_on_sigterm_everything_accepted_is_answered_and_the_process_ends_with_0(
    start_service, bundle, page_png, endings
):
    rng = random.Random(22)  # noqa: S311 (moments, not secrets)
    for _ in range(endings):
        service = start_service(bundle=bundle, drain_s=60)
        callers = Callers(service.url, page_png)
        callers.start()
        until_s = time.monotonic() + 60
        while len(callers.statuses) < CALLERS:  # all decoders work
            assert time.monotonic() < until_s, service.said()
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=END_S) == 0, service.said()
        callers.wait()
        said = [json.loads(line) for line in service.said().splitlines()]
        accepted = {line["request_id"]: line["status"] for line in said if line.get("route") == "/v1/predict"}
        # What the service took in, its caller has got, and as it was logged: nothing was cut off.
        assert accepted == callers.statuses
        assert set(accepted.values()) == {200}
        assert [line for line in said if line["level"] not in {"info", "debug"}] == []


def test_a_request_that_does_not_come_to_its_end_is_told_so_and_counts_as_no_fault(start_service, bundle, page_png):
    service = start_service(bundle=bundle, drain_s=1)
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: service\r\nX-Request-ID: slow\r\nExpect: 100-continue\r\n"
        f"Content-Length: {len(page_png)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as caller:
        caller.sendall(head.encode())
        assert caller.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n", "it waits for the rest"
        caller.sendall(page_png[:100])
        service.process.send_signal(signal.SIGTERM)
        reply = b"".join(iter(lambda: caller.recv(65536), b""))
    assert service.process.wait(timeout=END_S) == 0, service.said()
    top, _, body = reply.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 2" in top.lower()
    problem = json.loads(body)
    assert problem["detail"] == "the service ends and did not finish this request in time; send it again"
    assert problem["request_id"] == "slow"
    said = [json.loads(line) for line in service.said().splitlines()]
    assert [line["status"] for line in said if line.get("request_id") == "slow"] == [503]
    assert not any("Exception" in line["message"] for line in said), service.said()


def end(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def test_a_picture_whose_decoder_would_go_on_after_the_drain_is_told_so_and_keeps_nobody_waiting(
    start_service, bundle, page_png, processes
):
    service = start_service(bundle=bundle, drain_s=2, decode_wall_s=120)
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as client, ExitStack() as stack:
        assert client.post("/v1/predict", content=page_png).status_code == 200
        decoders = processes.decoders_of(service.pid)
        for decoder in decoders:
            os.kill(decoder, signal.SIGSTOP)  # as slow as can be
            stack.callback(end, decoder)
        with ThreadPoolExecutor(3) as callers:  # two with a decoder each, and one that waits for one
            asked = [callers.submit(client.post, "/v1/predict", content=page_png) for _ in range(3)]
            until = time.monotonic() + 60
            while "vizecg_predictions_waiting 1.0" not in client.get("/metrics").text:
                assert time.monotonic() < until
                time.sleep(0.05)
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(timeout=END_S) == 0, service.said()
            replies = [one.result() for one in asked]
    assert {reply.status_code for reply in replies} == {503}
    assert {reply.headers["Retry-After"] for reply in replies} == {"2"}
    assert not any(processes.is_decoder(decoder) for decoder in decoders)
    said = [json.loads(line) for line in service.said().splitlines()]
    assert [line["status"] for line in said if line.get("route") == "/v1/predict"] == [200, 503, 503, 503]
    assert not any("exceptions" in line or line["logger"] == "asyncio" for line in said), service.said()


class NotKnownAtFirst(set):
    """Connections of a server, of which the first who looks sees none: all are still being accepted."""

    looked = False

    def __iter__(self):
        seen = super().__iter__() if self.looked else iter(())
        self.looked = True
        return seen


def test_who_is_being_accepted_when_the_end_comes_does_not_go_on_asking_until_it_is_cut_off():
    async def app(scope, _, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    config = configuration(app, ServingSettings(drain_s=60))
    config.lifespan = "off"
    server = _Server(config, begun=lambda: None)
    server.server_state.connections = NotKnownAtFirst()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        with httpx.Client(base_url=url, trust_env=False) as caller:
            statuses = [caller.get("/").status_code]
            server.should_exit = True
            until = time.monotonic() + 30
            with suppress(httpx.TransportError):
                while time.monotonic() < until:
                    statuses.append(caller.get("/").status_code)
        thread.join(timeout=30)
    assert time.monotonic() < until
    assert not thread.is_alive()
    assert set(statuses) == {200}
