"""Where records come from: any source is pinned by what it holds, and ends as a folder to read."""

from vizecg.sources.params import SourceParams
from vizecg.sources.pin import Pin, digest_of_all, read_pins
from vizecg.sources.source import Source, sources_of, write_pin

__all__ = ["Pin", "Source", "SourceParams", "digest_of_all", "read_pins", "sources_of", "write_pin"]
