"""The data that was last accepted, and whether new data are like it.

`data/baseline.json` holds the profile that a person accepted. A change is told only
when it is larger than chance between two sets of these sizes would make it, and
large enough to matter: small batches differ, and so do large ones, a little.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from vizecg.errors import InputError
from vizecg.publish import to_json, write_atomically
from vizecg.validation.limits import Limits
from vizecg.validation.profile import MEASURES, PROFILE_SCHEMA_VERSION, count_between
from vizecg.validation.tables import Tables

BASELINE_SCHEMA_VERSION: Final = 1
CONFIDENCE: Final = 0.99
"""Of every interval here: of some fifty quantities one in two runs would differ by chance alone at 95 %."""
_COMPARABLE: Final = ("schema_version", "task", "classes", "sampling_hz", "simulated")
_Z: Final = 2.5758
"""Of `CONFIDENCE`, two-sided, for a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A quantity then and now: as shares, or as how far a distribution has moved (then 0)."""

    quantity: str
    kind: str
    then: float
    now: float
    low: float | None
    high: float | None
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every quantity, or why nothing was compared."""

    changes: tuple[Change, ...]
    reason: str = ""
    accepted: Mapping[str, Any] | None = None

    def table(self) -> pd.DataFrame:
        """One row a quantity."""
        rows = [asdict(change) for change in self.changes]
        return pd.DataFrame(rows, columns=list(Change.__dataclass_fields__))


def read_baseline(path: Path) -> Mapping[str, Any] | None:
    """Read the accepted profile; None when none was accepted yet.

    Raises:
        InputError: the file is missing or is not a baseline of this version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, profile = content["schema_version"], content["profile"]
    except FileNotFoundError:
        raise InputError(
            f"{path} is not there; `vizecg baseline clear` writes one that compares with nothing"
        ) from None
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not a baseline; write it with `vizecg baseline accept`") from None
    if version != BASELINE_SCHEMA_VERSION or not (profile is None or isinstance(profile, dict)):
        raise InputError(f"{path} is not a baseline of this version; write it with `vizecg baseline accept`")
    return profile


def write_baseline(path: Path, profile: Mapping[str, Any] | None) -> None:
    """Accept a profile; None forgets the one before."""
    write_atomically(path, to_json({"schema_version": BASELINE_SCHEMA_VERSION, "profile": profile}))


def read_profile(path: Path) -> dict[str, Any]:
    """Read what validate wrote.

    Raises:
        InputError: it is missing, or no profile of this version.
    """
    try:
        profile = json.loads(path.read_text(encoding="utf-8"))
        version = profile["schema_version"]
    except FileNotFoundError:
        raise InputError(f"{path} is not there; `vizecg validate` writes it") from None
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not a profile; `vizecg validate` writes one") from None
    if version != PROFILE_SCHEMA_VERSION:
        raise InputError(f"{path} is a profile of version {version}, expected {PROFILE_SCHEMA_VERSION}")
    return dict(profile)


def compare(
    profile: Mapping[str, Any], *, accepted: Mapping[str, Any] | None, tables: Tables, limits: Limits
) -> Comparison:
    """Hold a data set against the one that was accepted."""
    if accepted is None:
        return Comparison(changes=(), reason="No data was accepted yet, so there is nothing to compare with.")
    if other := [name for name in _COMPARABLE if profile.get(name) != accepted.get(name)]:
        return Comparison(
            changes=(),
            accepted=accepted,
            reason=f"Nothing was compared: the data that was accepted is of another kind ({', '.join(other)} differ).",
        )
    shares = (
        _share(name, accepted["shares"][name], profile["shares"][name], least=limits.max_share_change)
        for name in profile["shares"]
        if name in accepted["shares"]
    )
    moved = (
        _moved(name, accepted["tenths"][name], tables=tables, most=limits.max_distribution_change)
        for name in MEASURES
        if accepted["tenths"].get(name, {}).get("counts") and profile["tenths"][name]["counts"]
    )
    return Comparison(changes=(*shares, *moved), accepted=accepted)


def _share(name: str, then: Sequence[int], now: Sequence[int], *, least: float) -> Change:
    """Compare two shares: told is what differs enough, and by more than chance."""
    (hits_then, all_then), (hits_now, all_now) = then, now
    if not all_then or not all_now:
        return Change(quantity=name, kind="share", then=0.0, now=0.0, low=None, high=None, changed=False)
    share_then, share_now = hits_then / all_then, hits_now / all_now
    low, high = difference_interval((hits_then, all_then), (hits_now, all_now))
    changed = (low > 0 or high < 0) and abs(share_now - share_then) >= least
    return Change(quantity=name, kind="share", then=share_then, now=share_now, low=low, high=high, changed=changed)


def difference_interval(then: Sequence[int], now: Sequence[int], *, z: float = _Z) -> tuple[float, float]:
    """Interval of the difference of two shares, now minus then (Newcombe, Statistics in Medicine 17, 1998, method 10).

    Args:
        then: how many, of how many.
        now: the same.
        z: quantile of the normal distribution for its confidence.
    """
    share_then, share_now = then[0] / then[1], now[0] / now[1]
    low_then, high_then = wilson(*then, z=z)
    low_now, high_now = wilson(*now, z=z)
    difference = share_now - share_then
    low = difference - math.hypot(share_now - low_now, high_then - share_then)
    high = difference + math.hypot(high_now - share_now, share_then - low_then)
    return low, high


def wilson(hits: int, total: int, *, z: float = _Z) -> tuple[float, float]:
    """Wilson's interval of a share."""
    share = hits / total
    middle = share + z**2 / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _moved(name: str, then: Mapping[str, Any], *, tables: Tables, most: float) -> Change:
    """Compare a distribution by the population stability index over the tenths it had.

    Two samples of one distribution give an index of about chi-square, 9 degrees of freedom,
    times (1/n + 1/m): what chance alone reaches at `CONFIDENCE` is the least that is told.
    """
    from scipy.stats import chi2

    table, plain = MEASURES[name]
    edges = np.asarray(then["edges"], dtype=np.float64)
    counts_then = np.asarray(then["counts"], dtype=np.float64)
    counts = count_between(tables[table][name], edges=edges)  # type: ignore[index]
    # Half a value in every part, so that an empty one does not make the index infinite.
    shares_then, shares = ((part + 0.5) / (part.sum() + 0.5 * len(part)) for part in (counts_then, counts))
    index = float(((shares - shares_then) * np.log(shares / shares_then)).sum())
    degrees = max(1, len(counts) - 1)
    chance = float(chi2.ppf(CONFIDENCE, degrees)) * (1 / counts.sum() + 1 / counts_then.sum())
    return Change(
        quantity=plain,
        kind="distribution",
        then=0.0,
        now=index,
        low=None,
        high=None,
        changed=index > max(most, chance),
    )
