"""The audit trail: what it holds, that it shows changes, and that it survives kills and full disks."""

import base64
import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.app import create_app
from serving.settings import ServingSettings
from vizecg import auditing, chain, keys
from vizecg.chain import BrokenChain, ChainWriter
from vizecg.client import Client, RequestRefused
from vizecg.errors import InputError
from vizecg.keys import Scope
from vizecg.predictor import Predictor

PATIENCE_S = 60


def written(folder: Path, lines: int, *, max_file_bytes: int = 10_000_000) -> list[Path]:
    """A chain of some lines; its files."""
    writer = ChainWriter(folder, max_file_bytes=max_file_bytes, flush=False)
    for at in range(lines):
        writer.append({"kind": "test", "at": at, "told": "ü\n"})
    writer.close()
    return sorted(folder.glob("*.jsonl"))


def verified(folder: Path) -> list[chain.ChainReport]:
    reports = []
    for report, lines in chain.verify(folder):
        list(lines)
        reports.append(report)
    return reports


def lines_in(folder: Path) -> list[dict]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_each_line_holds_the_sha256_of_the_line_before(tmp_path):
    (file,) = written(tmp_path, 4)
    lines = file.read_bytes().split(b"\n")
    assert lines.pop() == b""
    digests = ["0" * 64, *(hashlib.sha256(line).hexdigest() for line in lines)]
    assert [json.loads(line)["previous"] for line in lines] == digests[:-1]
    (report,) = verified(tmp_path)
    assert (report.lines, report.head, report.torn) == (4, digests[-1], [])


def test_a_long_file_is_followed_by_the_next_and_the_chain_runs_through(tmp_path):
    files = written(tmp_path, 20, max_file_bytes=700)
    assert len(files) > 3
    assert all(file.stat().st_size <= 700 for file in files)
    assert verified(tmp_path)[0].lines == 20


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        pytest.param(
            lambda x: [x[0], x[1].replace(b'"at":1', b'"at":9'), *x[2:]], "line 3: it was written", id="field"
        ),
        pytest.param(lambda x: [x[0], *x[2:]], "line 2: this is line 2 of the chain, expected 1", id="taken-out"),
        pytest.param(lambda x: [x[0], x[2], x[1], x[3]], "line 2: this is line 2 of the chain", id="swapped"),
        pytest.param(lambda x: [*x[:2], x[1], *x[2:]], "line 3: this is line 1 of the chain", id="twice"),
        pytest.param(lambda x: [x[0], b"hello", *x[2:]], "line 2: this is no JSON object", id="no-json"),
        pytest.param(lambda x: x[1:], "line 1: this is line 1 of the chain, expected 0", id="beginning"),
    ],
)
def test_the_first_line_that_is_not_as_it_was_written_is_named(tmp_path, harm, sentence):
    (file,) = written(tmp_path, 4)
    file.write_bytes(b"\n".join(harm(file.read_bytes().splitlines())) + b"\n")
    with pytest.raises(BrokenChain, match=rf"^audit-0\.000001\.jsonl {sentence}"):
        verified(tmp_path)


def test_a_file_that_was_taken_out_is_noticed(tmp_path):
    written(tmp_path, 20, max_file_bytes=700)[1].unlink()
    with pytest.raises(BrokenChain, match=r"^audit-0\.000003\.jsonl line 1: .* lines are missing"):
        verified(tmp_path)


def test_an_end_that_was_cut_off_is_noticed_by_a_digest_that_was_noted(tmp_path, capsys):
    (file,) = written(tmp_path, 4)
    head = verified(tmp_path)[0].head
    auditing.show_verified(tmp_path, holds=[head])
    assert f"audit-0: 4 lines in 1 files, last digest {head}" in capsys.readouterr().out
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:3]))
    auditing.show_verified(tmp_path)
    with pytest.raises(BrokenChain, match=f"holds no line of digest {head}"):
        auditing.show_verified(tmp_path, holds=[head])


def test_wherever_a_writer_was_killed_within_a_line_the_next_one_closes_it_off_and_goes_on(tmp_path):
    (file,) = written(tmp_path / "whole", 3)
    whole = file.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(last, len(whole) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / file.name).write_bytes(whole[:cut])
        written(folder, 1)
        (report,) = verified(folder)
        torn = last < cut < len(whole) - 1
        assert report.torn == (["audit-0.000001.jsonl line 3"] if torn else [])
        notes = [json.loads(x) for x in (folder / file.name).read_bytes().splitlines() if b'"kind":"torn"' in x]
        assert [note["torn_sha256"] for note in notes] == [hashlib.sha256(whole[last:cut]).hexdigest()] * torn


