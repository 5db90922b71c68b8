"""Any source ends as the same folder; what is not what was agreed on is refused, and nothing lands outside."""

import gzip
import io
import json
import shutil
import tarfile
import zipfile
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from vizecg.errors import InputError
from vizecg.executors import InlineExecutor
from vizecg.ptbxl.layout import find_layout
from vizecg.simulate import write_database
from vizecg.sources import SourceParams, read_agreed, sources_of, write_pin
from vizecg.sources.archive import unpack


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


def params(source, *, seed=7, records=4):
    return SourceParams(
        source=str(source),
        task="superdiagnostic",
        limit=None,
        sampling_hz=100,
        label_map=None,
        fetch={"connections": 2, "part_mb": 1, "tries": 2, "deadline_s": 60},
        s3={"endpoint_url": None, "region": None, "signed": False},
        simulated={"records": records, "seed": seed},
    )


def source_of(chosen):
    (source,) = sources_of(chosen)
    return source


def read_pin(path):
    (pinned,) = read_agreed(path).sources
    return pinned


def fetch(source, state_dir):
    return source.fetch(source.pin(), state_dir=state_dir, executor=InlineExecutor())


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


# Archives and folders


@pytest.mark.parametrize("kind", ["tar", "gztar", "bztar", "xztar", "zip", "flat zip"])
def test_every_kind_of_archive_gives_the_folder_it_was_made_of(archives, folder, tmp_path, kind):
    unpacked = find_layout(fetch(source_of(params(archives[kind])), tmp_path), what="archive")
    expected = {name: content for name, content in files_of(folder).items() if "records500" not in name}
    assert {name: content for name, content in files_of(unpacked).items() if name != "manifest.json"} == expected


def test_an_archive_is_unpacked_once_and_again_when_a_bit_flips(archives, tmp_path):
    source = source_of(params(archives["zip"]))
    record = fetch(source, tmp_path) / "ptb-xl/records100/00000/00003_lr.dat"
    first = record.read_bytes()
    written_ns = record.stat().st_mtime_ns
    fetch(source, tmp_path)
    assert record.stat().st_mtime_ns == written_ns
    record.write_bytes(b"\0" + first[1:])
    fetch(source, tmp_path)
    assert record.read_bytes() == first


def test_a_folder_is_read_where_it_lies(folder, tmp_path):
    assert fetch(source_of(params(folder)), tmp_path) == folder
    assert fetch(source_of(params(folder.parent)), tmp_path) == folder.parent
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
    assert source_of(params(archives[kind])).fetch(read_pin(path), state_dir=tmp_path, executor=InlineExecutor())


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
        source.fetch(replace(source.pin(), simulated=False), state_dir=tmp_path, executor=InlineExecutor())


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
    monkeypatch.setattr("vizecg.sources.archive.MOST_UNPACKED_BYTES", 1000)
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


def _flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def _means_nothing(content, at):
    try:
        return gzip.decompress(_flipped(content, at)) == gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return False


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        *((kind, place) for kind in ("gztar", "bztar", "xztar", "zip") for place in (0.25, 0.5, 0.75)),
        *((kind, 1.0) for kind in ("gztar", "bztar", "xztar")),  # the end of a zip is its table of contents
    ],
)
def test_an_archive_with_a_flipped_bit_is_one_sentence(archives, tmp_path, kind, place):
    """Also in what compresses to itself, and in the checksum at the end of a gzip, which tarfile alone skips."""
    whole = archives[kind].read_bytes()
    at = min(int(len(whole) * place), len(whole) - 6 if kind == "gztar" else len(whole) - 30)
    # Before a block that is stored as it is, gzip fills a byte up with bits that mean nothing.
    while kind == "gztar" and _means_nothing(whole, at):
        at += 1
    broken = tmp_path / archives[kind].name
    broken.write_bytes(_flipped(whole, at))
    (tmp_path / "inside").mkdir()
    with pytest.raises(InputError, match=r"(cannot be unpacked .*; is it complete\?|holds .*)"):
        unpack(broken, into=tmp_path / "inside")


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
    assert json.loads(path.read_text()) == {
        "schema_version": 2,
        "sources": [asdict(pin) for pin in first],
        "label_map_sha256": None,
    }
    assert (read_pin(path),) == first == (source_of(params(folder)).pin(),)
    content = path.read_bytes()
    write_pin(path, params(folder))
    assert path.read_bytes() == content


def test_data_that_changed_since_it_was_pinned_is_refused(folder, tmp_path):
    changed = shutil.copytree(folder, tmp_path / "ptb-xl")
    pinned = source_of(params(changed)).pin()
    with (changed / "ptbxl_database.csv").open("a") as opened:
        opened.write("\n")
    with pytest.raises(InputError, match=r"source\.json pins .* if that is meant, run `vizecg source pin`"):
        source_of(params(changed)).fetch(pinned, state_dir=tmp_path, executor=InlineExecutor())


@pytest.mark.parametrize("other", [{"seed": 8}, {"records": 5}])
def test_other_simulated_records_are_another_source(tmp_path, other):
    pinned = source_of(params("simulated")).pin()
    with pytest.raises(InputError, match="run `vizecg source pin`"):
        source_of(params("simulated", **other)).fetch(pinned, state_dir=tmp_path, executor=InlineExecutor())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there: no source is pinned; run `vizecg source pin`"),
        ("hello", "is not a pinned source; write it with `vizecg source pin`"),
        ("[]", "is not a pinned source"),
        ('{"schema_version": 2, "sources": [{"uri": "x"}]}', "is not a pinned source"),
        ('{"schema_version": 1, "uri": "x"}', "has schema_version 1, expected 2; write it with `vizecg source pin`"),
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
    monkeypatch.setattr("vizecg.sources.simulated.LINE_EVERY_S", 0.0)
    fetch(source_of(params("simulated", records=2)), tmp_path)
    assert capsys.readouterr().err == "simulated records: 2 of 2 drawn\n"


def test_other_code_draws_again(tmp_path, monkeypatch):
    source = source_of(params("simulated", records=1))
    first = fetch(source, tmp_path)
    monkeypatch.setattr("vizecg.sources.simulated._simulator_code", lambda: "other")
    assert fetch(source, tmp_path) != first


# Folders that state no sums


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    (folder / "ward 3").mkdir(parents=True)
    (folder / "labels.csv").write_text("file,patient_id,labels\n")
    (folder / "ward 3" / "a.png").write_bytes(b"picture")
    return folder


def test_a_folder_without_sums_is_known_by_every_file_in_it(scans, tmp_path):
    pinned = source_of(params(scans)).pin()
    assert pinned.objects == 2
    (scans / "ward 3" / ".DS_Store").write_bytes(b"what a desktop leaves behind")
    assert source_of(params(scans)).fetch(pinned, state_dir=tmp_path, executor=InlineExecutor()) == scans
    (scans / "ward 3" / "a.png").write_bytes(b"Picture")
    with pytest.raises(InputError, match=r"pins folder:scans .* if that is meant, run `vizecg source pin`"):
        source_of(params(scans)).fetch(pinned, state_dir=tmp_path, executor=InlineExecutor())


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty is empty; see ingest\.source in params\.yaml"):
        source_of(params(tmp_path / "empty")).pin()
