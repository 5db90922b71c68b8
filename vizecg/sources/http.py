"""A folder or an archive behind HTTP(S): PTB-XL as PhysioNet serves it, or any server with files.

HTTP cannot list, so a folder has a SHA256SUMS.txt that names every file.
"""

import email.utils
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import httpx

from vizecg.errors import InputError
from vizecg.settings import Settings
from vizecg.sources.archive import ARCHIVE_ENDINGS
from vizecg.sources.downloads import RemoteArchive, RemoteFolder, Selection
from vizecg.sources.pin import Pin
from vizecg.sources.transfer import Arriving, Effort, TryAgainError, Wanted

READ_TIMEOUT_S: Final = 30.0

_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSource:
    """The first `limit` records (all, when None) of a folder on a server, or an archive there."""

    url: str
    limit: int | None
    sampling_hz: int
    effort: Effort

    @property
    def uri(self) -> str:
        """The address without a name or password that it may carry; that of a folder ends with a slash."""
        parts = urlsplit(self.url)
        plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
        return plain if self._is_archive else plain.rstrip("/") + "/"

    @property
    def _is_archive(self) -> bool:
        return urlsplit(self.url).path.lower().endswith(ARCHIVE_ENDINGS)

    def pin(self) -> Pin:
        """Its list of sums stands for a folder; an archive is downloaded to be known."""
        with self._connected() as remote:
            if self._is_archive:
                return self._archive(remote).pin(state_dir=Settings().state_dir)
            return self._folder(remote).pin()

    def fetch(self, pinned: Pin, *, state_dir: Path, executor: Executor) -> Path:
        """Download what is not here yet."""
        with self._connected() as remote:
            if self._is_archive:
                return self._archive(remote).download(pinned, state_dir=state_dir, executor=executor)
            return self._folder(remote).download(pinned, state_dir=state_dir)

    def _folder(self, remote: "HttpRemote") -> RemoteFolder:
        selection = Selection(limit=self.limit, sampling_hz=self.sampling_hz)
        return RemoteFolder(uri=self.uri, remote=remote, effort=self.effort, selection=selection, list_all=None)

    def _archive(self, remote: "HttpRemote") -> RemoteArchive:
        name = unquote(urlsplit(self.url).path.rpartition("/")[2])
        return RemoteArchive(
            uri=self.uri,
            remote=remote,
            effort=self.effort,
            sampling_hz=self.sampling_hz,
            state=lambda: remote.state(name),
        )

    @contextmanager
    def _connected(self) -> Iterator["HttpRemote"]:
        base_url = self.url.rpartition("/")[0] + "/" if self._is_archive else self.url.rstrip("/") + "/"
        limits = httpx.Limits(max_connections=2 * self.effort.connections)
        headers = {"Accept-Encoding": "identity"}  # a range is one of the bytes as they lie there
        with httpx.Client(timeout=READ_TIMEOUT_S, limits=limits, headers=headers, follow_redirects=True) as client:
            yield HttpRemote(base_url=base_url, client=client)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRemote:
    """Files behind an address, by names relative to it."""

    base_url: str
    client: httpx.Client

    def address(self, name: str) -> str:
        """Its URL, without a name and password that it may carry."""
        parts = urlsplit(self.base_url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() + quote(name)

    def state(self, name: str) -> Wanted:
        """Ask for the size and version of a file.

        Raises:
            TryAgainError: not now.
            InputError: it cannot be had, or the server states no size.
        """
        with self._told(name):
            reply = self.client.head(self.base_url + quote(name))
        self._check_status(reply, name=name)
        size = reply.headers.get("Content-Length", "")
        if not size.isdigit():
            raise InputError(f"{self.address(name)} states no size, so nobody could tell when it is whole")
        return Wanted(name=name, size_bytes=int(size), version=_version(reply))

    @contextmanager
    def open(self, wanted: Wanted, *, start: int, stop: int | None) -> Iterator[Arriving]:
        """Ask for a range; a server that knows none sends everything, from the beginning."""
        whole = start == 0 and stop in (None, wanted.size_bytes)
        headers = {} if whole else {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        with (
            self._told(wanted.name),
            self.client.stream("GET", self.base_url + quote(wanted.name), headers=headers) as reply,
        ):
            yield self._arriving(reply, wanted=wanted, start=start)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Turn what httpx raises into another try, or into one sentence."""
        try:
            yield
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise TryAgainError(f"{type(error).__name__}: {error}".rstrip(": ")) from None
        except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise InputError(
                f"{self.address(name)} cannot be fetched: {error}; see ingest.source in params.yaml"
            ) from None

    def _check_status(self, reply: httpx.Response, *, name: str) -> None:
        if reply.status_code in _TRY_AGAIN:
            asked_s = _asked_wait_s(reply.headers.get("Retry-After", ""))
            raise TryAgainError(f"HTTP {reply.status_code}", wait_s=asked_s)
        if reply.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise InputError(
                f"{self.address(name)} cannot be fetched: HTTP {reply.status_code}; see ingest.source in params.yaml"
            )

    def _arriving(self, reply: httpx.Response, *, wanted: Wanted, start: int) -> Arriving:
        code = reply.status_code
        if code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and wanted.size_bytes is None:
            # Of a file without a stated size everything had arrived: its sum decides.
            return Arriving(start=start, chunks=())
        self._check_status(reply, name=wanted.name)
        if wanted.version is not None and _version(reply) != wanted.version:
            raise InputError(
                f"{self.address(wanted.name)} changed while it was fetched; if that is meant, run `vizecg source pin`"
            )
        if code == httpx.codes.OK:
            return Arriving(start=0, chunks=reply.iter_bytes())
        begins = reply.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if begins != str(start):
            raise TryAgainError(f"the server sent the bytes from {begins or 'nowhere'} instead of those from {start}")
        return Arriving(start=start, chunks=reply.iter_bytes())


def _version(reply: httpx.Response) -> str | None:
    """What names the content: a strong ETag, else the moment of its last change."""
    etag = str(reply.headers.get("ETag", ""))
    if etag and not etag.startswith("W/"):
        return etag
    changed: str | None = reply.headers.get("Last-Modified")
    return changed


def _asked_wait_s(value: str) -> float | None:
    """Read Retry-After: seconds, or a date (RFC 9110, 10.2.3)."""
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
