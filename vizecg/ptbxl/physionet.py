"""PTB-XL as PhysioNet serves it: one file at a time over HTTPS, each held against the published sums.

What has arrived whole stays, so a download that was cut off goes on where it
was. Any server with the same files at the same names will do.
"""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx

from vizecg.errors import InputError
from vizecg.executors import in_order
from vizecg.progress import tracked
from vizecg.ptbxl.layout import STATEMENTS_NAME, SUMS_NAME, TABLE_NAME, parse_sums, stays_inside
from vizecg.ptbxl.pin import Pin, digest_of, require
from vizecg.publish import locked, sha256_of

PHYSIONET_URL: Final = "https://physionet.org/files/ptb-xl/1.0.3/"
CONNECTIONS: Final = 8
TRIES: Final = 5
FIRST_WAIT_S: Final = 0.5
TIMEOUT_S: Final = 30.0

_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysioNetSource:
    """The first `limit` records by ecg_id (all, when None) from a server."""

    base_url: str
    limit: int | None
    sampling_hz: int
    first_wait_s: float = FIRST_WAIT_S
    simulated: bool = False

    @property
    def uri(self) -> str:
        """The address, always with a slash at its end."""
        return self.base_url.rstrip("/") + "/"

    def pin(self) -> Pin:
        """The published list of sums stands for the records."""
        with self._client() as client:
            return self._pin_of(self._get(client, SUMS_NAME, sha256=None))

    def fetch(self, pinned: Pin, *, state_dir: Path, workers: int) -> Path:  # noqa: ARG002 (the wire is the limit)
        """Download what is not here yet; without a network, when everything is."""
        folder = state_dir / "downloads" / pinned.digest[:16]
        with locked(folder), self._client() as client:
            folder.mkdir(parents=True, exist_ok=True)
            sums = self._fetch_sums(client, folder=folder, pinned=pinned)
            for name in (TABLE_NAME, STATEMENTS_NAME):
                self._fetch_file(name, client=client, folder=folder, sums=sums)
            names = self._record_files(folder, sums=sums)
            for _ in tracked(self._fetch_all(names, client, folder, sums), total=len(names), what="files"):
                pass
        return folder

    def _client(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=CONNECTIONS)
        return httpx.Client(timeout=TIMEOUT_S, limits=limits, follow_redirects=True)

    def _pin_of(self, sums_file: bytes) -> Pin:
        sums = self._parse(sums_file)
        ending = {100: "_lr.hea", 500: "_hr.hea"}[self.sampling_hz]
        records = sum(name.endswith(ending) for name in sums)
        wanted = records if self.limit is None else min(self.limit, records)
        digest = digest_of([hashlib.sha256(sums_file).hexdigest(), self.limit])
        return Pin(uri=self.uri, simulated=False, objects=2 * wanted + 2, digest=digest)

    def _parse(self, sums_file: bytes) -> dict[str, str]:
        where = self.uri + SUMS_NAME
        try:
            return parse_sums(sums_file.decode(), where=where)
        except UnicodeDecodeError:
            raise InputError(f"{where} is not a list of sums; is the address that of PTB-XL's files?") from None

    def _fetch_sums(self, client: httpx.Client, *, folder: Path, pinned: Pin) -> dict[str, str]:
        kept = folder / SUMS_NAME
        if kept.is_file() and self._pin_of(kept.read_bytes()) == pinned:
            return self._parse(kept.read_bytes())
        content = self._get(client, SUMS_NAME, sha256=None)
        require(pinned, found=self._pin_of(content))
        _put(kept, content)
        return self._parse(content)

    def _record_files(self, folder: Path, *, sums: dict[str, str]) -> list[str]:
        from vizecg.ptbxl.table import read_table

        listed = read_table(folder, sums=sums, sampling_hz=self.sampling_hz, limit=self.limit)
        names = [f"{entry.name}{ending}" for entry in listed for ending in (".hea", ".dat")]
        if bad := [name for name in names if not stays_inside(name)]:
            raise InputError(f"{self.uri}{TABLE_NAME} names the file {bad[0]!r}, which leads out of the folder")
        if unlisted := [name for name in names if name not in sums]:
            raise InputError(f"{self.uri}{SUMS_NAME} does not list {unlisted[0]}, which {TABLE_NAME} names")
        return names

    def _fetch_all(self, names: list[str], client: httpx.Client, folder: Path, sums: dict[str, str]) -> Iterator[None]:
        work = partial(self._fetch_file, client=client, folder=folder, sums=sums)
        with ThreadPoolExecutor(CONNECTIONS) as executor:
            yield from in_order(executor, work, names, ahead=4 * CONNECTIONS)

    def _fetch_file(self, name: str, *, client: httpx.Client, folder: Path, sums: dict[str, str]) -> None:
        target = folder / name
        if name not in sums:
            raise InputError(f"{self.uri}{SUMS_NAME} does not list {name}, so it cannot be trusted")
        if target.is_file() and sha256_of(target) == sums[name]:
            return
        _put(target, self._get(client, name, sha256=sums[name]))

    def _get(self, client: httpx.Client, name: str, *, sha256: str | None) -> bytes:
        """Try a few times, each after twice the wait; what arrives wrong counts as not arrived."""
        url = self.uri + quote(name)
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(self.first_wait_s * 2 ** (attempt - 1))
            try:
                reply = client.get(url)
            except (httpx.TransportError, httpx.DecodingError) as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
                raise InputError(f"{url} cannot be fetched: {error}; see ingest.source in params.yaml") from None
            if reply.status_code in _TRY_AGAIN:
                problem = f"HTTP {reply.status_code}"
            elif reply.status_code != httpx.codes.OK:
                raise InputError(f"{url} cannot be fetched: HTTP {reply.status_code}; see ingest.source in params.yaml")
            elif sha256 is not None and hashlib.sha256(reply.content).hexdigest() != sha256:
                problem = f"what arrived is not what {SUMS_NAME} lists"
            else:
                return reply.content
        raise InputError(
            f"{url} could not be fetched in {TRIES} tries ({problem}); what has arrived is kept: run it again later"
        )


def _put(path: Path, content: bytes) -> None:
    """Write beside, then rename: a file that is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