def test_a_writer_that_was_killed_while_it_closed_off_is_closed_off_too(tmp_path):
    (file,) = written(tmp_path / "whole", 2)
    file.write_bytes(file.read_bytes()[:-10])
    written(tmp_path / "whole", 1)
    mended = file.read_bytes()
    first = mended.index(b"\n") + 1
    note_ends = mended.index(b"\n", mended.index(b'"kind":"torn"'))
    for cut in range(first, note_ends, 7):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / file.name).write_bytes(mended[:cut])
        written(folder, 1)
        assert verified(folder)[0].lines >= 2


def test_a_line_without_an_end_is_told_and_is_no_break(tmp_path):
    (file,) = written(tmp_path, 3)
    file.write_bytes(file.read_bytes()[:-10])
    assert verified(tmp_path)[0].unfinished == "audit-0.000001.jsonl line 3"


def test_two_processes_write_two_chains_and_the_next_one_goes_on_with_the_first(tmp_path):
    one, two = (ChainWriter(tmp_path, max_file_bytes=10_000, flush=False) for _ in range(2))
    one.append({"by": 1})
    two.append({"by": 2})
    one.close()
    two.close()
    written(tmp_path, 1)
    assert [(report.name, report.lines) for report in verified(tmp_path)] == [("audit-0", 2), ("audit-1", 1)]


def test_a_folder_without_a_trail_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no audit trail"):
        verified(tmp_path)


def test_a_prediction_is_kept_with_what_it_takes_to_answer_again(bundle, tmp_path, page_png, serve, make):
    file = tmp_path / "keys.json"
    key = keys.issue(file, scopes=[Scope.PREDICT], now=datetime.now(UTC), key_id="ward-7").secret
    settings = ServingSettings(bundle=bundle, state_dir=tmp_path, api_keys_file=file)
    with serve(create_app(settings)) as url, Client(url, api_key=key) as client:
        answer = client.predict(page_png, request_id="scan-42")
        with pytest.raises(RequestRefused):
            client.predict(b"no picture")
    start, line = lines_in(tmp_path / "audit")
    assert start["kind"] == "start"
    assert start["settings"]["predictions_waiting"] == 32
    assert start["settings_sha256"] == line["settings_sha256"]
    assert "state_dir" not in start["settings"]
    assert (line["kind"], line["request_id"], line["key_id"]) == ("prediction", "scan-42", "ward-7")
    assert line["input_sha256"] == hashlib.sha256(page_png).hexdigest()
    assert line["model"]["bundle_digest"] == make.digest(bundle)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line["time"])).total_seconds()) < PATIENCE_S
    assert line["decision"] == answer.decision
    assert {one["code"]: (one["probability"], one["threshold"], one["positive"]) for one in line["outputs"]} == {
        label.code: (label.probability, label.threshold, label.positive) for label in answer.labels
    }
    taken = Predictor.load(bundle).read(page_png).taken
    assert line["image"]["canonical_mean"] == pytest.approx(np.mean(taken.canonical))
    assert line["image"]["canonical_std"] == pytest.approx(np.std(taken.canonical))
    assert line["canonical_sha256"] == hashlib.sha256(taken.canonical.tobytes()).hexdigest()
    assert line["image"]["edge_mm"] == pytest.approx(taken.edge_mm)
    assert line["image"]["px_per_mm"] == pytest.approx(answer.quality.px_per_mm, abs=1e-4)


