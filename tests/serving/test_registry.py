import os
import shutil
import subprocess
import sys
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import ClassVar

import pytest

from vizecg import registry as registries
from vizecg.alias_over_http import version_by_alias
from vizecg.errors import Conflict, InputError
from vizecg.publish import locked
from vizecg.registry import BrokenVersion, NoSuchVersion, Registry, RegistryUnavailable
from vizecg.settings import Settings

pytestmark = pytest.mark.servers


@pytest.fixture
def registry(following):
    return Registry(following)


@pytest.fixture(scope="module")
def version(mlflow_server, bundle):
    return mlflow_server.register(bundle)


def test_an_alias_is_resolved_to_a_version_that_stays(mlflow_server, registry, version, bundle, make):
    mlflow_server.promote(version)
    pinned = registry.resolve("champion")
    assert (pinned.name, pinned.version, pinned.alias) == ("vizecgnet", version, "champion")
    assert pinned.bundle_digest == make.digest(bundle)
    assert pinned.run_id
    assert registry.version(version).bundle_digest == pinned.bundle_digest


def test_the_copy_that_is_here_is_found_without_mlflows_client(following, registry, mlflow_server, version):
    mlflow_server.promote(version)
    registry.fetch(registry.resolve("champion"))
    program = (
        "import sys\n"
        "from serving.settings import ServingSettings\n"
        "from vizecg.registry import Registry\n"
        "registry = Registry(ServingSettings())\n"
        "pinned = registry.resolve('champion')\n"
        "assert (registry.fetch(pinned) / 'manifest.json').is_file()\n"
        "assert 'mlflow' not in sys.modules\n"
        "print(pinned)\n"
    )
    environment = {
        **os.environ,
        "VIZECG_STATE_DIR": str(following.state_dir),
        "VIZECG_TRACKING_URI": following.tracking_uri,
    }
    command = [sys.executable, "-c", program]
    asked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    by_client = registry._pin(registry._by_client("champion"), alias="champion")
    assert asked.stdout.strip() == str(by_client)


