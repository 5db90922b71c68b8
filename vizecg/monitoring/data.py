"""Whether there is data that no model has learned from yet: the sources are pinned anew, and nothing is changed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vizecg import tracking
from vizecg.errors import InputError
from vizecg.settings import Settings
from vizecg.sources import SourceParams, pin_now, pin_text
from vizecg.tracking import PIN_TAG


@dataclass(frozen=True, slots=True, kw_only=True)
class NewData:
    """What the sources hold now, against what was agreed on and what versions were made from."""

    result: Literal["as pinned", "already trained on", "new", "not known"]
    sentence: str
    pin: str | None = None
    """SHA-256 of the pin as `vizecg source pin` would write it now."""


def look_for_new_data(params: SourceParams, *, pin_file: Path, settings: Settings) -> NewData:
    """Pin the sources anew, without writing the pin.

    Args:
        params: which sources.
        pin_file: what was agreed on, `data/source.json`.
        settings: which registry knows what versions were made from.
    """
    try:
        agreed = pin_now(params)
        before = pin_file.read_bytes() if pin_file.is_file() else b""
    except InputError as error:
        return NewData(result="not known", sentence=f"the source cannot be pinned: {error}")
    text = pin_text(agreed)
    pin = hashlib.sha256(text.encode()).hexdigest()
    named = ", ".join(f"{entry.objects} objects of {entry.uri}" for entry in agreed.sources)
    if text.encode() == before:
        return NewData(result="as pinned", sentence=f"{named}: as pinned", pin=pin)
    if any(f"{PIN_TAG}{pin[:16]}" in (version.tags or {}) for version in tracking.all_versions(settings)):
        return NewData(result="already trained on", sentence=f"{named}: a version was made from it already", pin=pin)
    return NewData(
        result="new", sentence=f"{named}: not what {pin_file} pins, and no version was made from it", pin=pin
    )
