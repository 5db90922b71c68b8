"""What is registered, in the words of whoever has to choose."""

from dataclasses import dataclass
from datetime import UTC, datetime

from vizecg import tracking
from vizecg.registry import DIGEST_TAG
from vizecg.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSummary:
    """One version of the registered model; what a version does not say is None."""

    version: str
    aliases: tuple[str, ...]
    macro_auroc: float | None
    macro_auroc_low: float | None
    macro_auroc_high: float | None
    data_source: str | None
    simulated: bool | None
    created_at: datetime
    bundle_digest: str | None
    run_id: str | None


def list_versions(settings: Settings) -> tuple[VersionSummary, ...]:
    """All versions, newest first; without a registry there are none.

    Raises:
        InputError: MLflow does not answer.
    """
    aliases = tracking.all_aliases(settings)
    summaries = []
    for found in tracking.all_versions(settings):
        tags, version = dict(found.tags or {}), str(found.version)
        scores = {
            name: float(tags[name]) if name in tags else None
            for name in ("macro_auroc", "macro_auroc_low", "macro_auroc_high")
        }
        summaries.append(
            VersionSummary(
                version=version,
                aliases=tuple(sorted(alias for alias, number in aliases.items() if number == version)),
                data_source=tags.get("data_source"),
                simulated=tags["simulated"] == "true" if "simulated" in tags else None,
                created_at=datetime.fromtimestamp((found.creation_timestamp or 0) / 1000, tz=UTC),
                bundle_digest=tags.get(DIGEST_TAG),
                run_id=found.run_id or None,
                **scores,
            )
        )
    return tuple(summaries)
