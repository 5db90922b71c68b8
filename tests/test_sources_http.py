"""Over a network that cuts, delays, refuses and lies, the folder that arrives is the one that was published."""

import email.utils
import http.server
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
import yaml

from vizecg.errors import Conflict, InputError
from vizecg.executors import InlineExecutor
from vizecg.publish import locked
from vizecg.simulate import write_database
from vizecg.sources import SourceParams, sources_of
from vizecg.sources.http import HttpSource
from vizecg.sources.transfer import Clock, Effort, TryAgainError, persist

TRIES = 4
RECORD = "records100/00000/00001_lr.dat"
EFFORT = Effort(connections=3, part_bytes=20_000, tries=TRIES, deadline_s=60, first_wait_s=0.001)


class Server:
    """A real HTTPS server; `faults` maps a name to what goes wrong, and how often."""

    def __init__(self, folder, *, context):
        self.folder = folder
        self.asked = Counter()
        self.sent_bytes = Counter()
        self.faults = {}
        self.ranges = True
        self.versions = True
        self.pause_s = 0.0
        self.on_sent = None
        self.retry_after = None
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def do_HEAD(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a client that was killed

        self._httpd = Quiet(("127.0.0.1", 0), Handler)
        self._httpd.socket = context.wrap_socket(self._httpd.socket, server_side=True)
        self.url = f"https://localhost:{self._httpd.server_port}/files"
        self._thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._httpd.shutdown()
        self._thread.join()
        self._httpd.server_close()

    def answer(self, request):
        name = request.path.removeprefix("/files/")
        path = self.folder / name
        fault = self._fault(name)
        if fault == "503":
            extra = {} if self.retry_after is None else {"Retry-After": self.retry_after}
            return self._say(request, 503, b"busy", extra)
        if not path.is_file():
            return self._say(request, 404, b"nothing here", {})
        content = path.read_bytes()
        headers = {"ETag": f'"{path.stat().st_mtime_ns}"'} if self.versions else {}
        asked = request.headers.get("Range")
        if fault == "html":
            return self._say(request, 200, b"<html>please log in</html>", {})
        if asked is None or not self.ranges:
            return self._say(request, 200, content, headers, fault=fault)
        first, last = asked.removeprefix("bytes=").split("-")
        start, stop = int(first), min(int(last) + 1 if last else len(content), len(content))
        if start >= len(content):
            return self._say(request, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        if fault == "elsewhere":
            headers["Content-Range"] = f"bytes 0-{stop - start - 1}/{len(content)}"
        return self._say(request, 206, content[start:stop], headers, fault=fault)

    def _fault(self, name):
        self.asked[name] += 1
        kind, times = self.faults.get(name, ("", 0))
        return kind if self.asked[name] <= times else ""

    def _say(self, request, code, content, headers, *, fault=""):
        request.send_response(code)
        for key, value in headers.items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "HEAD":
            return
        if fault == "lie":
            content = bytes(len(content))
        if fault == "cut":
            content = content[: len(content) // 2]
            request.close_connection = True
        name = request.path.removeprefix("/files/")
        for start in range(0, len(content), 4096):
            request.wfile.write(content[start : start + 4096])
            self.sent_bytes[name] += len(content[start : start + 4096])
            if self.on_sent is not None:
                self.on_sent(self.sent_bytes[name])
            if self.pause_s:
                time.sleep(self.pause_s)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return authority, path


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "ptb-xl"
    write_database(folder, records=6, seed=3, both_rates=False)
    (folder / "LICENSE.txt").write_text("Creative Commons Attribution 4.0\n")
    _state_sums(folder)
    return folder


def _state_sums(folder):
    import hashlib

    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "SHA256SUMS.txt"]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(folder).as_posix()}" for path in files]
    (folder / "SHA256SUMS.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(published, tmp_path):
    return shutil.copytree(published, tmp_path / "published")


@pytest.fixture
def server(folder, authority, monkeypatch):
    certificates, path = authority
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("NO_PROXY", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.issue_cert("localhost").configure_cert(context)
    with Server(folder, context=context) as running:
        yield running


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("VIZECG_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def source(server, *, limit=2, name="", effort=EFFORT):
    return HttpSource(url=f"{server.url}/{name}", limit=limit, sampling_hz=100, effort=effort)


def fetch(one, state, pinned=None):
    return one.fetch(pinned or one.pin(), state_dir=state, executor=InlineExecutor())


def records_in(folder):
    return sorted(path.name for path in folder.rglob("*_lr.*"))


# A folder in PTB-XL's layout


def test_the_first_records_are_downloaded_and_nothing_else(server, folder, state):
    downloaded = fetch(source(server), state)
    assert records_in(downloaded) == [f"0000{n}_lr.{ending}" for n in (1, 2) for ending in ("dat", "hea")]
    assert (downloaded / RECORD).read_bytes() == (folder / RECORD).read_bytes()
    assert not list(downloaded.rglob(".parts"))


@pytest.mark.parametrize("kind", ["503", "cut", "lie", "html"])
def test_what_fails_now_and_then_is_tried_again(server, folder, state, kind):
    server.faults[RECORD] = (kind, TRIES - 1)
    downloaded = fetch(source(server), state)
    assert (downloaded / RECORD).read_bytes() == (folder / RECORD).read_bytes()
    assert server.asked[RECORD] == TRIES


def test_a_line_that_is_cut_again_and_again_goes_on_where_it_was_cut(server, folder, state):
    """More often than is tried, but each time some bytes arrive, and none is sent a second time."""
    server.faults[RECORD] = ("cut", 8)
    downloaded = fetch(source(server), state)
    content = (folder / RECORD).read_bytes()
    assert (downloaded / RECORD).read_bytes() == content
    assert server.sent_bytes[RECORD] == len(content)


@pytest.mark.parametrize(
    ("kind", "problem"), [("503", "HTTP 503"), ("lie", "another SHA-256 than is listed"), ("html", "another SHA-256")]
)
def test_what_keeps_failing_is_one_sentence_and_is_never_kept(server, state, kind, problem):
    server.faults[RECORD] = (kind, 1000)
    message = rf"00001_lr\.dat could not be fetched in {TRIES} tries \(.*{problem}.*what has arrived is kept: run it"
    with pytest.raises(InputError, match=message):
        fetch(source(server), state)
    assert not list(state.rglob("00001_lr.dat"))


@pytest.mark.parametrize("waiting", ["seconds", "date"])
def test_a_server_that_asks_for_a_pause_gets_it(server, waiting):
    server.faults["SHA256SUMS.txt"] = ("503", 1)
    started_s = time.monotonic()
    moment = email.utils.formatdate(time.time() + 2, usegmt=True)  # whole seconds: at least one from now
    server.retry_after = {"seconds": "1", "date": moment}[waiting]
    source(server).pin()
    assert 0.9 <= time.monotonic() - started_s < 30


def test_the_tries_of_params_yaml_outlast_a_server_that_is_gone_for_half_a_minute(monkeypatch):
    waited_s = []
    monkeypatch.setattr(Clock, "wait", lambda _, seconds, what: waited_s.append((seconds, what)))
    monkeypatch.setattr("vizecg.sources.transfer.random", lambda: 0.0)  # the shortest waits there are
    params_yaml = Path(__file__).parent.parent / "params.yaml"
    tries = yaml.safe_load(params_yaml.read_text())["ingest"]["fetch"]["tries"]
    effort = Effort(connections=1, part_bytes=1, tries=tries, deadline_s=7200)

    def nobody() -> None:
        raise TryAgainError("nobody is listening")

    with pytest.raises(InputError, match="s3://b/x could not be fetched in 6 tries"):
        persist(nobody, what="s3://b/x", clock=Clock(effort=effort))
    assert len(waited_s) == 5
    assert sum(seconds for seconds, _ in waited_s) > 30


def test_the_deadline_ends_a_fetch_that_would_go_on_for_ever(server, state):
    server.faults[RECORD] = ("503", 10**6)
    patient = Effort(connections=3, part_bytes=20_000, tries=10**6, deadline_s=1.0, first_wait_s=0.01)
    started_s = time.monotonic()
    with pytest.raises(InputError, match=r"00001_lr\.dat was not here after 1 s \(ingest\.fetch\.deadline_s\); what"):
        fetch(source(server, effort=patient), state)
    assert time.monotonic() - started_s < 30


def test_the_deadline_ends_a_trickle(server, state):
    pinned = source(server).pin()
    server.pause_s = 0.3
    hasty = Effort(connections=3, part_bytes=20_000, tries=3, deadline_s=0.5, first_wait_s=0.01)
    with pytest.raises(InputError, match=r"was not here after 0\.5 s"):
        fetch(source(server, effort=hasty), state, pinned)


def test_a_download_goes_on_where_it_was(server, state):
    server.faults["records100/00000/00002_lr.dat"] = ("503", TRIES)
    with pytest.raises(InputError, match="what has arrived is kept"):
        fetch(source(server), state)
    kept = set(records_in(state))
    server.asked.clear()
    server.faults.clear()
    fetch(source(server), state)
    assert {Path(name).name for name in server.asked}.isdisjoint(kept)
    assert records_in(state) == [f"0000{n}_lr.{ending}" for n in (1, 2) for ending in ("dat", "hea")]


def test_everything_here_already_needs_no_server(folder, authority, state, monkeypatch):
    certificates, path = authority
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.issue_cert("localhost").configure_cert(context)
    with Server(folder, context=context) as running:
        pinned = source(running).pin()
        first = fetch(source(running), state, pinned)
    assert fetch(source(running), state, pinned) == first


def test_a_damaged_file_is_fetched_again(server, folder, state):
    kept = fetch(source(server), state) / RECORD
    kept.write_bytes(b"torn")
    fetch(source(server), state)
    assert kept.read_bytes() == (folder / RECORD).read_bytes()


def test_a_server_with_other_files_than_pinned_is_refused(server, state):
    pinned = source(server, limit=2).pin()
    with pytest.raises(InputError, match="run `vizecg source pin`"):
        fetch(source(server, limit=3), state, pinned)


def test_two_at_once_do_not_write_the_same_folder(server, state):
    pinned = source(server).pin()
    with locked(state / "downloads" / pinned.digest[:16]), pytest.raises(Conflict, match="is being written by another"):
        fetch(source(server), state, pinned)


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_records_on_a_server_are_pinned_as_such(server, folder, state, simulated):
    if simulated:
        (folder / "LICENSE.txt").write_text("SIMULATED RECORDS\nno medical meaning\n")
        _state_sums(folder)
    pinned = source(server).pin()
    assert pinned.simulated == simulated
    with pytest.raises(InputError, match=r"data/source\.json pins .* records, but those in .* are"):
        fetch(source(server), state, replace(pinned, simulated=not simulated))


@pytest.mark.parametrize("name", ["../evil.dat", "/etc/evil.dat", "records100/../../evil.dat"])
def test_a_server_cannot_write_outside_the_folder(server, folder, state, name):
    with (folder / "SHA256SUMS.txt").open("a") as opened:
        opened.write(f"{'a' * 64} {name}\n")
    with pytest.raises(InputError, match=r"lists the file .*, which leads out of the folder"):
        fetch(source(server), state)
    assert not list(state.rglob("evil.dat"))


def test_a_wrong_address_is_one_sentence(server):
    with pytest.raises(InputError, match=r"nowhere/SHA256SUMS\.txt cannot be fetched: HTTP 404; see ingest\.source"):
        source(server, name="nowhere").pin()


def test_nobody_listening_is_one_sentence():
    nobody = HttpSource(url="http://127.0.0.1:9/", limit=1, sampling_hz=100, effort=EFFORT)
    with pytest.raises(InputError, match=rf"could not be fetched in {TRIES} tries \(ConnectError"):
        nobody.pin()


def test_a_server_nobody_vouches_for_is_refused(server, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(InputError, match=r"ConnectError.*certificate"):
        source(server).pin()


def test_a_password_in_an_address_is_never_shown(server):
    secret = HttpSource(url=server.url.replace("//", "//me:pass@"), limit=1, sampling_hz=100, effort=EFFORT)
    assert "pass" not in secret.uri
    server.faults["SHA256SUMS.txt"] = ("503", 1000)
    with pytest.raises(InputError) as told:
        secret.pin()
    assert "pass" not in str(told.value)


# Any other folder


def test_a_folder_of_another_layout_is_fetched_whole_or_its_first_records(server, folder, state):
    shutil.rmtree(folder)
    folder.mkdir()
    for name in ("b.hea", "b.mat", "a.hea", "a.mat", "RECORDS"):
        (folder / name).write_text(name)
    _state_sums(folder)
    names = {path.name for path in fetch(source(server, limit=None), state).rglob("*") if path.is_file()}
    assert names == {"a.hea", "a.mat", "b.hea", "b.mat", "RECORDS", "SHA256SUMS.txt"}
    names = {path.name for path in fetch(source(server, limit=1), state).rglob("*") if path.is_file()}
    assert names == {"a.hea", "a.mat", "RECORDS", "SHA256SUMS.txt"}


# An archive


@pytest.fixture
def archive(published, folder, tmp_path):
    made = Path(shutil.make_archive(str(tmp_path / "made"), "tar", published.parent, "ptb-xl"))
    return made.rename(folder / "ptb-xl.tar")


def test_an_archive_is_fetched_in_parts_and_unpacked(server, archive, published, state):
    assert archive.stat().st_size > 5 * EFFORT.part_bytes
    unpacked = fetch(source(server, name="ptb-xl.tar"), state)
    assert (unpacked / "ptb-xl" / RECORD).read_bytes() == (published / RECORD).read_bytes()
    assert server.sent_bytes["ptb-xl.tar"] == archive.stat().st_size  # once for pin and fetch together


@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize("kind", ["503", "cut", "elsewhere"])
def test_an_archive_survives_a_bad_line(server, published, state, kind):
    server.faults["ptb-xl.tar"] = (kind, TRIES - 1)
    unpacked = fetch(source(server, name="ptb-xl.tar"), state)
    assert (unpacked / "ptb-xl" / RECORD).read_bytes() == (published / RECORD).read_bytes()


@pytest.mark.usefixtures("archive")
def test_a_server_without_ranges_or_versions_still_works(server, published, state):
    server.ranges = server.versions = False
    unpacked = fetch(source(server, name="ptb-xl.tar"), state)
    assert (unpacked / "ptb-xl" / RECORD).read_bytes() == (published / RECORD).read_bytes()


def test_an_archive_that_changes_between_pin_and_ingest_is_refused(server, archive, state):
    pinned = source(server, name="ptb-xl.tar").pin()
    shutil.make_archive(str(archive.with_suffix("")), "tar", archive.parent, "records100")
    with pytest.raises(InputError, match=r"source\.json pins .*ptb-xl\.tar .* run `vizecg source pin`"):
        fetch(source(server, name="ptb-xl.tar"), state, pinned)


@pytest.mark.usefixtures("state")
def test_an_archive_that_changes_while_it_is_fetched_is_refused(server, archive):
    one = source(server, name="ptb-xl.tar", effort=Effort(connections=1, part_bytes=20_000, tries=2, deadline_s=60))
    server.on_sent = lambda sent: os.utime(archive, (1, 1)) if sent > 50_000 else None  # within the third part
    with pytest.raises(InputError, match=r"ptb-xl\.tar changed while it was fetched; .*run `vizecg source pin`"):
        one.pin()


@pytest.mark.usefixtures("state")
def test_a_kill_costs_no_more_than_what_was_on_the_wire(server, archive):
    """`kill -9` in the middle, five times: what had arrived is not sent again."""
    server.pause_s = 0.002
    part_bytes = 256 * 1024
    script = (
        "import sys; from pathlib import Path\n"
        "from vizecg.sources.http import HttpSource; from vizecg.sources.transfer import Effort\n"
        f"effort = Effort(connections=1, part_bytes={part_bytes}, tries=3, deadline_s=60)\n"
        "print(HttpSource(url=sys.argv[1], limit=None, sampling_hz=100, effort=effort).pin().digest)\n"
    )
    command = [sys.executable, "-c", script, f"{server.url}/ptb-xl.tar"]
    size = archive.stat().st_size
    for kill in range(1, 6):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while server.sent_bytes["ptb-xl.tar"] < kill * size / 7:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        time.sleep(0.05)  # the server notices
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert server.sent_bytes["ptb-xl.tar"] - size <= 5 * part_bytes
    server.pause_s = 0
    assert done.stdout.strip() == source(server, name="ptb-xl.tar").pin().digest


# What params.yaml means


def test_params_name_physionet_and_how_hard_to_try():
    params = SourceParams(
        source=["physionet", "https://example.org/ptb-xl"],
        task="superdiagnostic",
        limit=9,
        sampling_hz=100,
        label_map=None,
        fetch={"connections": 2, "part_mb": 3, "tries": 4, "deadline_s": 5},
        s3={"endpoint_url": None, "region": None, "signed": False},
        simulated={"records": 1, "seed": 7},
    )
    first, second = sources_of(params)
    assert first.uri == "https://physionet.org/files/ptb-xl/1.0.3/"
    assert second.uri == "https://example.org/ptb-xl/"
    assert second.effort == Effort(connections=2, part_bytes=3 * 1024 * 1024, tries=4, deadline_s=5)
