"""ModelRun: the artefact of train. Weights, the ONNX that is scored and served, and how it came to be."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vizecg.errors import InputError
from vizecg.labels import LabelClass, slug
from vizecg.publish import to_json

if TYPE_CHECKING:
    from vizecg.batches import TrainingData
    from vizecg.pages import PageSet
    from vizecg.records import RecordSet
    from vizecg.steps.train import Params
    from vizecg.training import EpochReport, TrainedModel

MODEL_RUN: Final = "model-run"
SCHEMA_VERSION: Final = 2

ONNX_FILE: Final = "model.onnx"
WEIGHTS_FILE: Final = "model.safetensors"
DESCRIPTION_FILE: Final = "model.json"
HISTORY_FILE: Final = "metrics.jsonl"
CURVES_FILE: Final = "curves.csv"
_HEADS: Final = ("image", "signal", "fused")


def write(
    staging: Path,
    *,
    trained: "TrainedModel",
    data: "TrainingData",
    params: "Params",
    record_set: "RecordSet",
    page_set: "PageSet",
) -> None:
    """Fill a staging folder; a model that reads the signal has no ONNX file.

    Nothing in it depends on the clock, so equal runs are equal bytes.
    """
    from vizecg.export import export_onnx, save_weights

    spec = page_set.spec
    save_weights(trained.model, staging / WEIGHTS_FILE)
    if not trained.model.config.needs_signal:
        export_onnx(trained.model, staging / ONNX_FILE, image_height_px=spec.height_px, image_width_px=spec.width_px)
    learned_from = data.training_rows
    description = {
        "schema_version": SCHEMA_VERSION,
        "task": record_set.task,
        "classes": [asdict(entry) for entry in record_set.classes],
        "image": {"height_px": spec.height_px, "width_px": spec.width_px, "px_per_mm": spec.px_per_mm},
        "config": trained.model.config.model_dump(mode="json"),
        "params": params.model_dump(mode="json"),
        "recipe": page_set.recipe,
        "precision": trained.precision,
        "best_epoch": trained.best_epoch,
        "best_auroc": trained.best_auroc,
        "teacher_auroc": trained.teacher_auroc,
        "records": record_set.digest,
        "pages": page_set.digest,
        "sampling_hz": record_set.sampling_hz,
        "learned_from": {
            "records": len(learned_from),
            "on_paper": int((~data.has_signal[learned_from]).sum()),
            "pages_left_out": int((~page_set.is_ecg).sum()),
        },
        "source": dict(record_set.source),
        "simulated": record_set.simulated,
    }
    (staging / DESCRIPTION_FILE).write_text(to_json(description), encoding="utf-8")
    _write_history(staging, history=trained.history)


def classes_of(description: Mapping[str, Any], *, source: Path) -> tuple[LabelClass, ...]:
    """What the model answers, in the order of its logits.

    Raises:
        InputError: the description does not say.
    """
    try:
        return tuple(LabelClass(code=entry["code"], name=entry["name"]) for entry in description["classes"])
    except (KeyError, TypeError):
        raise InputError(f"{source} does not name its classes; train again") from None


def architecture_of(description: Mapping[str, Any]) -> str:
    """Name of the network; runs from before there were rivals do not say, and are VizECGNet."""
    return str(description.get("config", {}).get("architecture", "vizecgnet"))


def numbers(report: "EpochReport") -> dict[str, float]:
    """Metric name -> value of one epoch, as MLflow shows them; what is not defined is left out."""
    found: dict[str, float | None] = {f"loss/{name}": value for name, value in report.losses.items()}
    found |= {f"fold9/auroc_{head}": value for head, value in report.validation_auroc.items()}
    found |= {f"fold9/auroc_{slug(code)}": value for code, value in report.class_auroc.items()}
    found |= {"distillation_weight": report.distillation_weight, "learning_rate": report.learning_rate}
    return {name: value for name, value in found.items() if value is not None}


def _write_history(staging: Path, *, history: tuple["EpochReport", ...]) -> None:
    import json

    lines: list[dict[str, Any]] = [{"epoch": report.epoch, **numbers(report)} for report in history]
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    (staging / HISTORY_FILE).write_text(text, encoding="utf-8")
    heads = [head for head in _HEADS if any(head in report.validation_auroc for report in history)]
    rows = [["epoch", *heads]]
    for report in history:
        values = (report.validation_auroc.get(head) for head in heads)
        rows.append([str(report.epoch), *("" if value is None else f"{value:.6f}" for value in values)])
    (staging / CURVES_FILE).write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
