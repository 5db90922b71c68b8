"""What lies in a bucket arrives as it lies there, with keys and without, and nobody learns the keys."""

import hashlib
import shutil

import pytest

from vizecg.errors import InputError
from vizecg.executors import InlineExecutor
from vizecg.records import read_record_set
from vizecg.simulate import write_database
from vizecg.sources import sources_of, write_pin
from vizecg.steps.ingest import Params, run

pytestmark = pytest.mark.servers

RECORD = "records100/00000/00001_lr.dat"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "ptb-xl"
    write_database(folder, records=5, seed=3, both_rates=False)
    return folder


@pytest.fixture
def bucket(s3_server, published, request):
    """A bucket of its own with the database below the prefix data/ptb-xl, and its address."""
    name = f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}"
    shutil.copytree(published, s3_server.bucket(name) / "data" / "ptb-xl")
    return f"s3://{name}/data/ptb-xl"


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("VIZECG_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)


@pytest.fixture
def keys(s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)


def params(source, server, *, signed=True, limit=None):
    return Params(
        source=source,
        task="superdiagnostic",
        limit=limit,
        sampling_hz=100,
        label_map=None,
        max_quarantined=0.1,
        workers=0,
        fetch={"connections": 3, "part_mb": 1, "tries": 2, "deadline_s": 60},
        s3={"endpoint_url": server.endpoint_url, "region": None, "signed": signed},
        simulated={"records": 1, "seed": 7},
    )


def ingest(chosen, tmp_path):
    write_pin(tmp_path / "source.json", chosen)
    run(chosen, source=tmp_path / "source.json", records=tmp_path / "records")
    return read_record_set(tmp_path / "records")


@pytest.mark.usefixtures("keys")
def test_a_prefix_of_a_bucket_is_ingested(bucket, s3_server, tmp_path):
    record_set = ingest(params(bucket, s3_server), tmp_path)
    assert record_set.table["ecg_id"].tolist() == [1, 2, 3, 4, 5]
    assert record_set.source["uri"] == f"{bucket}/"
    assert record_set.simulated


@pytest.mark.usefixtures("keys")
def test_only_the_records_that_are_wanted_are_fetched(bucket, s3_server, tmp_path):
    ingest(params(bucket, s3_server, limit=2), tmp_path)
    assert len(list((tmp_path / "state").rglob("*.dat"))) == 2


def test_an_open_bucket_needs_no_keys(open_s3_server, published, tmp_path):
    shutil.copytree(published, open_s3_server.bucket("open") / "ptb-xl" / "1.0.3")
    record_set = ingest(params("s3://open/ptb-xl/1.0.3/", open_s3_server, signed=False), tmp_path)
    assert len(record_set) == 5


@pytest.mark.usefixtures("keys")
def test_an_archive_in_a_bucket_is_unpacked(s3_server, published, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "ptb-xl"), "zip", published.parent, "ptb-xl")
    shutil.move(archive, s3_server.bucket("archives"))
    record_set = ingest(params("s3://archives/ptb-xl.zip", s3_server), tmp_path)
    assert len(record_set) == 5
    assert record_set.source["uri"] == "s3://archives/ptb-xl.zip"


@pytest.mark.usefixtures("keys")
def test_a_large_object_arrives_in_parts(s3_server, tmp_path):
    from vizecg.sources.s3 import S3Source
    from vizecg.sources.transfer import Effort, fetch_all

    content = bytes(range(256)) * 12_000  # three megabytes, of which no part is like another at its ends
    (s3_server.bucket("large") / "whole.bin").write_bytes(content)
    effort = Effort(connections=3, part_bytes=1_000_003, tries=2, deadline_s=60)
    source = S3Source.of("s3://large/", s3=params("x", s3_server).s3, limit=None, sampling_hz=100, effort=effort)
    remote = source._remote("")
    assert list(fetch_all([remote.state("whole.bin")], remote=remote, folder=tmp_path, effort=effort)) == [None]
    assert (tmp_path / "whole.bin").read_bytes() == content


@pytest.mark.usefixtures("keys")
def test_a_bucket_that_changed_since_it_was_pinned_is_refused(bucket, s3_server, tmp_path):
    chosen = params(bucket, s3_server)
    write_pin(tmp_path / "source.json", chosen)
    place = s3_server.store / bucket.removeprefix("s3://")
    with (place / "SHA256SUMS.txt").open("a") as opened:
        opened.write(f"{'0' * 64} new.dat\n")
    with pytest.raises(InputError, match=rf"source\.json pins {bucket}/ .* run `vizecg source pin`"):
        run(chosen, source=tmp_path / "source.json", records=tmp_path / "records")
    assert not (tmp_path / "records").exists()


