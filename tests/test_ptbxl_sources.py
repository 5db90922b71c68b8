"""Any source ends as the same folder; what is not what was agreed on is refused, and nothing lands outside."""

import http.server
import io
import json
import shutil
import tarfile
import threading
import time
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from vizecg.errors import InputError
from vizecg.ptbxl import read_pin, source_of, write_pin
from vizecg.ptbxl.archive import unpack
from vizecg.ptbxl.physionet import TRIES, PhysioNetSource
from vizecg.ptbxl.source import SourceParams
from vizecg.simulate import write_database


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "ptb-xl"
    write_database(folder, records=5, seed=3, both_rates=False)
    (folder / "records500").mkdir()
    (folder / "records500" / "unused.dat").write_bytes(b"x")
    return folder


@pytest.fixture(scope="session")
def archives(folder, tmp_path_factory):
    base = tmp_path_factory.mktemp("archives")
    made = {
        kind: Path(shutil.make_archive(str(base / "ptb-xl"), kind, folder.parent, "ptb-xl"))
        for kind in ("tar", "gztar", "bztar", "xztar", "zip")
    }
    flat = shutil.make_archive(str(base / "flat"), "zip", folder)
    return made | {"flat zip": Path(flat)}


def params(source, *, limit=None, seed=7, records=4):
    return SourceParams(source=str(source), limit=limit, sampling_hz=100, simulated={"records": records, "seed": seed})


def fetch(source, state_dir):
    return source.fetch(source.pin(), state_dir=state_dir, workers=1)


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


# Archives and folders


@pytest.mark.parametrize("kind", ["tar", "gztar", "bztar", "xztar", "zip", "flat zip"])
def test_every_kind_of_archive_gives_the_folder_it_was_made_of(archives, folder, tmp_path, kind):
    unpacked = fetch(source_of(params(archives[kind])), tmp_path)
    expected = {name: content for name, content in files_of(folder).items() if "records500" not in name}
    assert {name: content for name, content in files_of(unpacked).items() if name != "manifest.json"} == expected


def test_an_archive_is_unpacked_once_and_again_when_a_bit_flips(archives, tmp_path):
    source = source_of(params(archives["zip"]))
    record = fetch(source, tmp_path) / "records100/00000/00003_lr.dat"
    first = record.read_bytes()
    written_ns = record.stat().st_mtime_ns
    fetch(source, tmp_path)
    assert record.stat().st_mtime_ns == written_ns
    record.write_bytes(b"\0" + first[1:])
    fetch(source, tmp_path)
    assert record.read_bytes() == first


def test_a_folder_is_read_where_it_lies(folder, tmp_path):
    assert fetch(source_of(params(folder)), tmp_path) == folder
    assert fetch(source_of(params(folder.parent)), tmp_path) == folder
    assert not list(tmp_path.iterdir())


def test_a_folder_of_simulated_records_says_so(folder, tmp_path):
    assert source_of(params(folder)).pin().simulated
    real = shutil.copytree(folder, tmp_path / "real")
    (real / "LICENSE.txt").write_text("Creative Commons Attribution 4.0\n")
    assert not source_of(params(real)).pin().simulated


def test_simulated_records_one_folder_down_say_so(folder):
    assert source_of(params(folder.parent)).pin().simulated


@pytest.mark.parametrize("kind", ["tar", "gztar", "bztar", "xztar", "zip", "flat zip"])
def test_an_archive_of_simulated_records_says_so(archives, tmp_path, kind):
    path = tmp_path / "source.json"
    write_pin(path, params(archives[kind]))
    assert read_pin(path).simulated
    assert source_of(params(archives[kind])).fetch(read_pin(path), state_dir=tmp_path, workers=1)


@pytest.mark.parametrize("kind", ["xztar", "zip"])
@pytest.mark.parametrize("note", ["LICENSE.txt", "deeper/down/LICENSE.txt", "NOTES.txt"])
def test_only_the_note_beside_the_table_makes_an_archive_simulated(folder, tmp_path, kind, note):
    real = shutil.copytree(folder, tmp_path / "made" / "real")
    said = (real / "LICENSE.txt").read_bytes()
    (real / "LICENSE.txt").write_text("Creative Commons Attribution 4.0\n")
    if note != "LICENSE.txt":
        (real / note).parent.mkdir(parents=True, exist_ok=True)
        (real / note).write_bytes(said)
    archive = shutil.make_archive(str(tmp_path / "real"), kind, real.parent, "real")
    assert not source_of(params(archive)).pin().simulated