def test_the_trail_is_answered_again(bundle, second_bundle, tmp_path, page_png, serve, capsys):
    other = io.BytesIO()
    Image.open(io.BytesIO(page_png)).convert("L").save(other, "PNG")
    with serve(create_app(ServingSettings(bundle=bundle, state_dir=tmp_path))) as url, Client(url) as client:
        client.predict(page_png)
        client.predict(other.getvalue())
    trail, images = tmp_path / "audit", tmp_path / "images" / "deep"
    images.mkdir(parents=True)
    (images / "any name.bin").write_bytes(page_png)

    def replay(model: Path) -> int:
        return auditing.show_replayed(trail, images=tmp_path / "images", bundle_folder=model, tolerance=None)

    assert replay(bundle) == 0
    said = capsys.readouterr().out
    assert said.endswith("1 same, 0 differ by more than 0.02, 1 not compared\n")
    assert " no image\n" in said
    with pytest.raises(InputError, match=r"no prediction of .* by this bundle has its image in"):
        replay(second_bundle)
    forge(trail, lambda line: line["outputs"][0].update(probability=line["outputs"][0]["probability"] / 2 + 0.4))
    assert replay(bundle) == 3
    assert " differs\n" in capsys.readouterr().out


def forge(trail: Path, change) -> None:
    """Write a trail anew with other content; every digest holds."""
    contents = lines_in(trail)
    for path in trail.glob("*.jsonl"):
        path.unlink()
    writer = ChainWriter(trail, max_file_bytes=10_000_000, flush=False)
    for content in contents:
        if content["kind"] == "prediction":
            change(content)
        writer.append(content)
    writer.close()


def test_a_trail_that_cannot_be_begun_is_refused_at_start(bundle, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the audit trail in .*file/audit cannot be written: not a directory"):
        create_app(ServingSettings(bundle=bundle, state_dir=tmp_path, audit_dir=tmp_path / "file" / "audit"))
    with pytest.raises(
        InputError, match="VIZECG_AUDIT is 'perhaps': input should be 'required', 'best-effort' or 'off'"
    ):
        ServingSettings(audit="perhaps")


@pytest.fixture
def start(bundle, tmp_path, own_port):
    """Start the service as a process: its process and its address."""
    processes = []

    def starting(**environment: str) -> tuple[subprocess.Popen[str], str]:
        port = own_port()
        here = {"VIZECG_BUNDLE": str(bundle), "VIZECG_STATE_DIR": str(tmp_path), **environment}
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "vizecg", "serve", "--port", str(port)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **here},
            )
        processes.append(process)
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + PATIENCE_S
        with Client(url) as client:
            while not client.ready():
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
        return process, url

    yield starting
    for process in processes:
        process.kill()
        process.communicate()


