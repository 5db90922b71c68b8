"""How good the answers were, as far as diagnoses were confirmed: the AUROC and the calibration of real use."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from vizecg.audit import PredictionLine
from vizecg.bootstrap import auroc, covered, interval, mean_of_defined, patient_weights, resample_auroc
from vizecg.bundle import Headline
from vizecg.drift import Params
from vizecg.feedback import read as read_feedback
from vizecg.metrics import calibration_error, calibration_error_by_chance

_MIN_CASES: Final = 10
"""Of a class, on either side, for it to be scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What confirmed diagnoses say.

    Attributes:
        confirmed: answers of the window with a confirmed diagnosis.
        unmatched: confirmations of answers that are not in the window.
        damaged: lines of the feedback that are none.
        classes: that were scored.
        auroc: macro, with the ends of its 95 % interval.
        evaluated: macro AUROC of the evaluation, with its interval's ends.
        calibration_error: mean over all classes.
        calibration_by_chance: the same of a model whose probabilities are true.
    """

    result: Literal["as evaluated", "worse", "not enough data"]
    sentence: str
    confirmed: int
    unmatched: int
    damaged: int
    classes: tuple[str, ...] = ()
    auroc: tuple[float, float | None, float | None] | None = None
    evaluated: tuple[float | None, float | None, float | None] = (None, None, None)
    calibration_error: float | None = None
    calibration_by_chance: float | None = None


def score_live(lines: Sequence[PredictionLine], *, feedback: Path, headline: Headline, params: Params) -> Live:
    """Hold answers against what was confirmed; of several confirmations of one answer the last counts.

    Args:
        lines: of the window, not rejected or not: a rejected picture has no answer to score.
        feedback: folder that the service wrote.
        headline: what the evaluation found.
        params: how many are enough.
    """
    read = read_feedback(feedback)
    answered = {line.request_id: line for line in lines if line.outputs}
    confirmed = {entry.request_id: entry for entry in read.entries}
    # A confirmation names the model of its day, whose classes its codes are.
    known = [
        (answered[name], entry)
        for name, entry in confirmed.items()
        if name in answered and entry.bundle_digest == answered[name].model.bundle_digest
    ]
    counts: dict[str, Any] = {
        "confirmed": len(known),
        "unmatched": len(confirmed) - len(known),
        "damaged": read.damaged,
    }
    evaluated = (headline.macro_auroc, headline.low, headline.high)
    if len(known) < params.minimum_confirmed:
        sentence = f"{len(known)} confirmed diagnoses, at least {params.minimum_confirmed} are needed"
        return Live(result="not enough data", sentence=sentence, evaluated=evaluated, **counts)
    codes = tuple(output.code for output in known[0][0].outputs)
    labels = np.array([[code in entry.labels for code in codes] for _, entry in known])
    said = np.array([[output.probability for output in line.outputs] for line, _ in known])
    positives = labels.sum(axis=0)
    scored = tuple(
        code
        for code, number in zip(codes, positives.tolist(), strict=True)
        if min(number, len(labels) - number) >= _MIN_CASES and code in covered(labels, codes=codes)
    )
    gaps = [calibration_error(*pair) for pair in zip(labels.T, said.T, strict=True)]
    chance = [calibration_error_by_chance(column, seed=params.seed) for column in said.T]
    calibration: dict[str, Any] = {
        "calibration_error": float(np.mean(gaps)),
        "calibration_by_chance": float(np.mean(chance)),
    }
    if not scored:
        sentence = f"no class has {_MIN_CASES} confirmed cases and as many without it"
        return Live(result="not enough data", sentence=sentence, evaluated=evaluated, **counts, **calibration)
    columns = [codes.index(code) for code in scored]
    # Who the patients are is not in the trail: pictures are resampled as if each were another's.
    weights = patient_weights(np.arange(len(labels)), resamples=params.resamples, seed=params.seed)
    ends = interval(mean_of_defined(resample_auroc(labels[:, columns], said[:, columns], weights)))
    value = float(auroc(labels[:, columns], said[:, columns]).mean())
    worse = ends.high is not None and headline.low is not None and ends.high < headline.low
    between = "" if ends.low is None or ends.high is None else f" ({ends.low:.3f} to {ends.high:.3f})"
    of_then = "" if headline.macro_auroc is None else f"; the evaluation found {headline.macro_auroc:.3f}"
    sentence = (
        f"macro AUROC {value:.3f}{between} over {', '.join(scored)} on {len(known)} confirmed answers{of_then}"
        + (", and its interval lies above: it has become worse" if worse else "")
    )
    return Live(
        result="worse" if worse else "as evaluated",
        sentence=sentence,
        classes=scored,
        auroc=(value, ends.low, ends.high),
        evaluated=evaluated,
        **counts,
        **calibration,
    )
