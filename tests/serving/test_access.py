"""Who is let in: keys, scopes, rates; and what browsers are told."""

import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest

from serving.app import create_app
from serving.limits import RateLimit
from serving.settings import ServingSettings, read_settings
from vizecg import keys
from vizecg.client import Client
from vizecg.errors import InputError
from vizecg.keys import Scope
from vizecg.predictor import Predictor

PROBLEM = "application/problem+json"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
OPEN_TO_ALL = {"/health", "/ready", "/docs", "/openapi.json", "/", "/page/style.css", "/page/script.js"}
OPEN_TO_ALL |= {"/v2/health/live", "/v2/health/ready"}


@pytest.fixture
def door(bundle, tmp_path, serve):
    """A service with keys: `ask(path, key)`, `new(*scopes)`."""
    file = tmp_path / "keys.json"
    first = keys.issue(file, scopes=[Scope.PREDICT], now=datetime.now(UTC), key_id="first").secret
    settings = ServingSettings(
        bundle=bundle, state_dir=tmp_path / "state", api_keys_file=file, requests_per_minute=6, burst=3
    )
    app = create_app(settings)
    with serve(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=20) as client:

        def ask(path: str, key: str | None = None, **sent: object) -> httpx.Response:
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            method = "POST" if path == "/v1/predict" else "GET"
            return client.request(method, path, headers={**headers, **sent.pop("headers", {})}, **sent)

        def new(*scopes: Scope, **more: object) -> str:
            return keys.issue(file, scopes=scopes, now=datetime.now(UTC), **more).secret

        yield SimpleNamespace(ask=ask, new=new, first=first, file=file, url=url, app=app)


def refusal(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    return response.json()["detail"]


def declared(routes):
    for route in routes:
        if hasattr(route, "original_router"):
            yield from declared(route.original_router.routes)
        else:
            yield from ((route.path, method) for method in route.methods - {"HEAD"})


def test_every_route_wants_a_key_or_is_known_to_be_open(door):
    found = set(declared(door.app.routes))
    assert {("/v1/predict", "POST"), ("/metrics", "GET")} <= found
    for path, method in found:
        response = httpx.request(method, door.url + re.sub(r"{[^}]*}", "x", path), trust_env=False)
        if path in OPEN_TO_ALL:
            assert response.status_code < 400, path
        else:
            assert response.status_code == 401, f"{method} {path}: dependencies=[requires(Scope.…)] is missing"


def test_a_key_is_sent_as_bearer_or_as_x_api_key(door, page_png):
    assert door.ask("/v1/predict", door.first, content=page_png).json()["decision"] == "ok"
    response = door.ask("/v1/predict", content=page_png, headers={"X-API-Key": door.first})
    assert response.json()["decision"] == "ok"
    with Client(door.url, api_key=door.first) as client:
        assert client.predict(page_png).decision == "ok"


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/model", "/metrics"])
def test_without_a_key_it_is_401_and_says_how_to_send_one(door, path):
    response = door.ask(path)
    assert refusal(response, 401) == ("this needs an API key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    assert response.headers["www-authenticate"] == 'Bearer realm="vizecg"'


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dml6ZWNnOnZpemVjZw=="},
        {"X-API-Key": ""},
        {"X-API-Key": b"\xff\xfe"},
    ],
    ids=["unknown", "empty", "basic", "empty-header", "bytes"],
)
def test_what_is_no_key_is_401(door, headers):
    assert refusal(door.ask("/v1/model", headers=headers), 401)


def test_the_digest_in_the_file_is_no_key(door):
    stored = json.loads(door.file.read_text())["keys"][0]["sha256"]
    assert refusal(door.ask("/v1/model", stored), 401) == "the API key is unknown"


def test_a_key_for_something_else_is_403_and_hears_which_scope_is_wanted(door):
    response = door.ask("/metrics", door.first)
    assert refusal(response, 403) == "the API key is not for this; it needs the scope admin"
    assert (response.json()["got"], response.json()["allowed"]) == ("predict", "admin")
    assert response.headers["www-authenticate"].endswith('error="insufficient_scope", scope="admin"')
    operator = door.new(Scope.ADMIN)
    assert door.ask("/metrics", operator).status_code == 200
    assert door.ask("/v1/model", operator).status_code == 200
    assert refusal(door.ask("/v1/predict", operator), 403)


def test_health_readiness_and_description_are_open_and_readiness_says_that_keys_are_wanted(door):
    assert door.ask("/health").status_code == door.ask("/docs").status_code == 200
    assert door.ask("/ready").json()["access"] == "API keys"
    schemes = door.ask("/openapi.json").json()["components"]["securitySchemes"].values()
    assert {(scheme["type"], scheme["in" if scheme["type"] == "apiKey" else "scheme"]) for scheme in schemes} == {
        ("http", "bearer"),
        ("apiKey", "header"),
    }


