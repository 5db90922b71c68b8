"""Which records anybody may look at: those that everybody can download, and those of no patient at all."""

from collections.abc import Mapping
from typing import Any, Final

PTBXL_ADDRESSES: Final = ("https://physionet.org/files/ptb-xl/", "s3://physionet-open/ptb-xl/")


def is_ptbxl(uri: str) -> bool:
    """Whether a source is PTB-XL where it was published; of a copy in a folder nobody can tell."""
    return uri.startswith(PTBXL_ADDRESSES)


def public_sources(source: Mapping[str, Any]) -> frozenset[str]:
    """URIs of the sources of a record set whose records may be shown in a report that is handed round.

    Args:
        source: of a record set, see `records.RecordSet`; with `parts` when it joins several.
    """
    parts = source.get("parts") or (source,)
    return frozenset(part["uri"] for part in parts if part["simulated"] or is_ptbxl(part["uri"]))
