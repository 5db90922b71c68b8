"""Gates about parts of the pages, groups of patients and cameras: certainly worse for nobody."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vizecg.bootstrap import paired_auroc_difference
from vizecg.gates.evidence import Evidence, Floats, probabilities_of
from vizecg.gates.params import Params
from vizecg.gates.verdict import LOST, MOST_NAMED, Result, Row, versus

LEAST_OF_EITHER_KIND: Final = 10
"""Positive, and negative, records of a class in a group or through a camera, for it to be in the mean there."""


def gates_of_groups(evidence: Evidence, *, params: Params) -> Iterator[Row]:
    """Certainly worse than the champion for nobody: for each sex, age band, device and site with enough records."""
    champion, challenger = evidence.champion, evidence.challenger
    comparable = champion is not None and champion.probabilities is not None and challenger.answers_as(champion)
    for kind, values in evidence.groups.items():
        if not comparable:
            sentence = "there is no champion to compare with on the same pages"
            yield Row(gate=versus(f"AUROC by {kind}"), result="not applicable", sentence=sentence)
            continue
        large = {value for value, chosen in values.items() if int(chosen.sum()) >= params.group_minimum_records}
        for value in sorted(large):
            at = np.flatnonzero(values[value])
            yield _certainly_worse(
                versus(f"AUROC, {kind} {value}"),
                evidence.labels[at],
                ours=probabilities_of(challenger)[at],
                theirs=probabilities_of(champion)[at] if champion is not None else None,
                patient_ids=evidence.patient_ids[at],
                codes=challenger.classes,
                margin=params.group_auroc_margin,
                minimum=params.group_minimum_records,
                asked=len(large),
                params=params,
            )
        if small := sorted(values.keys() - large):
            named = ", ".join(small[:MOST_NAMED]) + (" and others" if len(small) > MOST_NAMED else "")
            yield Row(
                gate=versus(f"AUROC, {kind}: {len(small)} small"),
                result="not enough data",
                limit=-params.group_auroc_margin,
                records=int(sum(values[value].sum() for value in small)),
                sentence=f"{named}: fewer than {params.group_minimum_records} records each",
            )


def gates_of_cameras(evidence: Evidence, *, params: Params) -> Iterator[Row]:
    """Through each camera certainly not worse than the champion, and not certainly far from its own clean pages."""
    champion, challenger = evidence.champion, evidence.challenger
    comparable = champion is not None and challenger.answers_as(champion)
    for pages in evidence.cameras:
        how: dict[str, Any] = {
            "patient_ids": evidence.patient_ids[pages.at],
            "codes": challenger.classes,
            "minimum": params.minimum_records,
            "asked": len(evidence.cameras),
            "params": params,
        }
        labels, clean = evidence.labels[pages.at], probabilities_of(challenger)[pages.at]
        loss = params.camera_auroc_loss
        yield _certainly_worse(f"{LOST}{pages.camera}", labels, ours=pages.challenger, theirs=clean, margin=loss, **how)
        theirs = pages.champion if comparable else None
        margin = params.camera_auroc_margin
        gate = versus(f"AUROC by {pages.camera}")
        yield _certainly_worse(gate, labels, ours=pages.challenger, theirs=theirs, margin=margin, **how)


def _certainly_worse(
    gate: str,
    labels: NDArray[np.bool_],
    *,
    ours: Floats,
    theirs: Floats | None,
    patient_ids: NDArray[np.int64],
    codes: Sequence[str],
    margin: float,
    minimum: int,
    asked: int,
    params: Params,
) -> Row:
    """Refuse only what is sure: of many small parts one always looks worse, and none can prove that it is not.

    The interval is widened for how many parts of this kind were asked about (Bonferroni).
    """
    records, limit = len(labels), -margin
    if theirs is None:
        sentence = "there is no champion to compare with on the same pages"
        return Row(gate=gate, result="not applicable", limit=limit, records=records, sentence=sentence)
    scored = [
        at for at, column in enumerate(labels.T) if min(int(column.sum()), int((~column).sum())) >= LEAST_OF_EITHER_KIND
    ]
    if records < minimum or not scored:
        sentence = f"no class has {LEAST_OF_EITHER_KIND} positive and {LEAST_OF_EITHER_KIND} negative records"
        if records < minimum:
            sentence = f"{records} records, at least {minimum} are needed"
        return Row(gate=gate, result="not enough data", limit=limit, records=records, sentence=sentence)
    paired = paired_auroc_difference(
        labels[:, scored],
        challenger=ours[:, scored],
        champion=theirs[:, scored],
        patient_ids=patient_ids,
        codes=[codes[at] for at in scored],
        resamples=params.resamples,
        seed=params.seed,
        confidence=1 - 0.05 / asked,
    )
    if paired.high is None or paired.difference is None:
        sentence = "too few resamples hold positives and negatives"
        return Row(gate=gate, result="not enough data", limit=limit, records=records, sentence=sentence)
    holds = paired.high > limit
    sentence = (
        f"over {', '.join(paired.classes[:MOST_NAMED])} {paired.challenger:.3f} against {paired.champion:.3f}: the "
        f"difference of {paired.difference:+.3f} is {'at best' if not holds else 'perhaps'} {paired.high:+.3f}, "
        f"{'not certainly' if holds else 'certainly'} more than {margin:.3f} worse"
    )
    result: Result = "pass" if holds else "fail"
    return Row(gate=gate, result=result, value=paired.high, limit=limit, records=records, sentence=sentence)
