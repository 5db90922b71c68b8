"""MLflow as a view: runs and versions are made from files, and can be made again from them.

The files of a training and of its evaluation are the truth. So a run is found by
their digests or built from them, a version by the digest of its bundle, and an
MLflow that was wiped, or was down when the training ran, ends with the same record.
Nothing here pickles.
"""

from vizecg.tracking.comparisons import ensure_comparison
from vizecg.tracking.connection import TrackingUnavailable, client
from vizecg.tracking.live import live_run
from vizecg.tracking.runs import attach, ensure_run, tag_run
from vizecg.tracking.versions import (
    PIN_TAG,
    BrokenUpload,
    RegisteredVersion,
    aliased,
    all_aliases,
    all_versions,
    drop_alias,
    ensure_registered,
    find_version,
    set_alias,
)

__all__ = [
    "PIN_TAG",
    "BrokenUpload",
    "RegisteredVersion",
    "TrackingUnavailable",
    "aliased",
    "all_aliases",
    "all_versions",
    "attach",
    "client",
    "drop_alias",
    "ensure_comparison",
    "ensure_registered",
    "ensure_run",
    "find_version",
    "live_run",
    "set_alias",
    "tag_run",
]
