"""Who may ask for what. A route says which scope it wants: `dependencies=[requires(Scope.PREDICT)]`."""

import ipaddress
import logging
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from serving.limits import RateLimit, refuse_too_many
from serving.metrics import Metrics
from serving.problems import ProblemError
from serving.schemas import AccessState
from serving.settings import ServingSettings
from vizecg import keys
from vizecg.errors import InputError
from vizecg.keys import ApiKey, KeyFile, Scope

log = logging.getLogger("vizecg.serving")

REALM: Final = 'Bearer realm="vizecg"'
_BEARER: Final = HTTPBearer(auto_error=False, description="an API key as `Authorization: Bearer KEY`")
_HEADER: Final = APIKeyHeader(name="X-API-Key", auto_error=False, description="an API key; `Authorization` goes first")


def refuse_open_doors(settings: ServingSettings) -> None:
    """Hold a service that others can reach to having keys.

    Raises:
        InputError: it listens beyond this machine and has no file of keys.
    """
    if settings.api_keys_file is None and not _is_loopback(settings.host):
        raise InputError(
            f"{settings.host} can be reached from other machines and there are no API keys: make one with "
            "`vizecg keys new --scope predict --file FILE` and name the file in VIZECG_API_KEYS_FILE, "
            "or listen on 127.0.0.1"
        )


class KeyRing:
    """The keys of a file, read again whenever the file is another."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()  # before reading, here as below: what is changed meanwhile is read again
        self._keys: KeyFile | None = keys.read(path)

    def current(self) -> KeyFile:
        """The keys as the file has them now.

        Raises:
            ProblemError: 503, the file cannot be read. The keys of before do not go on, for it
                may have been changed to shut one of them out.
        """
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._keys = self._read_again()
        if self._keys is None:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the service cannot read its API keys; its log says why")
        return self._keys

    def _read_again(self) -> KeyFile | None:
        try:
            read = keys.read(self._path)
        except InputError as error:
            log.error("nobody is let in: %s", error)
            return None
        log.info("read %d API keys again", len(read.keys))
        return read

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Access:
    """The door of one service.

    Raises:
        InputError: it would be open to other machines, or its file of keys cannot be read.
    """

    def __init__(self, settings: ServingSettings, *, metrics: Metrics) -> None:
        refuse_open_doors(settings)
        self._ring = None if settings.api_keys_file is None else KeyRing(settings.api_keys_file)
        self._metrics = metrics
        self._allowed = f"{settings.requests_per_minute:g} a minute, {settings.burst} at once"
        per_minute = settings.requests_per_minute or None
        self._rate = RateLimit(per_minute=per_minute, burst=settings.burst)

    @property
    def state(self) -> AccessState:
        """For `GET /ready`."""
        return "open on loopback" if self._ring is None else "API keys"

    def admit(self, secret: str | None, *, wanted: frozenset[Scope]) -> ApiKey | None:
        """Recognise a caller.

        Args:
            secret: what was sent as a key.
            wanted: scopes of which the key must have one.

        Returns:
            The key; None where everybody on this machine may ask.

        Raises:
            ProblemError: 401 no key that stands, 403 not for this, 429 too often.
        """
        if self._ring is None:
            return None
        key = self._recognised(secret, self._ring.current())
        if not wanted & set(key.scopes):
            self._metrics.refused.labels("scope").inc()
            raise _forbidden(key, wanted)
        self.spend(key, cost=1)
        return key

    def spend(self, key: ApiKey | None, *, cost: int) -> None:
        """Count requests of a key; a route that works on n pictures spends n - 1 more.

        Raises:
            ProblemError: 429.
        """
        if key is not None and (wait_s := self._rate.wait_s(key.id, cost=cost)):
            self._metrics.refused.labels("rate").inc()
            raise refuse_too_many(wait_s, allowed=self._allowed)

    def _recognised(self, secret: str | None, known: KeyFile) -> ApiKey:
        key = None if secret is None else known.holder_of(secret)
        state = "unknown" if key is None else key.state(datetime.now(UTC))
        if key is not None and state == "valid":
            return key
        self._metrics.refused.labels("key").inc()
        if secret is None:
            raise _unauthorized("this needs an API key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`", REALM)
        raise _unauthorized(f"the API key is {state}", f'{REALM}, error="invalid_token"')


class Requires:
    """One dependency, so that OpenAPI shows both ways to send a key."""

    def __init__(self, wanted: frozenset[Scope]) -> None:
        self.wanted = wanted

    async def let_in(self, request: Request) -> None:
        """Do by oneself what FastAPI does with a dependency; raises as `Access.admit`."""
        await self(request, bearer=await _BEARER(request), header=await _HEADER(request))

    async def __call__(
        self,
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        header: Annotated[str | None, Security(_HEADER)],
    ) -> None:
        """As FastAPI calls a dependency; raises as `Access.admit`."""
        access: Access = request.app.state.access
        request.state.key = access.admit(bearer.credentials if bearer else header, wanted=self.wanted)


def requires(*scopes: Scope) -> Any:  # noqa: ANN401 (what FastAPI's own Depends returns)
    """Let in only keys that have one of these scopes; for `dependencies` of a route or a router."""
    return Depends(Requires(frozenset(scopes)))


def key_of(request: Request) -> ApiKey | None:
    """Whose request it is; None where everybody on this machine may ask."""
    key: ApiKey | None = getattr(request.state, "key", None)
    return key


def _unauthorized(detail: str, challenge: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})


def _forbidden(key: ApiKey, wanted: frozenset[Scope]) -> ProblemError:
    names = sorted(wanted)
    return ProblemError(
        HTTPStatus.FORBIDDEN,
        f"the API key is not for this; it needs the scope {' or '.join(names)}",
        got=", ".join(key.scopes),
        allowed=" or ".join(names),
        headers={"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{" ".join(names)}"'},
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