def test_a_pin_that_takes_simulated_records_for_real_is_refused(archives, tmp_path):
    source = source_of(params(archives["zip"]))
    with pytest.raises(InputError, match="run `vizecg source pin`"):
        source.fetch(replace(source.pin(), simulated=False), state_dir=tmp_path, workers=1)


def test_no_path_of_this_machine_is_pinned(folder, archives, tmp_path):
    for source in (folder, archives["zip"]):
        write_pin(tmp_path / "source.json", params(source))
        assert str(folder.parent) not in (tmp_path / "source.json").read_text()
        assert str(archives["zip"].parent) not in (tmp_path / "source.json").read_text()


def tar_with(path, *, name="ptb-xl/x.txt", kind=tarfile.REGTYPE, linkname=""):
    with tarfile.open(path, "w") as opened:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, linkname, 2 if kind == tarfile.REGTYPE else 0
        opened.addfile(member, io.BytesIO(b"hi"))
    return path


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "ptb-xl/../../evil.txt", "C:/evil.txt", "..\\evil.txt"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path, name, kind):
    archive = tmp_path / f"evil.{kind}"
    if kind == "tar":
        tar_with(archive, name=name)
    else:
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr(zipfile.ZipInfo(name), b"hi")
    (tmp_path / "inside").mkdir()
    with pytest.raises(InputError, match="a name that leads out of the folder; nothing was unpacked"):
        unpack(archive, into=tmp_path / "inside")
    assert [path for path in tmp_path.rglob("*") if path.name.endswith("evil.txt")] == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_an_archive_cannot_bring_links_or_devices(tmp_path, kind):
    archive = tar_with(tmp_path / "links.tar", kind=kind, linkname="/etc/passwd")
    with pytest.raises(InputError, match="a link or device; only plain files are unpacked"):
        unpack(archive, into=tmp_path)


def test_a_zip_cannot_bring_links(tmp_path):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as opened:
        opened.writestr(entry, "/etc/passwd")
    with pytest.raises(InputError, match="a link or device"):
        unpack(tmp_path / "links.zip", into=tmp_path)


def test_an_archive_that_unpacks_to_a_mountain_is_refused(tmp_path, monkeypatch, archives):
    monkeypatch.setattr("vizecg.ptbxl.archive.MOST_UNPACKED_BYTES", 1000)
    with pytest.raises(InputError, match="unpacks to more than"):
        unpack(archives["zip"], into=tmp_path)


@pytest.mark.parametrize("kind", ["gztar", "bztar", "xztar", "zip"])
def test_an_archive_cut_short_is_one_sentence_and_leaves_nothing(archives, tmp_path, kind):
    whole = archives[kind].read_bytes()
    broken = tmp_path / archives[kind].name
    broken.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match="is it complete\\?"):
        fetch(source_of(params(broken)), tmp_path / "state")
    assert not list((tmp_path / "state").rglob("*.dat"))


