"""Who is champion: the ledger, the gates' verdict, and the alias that follows.

Tables for people are in `vizecg.promotion.tables`.
"""

from vizecg.promotion.evidence import gather_evidence
from vizecg.promotion.ledger import Entry, Ledger
from vizecg.promotion.moves import (
    NEWEST,
    AliasLook,
    Outcome,
    approve,
    being_moved,
    finish_interrupted,
    history,
    look_at_champion,
    nominate,
    promote,
    put_back,
    rollback,
    waiting,
)
from vizecg.promotion.versions import VersionSummary, list_versions

__all__ = [
    "NEWEST",
    "AliasLook",
    "Entry",
    "Ledger",
    "Outcome",
    "VersionSummary",
    "approve",
    "being_moved",
    "finish_interrupted",
    "gather_evidence",
    "history",
    "list_versions",
    "look_at_champion",
    "nominate",
    "promote",
    "put_back",
    "rollback",
    "waiting",
]
