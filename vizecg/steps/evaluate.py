"""Ask the trained model as the service would; calibrate on fold 9, score on fold 10, once."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from vizecg.calibration import F1_PLATEAU, CalibrationKind, ThresholdRule
from vizecg.config import Section
from vizecg.errors import InputError
from vizecg.executors import PROCESSES, ExecutorName, open_executor

if TYPE_CHECKING:
    from vizecg.checks import Checks
    from vizecg.evaluation import Model
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

    min_positives: int = Field(ge=1, description="of a class in fold 9, for a threshold of its own")
    min_scored: int = Field(default=10, ge=1, description="positives, and negatives, of a class in the macro")
    min_slice_records: int = Field(default=30, ge=1, description="of a slice, to be scored")
    calibration: CalibrationKind = "slope_and_biases"
    threshold: ThresholdRule = F1_PLATEAU
    robustness: RobustnessParams = RobustnessParams()
    abstain_margin: float = Field(ge=0, lt=1)
    resamples: int = Field(ge=100, description="of the bootstrap by patient")
    seed: int = Field(ge=0)
    threads: int = Field(ge=1)


def run(params: Params, *, records: Path, model_run: Path, evaluation: Path, metrics: Path) -> None:
    """Read record set and model run, write the evaluation, and its numbers once more for `dvc metrics`."""
    from vizecg import evaluation as evaluations
    from vizecg import publish, robustness
    from vizecg.metrics import score
    from vizecg.records import TEST_FOLD, VALIDATION_FOLD, read_record_set
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
        validation = evaluations.ask(model, record_set=record_set, fold=VALIDATION_FOLD)
        point = evaluations.fit_operating_point(
            validation,
            min_positives=params.min_positives,
            abstain_margin=params.abstain_margin,
            fitted_on={
                "records_digest": record_set.digest,
                "model_run": model.digest,
                "threshold": params.threshold.model_dump(),
            },
            calibration=params.calibration,
            threshold=params.threshold,
        )
        test = evaluations.ask(model, record_set=record_set, fold=TEST_FOLD)
        table, probabilities = record_set.table.iloc[test.rows], point.probabilities(test.logits)
        patient_ids = table["patient_id"].to_numpy()
        scores = score(
            test.labels,
            probabilities,
            codes=record_set.codes,
            thresholds=point.thresholds,
            patient_ids=patient_ids,
            min_scored=params.min_scored,
            resamples=params.resamples,
            seed=params.seed,
        )
        slices = score_slices(
            test.labels,
            probabilities,
            slices=slices_of(table),
            codes=record_set.codes,
            patient_ids=patient_ids,
            min_records=params.min_slice_records,
            min_scored=params.min_scored,
            resamples=params.resamples,
            seed=params.seed,
        )
        checks = _check(params, conditions=conditions, record_set=record_set, model=model, point=point)
        content = evaluations.write(
            staging,
            model=model,
            record_set=record_set,
            test=test,
            point=point,
            scores=scores,
            slices=slices,
            min_slice_records=params.min_slice_records,
            checks=checks,
        )
    publish.write_atomically(metrics, publish.to_json(content))
    print(f"evaluate: fold 10 macro AUROC {_said(scores.macro['auroc'])}, {scores.records} records")


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
