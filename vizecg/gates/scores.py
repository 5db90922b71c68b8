"""Gates about scores on all pages: floors, no worse than the champion, and better where it was asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vizecg.bootstrap import interval, mean_of_defined, paired_auroc_difference, patient_weights, resample_auroc
from vizecg.errors import InputError
from vizecg.gates.evidence import Evidence, Floats, probabilities_of
from vizecg.gates.params import MACRO_TARGET, Params
from vizecg.gates.verdict import MACRO_FLOOR, MOST_NAMED, Result, Row, versus
from vizecg.metrics import calibration_error


def gates_of_quality(evidence: Evidence, *, params: Params) -> Iterator[Row]:
    """Floors that hold whether there is a champion or not."""
    labels, said = evidence.labels, probabilities_of(evidence.challenger)
    records = len(labels)
    enough = records >= params.minimum_records
    covered = [code for code, column in zip(evidence.challenger.classes, labels.T, strict=True) if _scorable(column)]
    floor = params.macro_auroc_floor
    if not enough or not covered:
        sentence = _too_few(records, params=params) if covered else "no class has both positives and negatives"
        yield Row(gate=MACRO_FLOOR, result="not enough data", limit=floor, records=records, sentence=sentence)
    else:
        low = _macro_auroc_low(evidence, covered=covered, params=params)
        yield _floor(low, floor=floor, records=records)
    ceiling = params.calibration_error_ceiling
    if not enough:
        sentence = _too_few(records, params=params)
        yield Row(gate="calibration", result="not enough data", limit=ceiling, records=records, sentence=sentence)
        return
    error = expected_calibration_error(labels, said)
    holds = error <= ceiling
    sentence = f"expected calibration error {error:.3f} is {'within' if holds else 'above'} {ceiling:.3f}"
    result: Result = "pass" if holds else "fail"
    yield Row(gate="calibration", result=result, value=error, limit=ceiling, records=records, sentence=sentence)


def gates_of_comparison(evidence: Evidence, *, params: Params) -> Iterator[Row]:
    """No worse than the champion on the same pages: over all classes, then for each alone."""
    challenger, champion = evidence.challenger, evidence.champion
    classes = challenger.classes
    reason = None
    if champion is None:
        reason = "there is no champion to compare with"
    elif champion.probabilities is None:
        reason = "the champion's files are gone, so it cannot be run"
    elif not challenger.answers_as(champion):
        reason = "the champion has other classes"
    if reason is not None:
        yield Row(gate=versus("macro AUROC"), result="not applicable", sentence=reason)
        return
    yield _no_worse("macro AUROC", evidence, codes=classes, margin=params.macro_auroc_margin, params=params)
    rows = [
        _no_worse(f"AUROC of {code}", evidence, codes=(code,), margin=params.class_auroc_margin, params=params)
        for code in classes
    ]
    undecided = [row for row in rows if row.result == "not enough data"]
    if len(undecided) <= MOST_NAMED:
        yield from rows
        return
    yield from (row for row in rows if row.result != "not enough data")
    yield Row(
        gate=versus(f"AUROC of {len(undecided)} classes"),
        result="not enough data",
        limit=-params.class_auroc_margin,
        records=len(evidence.labels),
        sentence=f"{len(undecided)} of {len(classes)} classes have fewer than {params.minimum_positives} positive "
        "records, or too few to compare",
    )


def gate_of_target(evidence: Evidence, *, params: Params) -> Iterator[Row]:
    """What the new model was made for: there it is to be better, not only no worse."""
    target, champion, challenger = params.target, evidence.champion, evidence.challenger
    if target is None:
        return
    classes = challenger.classes
    if target != MACRO_TARGET and target not in classes:
        raise InputError(
            f"params.yaml: promote.target is {target!r}; allowed are null, {MACRO_TARGET}, {', '.join(classes)}"
        )
    name = "macro AUROC" if target == MACRO_TARGET else f"AUROC of {target}"
    gate = f"better {name}"
    if champion is None or champion.probabilities is None or not challenger.answers_as(champion):
        sentence = "there is no champion to compare with on the same pages"
        yield Row(gate=versus(gate), result="not applicable", sentence=sentence)
        return
    row = _no_worse(name, evidence, codes=classes if target == MACRO_TARGET else (target,), margin=0.0, params=params)
    if row.result != "not enough data":
        better = row.result == "pass"
        said = row.sentence.rpartition(", ")[0]
        row = replace(row, sentence=f"{said}, {'better for certain' if better else 'which is not better for certain'}")
    yield replace(row, gate=versus(gate), limit=0.0)


def expected_calibration_error(labels: NDArray[np.bool_], probabilities: Floats) -> float:
    """Mean over classes of `metrics.calibration_error`: what the evaluation calls ECE, over all classes.

    Args:
        labels: (records, classes).
        probabilities: same shape, between 0 and 1.
    """
    pairs = zip(labels.T, probabilities.T, strict=True)
    return float(np.mean([calibration_error(truth, said) for truth, said in pairs]))


def _no_worse(name: str, evidence: Evidence, *, codes: Sequence[str], margin: float, params: Params) -> Row:
    assert evidence.champion is not None  # noqa: S101 (the caller has looked)
    columns = [evidence.challenger.classes.index(code) for code in codes]
    labels = evidence.labels[:, columns]
    # Of several classes each resample has some of every kind; of one alone the rarer side must be enough.
    positives = int(labels.sum()) if len(codes) == 1 else None
    gate, records, limit = versus(name), len(labels), -margin
    if records < params.minimum_records or (positives is not None and positives < params.minimum_positives):
        sentence = _too_few(records, positives=positives, params=params)
        return Row(
            gate=gate, result="not enough data", limit=limit, records=records, positives=positives, sentence=sentence
        )
    paired = paired_auroc_difference(
        labels,
        challenger=probabilities_of(evidence.challenger)[:, columns],
        champion=probabilities_of(evidence.champion)[:, columns],
        patient_ids=evidence.patient_ids,
        codes=codes,
        resamples=params.resamples,
        seed=params.seed,
    )
    if paired.low is None or paired.difference is None:
        sentence = "too few resamples hold positives and negatives"
        return Row(
            gate=gate, result="not enough data", limit=limit, records=records, positives=positives, sentence=sentence
        )
    holds = paired.low > limit
    sentence = (
        f"{name} {paired.challenger:.3f} against {paired.champion:.3f}: the difference of {paired.difference:+.3f} "
        f"may be {paired.low:+.3f}, {'within' if holds else 'beyond'} the margin of {margin:.3f}"
    )
    result: Result = "pass" if holds else "fail"
    return Row(
        gate=gate,
        result=result,
        value=paired.low,
        limit=limit,
        records=records,
        positives=positives,
        sentence=sentence,
    )


def _floor(low: float | None, *, floor: float, records: int) -> Row:
    if low is None:
        sentence = "too few resamples hold positives and negatives"
        return Row(gate=MACRO_FLOOR, result="not enough data", limit=floor, records=records, sentence=sentence)
    holds = low >= floor
    sentence = (
        f"the lower end of the interval of its macro AUROC is {low:.3f}, "
        f"{'at or above' if holds else 'below'} the floor of {floor:.3f}"
    )
    result: Result = "pass" if holds else "fail"
    return Row(gate=MACRO_FLOOR, result=result, value=low, limit=floor, records=records, sentence=sentence)


def _macro_auroc_low(evidence: Evidence, *, covered: Sequence[str], params: Params) -> float | None:
    columns = [evidence.challenger.classes.index(code) for code in covered]
    weights = patient_weights(evidence.patient_ids, resamples=params.resamples, seed=params.seed)
    said = probabilities_of(evidence.challenger)
    return interval(mean_of_defined(resample_auroc(evidence.labels[:, columns], said[:, columns], weights))).low


def _too_few(records: int, *, params: Params, positives: int | None = None) -> str:
    if records < params.minimum_records:
        return f"{records} records, at least {params.minimum_records} are needed"
    return f"{positives} positive records, at least {params.minimum_positives} are needed"


def _scorable(column: NDArray[np.bool_]) -> bool:
    return bool(column.any() and not column.all())