def test_keys_are_made_revoked_and_run_out_without_a_restart(door):
    second = door.new(Scope.PREDICT, key_id="second")
    assert door.ask("/v1/model", second).status_code == 200
    keys.revoke(door.file, "second", now=NOW)
    assert refusal(door.ask("/v1/model", second), 401) == "the API key is revoked"
    late = door.new(Scope.PREDICT, expires=datetime.now(UTC) - timedelta(seconds=1))
    response = door.ask("/v1/model", late)
    assert refusal(response, 401) == "the API key is expired"
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert door.ask("/v1/model", door.first).status_code == 200


@pytest.mark.parametrize("harm", ["{", "", "gone"])
def test_a_file_of_keys_that_cannot_be_read_lets_nobody_in_until_it_can(door, harm):
    whole = door.file.read_bytes()
    door.file.unlink() if harm == "gone" else door.file.write_text(harm)
    response = door.ask("/v1/model", door.first)
    assert refusal(response, 503) == "the service cannot read its API keys; its log says why"
    assert int(response.headers["retry-after"]) > 0
    assert door.ask("/health").status_code == 200
    door.file.write_bytes(whole)
    assert door.ask("/v1/model", door.first).status_code == 200


def test_a_key_that_asks_too_often_is_429_and_others_are_not(door):
    second = door.new(Scope.PREDICT)
    statuses = [door.ask("/v1/model", door.first).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    response = door.ask("/v1/model", door.first)
    # Six a minute is one in ten seconds.
    assert 8 <= int(response.headers["retry-after"]) <= 10
    assert refusal(response, 429).startswith("this API key asks too often; ask again after")
    assert response.json()["allowed"] == "6 a minute, 3 at once"
    assert door.ask("/v1/model", second).status_code == 200
    operator = door.new(Scope.ADMIN)
    assert 'vizecg_refused_total{reason="rate"} 2.0' in door.ask("/metrics", operator).text


def test_a_bucket_fills_again_as_time_goes_by():
    now = [0.0]
    limit = RateLimit(per_minute=60, burst=2, clock=lambda: now[0])
    assert [limit.wait_s("a") for _ in range(3)] == [0, 0, 1]
    now[0] = 0.25
    assert limit.wait_s("a") == pytest.approx(0.75)
    now[0] = 1.0
    assert [limit.wait_s("a"), limit.wait_s("a")] == [0, 1]
    now[0] = 1000.0
    assert [limit.wait_s("a") for _ in range(3)] == [0, 0, 1], "a bucket holds no more than its burst"


def test_a_request_of_many_pictures_is_paid_for_by_the_next_ones():
    now = [0.0]
    limit = RateLimit(per_minute=60, burst=2, clock=lambda: now[0])
    assert limit.wait_s("a", cost=10) == 0
    assert limit.wait_s("a") == 9


def test_no_limit_is_no_limit():
    limit = RateLimit(per_minute=None, burst=1)
    assert [limit.wait_s("a") for _ in range(1000)] == [0] * 1000


def test_when_every_place_is_taken_it_is_503_at_once_and_the_metrics_say_so(
    bundle, tmp_path, page_png, serve, monkeypatch
):
    go_on, working, read = threading.Event(), threading.Semaphore(0), Predictor.read

    def slowly(*arguments, **named):
        working.release()
        assert go_on.wait(timeout=60)
        return read(*arguments, **named)

    app = create_app(ServingSettings(bundle=bundle, state_dir=tmp_path, predictions_at_once=1, predictions_waiting=2))
    monkeypatch.setattr(Predictor, "read", slowly)
    answers = []
    with serve(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:

        def ask() -> None:
            with Client(url) as asking:
                answers.append(asking.predict(page_png).decision)

        busy = [threading.Thread(target=ask) for _ in range(3)]
        for thread in busy:
            thread.start()
        until = time.monotonic() + 30
        while "vizecg_predictions_waiting 2.0" not in client.get("/metrics").text:
            assert time.monotonic() < until
            time.sleep(0.01)
        response = client.post("/v1/predict", content=page_png)
        assert refusal(response, 503) == (
            "the service is at its limit: 1 pictures are worked on and 2 wait; ask again after 2 s"
        )
        assert response.headers["retry-after"] == "2"
        assert client.get("/health").status_code == 200
        go_on.set()
        for thread in busy:
            thread.join()
        text = client.get("/metrics").text
    assert answers == ["ok"] * 3
    assert 'vizecg_refused_total{reason="overload"} 1.0' in text
    assert "vizecg_predictions_waiting 0.0" in text


def test_a_body_is_not_read_before_the_key_is_known(door):
    connection = http.client.HTTPConnection(door.url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/v1/predict")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()  # and the body never comes
    with connection.getresponse() as response:
        assert response.status == 401
    connection.close()


SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def test_every_reply_has_the_security_headers(door, page_png, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    replies = [
        door.ask("/v1/predict", door.first, content=page_png),
        door.ask("/v1/predict"),
        door.ask("/nowhere"),
        door.ask("/docs"),
        door.ask("/"),
    ]
    monkeypatch.setattr(Predictor, "read", fails)
    replies.append(door.ask("/v1/predict", door.first, content=page_png))
    assert [reply.status_code for reply in replies] == [200, 401, 404, 200, 200, 500]
    for reply in replies:
        assert SECURITY.items() <= dict(reply.headers).items()
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert "'unsafe-inline'" not in re.search(r"script-src[^;]*", reply.headers["content-security-policy"])[0]


def preflight(client: httpx.Client, origin: str) -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return client.options("/v1/predict", headers={**asked, "Access-Control-Request-Headers": "authorization"})


def test_pages_from_elsewhere_may_not_ask_unless_named(bundle, tmp_path, serve, service, monkeypatch):
    with httpx.Client(base_url=service, trust_env=False) as client:
        assert "access-control-allow-origin" not in preflight(client, "https://ward.example").headers
    monkeypatch.setenv("VIZECG_CORS_ORIGINS", "https://ward.example, https://lab.example:8443")
    settings = read_settings(bundle=bundle, state_dir=tmp_path)
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert (
            preflight(client, "https://ward.example").headers["access-control-allow-origin"] == "https://ward.example"
        )
        assert preflight(client, "https://lab.example:8443").status_code == 200
        assert "access-control-allow-origin" not in preflight(client, "https://other.example").headers
        refused = client.post("/v1/predict", content=b"x", headers={"Origin": "https://ward.example"})
        assert refused.status_code == 415
        assert refused.headers["access-control-allow-origin"] == "https://ward.example"


@pytest.mark.parametrize("origin", ["*", "ward.example", "https://ward.example/path", "null"])
def test_an_origin_that_is_none_is_refused(origin, monkeypatch):
    monkeypatch.setenv("VIZECG_CORS_ORIGINS", origin)
    with pytest.raises(InputError, match=r"VIZECG_CORS_ORIGINS is .* is no origin; write https://host"):
        read_settings()


def test_the_description_can_be_switched_off(bundle, tmp_path, serve):
    app = create_app(ServingSettings(bundle=bundle, state_dir=tmp_path, docs=False))
    with serve(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 404
        assert client.get("/health").status_code == 200


def test_an_app_for_others_without_keys_is_not_made(bundle):
    with pytest.raises(InputError, match=r"0\.0\.0\.0 can be reached from other machines and there are no API keys"):
        create_app(ServingSettings(bundle=bundle, host="0.0.0.0"))  # noqa: S104 (that is what must be refused)


def vizecg(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vizecg", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_the_command_prints_a_key_once_and_keeps_its_sha256(tmp_path):
    file = tmp_path / "keys.json"
    made = vizecg("keys", "new", "--scope", "predict", "--scope", "feedback", "--id", "ward-7", "--file", str(file))
    key = made.stdout.strip()
    assert made.returncode == 0
    assert re.fullmatch(r"vizecg_[A-Za-z0-9_-]{43}", key)  # 32 bytes
    assert key not in made.stderr
    stored = json.loads(file.read_text())
    assert key not in file.read_text()
    assert stored["keys"][0]["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert stored["keys"][0]["scopes"] == ["predict", "feedback"]
    listed = vizecg("keys", "list", VIZECG_API_KEYS_FILE=str(file))
    assert listed.stdout.startswith("ward-7  valid  predict,feedback  made ")
    assert vizecg("keys", "revoke", "ward-7", "--file", str(file)).returncode == 0
    assert vizecg("keys", "list", "--file", str(file)).stdout.startswith("ward-7  revoked  ")
    unknown = vizecg("keys", "revoke", "ward-8", "--file", str(file))
    assert unknown.returncode == 2
    assert unknown.stderr == f"vizecg: {file} has no key 'ward-8'; it has ['ward-7']\n"


def test_keys_differ_and_an_id_is_given_once(tmp_path):
    file = tmp_path / "keys.json"
    issued = [keys.issue(file, scopes=[Scope.PREDICT], now=NOW) for _ in range(20)]
    assert len({one.secret for one in issued}) == len({one.id for one in issued}) == 20
    with pytest.raises(InputError, match=r"has a key .* already; give the new one another --id"):
        keys.issue(file, scopes=[Scope.PREDICT], now=NOW, key_id=issued[0].id)
    with pytest.raises(InputError, match="the key's id is 'a b'"):
        keys.issue(file, scopes=[Scope.PREDICT], now=NOW, key_id="a b")
    with pytest.raises(InputError, match="the key's scopes is"):
        keys.issue(file, scopes=[], now=NOW)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param("vizecg_secretsecret", "its content: invalid json", id="no-json"),
        pytest.param('{"keys": [{"id": "a"}]}', r"keys\.0\.sha256: field required", id="field"),
        pytest.param('{"schema_version": 2}', "schema_version: input should be 1", id="version"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_without_quoting_it(tmp_path, content, sentence):
    file = tmp_path / "keys.json"
    file.write_text(content)
    with pytest.raises(InputError, match=f"is not a file of API keys: {sentence}") as refused:
        keys.read(file)
    assert "secretsecret" not in str(refused.value)