@pytest.mark.parametrize("kind", ["xztar", "zip"])  # these two carry sums that are checked as they are read
def test_an_archive_with_wrong_bytes_is_one_sentence(archives, tmp_path, kind):
    content = bytearray(archives[kind].read_bytes())
    content[len(content) // 2] ^= 0xFF
    broken = tmp_path / archives[kind].name
    broken.write_bytes(content)
    with pytest.raises(InputError, match=r"(cannot be unpacked .*; is it complete\?|holds .*)"):
        fetch(source_of(params(broken)), tmp_path / "state")


def test_an_archive_of_something_else_is_refused(tmp_path):
    tar_with(tmp_path / "other.tar")
    with pytest.raises(InputError, match=r"other\.tar holds no ptbxl_database\.csv at its top or one folder down"):
        fetch(source_of(params(tmp_path / "other.tar")), tmp_path / "state")


def test_a_missing_archive_is_named_with_what_is_allowed(tmp_path):
    with pytest.raises(
        InputError, match=r"ingest\.source is '.*gone\.tar' and there is no such folder or archive; all"
    ):
        source_of(params(tmp_path / "gone.tar"))


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(InputError, match=r"text\.zip is neither a tar nor a zip archive that can be read"):
        source_of(params(tmp_path / "text.zip"))


# The pin


def test_a_pin_is_found_again_and_the_same_each_time(folder, tmp_path):
    path = tmp_path / "source.json"
    first = write_pin(path, params(folder))
    assert json.loads(path.read_text()) == first
    assert read_pin(path) == source_of(params(folder)).pin()
    content = path.read_bytes()
    write_pin(path, params(folder))
    assert path.read_bytes() == content


def test_data_that_changed_since_it_was_pinned_is_refused(folder, tmp_path):
    changed = shutil.copytree(folder, tmp_path / "ptb-xl")
    pinned = source_of(params(changed)).pin()
    with (changed / "ptbxl_database.csv").open("a") as opened:
        opened.write("\n")
    with pytest.raises(InputError, match=r"source\.json pins .* if that is meant, run `vizecg source pin`"):
        source_of(params(changed)).fetch(pinned, state_dir=tmp_path, workers=1)


@pytest.mark.parametrize("other", [{"seed": 8}, {"records": 5}])
def test_other_simulated_records_are_another_source(tmp_path, other):
    pinned = source_of(params("simulated")).pin()
    with pytest.raises(InputError, match="run `vizecg source pin`"):
        source_of(params("simulated", **other)).fetch(pinned, state_dir=tmp_path, workers=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there: no source is pinned; run `vizecg source pin`"),
        ("hello", "is not a pinned source; write it with `vizecg source pin`"),
        ("[]", "is not a pinned source"),
        ('{"schema_version": 1, "uri": "x"}', "is not a pinned source"),
        (
            '{"schema_version": 9, "uri": "x", "simulated": true, "objects": 1, "digest": "d"}',
            "has schema_version 9, expected 1",
        ),
    ],
)
def test_a_pin_that_is_none_is_refused(tmp_path, content, message):
    path = tmp_path / "source.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_pin(path)


# Simulated records


def test_simulated_records_are_drawn_once(tmp_path):
    source = source_of(params("simulated", records=2))
    record = fetch(source, tmp_path) / "records100/00000/00002_lr.dat"
    written_ns = record.stat().st_mtime_ns
    assert fetch(source, tmp_path) == record.parents[2]
    assert record.stat().st_mtime_ns == written_ns
    assert source.pin().simulated


def test_drawing_says_how_far_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vizecg.ptbxl.source.LINE_EVERY_S", 0.0)
    fetch(source_of(params("simulated", records=2)), tmp_path)
    assert capsys.readouterr().err == "simulated records: 2 of 2 drawn\n"


def test_other_code_draws_again(tmp_path, monkeypatch):
    source = source_of(params("simulated", records=1))
    first = fetch(source, tmp_path)
    monkeypatch.setattr("vizecg.ptbxl.source._simulator_code", lambda: "other")
    assert fetch(source, tmp_path) != first


# PhysioNet, from a server that does what networks do


