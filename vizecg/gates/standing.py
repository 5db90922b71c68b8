"""Gates about what scores cannot mend, and about what a running service made of the model."""

from collections.abc import Iterator

from vizecg.gates.evidence import Candidate, Evidence
from vizecg.gates.params import Params
from vizecg.gates.verdict import CLASSES, MOST_NAMED, PROVENANCE, SERVICE, SHADOW, Result, Row


def gates_of_standing(evidence: Evidence) -> Iterator[Row]:
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


def gate_of_service(evidence: Evidence) -> Iterator[Row]:
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


def gates_of_shadow(evidence: Evidence, *, params: Params) -> Iterator[Row]:
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
