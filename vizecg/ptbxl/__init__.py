"""Where records come from: any source ends as a folder in PTB-XL's own layout, read in one place."""

from vizecg.ptbxl.pin import Pin, read_pin
from vizecg.ptbxl.source import Source, source_of, write_pin

__all__ = ["Pin", "Source", "read_pin", "source_of", "write_pin"]