class Server:
    """A real HTTP server; `faults` maps a name to what goes wrong, and how often."""

    def __init__(self, folder):
        self.folder = folder
        self.asked = Counter()
        self.faults = {}
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self._httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._httpd.server_port}/files/ptb-xl/1.0.3"
        self._thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._httpd.shutdown()
        self._thread.join()
        self._httpd.server_close()

    def answer(self, request):
        name = request.path.removeprefix("/files/ptb-xl/1.0.3/")
        self.asked[name] += 1
        kind, times = self.faults.get(name, ("", 0))
        path = self.folder / name
        if kind == "status 503" and self.asked[name] <= times:
            request.send_error(503)
        elif not path.is_file():
            request.send_error(404)
        else:
            content = path.read_bytes()
            broken = self.asked[name] <= times
            request.send_response(200)
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            if broken and kind == "cut":
                request.wfile.write(content[: len(content) // 2])
                request.close_connection = True
            elif broken and kind == "lie":
                request.wfile.write(bytes(len(content)))
            else:
                request.wfile.write(content)


@pytest.fixture
def server(folder, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(folder) as running:
        yield running


def physionet(server, *, limit=2):
    return PhysioNetSource(base_url=server.url, limit=limit, sampling_hz=100, first_wait_s=0.001)


RECORD = "records100/00000/00001_lr.dat"


def test_the_first_records_are_downloaded_and_nothing_else(server, folder, tmp_path):
    source = physionet(server, limit=2)
    downloaded = fetch(source, tmp_path)
    assert sorted(path.name for path in downloaded.rglob("*_lr.*")) == [
        f"0000{number}_lr.{ending}" for number in (1, 2) for ending in ("dat", "hea")
    ]
    assert (downloaded / RECORD).read_bytes() == (folder / RECORD).read_bytes()
    assert source.pin().objects == 6
    assert source.uri.endswith("/1.0.3/")


@pytest.mark.parametrize("kind", ["status 503", "cut", "lie"])
def test_what_fails_now_and_then_is_tried_again(server, folder, tmp_path, kind):
    server.faults[RECORD] = (kind, TRIES - 1)
    downloaded = fetch(physionet(server), tmp_path)
    assert (downloaded / RECORD).read_bytes() == (folder / RECORD).read_bytes()
    assert server.asked[RECORD] == TRIES


@pytest.mark.parametrize(
    ("kind", "problem"),
    [("status 503", "HTTP 503"), ("cut", "RemoteProtocolError"), ("lie", r"is not what SHA256SUMS\.txt lists")],
)
def test_what_keeps_failing_is_one_sentence_and_is_never_kept(server, tmp_path, kind, problem):
    server.faults[RECORD] = (kind, 1000)
    with pytest.raises(InputError, match=rf"00001_lr\.dat could not be fetched in 5 tries \(.*{problem}.*run it again"):
        fetch(physionet(server), tmp_path)
    assert not list(tmp_path.rglob("00001_lr.dat"))


def test_a_download_goes_on_where_it_was(server, tmp_path):
    server.faults["records100/00000/00002_lr.dat"] = ("status 503", TRIES)
    with pytest.raises(InputError, match="what has arrived is kept"):
        fetch(physionet(server), tmp_path)
    kept = {path.name for path in tmp_path.rglob("*_lr.*")}
    server.asked.clear()
    server.faults.clear()
    fetch(physionet(server), tmp_path)
    assert {Path(name).name for name in server.asked}.isdisjoint(kept)
    assert {path.name for path in tmp_path.rglob("*_lr.*")} == {
        f"0000{number}_lr.{ending}" for number in (1, 2) for ending in ("dat", "hea")
    }


def test_everything_here_already_needs_no_server(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(folder) as running:
        source = physionet(running)
        pinned = source.pin()
        first = source.fetch(pinned, state_dir=tmp_path, workers=1)
    assert source.fetch(pinned, state_dir=tmp_path, workers=1) == first


def test_a_damaged_file_is_fetched_again(server, folder, tmp_path):
    kept = fetch(physionet(server), tmp_path) / RECORD
    kept.write_bytes(b"torn")
    fetch(physionet(server), tmp_path)
    assert kept.read_bytes() == (folder / RECORD).read_bytes()


def test_a_server_with_other_files_than_pinned_is_refused(server, tmp_path):
    pinned = physionet(server, limit=2).pin()
    with pytest.raises(InputError, match="run `vizecg source pin`"):
        physionet(server, limit=3).fetch(pinned, state_dir=tmp_path, workers=1)


def test_a_wrong_address_is_one_sentence(server, tmp_path):
    lost = PhysioNetSource(base_url=f"{server.url}/nowhere", limit=1, sampling_hz=100, first_wait_s=0.001)
    with pytest.raises(InputError, match=r"nowhere/SHA256SUMS\.txt cannot be fetched: HTTP 404; see ingest\.source"):
        lost.pin()
    assert not list(tmp_path.iterdir())


def test_nobody_listening_is_one_sentence(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    nobody = PhysioNetSource(base_url="http://127.0.0.1:9/", limit=1, sampling_hz=100, first_wait_s=0.001)
    with pytest.raises(InputError, match=r"could not be fetched in 5 tries \(ConnectError"):
        nobody.pin()


def test_physionet_is_short_for_its_address():
    assert source_of(params("physionet", limit=9)).uri == "https://physionet.org/files/ptb-xl/1.0.3/"
    assert source_of(params("https://example.org/ptb-xl", limit=9)).uri == "https://example.org/ptb-xl/"


def test_waits_between_tries_grow(server, monkeypatch):
    waits_s = []
    monkeypatch.setattr(time, "sleep", waits_s.append)
    server.faults["SHA256SUMS.txt"] = ("status 503", 3)
    PhysioNetSource(base_url=server.url, limit=1, sampling_hz=100, first_wait_s=0.5).pin()
    assert waits_s == [0.5, 1.0, 2.0]
