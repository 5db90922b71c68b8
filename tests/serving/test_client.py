import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from vizecg.answer import Answer
from vizecg.client import Client, RequestRefused, ServiceUnavailable
from vizecg.predictor import Predictor


def test_a_client_gets_the_answer_the_model_gives(service, bundle, page_png):
    with Client(service + "/") as client:
        answer = client.predict(page_png, request_id="mine")
        assert client.ready()
        assert client.model()["model"]["name"] == "vizecgnet"
    assert isinstance(answer, Answer)
    assert answer.request_id == "mine"
    assert answer.labels == Predictor.load(bundle).predict(page_png).labels


def test_a_refusal_has_the_problem_of_the_service(service):
    with (
        Client(service) as client,
        pytest.raises(RequestRefused, match="the picture must be a PNG, JPEG") as refused,
    ):
        client.predict(b"text")
    assert refused.value.status == 415
    assert refused.value.problem["title"] == "Unsupported Media Type"


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "not an address", "http://[bad"])
def test_nobody_there_is_one_sentence(address):
    with pytest.raises(ServiceUnavailable, match="no service answers at"), Client(address) as client:
        client.predict(b"x")


def test_a_password_in_the_address_of_the_service_is_in_no_sentence():
    with (
        pytest.raises(ServiceUnavailable, match=r"no service answers at http://\*\*\*@127\.0\.0\.1:9 \(ConnectError\)"),
        Client("http://anna:s3cret@127.0.0.1:9") as client,
    ):
        client.predict(b"x")


@pytest.mark.parametrize("body", [b"hello", b"[1]", b'{"status": "ok"}'])
def test_another_program_at_the_address_is_noticed(body):
    class Other(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        with Client(f"http://127.0.0.1:{other.server_port}") as client:
            with pytest.raises(ServiceUnavailable, match="answers, but not as"):
                client.predict(b"x")
            assert not client.ready()
        other.shutdown()
        thread.join()


def test_a_newer_service_may_say_more(service, page_png, monkeypatch):
    with Client(service) as client:
        ask = client._ask
        monkeypatch.setattr(client, "_ask", lambda *given, **named: ask(*given, **named) | {"said_by_version_9": 1})
        assert client.predict(page_png).decision == "ok"


def test_everything_that_can_be_asked_has_a_method(service, page_png):
    with Client(service) as client:
        answer = client.predict(page_png, request_id="mine")
        explained = client.explain(page_png, labels=["MI", "CD"])
        assert explained.answer.labels == answer.labels
        assert explained.films.keys() == {"MI", "CD"}
        assert explained.page_jpeg.startswith(b"\xff\xd8")
        assert client.evidence_png(page_png, labels=["MI"]).startswith(b"\x89PNG")
        first, second = client.predict_batch([page_png, b"text"])
        assert isinstance(first, Answer)
        assert first.labels == answer.labels
        assert isinstance(second, RequestRefused)
        assert second.status == 415
        assert client.confirm("mine", labels=["MI"])["labels"] == ["MI"]
        assert client.diagnostic_report(page_png)["resourceType"] == "DiagnosticReport"
        with pytest.raises(RequestRefused, match="labels names a class that the model does not know"):
            client.evidence_png(page_png, labels=["AFIB & MORE"])
