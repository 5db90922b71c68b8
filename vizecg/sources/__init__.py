"""Where records come from: any source is pinned by what it holds, and ends as a folder to read."""

from vizecg.sources.params import SourceParams
from vizecg.sources.pin import Agreed, Pin, digest_of_all, pin_text, read_agreed
from vizecg.sources.source import Source, pin_now, require_agreed, sources_of, write_pin

__all__ = [
    "Agreed",
    "Pin",
    "Source",
    "SourceParams",
    "digest_of_all",
    "pin_now",
    "pin_text",
    "read_agreed",
    "require_agreed",
    "sources_of",
    "write_pin",
]
