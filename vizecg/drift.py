"""Have two sets of pictures come from the same source? Numbers in, verdict out; no labels are needed.

Two questions of each measure. The population stability index compares how many of both sets lie in each of
some bins; it says how much has changed, and is never 0 for finite sets. So beside it stands what it would be
had both been dealt from one pile: the very distribution, for bins are cut from the pile and pictures dealt by
the hypergeometric law. The Kolmogorov-Smirnov distance sees a shift within a bin too. Both give a p-value, and
all of them together are corrected by Holm's method: of a hundred questions one is answered wrongly by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vizecg.config import Section

Floats = NDArray[np.float64]
Kind = Literal["picture", "ink", "probability"]
"""What a measure is about: how the page was pictured, how much is drawn on it, what the model says."""
Result = Literal["changed", "not changed", "not enough data"]

# Empty bins would make the index infinite.
_HALF: Final = 0.5
# Deals for each hypothesis and unit of alpha: enough that the smallest p-value survives Holm's correction.
_DEALS: Final = 5
_MOST_DEALS: Final = 200_000
_DEALS_AT_ONCE: Final = 20_000


class Params(Section):
    """Section `monitor` of params.yaml."""

    days: int = Field(ge=1, description="of the audit trail that are looked at, up to now")
    minimum_pictures: int = Field(ge=10, description="below it no measure is decided")
    bins: int = Field(ge=2, le=50, description="of the population stability index")
    psi_limit: float = Field(gt=0, description="how much of the index, beyond what chance gives, is a change")
    alpha: float = Field(gt=0, lt=0.5, description="chance that anything is called changed when nothing is")
    minimum_confirmed: int = Field(ge=10, description="confirmed diagnoses, below which nothing is scored")
    resamples: int = Field(ge=100, description="of the bootstrap over pictures")
    cool_down_days: int = Field(ge=0, description="before the same thing is told, or training is asked for, again")
    seed: int = Field(ge=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measure:
    """One number of every picture, then and now.

    Attributes:
        name: of the measure.
        kind: what it is about.
        reference: (pictures,); NaN where it was no number.
        window: the same of the pictures in question.
        categories: the numbers name categories: each is a bin of its own, and there is no order.
    """

    name: str
    kind: Kind
    reference: Floats
    window: Floats
    categories: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How far one measure has moved.

    Attributes:
        psi: population stability index; 0.1 to 0.25 is called moderate, more is large.
        psi_by_chance: its mean had both sets come from one source.
        psi_noticed: what it must exceed, before any correction, to be unlikely by chance: at smaller windows more.
        ks: largest distance of the two distribution functions; None of categories.
        p: smallest of the p-values of both questions, after Holm's correction over all measures.
        then: median of the reference.
        now: median of the window.
    """

    name: str
    kind: Kind
    result: Result
    reference: int
    window: int
    psi: float | None = None
    psi_by_chance: float | None = None
    psi_noticed: float | None = None
    ks: float | None = None
    p: float | None = None
    then: float | None = None
    now: float | None = None


