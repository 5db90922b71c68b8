"""`data/source.json`: the sources that were agreed on, each by a digest of what it holds."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from vizecg.errors import InputError
from vizecg.publish import to_json, write_atomically

PIN_SCHEMA_VERSION: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What a source holds: `objects` files, and one digest over all of it."""

    uri: str
    simulated: bool
    objects: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What was agreed on: each source, in their order, and the label map, when it is one of the user's own."""

    sources: tuple[Pin, ...]
    label_map_sha256: str | None


def write(path: Path, agreed: Agreed) -> None:
    """Write down what was agreed on."""
    write_atomically(path, pin_text(agreed))


def pin_text(agreed: Agreed) -> str:
    """What `write` writes; equal content is equal text."""
    return to_json({"schema_version": PIN_SCHEMA_VERSION, **asdict(agreed)})


def read_agreed(path: Path) -> Agreed:
    """Read what was agreed on.

    Raises:
        InputError: the file is missing or is not a pin of this version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["schema_version"]
        sources = tuple(Pin(**entry) for entry in content.get("sources", ()))
        agreed = Agreed(sources=sources, label_map_sha256=content.get("label_map_sha256"))
    except FileNotFoundError:
        raise InputError(f"{path} is not there: no source is pinned; run `vizecg source pin`") from None
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is not a pinned source; write it with `vizecg source pin`") from None
    if version != PIN_SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema_version {version}, expected {PIN_SCHEMA_VERSION}; write it with `vizecg source pin`"
        )
    return agreed


def digest_of_all(pins: Sequence[Pin]) -> str:
    """One name for the content of all sources: that of the only one, or a digest over theirs."""
    return pins[0].digest if len(pins) == 1 else digest_of([pin.digest for pin in pins])


def require(pinned: Pin, *, found: Pin) -> None:
    """Hold what a source gives against what was agreed on.

    Raises:
        InputError: they differ.
    """
    if pinned == found:
        return
    raise InputError(
        f"data/source.json pins {pinned.uri} (digest {pinned.digest[:12]}…), but ingest.source gives {found.uri} "
        f"(digest {found.digest[:12]}…); if that is meant, run `vizecg source pin`"
    )


def digest_of(content: Sequence[object]) -> str:
    """SHA-256 of anything JSON can write, in hex."""
    return hashlib.sha256(to_json(content).encode()).hexdigest()
