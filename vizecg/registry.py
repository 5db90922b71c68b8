"""From an alias of the model registry to files that can be trusted.

MLflow hands out truncated artifacts without an error, calls a version READY
whose files do not exist, and keeps no history of an alias. So nothing is used
here before its manifest holds and the manifest's digest is the one that the
version was registered with.

Needs mlflow-skinny, and only when files are fetched or a registry answers in an
unusual way; an address of a database instead of a server needs the whole of mlflow.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from vizecg import publish
from vizecg.alias_over_http import AliasedVersion, version_by_alias
from vizecg.bundle import BUNDLE, SCHEMA_VERSION
from vizecg.errors import Conflict, InputError, Unavailable
from vizecg.settings import CHAMPION, MODEL_NAME, Settings, shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

DIGEST_TAG: Final = "bundle_digest"
GIT_SHA_TAG: Final = "git_sha"
# Inside a version's source, so that MLflow's own description can lie beside the bundle and not in it.
BUNDLE_FOLDER: Final = "bundle"
COPIES_KEPT: Final = 3
# MLflow's own are 120 s and 7 retries, which makes minutes of silence of a dead server.
QUICK_FAILURE: Final = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class NoSuchVersion(InputError):
    """The registry answers, and knows no such alias or version."""


class RegistryUnavailable(Unavailable):
    """The registry does not answer, or not as one."""


class BrokenVersion(InputError):
    """A registered version whose files are not what was registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedVersion:
    """One registered version, whatever its alias points at later."""

    name: str
    version: str
    source: str
    bundle_digest: str
    run_id: str | None
    alias: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, str | None]:
        """What an answer says of it, see `Predictor.known_as`."""
        return {
            "version": self.version,
            "alias": self.alias,
            "run_id": self.run_id,
            "git_sha": self.tags.get(GIT_SHA_TAG),
        }


_PINNED = TypeAdapter(PinnedVersion)


def fail_quickly() -> None:
    """Give MLflow's client time-outs of seconds, in this process; what the user has set stays.

    For whoever starts a program that talks to a registry, before it does.
    """
    for name, value in QUICK_FAILURE.items():
        os.environ.setdefault(name, value)


