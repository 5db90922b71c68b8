"""May this model become champion? Numbers in, verdict out; nothing here reads a file or knows MLflow.

Every gate gives a row, also the one that could not be decided: `not enough data`
is seen by whoever reads the verdict, and blocks nobody.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vizecg.bootstrap import interval, mean_of_defined, paired_auroc_difference, patient_weights, resample_auroc
from vizecg.config import Section
from vizecg.errors import InputError
from vizecg.metrics import calibration_error
from vizecg.shadow import Agreement

Result = Literal["pass", "fail", "not enough data", "not applicable"]
Floats = NDArray[np.float64]

MACRO_FLOOR: Final = "macro AUROC"
SHADOW: Final = "shadow agreement"
LOST: Final = "AUROC lost by "
CLASSES: Final = "classes"
PROVENANCE: Final = "provenance"
SERVICE: Final = "service"
NO_REASON_MENDS: Final = frozenset({CLASSES, PROVENANCE, SERVICE})
"""Gates that no person may set aside: answers of other labels, answers of simulated records, and none at all."""
LEAST_OF_EITHER_KIND: Final = 10
"""Positive, and negative, records of a class in a group or through a camera, for it to be in the mean there."""
MACRO_TARGET: Final = "macro"
"""As `promote.target`: all classes together."""
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
    shadow_agreement_floor: float = Field(
        default=0.8, ge=0, le=1, description="share of uploads on which both find a label or both do not, of each label"
    )
    shadow_minimum_pictures: int = Field(default=100, ge=1, description="below it that gate is not decided")
    resamples: int = Field(ge=100, description="of the bootstrap by patient")
    seed: int = Field(ge=0)
    # Revisions of before these gates say nothing of them.
    group_auroc_margin: float = Field(default=0.05, ge=0, le=1, description="certainly worse by more, in any group: no")
    group_minimum_records: int = Field(default=50, ge=1, description="of a group, below which it is not decided")
    cameras: tuple[str, ...] = Field(default=("scan", "photo"), description="presets that pages are sent through")
    camera_records: int | None = Field(default=60, ge=10, description="of fold 10; null is all of them")
    camera_auroc_margin: float = Field(default=0.05, ge=0, le=1, description="as for groups, on pages of a camera")
    camera_auroc_loss: float = Field(default=0.2, ge=0, le=1, description="certainly more lost by a camera: no")
    target: str | None = Field(
        default=None, description="a class, or `macro`, whose AUROC must certainly be better than the champion's"
    )
    approval: bool = Field(default=False, description="what the gates let through waits for `vizecg approve`")


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraPages:
    """Some of the records once more, through a camera.

    Attributes:
        camera: preset.
        at: (pages,) which of the evidence's records.
        challenger: (pages, classes) probabilities.
        champion: the same; None when it was not run.
    """

    camera: str
    at: NDArray[np.int64]
    challenger: Floats
    champion: Floats | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a real service made of the challenger.

    Attributes:
        pages: stored with the bundle, that it was asked about; 0 where the service is not installed here.
        wrong: what it did not do as it must, in a sentence; None when all was well.
    """

    pages: int
    wrong: str | None = None


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
        shadow: how often the two said the same of what was uploaded to a service; None when none has asked both.
        groups: kind -> value -> (records,) those of it, such as `sex` -> `female`.
        cameras: the same records through cameras.
        served: by a real service that was started with the challenger; None when none was.
    """

    labels: NDArray[np.bool_]
    patient_ids: NDArray[np.int64]
    challenger: Candidate
    champion: Candidate | None = None
    withdrawn: str | None = None
    shadow: Agreement | None = None
    groups: Mapping[str, Mapping[str, NDArray[np.bool_]]] = field(default_factory=dict)
    cameras: tuple[CameraPages, ...] = ()
    served: Served | None = None

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
    overridden: bool = False
    """A person has set its refusals aside."""

    def overriding(self) -> "Verdict":
        """The same with its refusals set aside by a person, unless one is among them that no reason mends."""
        if self.allowed or any(row.gate in NO_REASON_MENDS for row in self.refusals):
            return self
        return replace(self, allowed=True, overridden=True)

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
            if self.overridden:
                return f"let through by a person against {len(self.refusals)} of {len(self.rows)} gates: {names}"
            return f"refused by {len(self.refusals)} of {len(self.rows)} gates: {names}"
        undecided = sum(row.result == "not enough data" for row in self.rows)
        return "no gate says no" + (f", {undecided} had not enough data" if undecided else "")

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "allowed": self.allowed,
            "already_champion": self.already_champion,
            "overridden": self.overridden,
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
        *_gate_of_target(evidence, params=params),
        *_gates_of_shadow(evidence, params=params),
        *_gates_of_groups(evidence, params=params),
        *_gates_of_cameras(evidence, params=params),
        *_gate_of_service(evidence),
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
        yield Row(gate=CLASSES, result="not applicable", sentence="there is no champion to replace")
        yield Row(gate=PROVENANCE, result="not applicable", sentence="there is no champion to replace")
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
        return Row(gate=CLASSES, result="pass", value="the same", sentence="it answers the champion's classes")
    ours, theirs = (_said(candidate) for candidate in (challenger, champion))
    sentence = (
        f"it answers {ours}, the champion {theirs}: applications would read other labels; "
        "a model of another task needs a registry and a ledger of its own (VIZECG_STATE_DIR)"
    )
    return Row(gate=CLASSES, result="fail", value="others", sentence=sentence)


def _said(candidate: Candidate) -> str:
    """Task and classes, the first few of many."""
    codes = candidate.classes[:MOST_NAMED]
    rest = len(candidate.classes) - len(codes)
    return f"{' '.join(codes)}{f' and {rest} more' if rest else ''} ({candidate.task})"


def _provenance(challenger: Candidate, *, champion: Candidate) -> Row:
    ours, theirs = ("simulated" if candidate.simulated else "real" for candidate in (challenger, champion))
    if challenger.simulated and not champion.simulated:
        sentence = "a model trained on simulated records never replaces one trained on real ones"
        return Row(gate=PROVENANCE, result="fail", value=ours, limit=theirs, sentence=sentence)
    sentence = f"trained on {ours} records, the champion on {theirs} ones"
    return Row(gate=PROVENANCE, result="pass", value=ours, sentence=sentence)


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


def _gate_of_target(evidence: Evidence, *, params: Params) -> Iterator[Row]:
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


def _gate_of_service(evidence: Evidence) -> Iterator[Row]:
    """Does the very program that will answer load it, and does it answer as it did when it was made?"""
    served = evidence.served
    if served is None:
        return
    if not served.pages:
        sentence = "the service is not installed here (extra `serve`)"
        yield Row(gate=SERVICE, result="not applicable", sentence=sentence)
        return
    if served.wrong is not None:
        yield Row(gate=SERVICE, result="fail", value="does not serve", records=served.pages, sentence=served.wrong)
        return
    sentence = f"a service that was started with it answers its {served.pages} stored pages as it should"
    yield Row(gate=SERVICE, result="pass", value="serves", records=served.pages, sentence=sentence)


def _gates_of_shadow(evidence: Evidence, *, params: Params) -> Iterator[Row]:
    """What a service saw of both on its uploads, where one has asked both: labels nobody knows, so only agreement."""
    seen, floor = evidence.shadow, params.shadow_agreement_floor
    if seen is None:
        return
    count = seen.pictures
    if count < params.shadow_minimum_pictures:
        sentence = f"{count} pictures, at least {params.shadow_minimum_pictures} are needed"
        yield Row(gate=SHADOW, result="not enough data", limit=floor, records=count, sentence=sentence)
        return
    worst = min(evidence.challenger.classes, key=seen.share)
    value = seen.share(worst)
    holds = value >= floor
    sentence = (
        f"of {count:,} uploads both say the same of {worst} on {value:.3f}, least of all labels and "
        f"{'at or above' if holds else 'below'} the floor of {floor:.3f}"
    )
    result: Result = "pass" if holds else "fail"
    yield Row(gate=SHADOW, result=result, value=value, limit=floor, records=count, sentence=sentence)


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


def _gates_of_groups(evidence: Evidence, *, params: Params) -> Iterator[Row]:
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
                ours=_probabilities(challenger)[at],
                theirs=_probabilities(champion)[at] if champion is not None else None,
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


def _gates_of_cameras(evidence: Evidence, *, params: Params) -> Iterator[Row]:
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
        labels, clean = evidence.labels[pages.at], _probabilities(challenger)[pages.at]
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
