"""API keys: who may ask the service for what. The file holds digests and never a key.

A key is 256 bits by chance, so its plain SHA-256 gives nothing to guess from: a
salt or a slow hash, as for passwords, would only slow every request down.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from vizecg.errors import InputError
from vizecg.publish import locked, write_atomically

PREFIX: Final = "vizecg_"
"""Every key begins with it, so that scanners for leaked secrets can find one."""
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4


class Scope(StrEnum):
    """What a key may be used for. None includes another."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    ADMIN = "admin"


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ApiKey(_Schema):
    """What is known of a key: enough to recognise it, too little to use it."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...] = Field(min_length=1)
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Whether it opens anything at a time."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "valid"


class KeyFile(_Schema):
    """All keys of a service. Revoked ones stay, for the audit trail names them."""

    schema_version: Literal[1] = 1
    keys: tuple[ApiKey, ...] = ()

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        for name in ("id", "sha256"):
            values = [getattr(key, name) for key in self.keys]
            if len(set(values)) != len(values):
                raise ValueError(f"two keys share one {name}")
        return self

    def holder_of(self, secret: str) -> ApiKey | None:
        """Recognise a key, in a time that does not depend on which it is or how much of it is right."""
        digest = digest_of(secret)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new key. `secret` is nowhere else: whoever loses it needs another."""

    id: str
    secret: str


def digest_of(secret: str) -> str:
    """SHA-256 of a key, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def read(path: Path) -> KeyFile:
    """Read a file of keys.

    Raises:
        InputError: it is not there or not one.
    """
    try:
        return KeyFile.model_validate_json(path.read_bytes())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            f"{path} cannot be read: {reason}; `vizecg keys new --scope predict --file {path}` makes it"
        ) from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "its content"
        # Not what was found there: somebody may have written the key itself.
        raise InputError(f"{path} is not a file of API keys: {where}: {fault['msg'].lower()}") from None


def issue(
    path: Path, *, scopes: Iterable[Scope], now: datetime, key_id: str | None = None, expires: datetime | None = None
) -> IssuedKey:
    """Make a key and add its digest to a file, which is made when it is not there.

    Args:
        path: the file.
        scopes: what the key is for, at least one.
        now: written down as the time it was made.
        key_id: its name in logs and audit lines; without one it gets eight hex digits.
        expires: when it ends.

    Raises:
        InputError: the file holds other things than keys, or knows the id already; the id or a scope is not allowed.
        Conflict: somebody else is changing the file.
    """
    with locked(path):
        known = read(path) if path.exists() else KeyFile()
        issued = IssuedKey(id=key_id or secrets.token_hex(_ID_BYTES), secret=PREFIX + secrets.token_urlsafe(_KEY_BYTES))
        if any(key.id == issued.id for key in known.keys):
            raise InputError(f"{path} has a key {issued.id!r} already; give the new one another --id")
        try:
            key = ApiKey(
                id=issued.id,
                sha256=digest_of(issued.secret),
                scopes=tuple(dict.fromkeys(scopes)),
                created=now,
                expires=expires,
            )
        except ValidationError as error:
            fault = error.errors()[0]
            raise InputError(f"the key's {fault['loc'][0]} is {fault['input']!r}: {fault['msg'].lower()}") from None
        _write(path, KeyFile(keys=(*known.keys, key)))
    return issued


def revoke(path: Path, key_id: str, *, now: datetime) -> None:
    """Let a key open nothing from now on; revoking it again changes nothing.

    Raises:
        InputError: the file is not one of keys, or has no such key.
        Conflict: somebody else is changing the file.
    """
    with locked(path):
        known = read(path)
        if all(key.id != key_id for key in known.keys):
            raise InputError(f"{path} has no key {key_id!r}; it has {[key.id for key in known.keys]}")
        keys = (
            key.model_copy(update={"revoked": now}) if key.id == key_id and key.revoked is None else key
            for key in known.keys
        )
        _write(path, KeyFile(keys=tuple(keys)))


def _write(path: Path, content: KeyFile) -> None:
    write_atomically(path, content.model_dump_json(indent=2, exclude_none=True) + "\n")
