"""Restoring a version: real git, DVC with a remote, and registry; what comes back is what it was made from."""

import shutil
from types import SimpleNamespace

import pytest
import yaml

from flows.promote import _origin, _registered
from vizecg import publish, restoring, tracking
from vizecg.errors import InputError
from vizecg.registry import NoSuchVersion
from vizecg.restoring import BUNDLE, restore
from vizecg.settings import Settings
from vizecg.tracking import ensure_registered

MANIFEST = str(BUNDLE / publish.MANIFEST_NAME)
MAKE = """\
place = pathlib.Path("made")
made.build_bundle(place, seed=epochs, goldens=params["register"]["goldens"])
for name, to in {"run": "models/run", "evaluation": "reports/evaluation", "bundle": "models/bundle"}.items():
    pathlib.Path(to).parent.mkdir(exist_ok=True)
    (place / name).rename(to)
"""
# Of the third version only the bundle is another: it is of the same training as the second.
MADE_WITH = [
    {"epochs": 4, "goldens": 1, "pin": "first"},
    {"epochs": 5, "goldens": 1, "pin": "second"},
    {"epochs": 5, "goldens": 2, "pin": "second"},
]

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow 3.17 under SQLAlchemy 2.1


@pytest.fixture(scope="module")
def made(empty_mlflow, one_stage, tmp_path_factory):
    """Versions of one pipeline, pushed to a remote, and the cache is gone."""
    place = tmp_path_factory.mktemp("restore")
    remote = place / "remote"
    checkout = one_stage(
        place / "repository", remote=str(remote), body=MAKE, helpers="serving", pin='{"of": "nothing"}\n'
    )
    repository, state = checkout.folder, checkout.folder / ".state"
    state.mkdir(exist_ok=True)
    shutil.copy(empty_mlflow, state / "mlflow.db")
    settings = Settings(
        state_dir=state,
        repository=str(repository),
        tracking_uri=f"sqlite:///{state}/mlflow.db",
        ledger_url=f"sqlite:///{state}/ledger.db",
    )
    versions = []
    for made_with in MADE_WITH:
        checkout.override(f"train.epochs={made_with['epochs']}", f"register.goldens={made_with['goldens']}")
        (repository / "data" / "source.json").write_text(f'{{"of": "{made_with["pin"]}"}}\n')
        checkout.dvc("repro", "-q")
        checkout.dvc("push", "-q")
        registered = _registered(repository, settings=settings)
        kept = {
            name: (repository / name).read_bytes() for name in ("params.yaml", "dvc.lock", "data/source.json", MANIFEST)
        }
        versions.append(SimpleNamespace(number=registered.version, run_id=registered.run_id, files=kept))
    assert versions[1].run_id == versions[2].run_id
    shutil.rmtree(repository / ".dvc" / "cache")
    return SimpleNamespace(settings=settings, checkout=checkout, remote=remote, versions=versions)


# The oldest, since what lies in the repository is of the newest; and of the two from one training the older one.
@pytest.mark.parametrize("which", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_version_comes_back_byte_for_byte_with_its_parameters_lock_and_pin(made, tmp_path, which):
    version = made.versions[which]
    done = restore(made.settings, version=version.number, to=tmp_path / "there")
    assert {name: (done.folder / name).read_bytes() for name in version.files} == version.files
    params = yaml.safe_load(version.files["params.yaml"])
    assert (params["train"]["epochs"], params["register"]["goldens"]) == (
        MADE_WITH[which]["epochs"], MADE_WITH[which]["goldens"]
    )  # fmt: skip
    assert list(map(str, done.checked)) == ["models/bundle", "models/run", "reports/evaluation"]
    assert not done.dirty
    # What was restored needs nothing to be run again.
    type(made.checkout)(folder=done.folder).dvc("status", "--quiet")


def test_a_version_whose_files_lie_where_those_of_before_do_comes_back_too(made, tmp_path):
    version = made.versions[0]
    artifacts = made.settings.artifact_root / version.run_id / "artifacts" / "pipeline"
    (own,) = artifacts.iterdir()
    before = [path.rename(artifacts / path.name) for path in list(own.iterdir())]
    own.rmdir()
    try:
        assert restore(made.settings, version=version.number, to=tmp_path / "there").folder.is_dir()
    finally:
        own.mkdir()
        for path in before:
            path.rename(own / path.name)


def refused(made, tmp_path, sentence, *, version=None, error=InputError):
    with pytest.raises(error, match=sentence):
        restore(made.settings, version=version or made.versions[0].number, to=tmp_path / "there")
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_a_version_that_there_is_not_is_one_sentence(made, tmp_path):
    refused(made, tmp_path, r"has no vizecgnet version 99; `vizecg models` lists", version="99", error=NoSuchVersion)


def test_a_folder_that_holds_something_is_not_touched(made, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is there already; name a folder that is not, with --to"):
        restore(made.settings, version=made.versions[0].number, to=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_remote_that_lacks_the_data_leaves_nothing_half_restored(made, tmp_path):
    shutil.rmtree(made.checkout.folder / ".dvc" / "cache", ignore_errors=True)  # from a restore before
    made.remote.rename(made.remote.with_name("elsewhere"))
    try:
        refused(made, tmp_path, r"^DVC's remote and this machine's cache lack data of the version, or cannot be read: ")
    finally:
        shutil.rmtree(made.remote, ignore_errors=True)
        made.remote.with_name("elsewhere").rename(made.remote)


def test_a_remote_that_is_silent_is_not_waited_for_for_ever(made, tmp_path, monkeypatch):
    monkeypatch.setattr(restoring, "DATA_TIMEOUT_S", 0.05)
    refused(made, tmp_path, r"^dvc pull in .* did not end within 0\.05 s and was stopped; see whether DVC's remote")


def test_a_lock_that_is_not_the_versions_is_refused(made, tmp_path):
    client = tracking.client(made.settings)
    client.set_model_version_tag("vizecgnet", made.versions[0].number, "dvc_lock", "0" * 64)
    try:
        refused(
            made, tmp_path, r"dvc\.lock of the run of version 1 has SHA-256 .* the version says 000000000000…: it is"
        )
    finally:
        lock = tmp_path / "dvc.lock"
        lock.write_bytes(made.versions[0].files["dvc.lock"])
        client.set_model_version_tag("vizecgnet", made.versions[0].number, "dvc_lock", publish.sha256_of(lock))


def test_a_version_that_was_registered_by_hand_says_what_is_missing(made, make_bundle, tmp_path):
    bundle = make_bundle("by-hand", seed=77)
    registered = ensure_registered(
        bundle, settings=made.settings, tags={"git_sha": _origin(made.checkout.folder)["git_sha"]}
    )
    shutil.rmtree(bundle)
    refused(
        made,
        tmp_path,
        r"does not hold params\.yaml and dvc\.lock: it was not registered by",
        version=registered.version,
    )
    other = make_bundle("without-commit", seed=78)
    number = ensure_registered(other, settings=made.settings).version
    shutil.rmtree(other)
    refused(made, tmp_path, r"does not say which commit it was made from", version=number)
