"""Ask the trained model as the service would; calibrate on fold 9 and score on fold 10, or both out of fold."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from vizecg.calibration import F1_PLATEAU, CalibrationKind, ThresholdRule
from vizecg.config import Section
from vizecg.errors import InputError
from vizecg.executors import PROCESSES, ExecutorName, open_executor
from vizecg.protocol import CROSS, FOLDS, Protocol

if TYPE_CHECKING:
    from vizecg.checks import Checks
    from vizecg.evaluation import Model
    from vizecg.judging import Judged
    from vizecg.metrics import Estimate
    from vizecg.operating_point import OperatingPoint
    from vizecg.records import RecordSet
    from vizecg.robustness import Condition


class RobustnessParams(Section):
    """Which other pages of fold 10 are drawn, and whether the controls are asked."""

    records: int | None = Field(default=60, ge=10, description="of fold 10; null is all of them")
    styles: tuple[str, ...] = Field(default=("standard", "drawn"), min_length=1)
    cameras: tuple[str, ...] = Field(default=("clean", "scan", "photo"), min_length=1)
    controls: bool = True
    executor: ExecutorName = PROCESSES
    workers: int = Field(default=2, ge=0, le=256)


class Params(Section):
    """Section `evaluate` of params.yaml."""

    protocol: Protocol = Field(default=FOLDS, description="fold 9 and fold 10, or out of fold on all ten")
    min_positives: int = Field(ge=1, description="of a class, where it is calibrated, for a threshold of its own")
    min_scored: int = Field(default=10, ge=1, description="positives, and negatives, of a class in the macro")
    min_slice_records: int = Field(default=30, ge=1, description="of a slice, to be scored")
    calibration: CalibrationKind = "slope_and_biases"
    threshold: ThresholdRule = F1_PLATEAU
    robustness: RobustnessParams = RobustnessParams()
    abstain_margin: float = Field(ge=0, lt=1)
    resamples: int = Field(ge=100, description="of the bootstrap by patient")
    seed: int = Field(ge=0)
    threads: int = Field(ge=1)


def run(params: Params, *, records: Path, pages: Path, model_run: Path, evaluation: Path, metrics: Path) -> None:
    """Read record set, page set and model run, write the evaluation, and its numbers once more for `dvc metrics`.

    The pages are learned from where the protocol is `cross`; answers of trainings that are done are kept beside
    `evaluation`.
    """
    from vizecg import evaluation as evaluations
    from vizecg import judging, publish, robustness
    from vizecg.metrics import score
    from vizecg.protocol import words_of
    from vizecg.records import read_record_set
    from vizecg.slices import score_slices, slices_of

    conditions = robustness.conditions(params.robustness.styles, params.robustness.cameras)  # refused first
    record_set = read_record_set(records)
    model = evaluations.read_model(model_run, threads=params.threads)
    if model.description["records"] != record_set.digest:
        raise InputError(f"{model_run} was trained on other records than {records} holds; run train again")
    if model.codes != record_set.codes:
        raise InputError(f"{model_run} answers other classes than those of {records}; run train again")
    kind, version = evaluations.EVALUATION, evaluations.SCHEMA_VERSION
    with publish.publishing(evaluation, kind=kind, schema_version=version) as staging:
        judged = _judge(params, model=model, record_set=record_set, pages=pages, evaluation=evaluation)
        said = judged.scored
        table = record_set.table.iloc[said.rows]
        how: dict[str, Any] = {"min_scored": params.min_scored, "resamples": params.resamples, "seed": params.seed}
        of_records = {"codes": record_set.codes, "patient_ids": table["patient_id"].to_numpy(), **how}
        scores = score(said.labels, said.probabilities, thresholds=said.thresholds, **of_records)
        slices = score_slices(
            said.labels,
            said.probabilities,
            slices=slices_of(table),
            min_records=params.min_slice_records,
            **of_records,
        )
        crossed = params.protocol == CROSS
        content = evaluations.write(
            staging,
            model=model,
            record_set=record_set,
            judged=judged,
            scores=scores,
            served=judging.check_served(judged, record_set=record_set, **how) if crossed else None,
            slices=slices,
            min_slice_records=params.min_slice_records,
            checks=_check(params, conditions=conditions, record_set=record_set, model=model, point=judged.point),
        )
    publish.write_atomically(metrics, publish.to_json(content))
    where = words_of(content).scored_on
    print(f"evaluate: {where}: macro AUROC {_said(scores.macro['auroc'])}, {scores.records} records")


def _judge(params: Params, *, model: "Model", record_set: "RecordSet", pages: Path, evaluation: Path) -> "Judged":
    """Ask who is to be asked, as the protocol has it."""
    from vizecg import judging

    fit = judging.Fit(
        min_positives=params.min_positives,
        abstain_margin=params.abstain_margin,
        calibration=params.calibration,
        threshold=params.threshold,
        described={
            "records_digest": record_set.digest,
            "model_run": model.digest,
            "threshold": params.threshold.model_dump(),
        },
    )
    if params.protocol == FOLDS:
        return judging.by_folds(model, record_set=record_set, fit=fit)
    from vizecg.pages import read_page_set

    return judging.by_crossing(
        model, record_set=record_set, page_set=read_page_set(pages), fit=fit, cache_beside=evaluation
    )


def _check(
    params: Params,
    *,
    conditions: "list[Condition]",
    record_set: "RecordSet",
    model: "Model",
    point: "OperatingPoint",
) -> "Checks | None":
    """Other pages of the same records, and the controls; none where no record of fold 10 has a signal."""
    from vizecg import checks, robustness
    from vizecg.records import TEST_FOLD

    asked = params.robustness
    rows = robustness.rows_of(record_set, folds=[TEST_FOLD], most=asked.records, seed=params.seed)
    if not len(rows):
        print("evaluate: no record of fold 10 has a signal, so no page could be drawn anew: no robustness, no controls")
        return None
    with open_executor(asked.executor, workers=asked.workers) as executor:
        return checks.check(
            model.network,
            record_set=record_set,
            rows=rows,
            recipe=model.recipe,
            point=point,
            conditions=conditions,
            with_controls=asked.controls,
            min_records=params.min_slice_records,
            executor=executor,
            resamples=params.resamples,
            seed=params.seed,
        )


def _said(estimate: "Estimate") -> str:
    if estimate.value is None:
        return "not defined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f} (no interval)"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
