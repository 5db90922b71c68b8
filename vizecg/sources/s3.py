"""A prefix of an S3 bucket, or an archive in it: PhysioNet's open bucket, or a hospital's own store.

Keys come from where boto3 finds them (environment, profile, instance role), never
from params.yaml, and never get into a pin, a log or a message.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from vizecg.errors import InputError
from vizecg.settings import Settings
from vizecg.sources.archive import ARCHIVE_ENDINGS
from vizecg.sources.downloads import RemoteArchive, RemoteFolder, Selection
from vizecg.sources.params import S3Params
from vizecg.sources.pin import Pin
from vizecg.sources.transfer import Arriving, Effort, TryAgainError, Wanted

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

TIMEOUT_S: Final = 30.0
_CHUNK_BYTES: Final = 64 * 1024
_TRY_AGAIN: Final = frozenset(
    {"500", "502", "503", "504", "InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling"}
)
_CHANGED: Final = frozenset({"412", "PreconditionFailed"})
_MD5_HEX: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Source:
    """The first `limit` records (all, when None) below a prefix, or the archive of that key."""

    bucket: str
    key: str
    s3: S3Params
    limit: int | None
    sampling_hz: int
    effort: Effort

    @classmethod
    def of(cls, uri: str, *, s3: S3Params, limit: int | None, sampling_hz: int, effort: Effort) -> "S3Source":
        """Read an address of the form s3://bucket/prefix.

        Raises:
            InputError: it names no bucket.
        """
        parts = urlsplit(uri)
        if not parts.netloc or "@" in parts.netloc:
            shown = uri.rpartition("@")[2]  # what stands before it may be a key
            raise InputError(f"ingest.source is {shown!r}; expected the form s3://bucket/prefix")
        key = parts.path.lstrip("/")
        return cls(bucket=parts.netloc, key=key, s3=s3, limit=limit, sampling_hz=sampling_hz, effort=effort)

    @property
    def uri(self) -> str:
        """Bucket and prefix, the latter with a slash at its end, or bucket and key of an archive."""
        return f"s3://{self.bucket}/{self.key if self._is_archive else self._prefix}"

    @property
    def _is_archive(self) -> bool:
        return self.key.lower().endswith(ARCHIVE_ENDINGS)

    @property
    def _prefix(self) -> str:
        return f"{self.key.rstrip('/')}/" if self.key.strip("/") else ""

    def pin(self) -> Pin:
        """Its listing, or its list of sums, stands for a prefix; an archive is downloaded to be known."""
        if self._is_archive:
            return self._archive().pin(state_dir=Settings().state_dir)
        return self._folder().pin()

    def fetch(self, pinned: Pin, *, state_dir: Path, executor: Executor) -> Path:
        """Download what is not here yet."""
        if self._is_archive:
            return self._archive().download(pinned, state_dir=state_dir, executor=executor)
        return self._folder().download(pinned, state_dir=state_dir)

    def _folder(self) -> RemoteFolder:
        remote = self._remote(self._prefix)
        return RemoteFolder(
            uri=self.uri,
            remote=remote,
            effort=self.effort,
            selection=Selection(limit=self.limit, sampling_hz=self.sampling_hz),
            list_all=remote.listing,
        )

    def _archive(self) -> RemoteArchive:
        folder, _, name = self.key.rpartition("/")
        remote = self._remote(f"{folder}/" if folder else "")
        return RemoteArchive(
            uri=self.uri,
            remote=remote,
            effort=self.effort,
            sampling_hz=self.sampling_hz,
            state=lambda: remote.state(name),
        )

    def _remote(self, prefix: str) -> "S3Remote":
        client = _client(self.s3, connections=self.effort.connections)
        return S3Remote(bucket=self.bucket, prefix=prefix, signed=self.s3.signed, client=client)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Remote:
    """Objects of a bucket, by the part of their key behind the prefix."""

    bucket: str
    prefix: str
    signed: bool
    client: Any

    def address(self, name: str) -> str:
        """Bucket and key."""
        return f"s3://{self.bucket}/{self.prefix}{name}"

    def listing(self) -> dict[str, Wanted]:
        """Every object below the prefix, but the empty ones that stand for folders.

        Raises:
            TryAgainError: not now.
            InputError: the bucket cannot be listed, or nothing lies there.
        """
        with self._told(""):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
            entries = [entry for page in pages for entry in page.get("Contents", ())]
        found = [self._wanted(entry["Key"], size_bytes=entry["Size"], etag=entry["ETag"]) for entry in entries]
        listing = {wanted.name: wanted for wanted in found if wanted.name and not wanted.name.endswith("/")}
        if not listing:
            raise InputError(f"{self.address('')} holds nothing; see ingest.source in params.yaml")
        return listing

    def state(self, name: str) -> Wanted:
        """Size and version of one object.

        Raises:
            TryAgainError: not now.
            InputError: it cannot be had.
        """
        with self._told(name):
            head = self.client.head_object(Bucket=self.bucket, Key=self.prefix + name)
        return self._wanted(self.prefix + name, size_bytes=head["ContentLength"], etag=head["ETag"])

    @contextmanager
    def open(self, wanted: Wanted, *, start: int, stop: int | None) -> Iterator[Arriving]:
        """Read a range of an object, of the very version that was listed."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        asked = {"Bucket": self.bucket, "Key": self.prefix + wanted.name}
        if wanted.version is not None:
            asked["IfMatch"] = wanted.version
        if start or stop not in (None, wanted.size_bytes):
            asked["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        with self._told(wanted.name):
            reply = self.client.get_object(**asked)
            begins = start if "ContentRange" in reply else 0
            try:
                with closing(reply["Body"]) as body:
                    yield Arriving(start=begins, chunks=body.iter_chunks(_CHUNK_BYTES))
            except (HTTPClientError, IncompleteReadError, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
                    raise  # a full disk is not the network's fault
                raise TryAgainError(type(error).__name__) from None

    def _wanted(self, key: str, *, size_bytes: int, etag: str) -> Wanted:
        plain = etag.strip('"')
        # Of an object that was put in one piece the ETag is its MD5; of others it has a dash.
        md5 = plain if len(plain) == _MD5_HEX and all(digit in "0123456789abcdef" for digit in plain) else None
        return Wanted(name=key.removeprefix(self.prefix), size_bytes=size_bytes, md5=md5, version=etag)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Turn what boto3 raises into one sentence, or into another try."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectionError,
            HTTPClientError,
            NoCredentialsError,
        )

        where = self.address(name)
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if code in _TRY_AGAIN:
                raise TryAgainError(f"S3 says {code}") from None
            raise InputError(_sentence(where, code=code, signed=self.signed, error=error)) from None
        except NoCredentialsError:
            raise InputError(
                f"{where} wants signed requests (ingest.s3.signed), and there are no keys: "
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
            ) from None
        except (HTTPClientError, ConnectionError) as error:
            raise TryAgainError(type(error).__name__) from None
        except BotoCoreError as error:
            raise InputError(f"{where} cannot be asked for: {error}") from None


def _sentence(where: str, *, code: str, signed: bool, error: "ClientError") -> str:
    if code in _CHANGED:
        return f"{where} changed while it was fetched; if that is meant, run `vizecg source pin`"
    reasons = {
        "NoSuchBucket": "there is no such bucket",
        "NoSuchKey": "there is no such object",
        "404": "there is no such object or bucket",
        "403": "the store refuses it to these keys",
        "AccessDenied": "the store refuses it to these keys",
        "InvalidAccessKeyId": "the store does not know the access key",
        "SignatureDoesNotMatch": "the secret key is not that of the access key",
    }
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "unknown")
    asked = "ingest.s3" if signed else "ingest.s3.signed, for it was asked without keys"
    return f"{where} cannot be fetched: {reasons.get(code, f'S3 says {code}')} (HTTP {status}); see {asked}"


def _client(s3: S3Params, *, connections: int) -> Any:  # noqa: ANN401 (boto3 makes its classes at run time)
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        connect_timeout=TIMEOUT_S,
        read_timeout=TIMEOUT_S,
        max_pool_connections=2 * connections,
        retries={"total_max_attempts": 1},  # the transfer counts tries, and goes on where it was
        signature_version=None if s3.signed else UNSIGNED,
        # A store that is not Amazon's need not know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = s3.region or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        return boto3.session.Session().client("s3", endpoint_url=s3.endpoint_url, region_name=region, config=config)
    except ValueError as error:  # an address that is none
        raise InputError(f"ingest.s3.endpoint_url is {s3.endpoint_url!r}: {error}") from None