@pytest.mark.usefixtures("keys")
def test_a_prefix_without_sums_is_known_by_its_listing(s3_server, tmp_path):
    place = s3_server.bucket("plain") / "scans"
    place.mkdir()
    for name in ("a.png", "labels.csv"):
        (place / name).write_text(name)
    (source,) = sources_of(params("s3://plain/scans", s3_server))
    pinned = source.pin()
    assert pinned.objects == 2
    folder = source.fetch(pinned, state_dir=tmp_path / "state", executor=InlineExecutor())
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a.png": "a.png", "labels.csv": "labels.csv"}
    (place / "a.png").write_text("A.png")
    with pytest.raises(InputError, match="run `vizecg source pin`"):
        source.fetch(pinned, state_dir=tmp_path / "state", executor=InlineExecutor())


@pytest.mark.usefixtures("keys")
def test_what_arrives_wrong_is_never_published(bucket, s3_server, tmp_path):
    chosen = params(bucket, s3_server)
    write_pin(tmp_path / "source.json", chosen)
    path = s3_server.store / bucket.removeprefix("s3://") / RECORD
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(
        InputError, match=r"00001_lr\.dat could not be fetched in 2 tries \(what arrived has another SHA"
    ):
        run(chosen, source=tmp_path / "source.json", records=tmp_path / "records")
    assert not list((tmp_path / "state").rglob("00001_lr.dat"))


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://nobody-has-this/ptb-xl", r"s3://nobody-has-this/ptb-xl/ cannot be fetched: there is no such bucket"),
        ("s3://nobody-has-this/x.zip", r"s3://nobody-has-this/x\.zip cannot be fetched: there is no such object or b"),
        ("s3:///ptb-xl", r"ingest\.source is 's3:///ptb-xl'; expected the form s3://bucket/prefix"),
        ("s3://me:secret@b/ptb-xl", r"ingest\.source is 'b/ptb-xl'; expected the form s3://bucket/prefix"),
    ],
)
def test_an_address_where_nothing_is_is_one_sentence(s3_server, address, message):
    with pytest.raises(InputError, match=message) as told:
        sources_of(params(address, s3_server))[0].pin()
    assert "secret@" not in str(told.value)


@pytest.mark.usefixtures("keys")
def test_a_prefix_where_nothing_is_is_one_sentence(bucket, s3_server):
    with pytest.raises(InputError, match=r"/nowhere/ holds nothing; see ingest\.source in params\.yaml"):
        sources_of(params(f"{bucket}/nowhere", s3_server))[0].pin()


def test_wrong_keys_are_one_sentence_without_them(bucket, s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(InputError, match=r"the secret key is not that of the access key \(HTTP 403\)") as told:
        sources_of(params(bucket, s3_server))[0].pin()
    assert "not-the-secret" not in str(told.value)


def test_no_keys_are_one_sentence(bucket, s3_server):
    with pytest.raises(
        InputError, match=r"wants signed requests \(ingest\.s3\.signed\), and there are no keys: set AW"
    ):
        sources_of(params(bucket, s3_server))[0].pin()


def test_a_closed_bucket_without_signing_is_one_sentence(bucket, s3_server):
    with pytest.raises(InputError, match=r"\(HTTP 40[03]\); see ingest\.s3\.signed, for it was asked without keys"):
        sources_of(params(bucket, s3_server, signed=False))[0].pin()


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://127.0.0.1:9", r"could not be fetched in 2 tries \(EndpointConnectionError\)"),
        ("no address", r"ingest\.s3\.endpoint_url is 'no address'"),
    ],
)
def test_a_store_that_is_not_there_is_one_sentence(s3_server, endpoint, message):
    chosen = params("s3://bucket/prefix", s3_server, signed=False)
    other = chosen.model_copy(update={"s3": chosen.s3.model_copy(update={"endpoint_url": endpoint})})
    with pytest.raises(InputError, match=message):
        sources_of(other)[0].pin()


@pytest.mark.usefixtures("keys")
def test_no_key_is_written_down(bucket, s3_server, tmp_path):
    ingest(params(bucket, s3_server), tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert s3_server.secret_access_key.encode() not in path.read_bytes()
