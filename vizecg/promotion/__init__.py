"""Who is champion: the ledger, the gates' verdict, and the alias that follows.

Tables for people are in `vizecg.promotion.tables`.
"""

from vizecg.promotion.evidence import gather_evidence
from vizecg.promotion.ledger import Entry, Ledger
from vizecg.promotion.moves import (
    NEWEST,
    Outcome,
    finish_interrupted,
    history,
    nominate,
    promote,
    put_back,
    rollback,
)
from vizecg.promotion.versions import VersionSummary, list_versions

__all__ = [
    "NEWEST",
    "Entry",
    "Ledger",
    "Outcome",
    "VersionSummary",
    "finish_interrupted",
    "gather_evidence",
    "history",
    "list_versions",
    "nominate",
    "promote",
    "put_back",
    "rollback",
]