def shifts_of(measures: Sequence[Measure], *, params: Params) -> tuple[Shift, ...]:
    """Ask of every measure whether it has moved; changed is what chance does not explain and what matters."""
    sizes = [(len(measure.reference), len(measure.window)) for measure in measures]
    enough = [min(pair) >= params.minimum_pictures for pair in sizes]
    asked = [measure for measure, some in zip(measures, enough, strict=True) if some]
    looks = [_look(measure, hypotheses=2 * len(asked), params=params) for measure in asked]
    corrected = holm([p for look in looks for p in (look.psi_p, look.ks_p)])
    smallest = iter([min(corrected[at], corrected[at + 1]) for at in range(0, len(corrected), 2)])
    found = iter(looks)
    shifts = []
    for measure, some, (reference, window) in zip(measures, enough, sizes, strict=True):
        named = {"name": measure.name, "kind": measure.kind, "reference": reference, "window": window}
        if some:
            shifts.append(_shift(next(found), p=next(smallest), params=params, named=named))
        else:
            shifts.append(Shift(result="not enough data", **named))  # type: ignore[arg-type]
    return tuple(shifts)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for how many were asked (Holm 1979): each then holds for all of them together."""
    order = np.argsort(p_values, kind="stable")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = largest
    return corrected


def psi(reference: NDArray[np.integer], window: NDArray[np.integer]) -> Floats:
    """Population stability index of counts in bins: (…, bins) twice -> (…,)."""
    shares = [(counts + _HALF) / (counts + _HALF).sum(axis=-1, keepdims=True) for counts in (reference, window)]
    return np.asarray(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum(axis=-1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    psi: float
    psi_by_chance: float
    psi_noticed: float
    psi_p: float
    ks: float | None
    ks_p: float
    then: float | None
    now: float | None


def _look(measure: Measure, *, hypotheses: int, params: Params) -> _Look:
    counts = _counts(measure, bins=params.bins)
    found = float(psi(*counts))
    dealt = _dealt(counts, deals=min(_MOST_DEALS, round(_DEALS * hypotheses / params.alpha)), seed=params.seed)
    # A deal that comes out the same but for rounding is as far from the pile as what was found.
    as_far = int((dealt >= found - 1e-12).sum())
    there = [side[~np.isnan(side)] for side in (measure.reference, measure.window)]
    ks, ks_p = (None, 1.0) if measure.categories or not all(map(len, there)) else _kolmogorov_smirnov(*there)
    medians = [None if measure.categories or not len(side) else float(np.median(side)) for side in there]
    return _Look(
        psi=found,
        psi_by_chance=float(dealt.mean()),
        psi_noticed=float(np.quantile(dealt, 1 - params.alpha)),
        psi_p=(1 + as_far) / (1 + len(dealt)),
        ks=ks,
        ks_p=ks_p,
        then=medians[0],
        now=medians[1],
    )


def _shift(look: _Look, *, p: float, params: Params, named: dict[str, object]) -> Shift:
    changed = p <= params.alpha and look.psi - look.psi_by_chance >= params.psi_limit
    return Shift(
        result="changed" if changed else "not changed",
        psi=look.psi,
        psi_by_chance=look.psi_by_chance,
        psi_noticed=look.psi_noticed,
        ks=look.ks,
        p=p,
        then=look.then,
        now=look.now,
        **named,  # type: ignore[arg-type]
    )


def _counts(measure: Measure, *, bins: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(bins,) of both sets; what is no number has a bin of its own. Cut from the pile, so that dealing keeps them."""
    pile = np.concatenate([measure.reference, measure.window])
    missing = np.isnan(pile)
    if measure.categories:
        _, places = np.unique(pile, return_inverse=True, equal_nan=True)
    else:
        there = pile[~missing]
        edges = np.unique(np.quantile(there, np.linspace(0, 1, bins + 1)[1:-1])) if len(there) else np.empty(0)
        places = np.where(missing, len(edges) + 1, np.searchsorted(edges, pile, side="right"))
    width = int(places.max()) + 1
    split = len(measure.reference)
    both = (np.bincount(part, minlength=width) for part in (places[:split], places[split:]))
    reference, window = both
    used = reference + window > 0
    return reference[used].astype(np.int64), window[used].astype(np.int64)


def _dealt(counts: tuple[NDArray[np.int64], NDArray[np.int64]], *, deals: int, seed: int) -> Floats:
    """The index of as many deals of the pile into sets of these sizes: (deals,)."""
    reference, window = counts
    pile, size = reference + window, int(window.sum())
    rng = np.random.default_rng([seed, size])
    parts = []
    for start in range(0, deals, _DEALS_AT_ONCE):
        drawn = rng.multivariate_hypergeometric(pile, size, size=min(_DEALS_AT_ONCE, deals - start), method="marginals")
        parts.append(psi(pile - drawn, drawn))
    return np.concatenate(parts)


def _kolmogorov_smirnov(reference: Floats, window: Floats) -> tuple[float, float]:
    from scipy.stats import ks_2samp

    # Ties, and the limit of many pictures, only make it slower to cry.
    found = ks_2samp(reference, window, method="asymp")
    return float(found.statistic), float(found.pvalue)
