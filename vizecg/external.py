"""External validation: any bundle, asked about a hospital's own pages, held against the hospital's own labels.

Every page goes the way of an upload: bytes, intake, network, as the service has
it. Pages the intake rejects have no answer; they are counted, and stand in the
sensitivity that includes them as cases nobody found.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from vizecg import publish, report
from vizecg.answer import Answer
from vizecg.errors import InputError
from vizecg.external_page import Shown, render_page
from vizecg.label_map import read_label_map
from vizecg.labels import task_of
from vizecg.metrics import Scores, score
from vizecg.paper.pages import read_page
from vizecg.paper.table import label_map_of, read_labels
from vizecg.predictor import Predictor
from vizecg.progress import tracked
from vizecg.recordings.offer import Asked, Offer
from vizecg.recordings.reading import Refused

if TYPE_CHECKING:
    from vizecg.records import Record

EXTERNAL_VALIDATION: Final = "external-validation"
SCHEMA_VERSION: Final = 1
SCORES_FILE: Final = "metrics.json"
PREDICTIONS_FILE: Final = "predictions.parquet"
LEAST_IN_GROUP: Final = 30
"""Labelled, answered pages of a subgroup below which its scores would be chance."""
RESAMPLES: Final = 1000
SEED: Final = 7


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """What came of every page: an answer, or why there is none."""

    records: "Sequence[Record]"
    answers: Sequence[Answer | None]
    unreadable: Sequence[str]
    """Reasons, of the pages without an answer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scorable:
    """Answered, labelled pages: arrays with a row each."""

    rows: NDArray[np.int64]
    labels: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    patient_ids: NDArray[np.int64]


def evaluate_images(
    images: Path, *, labels: Path, label_map: Path | None, bundle: Path, out: Path, threads: int
) -> dict[str, Any]:
    """Measure a bundle on a folder of page images; publishes a report as `out` and returns its numbers.

    Args:
        images: folder the table's files lie in.
        labels: the table, as `paper.table` reads it.
        label_map: what its labels mean; None for one beside the images, or PTB-XL's own codes.
        bundle: of the model.
        out: folder to write.
        threads: of the network.

    Raises:
        InputError: bundle or table cannot be used, or no page is both labelled and answered.
        Conflict: another process is writing `out`.
    """
    predictor = Predictor.load(bundle, threads=threads)
    task = task_of(predictor.task)
    asked = Asked(source=images.name, task=task, sampling_hz=0, limit=None, label_map=label_map)
    chosen = read_label_map(label_map) if label_map is not None else label_map_of(images, chosen=None)
    offers = read_labels(labels, label_map=chosen, asked=asked)
    answered = ask(predictor, offers=offers, images=images)
    scorable = _scorable(answered, codes=predictor.operating_point.classes)
    with publish.publishing(out, kind=EXTERNAL_VALIDATION, schema_version=SCHEMA_VERSION) as staging:
        return _write(staging, answered=answered, scorable=scorable, predictor=predictor, name=images.resolve().name)


def ask(predictor: Predictor, *, offers: Sequence[Offer], images: Path) -> Answered:
    """Send every page the way of an upload."""
    answers: list[Answer | None] = []
    unreadable = []
    for offer in tracked(offers, total=len(offers), what="pages"):
        try:
            answers.append(predictor.predict(read_page(offer.files, folder=images)))
        except Refused as refused:
            answers.append(None)
            unreadable.append(refused.reason.value)
    return Answered(records=[offer.record for offer in offers], answers=answers, unreadable=unreadable)


def _scorable(answered: Answered, *, codes: Sequence[str]) -> _Scorable:
    pairs = enumerate(zip(answered.records, answered.answers, strict=True))
    rows = [
        row for row, (record, answer) in pairs if record.classes and answer is not None and answer.decision != "reject"
    ]
    if not rows:
        raise InputError("no page is both labelled and answered, so nothing can be measured; see the label map")
    answers = [answer for row in rows if (answer := answered.answers[row]) is not None]
    return _Scorable(
        rows=np.array(rows, dtype=np.int64),
        labels=np.array([[code in answered.records[row].classes for code in codes] for row in rows]),
        probabilities=np.array([[label.probability for label in answer.labels] for answer in answers]),
        patient_ids=np.array([answered.records[row].patient_id for row in rows], dtype=np.int64),
    )