def verify_command(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vizecg", "audit", "verify", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.servers
def test_a_killed_service_leaves_a_trail_that_the_next_one_goes_on_with(start, tmp_path, page_png):
    process, url = start()
    with Client(url) as client:
        client.predict(page_png)
    process.send_signal(signal.SIGKILL)
    process.wait()
    file = tmp_path / "audit" / "audit-0.000001.jsonl"
    with file.open("ab") as opened:  # as a kill within a line leaves it
        opened.write(b'{"decision":"ok","fin')
    _, url = start()
    with Client(url) as client:
        client.predict(page_png)
    done = verify_command(tmp_path / "audit")
    assert done.returncode == 0, done.stderr
    assert "audit-0: 5 lines in 1 files" in done.stdout
    assert "torn and closed off: audit-0.000001.jsonl line 3" in done.stdout
    file.write_bytes(file.read_bytes().replace(b'"decision":"ok"', b'"decision":"no"', 1))
    done = verify_command(tmp_path / "audit")
    assert done.returncode == 3
    assert done.stderr.startswith("vizecg: audit-0.000001.jsonl line 3: ")


@pytest.mark.servers
@pytest.mark.parametrize("audit", ["required", "best-effort"])
def test_with_a_full_disk_no_answer_is_given_unless_the_settings_say_so(start, tmp_path, page_png, audit):
    process, url = start(VIZECG_AUDIT=audit)
    file = tmp_path / "audit" / "audit-0.000001.jsonl"
    with Client(url) as client:
        client.predict(page_png)
        # The kernel now refuses the file's next line, as on a full disk; a part of the line still fits.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file.stat().st_size + 100, resource.RLIM_INFINITY))
        if audit == "required":
            with pytest.raises(RequestRefused, match="cannot be written to the audit trail, so it is not given") as no:
                client.predict(page_png)
            assert no.value.status == 503
        else:
            assert client.predict(page_png).decision == "ok"
        assert 'vizecg_refused_total{reason="audit"} 1.0' in httpx.get(f"{url}/metrics", trust_env=False).text
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        client.predict(page_png)
    (report,) = verified(tmp_path / "audit")
    assert (report.lines, report.torn) == (3, [])
    assert lines_in(tmp_path / "audit")[-1].get("missed_before") == (1 if audit == "best-effort" else None)


CANARY = "Canary-Doe-4711"
PIXELS = bytes([201, 17, 83, 140, 66, 251, 9, 178, 33, 119, 222, 71, 158, 5, 190, 98])


def with_canaries(page_png: bytes) -> bytes:
    """The page with a name in its EXIF data and a row of pixels that nothing else has, stored as they are."""
    image = Image.open(io.BytesIO(page_png)).convert("L")
    image.paste(Image.frombytes("L", (16, 1), PIXELS), (3, 3))
    exif = Image.Exif()
    exif[0x010E] = CANARY
    stream = io.BytesIO()
    image.save(stream, "TIFF", exif=exif)
    assert PIXELS in stream.getvalue()
    return stream.getvalue()


@pytest.mark.servers
@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_that_was_sent_is_in_a_log_or_in_the_trail(start, tmp_path, page_png, form):
    file = tmp_path / "keys.json"
    key = keys.issue(file, scopes=[Scope.PREDICT], now=datetime.now(UTC), key_id="ward-7").secret
    process, url = start(VIZECG_API_KEYS_FILE=str(file), VIZECG_LOG=form)
    picture = with_canaries(page_png)
    named = {"X-Request-ID": f"{CANARY} <b>", "User-Agent": CANARY, "Cookie": CANARY, "Referer": CANARY}
    with httpx.Client(base_url=url, trust_env=False, timeout=30, headers=named) as client:
        allowed = {"Authorization": f"Bearer {key}"}
        upload = {"file": (f"{CANARY}.png", picture, "image/png")}
        statuses = [
            client.post(f"/v1/predict?patient={CANARY}", files=upload, headers=allowed).status_code,
            client.post("/v1/predict", content=CANARY.encode() + PIXELS, headers=allowed).status_code,
            client.post("/v1/predict", content=picture[:4000], headers=allowed).status_code,
            client.post("/v1/predict", content=picture, headers={"Authorization": f"Bearer {CANARY}"}).status_code,
            client.get(f"/{CANARY}", headers=allowed).status_code,
            client.request(CANARY.replace("-", ""), "/health").status_code,
        ]
    # A method that there is not is refused by uvicorn's parser, if httptools is installed, else by the route.
    assert statuses in ([200, 415, 400, 401, 404, 405], [200, 415, 400, 401, 404, 400])
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=PATIENCE_S)
    log = (tmp_path / "log").read_bytes()
    assert log.count(b"request answered") >= len(statuses) - 1
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".jsonl" for path in kept)
    planted = (key, CANARY, CANARY.replace("-", ""))
    forms = [form for text in planted for form in (text.encode(), base64.b64encode(text.encode())[:-3])]
    forms += [PIXELS, PIXELS.hex().encode(), base64.b64encode(PIXELS)[:-3], b", ".join(b"%d" % one for one in PIXELS)]
    for path in kept:
        content = path.read_bytes()
        assert not [one for one in forms if one in content], path.name
    if form == "json":
        told = [json.loads(line) for line in log.splitlines()]
        answered = next(line for line in told if line["message"] == "request answered")
        assert (answered["route"], answered["status"], answered["key"]) == ("/v1/predict", 200, "ward-7")
        assert answered["request_id"] == lines_in(tmp_path / "audit")[-1]["request_id"]


def test_the_words_of_a_fault_are_not_logged_but_where_it_was_is():
    from serving.logs import JsonFormatter, TextFormatter

    try:
        try:
            raise ValueError(f"cannot read {CANARY}")
        except ValueError as error:
            raise RuntimeError(CANARY) from error
    except RuntimeError:
        record = logging_record()
    told = json.loads(JsonFormatter().format(record))
    assert [one["kind"] for one in told["exceptions"]] == ["RuntimeError", "ValueError"]
    assert "test_the_words_of_a_fault" in told["exceptions"][0]["places"][0]
    assert CANARY not in JsonFormatter().format(record) + TextFormatter().format(record)


def logging_record():
    import logging

    return logging.LogRecord("vizecg", logging.ERROR, __file__, 1, "request failed", (), sys.exc_info())