class Registry:
    """Versions of one registered model, and verified copies of them on this machine."""

    def __init__(self, settings: Settings, *, name: str = MODEL_NAME, lock_timeout_s: float = 120.0) -> None:
        self.name = name
        self.tracking_uri = settings.tracking_uri
        self._copies = settings.cache_dir / "bundles"
        self._lock_timeout_s = lock_timeout_s

    def resolve(self, alias: str) -> PinnedVersion:
        """Which version an alias means now.

        Raises:
            NoSuchVersion: the alias is not set.
            RegistryUnavailable: the registry does not answer.
            BrokenVersion: the version has no digest to check its files against.
        """
        found = version_by_alias(self.tracking_uri, name=self.name, alias=alias) or self._by_client(alias)
        return self._pin(found, alias=alias)

    def version(self, version: str) -> PinnedVersion:
        """Pin a version by its number; raises as `resolve` does."""
        client = self._client()
        with self._asking(f"{self.name} version {version}", mend="`vizecg models` lists what there is"):
            found = client.get_model_version(self.name, version)
        return self._pin(found, alias=None)

    def fetch(self, pinned: PinnedVersion) -> Path:
        """Bring a version's bundle to this machine, once, and verify it every time.

        Returns:
            A folder that is replaced as a whole or not at all; read what you need
            of it now, for only the newest few are kept.

        Raises:
            BrokenVersion: a file is missing, damaged, or belongs to another bundle.
            RegistryUnavailable: MLflow or the store of the files does not answer, or with a fault of its own.
        """
        copy = self._copies / pinned.bundle_digest
        with self._turn(copy):
            if not _holds(copy, pinned.bundle_digest):
                self._download(pinned, copy)
            os.utime(copy)
        self._forget_all_but_newest(keep=copy)
        return copy

    def remember(self, pinned: PinnedVersion) -> None:
        """Note that this version was fetched and works, for a day on which the registry is down."""
        publish.write_atomically(self._memory(pinned.alias or CHAMPION), publish.to_json(asdict(pinned)))

    def last_verified(self, alias: str) -> tuple[PinnedVersion, Path] | None:
        """The version last remembered under an alias, if its copy is still here and still whole."""
        pinned = self._remembered(self._memory(alias))
        if pinned is None:
            return None
        copy = self._copies / pinned.bundle_digest
        return (pinned, copy) if _holds(copy, pinned.bundle_digest) else None

    def _by_client(self, alias: str) -> "ModelVersion":
        client = self._client()
        with self._asking(f"{self.name}@{alias}", mend="promote a version first"):
            return client.get_model_version_by_alias(self.name, alias)

    def _client(self) -> "MlflowClient":
        database = self.tracking_uri.removeprefix("sqlite:///")
        if database != self.tracking_uri and not Path(database).is_file():  # asking would create it
            raise RegistryUnavailable(f"there is no model registry yet: {database} is not there; run `make demo` first")
        # 2 s of CPU, which `vizecg predict --bundle` and a service that has its files already do without.
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    @contextmanager
    def _asking(self, wanted: str, *, mend: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if error.error_code in _ABSENT:
                raise NoSuchVersion(f"the registry at {shown(self.tracking_uri)} has no {wanted}; {mend}") from None
            raise RegistryUnavailable(self._silence()) from error
        except OSError as error:
            raise RegistryUnavailable(self._silence()) from error

    def _silence(self) -> str:
        address = shown(self.tracking_uri)
        return f"the model registry at {address} does not answer; start it or set VIZECG_TRACKING_URI"

    def _pin(self, found: "ModelVersion | AliasedVersion", *, alias: str | None) -> PinnedVersion:
        tags = dict(found.tags or {})
        digest = tags.get(DIGEST_TAG, "")
        if not _DIGEST.fullmatch(digest):
            raise BrokenVersion(
                f"{found.name} version {found.version} has {DIGEST_TAG} {digest!r}, expected a SHA-256; "
                "register its bundle again"
            )
        return PinnedVersion(
            name=found.name,
            version=str(found.version),
            source=found.source or "",
            bundle_digest=digest,
            run_id=found.run_id or None,
            alias=alias,
            tags=tags,
        )

    def _download(self, pinned: PinnedVersion, copy: Path) -> None:
        part = copy.with_name(f".{copy.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            folder = self._download_into(part, pinned)
            try:
                got = publish.verify(folder, kind=BUNDLE, schema_version=SCHEMA_VERSION).digest
            except InputError as error:
                reason = str(error).replace(str(folder), "its bundle").split("; produce")[0]
                raise BrokenVersion(f"{pinned.name} version {pinned.version} is not usable: {reason}") from None
            if got != pinned.bundle_digest:
                raise BrokenVersion(
                    f"{pinned.name} version {pinned.version} is not usable: its files are bundle {got[:12]}…, "
                    f"it was registered as {pinned.bundle_digest[:12]}…"
                )
            shutil.rmtree(copy, ignore_errors=True)
            folder.rename(copy)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _download_into(self, part: Path, pinned: PinnedVersion) -> Path:
        from mlflow.artifacts import download_artifacts, list_artifacts

        part.mkdir(parents=True)
        try:
            # Listed first: a download says of files that are gone what it says of a store that is away.
            if not list_artifacts(artifact_uri=pinned.source, tracking_uri=self.tracking_uri):
                raise _gone(pinned)
            got = download_artifacts(
                artifact_uri=pinned.source,
                dst_path=str(part),
                tracking_uri=self.tracking_uri,
                registry_uri=self.tracking_uri,
            )
        except BrokenVersion:
            raise
        except Exception as error:  # every kind of store has a client of its own, and that one errors of its own
            if _says_absent(error):
                raise _gone(pinned) from error
            raise RegistryUnavailable(
                f"the files of {pinned.name} version {pinned.version} cannot be had from {shown(pinned.source)!r} now "
                f"({type(error).__name__}); see to the store, and to MLflow before it, then try again"
            ) from error
        inside = Path(got) / BUNDLE_FOLDER
        return inside if inside.is_dir() else Path(got)

    @contextmanager
    def _turn(self, copy: Path) -> Iterator[None]:
        """Wait while another process brings the same bundle."""
        self._copies.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + self._lock_timeout_s
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(publish.locked(copy))
                    break
                except Conflict:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
            yield

    def _forget_all_but_newest(self, *, keep: Path) -> None:
        """Keep three copies, and whatever a service may have to start from."""
        remembered = [self._remembered(memory) for memory in self._copies.glob("last-*.json")]
        needed = {keep.name, *(pinned.bundle_digest for pinned in remembered if pinned is not None)}
        copies = (folder for folder in self._copies.iterdir() if _DIGEST.fullmatch(folder.name))
        for folder in publish.newest_first(copies)[COPIES_KEPT:]:
            if folder.name not in needed:
                with suppress(Conflict), publish.locked(folder):  # somebody who fetches it holds its lock
                    shutil.rmtree(folder, ignore_errors=True)

    def _remembered(self, memory: Path) -> PinnedVersion | None:
        try:
            pinned = _PINNED.validate_json(memory.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return pinned if _DIGEST.fullmatch(pinned.bundle_digest) else None

    def _memory(self, alias: str) -> Path:
        return self._copies / f"last-{self.name}@{alias}.json"


def _holds(copy: Path, digest: str) -> bool:
    try:
        return publish.verify(copy, kind=BUNDLE, schema_version=SCHEMA_VERSION).digest == digest
    except (InputError, FileNotFoundError):  # another process may remove a copy while it is read
        return False


def _gone(pinned: PinnedVersion) -> BrokenVersion:
    """A version may name files that are gone: READY proves nothing about them."""
    return BrokenVersion(
        f"the files of {pinned.name} version {pinned.version} are not at {shown(pinned.source)!r}; "
        "register its bundle again or promote another version"
    )


def _says_absent(error: Exception) -> bool:
    """Whether a store answers that something is not there; no answer, and a fault of its own, say nothing of files."""
    answer = getattr(error, "response", None)  # of an error of requests
    return getattr(error, "error_code", None) in _ABSENT or getattr(answer, "status_code", None) == HTTPStatus.NOT_FOUND