def _write(
    staging: Path, *, answered: Answered, scorable: _Scorable, predictor: Predictor, name: str
) -> dict[str, Any]:
    point = predictor.operating_point
    scores = _score(scorable, chosen=np.ones(len(scorable.rows), bool), predictor=predictor)
    content = {
        "schema_version": SCHEMA_VERSION,
        "images": name,
        "bundle": predictor.identity.bundle_digest,
        "task": predictor.task,
        "simulated": predictor.identity.simulated,
        "pages": _counts(answered),
        **scores.to_dict(),
        "sensitivity_with_rejected": _found_of_all(answered, scorable, predictor=predictor),
        "groups": _groups(answered, scorable, predictor=predictor),
    }
    (staging / SCORES_FILE).write_text(publish.to_json(content), encoding="utf-8")
    _write_predictions(staging / PREDICTIONS_FILE, answered=answered, codes=point.classes)
    scored = report.Scored(
        codes=point.classes,
        labels=scorable.labels.astype(np.uint8),
        probabilities=scorable.probabilities,
        thresholds=np.asarray(point.thresholds),
        where=name,
        note=f"{len(scorable.rows)} pages of {name}",
        intervals=[(entry.metrics["auroc"].low, entry.metrics["auroc"].high) for entry in scores.classes],
    )
    report.write_tables(staging, scored)
    report.write_figures(staging / "figures", scored)
    shown = Shown(content=content, names=dict(zip(point.classes, predictor.names, strict=True)))
    (staging / "index.html").write_text(render_page(shown, figures=staging / "figures"), encoding="utf-8")
    return content


def _score(scorable: _Scorable, *, chosen: NDArray[np.bool_], predictor: Predictor) -> Scores:
    point = predictor.operating_point
    return score(
        scorable.labels[chosen],
        scorable.probabilities[chosen],
        codes=point.classes,
        thresholds=point.thresholds,
        patient_ids=scorable.patient_ids[chosen],
        resamples=RESAMPLES,
        seed=SEED,
    )


def _counts(answered: Answered) -> dict[str, Any]:
    """What came of all pages; the parts add up."""
    decisions = Counter("unreadable" if answer is None else answer.decision for answer in answered.answers)
    reasons: Counter[str] = Counter(answered.unreadable)
    for answer in answered.answers:
        if answer is not None and answer.decision == "reject":
            reasons.update(finding.code for finding in answer.quality.findings if finding.severity == "reject")
    return {
        "listed": len(answered.records),
        "patients": len({record.patient_id for record in answered.records}),
        "unlabelled": sum(not record.classes for record in answered.records),
        **{name: decisions[name] for name in ("ok", "abstain", "reject", "unreadable")},
        "reasons": dict(sorted(reasons.items())),
    }


def _found_of_all(answered: Answered, scorable: _Scorable, *, predictor: Predictor) -> dict[str, float | None]:
    """Share of the cases of each class that were found, a page without an answer being a case that was not."""
    point = predictor.operating_point
    found = (scorable.labels & (scorable.probabilities >= np.asarray(point.thresholds))).sum(axis=0)
    cases = [sum(code in record.classes for record in answered.records) for code in point.classes]
    pairs = zip(point.classes, found.tolist(), cases, strict=True)
    return {code: hits / number if number else None for code, hits, number in pairs}


def _groups(answered: Answered, scorable: _Scorable, *, predictor: Predictor) -> dict[str, dict[str, Any]]:
    """Macro AUROC of each subgroup that is large enough; the others are named with their size."""
    found: dict[str, dict[str, Any]] = {}
    records = [answered.records[row] for row in scorable.rows]
    values = {
        "sex": [record.sex for record in records],
        "age": [record.age.band for record in records],
        "site": [record.site for record in records],
        "device": [record.device for record in records],
    }
    for kind, of_record in values.items():
        for value in sorted(set(of_record)):
            chosen = np.array([one == value for one in of_record])
            group: dict[str, Any] = {"records": int(chosen.sum())}
            if chosen.sum() >= LEAST_IN_GROUP:
                auroc = _score(scorable, chosen=chosen, predictor=predictor).macro["auroc"]
                group |= {"auroc": auroc.value, "auroc_low": auroc.low, "auroc_high": auroc.high}
            found[f"{kind} {value}"] = group
    return found


def _write_predictions(path: Path, *, answered: Answered, codes: Sequence[str]) -> None:
    """A row a page, without anything that names a patient."""
    import pandas as pd

    rows = []
    for record, answer in zip(answered.records, answered.answers, strict=True):
        said = {label.code: label.probability for label in answer.labels} if answer is not None else {}
        rows.append(
            {
                "ecg_id": record.ecg_id,
                "decision": "unreadable" if answer is None else answer.decision,
                "labelled": bool(record.classes),
                **{code: code in record.classes for code in codes},
                **{f"probability_{code}": said.get(code) for code in codes},
            }
        )
    pd.DataFrame(rows).to_parquet(path, index=False, compression="zstd")
