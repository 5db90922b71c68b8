"""All gates in turn."""

from vizecg.gates.evidence import Evidence
from vizecg.gates.params import Params
from vizecg.gates.parts import gates_of_cameras, gates_of_groups
from vizecg.gates.scores import gate_of_target, gates_of_comparison, gates_of_quality
from vizecg.gates.standing import gate_of_service, gates_of_shadow, gates_of_standing
from vizecg.gates.verdict import Verdict


def judge(evidence: Evidence, *, params: Params) -> Verdict:
    """Decide. Without a champion the floors alone do; with one, it must also be no worse on the same pages."""
    champion, challenger = evidence.champion, evidence.challenger
    if champion is not None and champion.bundle_digest == challenger.bundle_digest:
        return Verdict(allowed=True, already_champion=True, rows=())
    rows = (
        *gates_of_standing(evidence),
        *gates_of_quality(evidence, params=params),
        *gates_of_comparison(evidence, params=params),
        *gate_of_target(evidence, params=params),
        *gates_of_shadow(evidence, params=params),
        *gates_of_groups(evidence, params=params),
        *gates_of_cameras(evidence, params=params),
        *gate_of_service(evidence),
    )
    return Verdict(allowed=all(row.result != "fail" for row in rows), already_champion=False, rows=rows)
