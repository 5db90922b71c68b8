"""May this model become champion? Numbers in, verdict out; nothing here reads a file or knows MLflow.

Every gate gives a row, also the one that could not be decided: `not enough data`
is seen by whoever reads the verdict, and blocks nobody.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vizecg.bootstrap import interval, mean_of_defined, paired_auroc_difference, patient_weights, resample_auroc
from vizecg.config import Section
from vizecg.metrics import calibration_error

Result = Literal["pass", "fail", "not enough data", "not applicable"]
Floats = NDArray[np.float64]

MACRO_FLOOR: Final = "macro AUROC"
MOST_NAMED: Final = 8
"""Classes that one sentence names."""


class Params(Section):
    """Section `promote` of params.yaml."""

    macro_auroc_floor: float = Field(ge=0, le=1, description="the lower end of the macro AUROC's interval reaches it")
    macro_auroc_margin: float = Field(ge=0, le=1, description="how much worse than the champion is still no worse")
    class_auroc_margin: float = Field(ge=0, le=1, description="the same, for each class alone")
    calibration_error_ceiling: float = Field(ge=0, le=1, description="expected calibration error, mean over classes")
    minimum_records: int = Field(ge=1, description="below it no gate about scores is decided")
    minimum_positives: int = Field(ge=1, description="of a class, below which its own gate is not decided")
    resamples: int = Field(ge=100, description="of the bootstrap by patient")
    seed: int = Field(ge=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One of the two models, and what it said about the test pages.

    Attributes:
        bundle_digest: the one name of its content.
        task: what the classes are the classes of: `STTC` means one thing in one task, another in the next.
        classes: in the order of the columns of `probabilities`.
        simulated: it was trained on simulated records.
        probabilities: (records, classes), calibrated; None when it can no longer be run.
    """

    bundle_digest: str
    task: str
    classes: tuple[str, ...]
    simulated: bool
    probabilities: Floats | None

    def __post_init__(self) -> None:
        if self.probabilities is None:
            return
        if self.probabilities.ndim != 2 or self.probabilities.shape[1] != len(self.classes):
            raise ValueError(
                f"probabilities must be (records, {len(self.classes)} classes), got {self.probabilities.shape}"
            )
        if not ((self.probabilities >= 0) & (self.probabilities <= 1)).all():  # NaN fails both
            raise ValueError("probabilities must be between 0 and 1, and none of them NaN")

    def answers_as(self, other: "Candidate") -> bool:
        """Whether an application could read the one's answers as the other's."""
        return (self.task, self.classes) == (other.task, other.classes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Challenger and champion on the same pages.

    Attributes:
        labels: (records, classes), columns in the challenger's order.
        patient_ids: (records,).
        challenger: with probabilities.
        champion: None when there is none yet.
        withdrawn: why this challenger was taken back before, if it was, and
            nobody has asked for it by its number since.
    """

    labels: NDArray[np.bool_]
    patient_ids: NDArray[np.int64]
    challenger: Candidate
    champion: Candidate | None = None
    withdrawn: str | None = None

    def __post_init__(self) -> None:
        if self.challenger.probabilities is None:
            raise ValueError("a challenger without probabilities cannot be judged")
        for candidate in (self.challenger, self.champion):
            if candidate is not None and candidate.probabilities is not None:
                records = len(candidate.probabilities)
                if not records == len(self.labels) == len(self.patient_ids):
                    raise ValueError(
                        f"labels, patients and probabilities must be of the same records, "
                        f"got {len(self.labels)}, {len(self.patient_ids)} and {records}"
                    )
        if self.labels.shape[1] != len(self.challenger.classes):
            raise ValueError(f"labels must have {len(self.challenger.classes)} columns, got {self.labels.shape[1]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one gate says, in numbers and in a sentence."""

    gate: str
    result: Result
    sentence: str
    value: float | str | None = None
    limit: float | str | None = None
    records: int | None = None
    positives: int | None = None

    @property
    def support(self) -> str:
        """On how much the value stands, in words."""
        parts = [(self.records, "records"), (self.positives, "positive")]
        return ", ".join(f"{number:,} {what}" for number, what in parts if number is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, with every gate's row."""

    allowed: bool
    already_champion: bool
    rows: tuple[Row, ...]

    @property
    def refusals(self) -> tuple[Row, ...]:
        """The gates that said no."""
        return tuple(row for row in self.rows if row.result == "fail")

    @property
    def sentence(self) -> str:
        """The verdict for a log line or an error."""
        if self.already_champion:
            return "already champion: this bundle is the one in service"
        if self.refusals:
            names = ", ".join(row.gate for row in self.refusals)
            return f"refused by {len(self.refusals)} of {len(self.rows)} gates: {names}"
        undecided = sum(row.result == "not enough data" for row in self.rows)
        return "no gate says no" + (f", {undecided} had not enough data" if undecided else "")

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "allowed": self.allowed,
            "already_champion": self.already_champion,
            "sentence": self.sentence,
            "rows": [asdict(row) for row in self.rows],
        }


def versus(score: str) -> str:
    """Name of the gate that compares a score with the champion's."""
    return f"{score} vs champion"


def judge(evidence: Evidence, *, params: Params) -> Verdict:
    """Decide. Without a champion the floors alone do; with one, it must also be no worse on the same pages."""
    champion, challenger = evidence.champion, evidence.challenger
    if champion is not None and champion.bundle_digest == challenger.bundle_digest:
        return Verdict(allowed=True, already_champion=True, rows=())
    rows = (
        *_gates_of_standing(evidence),
        *_gates_of_quality(evidence, params=params),
        *_gates_of_comparison(evidence, params=params),
    )
    return Verdict(allowed=all(row.result != "fail" for row in rows), already_champion=False, rows=rows)


def expected_calibration_error(labels: NDArray[np.bool_], probabilities: Floats) -> float:
    """Mean over classes of `metrics.calibration_error`: what the evaluation calls ECE, over all classes.

    Args:
        labels: (records, classes).
        probabilities: same shape, between 0 and 1.
    """
    pairs = zip(labels.T, probabilities.T, strict=True)
    return float(np.mean([calibration_error(truth, said) for truth, said in pairs]))


def _gates_of_standing(evidence: Evidence) -> Iterator[Row]:
    """What numbers cannot mend: other classes, another kind of data, a model that was taken back."""
    champion, challenger = evidence.champion, evidence.challenger
    if champion is None:
        yield Row(gate="classes", result="not applicable", sentence="there is no champion to replace")
        yield Row(gate="provenance", result="not applicable", sentence="there is no champion to replace")
    else:
        yield _same_classes(challenger, champion=champion)
        yield _provenance(challenger, champion=champion)
    if evidence.withdrawn is not None:
        yield Row(
            gate="withdrawn",
            result="fail",
            value="rolled back",
            sentence=f"{evidence.withdrawn}; name it by its version to try again",
        )


def _same_classes(challenger: Candidate, *, champion: Candidate) -> Row:
    if challenger.answers_as(champion):
        return Row(gate="classes", result="pass", value="the same", sentence="it answers the champion's classes")
    ours, theirs = (_said(candidate) for candidate in (challenger, champion))
    sentence = (
        f"it answers {ours}, the champion {theirs}: applications would read other labels; "
        "a model of another task needs a registry and a ledger of its own (VIZECG_STATE_DIR)"
    )
    return Row(gate="classes", result="fail", value="others", sentence=sentence)


def _said(candidate: Candidate) -> str:
    """Task and classes, the first few of many."""
    codes = candidate.classes[:MOST_NAMED]
    rest = len(candidate.classes) - len(codes)
    return f"{' '.join(codes)}{f' and {rest} more' if rest else ''} ({candidate.task})"


def _provenance(challenger: Candidate, *, champion: Candidate) -> Row:
    ours, theirs = ("simulated" if candidate.simulated else "real" for candidate in (challenger, champion))
    if challenger.simulated and not champion.simulated:
        sentence = "a model trained on simulated records never replaces one trained on real ones"
        return Row(gate="provenance", result="fail", value=ours, limit=theirs, sentence=sentence)
    sentence = f"trained on {ours} records, the champion on {theirs} ones"
    return Row(gate="provenance", result="pass", value=ours, sentence=sentence)


def _gates_of_quality(evidence: Evidence, *, params: Params) -> Iterator[Row]:
    """Floors that hold whether there is a champion or not."""
    labels, said = evidence.labels, _probabilities(evidence.challenger)
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


def _gates_of_comparison(evidence: Evidence, *, params: Params) -> Iterator[Row]:
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
        challenger=_probabilities(evidence.challenger)[:, columns],
        champion=_probabilities(evidence.champion)[:, columns],
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
    said = _probabilities(evidence.challenger)
    return interval(mean_of_defined(resample_auroc(evidence.labels[:, columns], said[:, columns], weights))).low


def _too_few(records: int, *, params: Params, positives: int | None = None) -> str:
    if records < params.minimum_records:
        return f"{records} records, at least {params.minimum_records} are needed"
    return f"{positives} positive records, at least {params.minimum_positives} are needed"


def _scorable(column: NDArray[np.bool_]) -> bool:
    return bool(column.any() and not column.all())


def _probabilities(candidate: Candidate) -> Floats:
    assert candidate.probabilities is not None  # noqa: S101 (Evidence has looked)
    return candidate.probabilities