class Recorder(BaseHTTPRequestHandler):
    """Notes who asks, and sends them on."""

    elsewhere = ""
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self):
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(302)
        self.send_header("Location", self.elsewhere)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_password_is_sent_where_the_registry_is_and_not_where_it_points(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        Recorder.elsewhere = f"{address}/elsewhere"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert version_by_alias(address, name="vizecgnet", alias="champion") is None
        finally:
            server.shutdown()
            thread.join()
    ((path, authorization),) = Recorder.asked
    assert path == "/api/2.0/mlflow/registered-models/alias?name=vizecgnet&alias=champion"
    assert authorization == "Basic " + b64encode(b"alice:s3cret").decode()


@pytest.mark.parametrize(
    ("address", "setting"),
    [
        pytest.param("sqlite:///mlflow.db", None, id="database"),
        pytest.param("http://alice:s3cret@127.0.0.1:9", None, id="password-in-the-address"),
        pytest.param("http://127.0.0.1:9", None, id="nobody-there"),
        pytest.param(None, "MLFLOW_TRACKING_AWS_SIGV4", id="signed"),
        pytest.param(None, "MLFLOW_TRACKING_CLIENT_CERT_PATH", id="certificate"),
    ],
)
def test_what_is_not_ordinary_is_left_to_mlflows_client(mlflow_server, version, monkeypatch, address, setting):
    mlflow_server.promote(version)
    if setting is not None:
        monkeypatch.setenv(setting, "true")
    address = address or mlflow_server.settings.tracking_uri
    assert version_by_alias(address, name="vizecgnet", alias="champion") is None


def test_fetched_files_are_those_that_were_registered(registry, version, bundle):
    folder = registry.fetch(registry.version(version))
    names = {path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file()}
    assert {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} == names
    assert all((folder / name).read_bytes() == (bundle / name).read_bytes() for name in names)


def test_a_second_fetch_downloads_nothing(registry, version, monkeypatch):
    pinned = registry.version(version)
    first = registry.fetch(pinned)
    monkeypatch.setattr(Registry, "_download", lambda *_: pytest.fail("downloaded again"))
    assert registry.fetch(pinned) == first


def test_a_copy_damaged_on_this_machine_is_fetched_again(registry, version, bundle):
    pinned = registry.version(version)
    (registry.fetch(pinned) / "model.onnx").write_bytes(b"")
    assert (registry.fetch(pinned) / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()


def truncate(bundle):
    whole = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(whole[:-100])


@pytest.mark.parametrize(
    ("break_it", "digest", "sentence"),
    [
        pytest.param(truncate, None, r"is not usable: .*model\.onnx is damaged", id="truncated"),
        pytest.param(
            lambda bundle: (bundle / "model.onnx").unlink(),
            None,
            r"is not usable: its bundle lacks model\.onnx",
            id="missing",
        ),
        pytest.param(
            lambda bundle: (bundle / "manifest.json").unlink(),
            None,
            "is not usable: its bundle is not finished",
            id="no-manifest",
        ),
        pytest.param(
            lambda _: None, "0" * 64, "its files are bundle .*…, it was registered as 000000000000…", id="other-digest"
        ),
        pytest.param(lambda bundle: shutil.rmtree(bundle.parent), None, "are not at .*; register", id="gone"),
    ],
)
def test_files_that_are_not_what_was_registered_are_refused_and_not_kept(
    mlflow_server, registry, version, break_it, digest, sentence
):
    broken = mlflow_server.break_copy_of(version, break_it, digest=digest)
    with pytest.raises(BrokenVersion, match=rf"vizecgnet version {broken} .*{sentence}|{sentence}"):
        registry.fetch(registry.version(broken))
    assert not [path for path in registry._copies.iterdir() if path.is_dir()]


def test_a_version_without_a_digest_is_refused(mlflow_server, registry, version):
    client = mlflow_server.client
    source = client.get_model_version("vizecgnet", version)
    bare = client.create_model_version("vizecgnet", source.source, source.run_id)
    with pytest.raises(BrokenVersion, match=f"version {bare.version} has bundle_digest '', expected a SHA-256"):
        registry.version(bare.version)


@pytest.mark.usefixtures("version")
def test_what_the_registry_does_not_know_is_named(registry):
    with pytest.raises(
        NoSuchVersion, match=r"the registry at http://.* has no vizecgnet@nobody; promote a version first"
    ):
        registry.resolve("nobody")
    with pytest.raises(NoSuchVersion, match=r"has no vizecgnet version 99999; `vizecg models` lists what there is"):
        registry.version("99999")


@pytest.mark.usefixtures("mlflow_environment")
def test_a_dead_registry_is_one_sentence_within_seconds(tmp_path):
    dead = Registry(Settings(state_dir=tmp_path, tracking_uri="http://127.0.0.1:9"))
    began = time.monotonic()
    with pytest.raises(
        RegistryUnavailable, match=r"the model registry at http://127\.0\.0\.1:9 does not answer; start"
    ):
        dead.resolve("champion")
    assert time.monotonic() - began < 30


@pytest.mark.usefixtures("mlflow_environment")
def test_a_password_in_the_address_is_in_no_sentence(tmp_path):
    dead = Registry(Settings(state_dir=tmp_path, tracking_uri="http://alice:s3cret@127.0.0.1:9"))
    with pytest.raises(RegistryUnavailable, match=r"registry at http://\*\*\*@127\.0\.0\.1:9 does not") as caught:
        dead.resolve("champion")
    assert "s3cret" not in str(caught.value)


class StoreOfNoFiles(BaseHTTPRequestHandler):
    """An MLflow, or an S3, that answers each request alike."""

    status, content = 503, b""

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def store_that_says(monkeypatch):
    """Start one that answers so; `HOST:PORT`."""
    with HTTPServer(("127.0.0.1", 0), StoreOfNoFiles) as server, ThreadPoolExecutor(1) as pool:

        def start(status, content):
            monkeypatch.setattr(StoreOfNoFiles, "status", status)
            monkeypatch.setattr(StoreOfNoFiles, "content", content)
            return f"127.0.0.1:{server.server_port}"

        pool.submit(server.serve_forever)
        yield start
        server.shutdown()


@pytest.fixture
def files_at(registry, version, monkeypatch):
    """The version, as if its files lay in a store at `HOST:PORT`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def pin(scheme, store):
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://{store}")
        source = f"s3://bucket/{store}/files" if scheme == "s3" else f"{scheme}://{store}/files"
        return replace(registry.version(version), source=source)

    return pin


@pytest.mark.parametrize("scheme", ["mlflow-artifacts", "s3"])
@pytest.mark.parametrize("status", [None, 500, 503])
def test_a_store_that_is_away_says_nothing_about_files(registry, files_at, store_that_says, scheme, status):
    store = "127.0.0.1:9" if status is None else store_that_says(status, b"")
    with pytest.raises(RegistryUnavailable, match=r"cannot be had from '.*' now \(\w+\); see to the store"):
        registry.fetch(files_at(scheme, store))


@pytest.mark.parametrize(
    ("scheme", "status", "content"),
    [
        pytest.param("mlflow-artifacts", 404, b"", id="not-found"),
        pytest.param("mlflow-artifacts", 200, b'{"files": []}', id="nothing-listed"),
        pytest.param("s3", 404, b"<Error><Code>NoSuchBucket</Code><Message>-</Message></Error>", id="no-bucket"),
        pytest.param("s3", 200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>", id="no-keys"),
    ],
)
def test_files_that_a_store_does_not_have_are_gone(registry, files_at, store_that_says, scheme, status, content):
    with pytest.raises(BrokenVersion, match=r"the files of vizecgnet version \d+ are not at '.*/files'; register"):
        registry.fetch(files_at(scheme, store_that_says(status, content)))


def test_a_password_in_the_address_of_files_is_in_no_sentence(following, version):
    pinned = replace(Registry(following).version(version), source="mlflow-artifacts://alice:s3cret@127.0.0.1:9/files")
    with pytest.raises(
        RegistryUnavailable, match=r"cannot be had from .mlflow-artifacts://\*\*\*@127\.0\.0\.1:9/files' now"
    ) as caught:
        Registry(following).fetch(pinned)
    assert "s3cret" not in str(caught.value)


@pytest.mark.usefixtures("mlflow_environment")
def test_somebody_else_at_its_address_is_no_registry(service, tmp_path):
    with pytest.raises(InputError, match=r"the (model )?registry at http"):
        Registry(Settings(state_dir=tmp_path, tracking_uri=service)).resolve("champion")


def test_a_database_that_is_not_there_is_not_made_by_asking(tmp_path):
    settings = Settings(state_dir=tmp_path, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(RegistryUnavailable, match=r"there is no model registry yet: .*mlflow\.db is not there"):
        Registry(settings).resolve("champion")
    assert not list(tmp_path.iterdir())


def test_two_that_want_the_same_bundle_download_it_once(following, version, monkeypatch):
    downloads = []
    download = Registry._download

    def slowly(self, pinned, copy):
        downloads.append(pinned.version)
        time.sleep(0.3)
        download(self, pinned, copy)

    monkeypatch.setattr(Registry, "_download", slowly)
    pinned = Registry(following).version(version)
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(Registry(following).fetch(pinned))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert downloads == [version]
    assert len(set(folders)) == 1
    assert len(folders) == 3


def test_a_download_that_never_ends_is_not_waited_for_forever(following, version):
    registry = Registry(following, lock_timeout_s=0.2)
    pinned = registry.version(version)
    with (
        locked(following.cache_dir / "bundles" / pinned.bundle_digest),
        pytest.raises(Conflict, match=r"is being written by another run"),
    ):
        registry.fetch(pinned)


def test_three_copies_are_kept_and_the_one_to_start_from(following, version):
    registry = Registry(following)
    pinned = registry.version(version)
    copy = registry.fetch(pinned)
    registry.remember(pinned)
    others = [copy.with_name(str(at) * 64) for at in range(4)]
    for at, other in enumerate(others):
        shutil.copytree(copy, other)
        os.utime(other, (2e9 + at, 2e9 + at))  # newer than the one that is in service
    registry.fetch(pinned)
    kept = {path.name for path in copy.parent.iterdir() if path.is_dir()}
    assert kept == {copy.name, *(other.name for other in others[1:])}


def copies_in(settings, count):
    copies = [settings.cache_dir / "bundles" / (f"{at}" * 64) for at in range(count)]
    for at, copy in enumerate(copies):
        copy.mkdir(parents=True)
        os.utime(copy, (at, at))
    return copies


def test_a_copy_that_somebody_is_at_is_not_forgotten(tmp_path):
    settings = Settings(state_dir=tmp_path)
    copies = copies_in(settings, 6)
    with locked(copies[0]):
        Registry(settings)._forget_all_but_newest(keep=copies[5])
    assert [copy.is_dir() for copy in copies] == [True, False, False, True, True, True]


def test_copies_that_another_process_forgets_meanwhile_are_passed_over(tmp_path, monkeypatch):
    settings = Settings(state_dir=tmp_path)
    copies = copies_in(settings, 6)
    fullmatch, digests = registries._DIGEST.fullmatch, SimpleNamespace()

    def and_gone(name):
        shutil.rmtree(copies[1], ignore_errors=True)
        return fullmatch(name)

    digests.fullmatch = and_gone
    monkeypatch.setattr(registries, "_DIGEST", digests)
    Registry(settings)._forget_all_but_newest(keep=copies[5])
    assert [copy.is_dir() for copy in copies] == [False, False, False, True, True, True]
    assert not registries._holds(copies[1], copies[1].name)


def test_the_last_verified_copy_is_remembered_while_it_is_whole(following, version):
    registry = Registry(following)
    assert registry.last_verified("champion") is None
    pinned = registry.version(version)
    copy = registry.fetch(pinned)
    registry.remember(pinned)
    assert Registry(following).last_verified("champion") == (pinned, copy)
    (copy / "model.onnx").write_bytes(b"")
    assert Registry(following).last_verified("champion") is None
