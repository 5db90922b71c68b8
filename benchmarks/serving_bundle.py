"""A bundle to serve: the network of params.yaml as large as it is trained, its weights as they are drawn."""

from pathlib import Path

from benchmarks.bench_intake import SPEC
from vizecg import bundle as bundles
from vizecg import bundling, modelrun, publish
from vizecg import evaluation as evaluations
from vizecg.config import read_params
from vizecg.export import export_onnx, save_weights
from vizecg.labels import TASKS
from vizecg.models import build_model
from vizecg.operating_point import OperatingPoint
from vizecg.steps import params_models

TASK = TASKS["superdiagnostic"]
SCORES = {"auroc": 0.5, "auroc_low": 0.5, "auroc_high": 0.5, "auprc": 0.5, "f1": 0.5}


def make_bundle(place: Path) -> Path:
    """Model run, evaluation and bundle below `place`; the numbers in the evaluation mean nothing."""
    digest = _write_model_run(place / "run")
    _write_evaluation(place / "evaluation", model_run=digest)
    tolerance = bundles.GoldenTolerance(gray_levels=2.0, logits=1e-3, probabilities=0.02)
    with publish.publishing(place / "bundle", kind=bundles.BUNDLE, schema_version=bundles.SCHEMA_VERSION) as staging:
        bundling.build(
            staging, model_run=place / "run", evaluation=place / "evaluation", goldens=4, tolerance=tolerance
        )
    return place / "bundle"


def _write_model_run(folder: Path) -> str:
    params = read_params(Path(__file__).parent.parent / "params.yaml", models=params_models())["train"]
    network = build_model(params.model, labels=len(TASK.codes), seed=0).eval()
    description = {
        "schema_version": modelrun.SCHEMA_VERSION,
        "task": TASK.name,
        "classes": [{"code": entry.code, "name": entry.name} for entry in TASK.classes],
        "params": {"epochs": 0},
        "precision": "float32",
        "source": {"uri": "none"},
        "image": {"height_px": SPEC.height_px, "width_px": SPEC.width_px, "px_per_mm": SPEC.px_per_mm},
        "config": params.model.model_dump(mode="json"),
        "best_epoch": 0,
        "records": "0" * 64,
        "pages": "0" * 64,
        "simulated": True,
    }
    with publish.publishing(folder, kind=modelrun.MODEL_RUN, schema_version=modelrun.SCHEMA_VERSION) as staging:
        export_onnx(network, staging / modelrun.ONNX_FILE, image_height_px=SPEC.height_px, image_width_px=SPEC.width_px)
        save_weights(network, staging / modelrun.WEIGHTS_FILE)
        (staging / modelrun.DESCRIPTION_FILE).write_text(publish.to_json(description))
    return publish.read_manifest(folder, kind=modelrun.MODEL_RUN, schema_version=modelrun.SCHEMA_VERSION).digest


def _write_evaluation(folder: Path, *, model_run: str) -> None:
    codes = TASK.codes
    point = OperatingPoint(
        classes=codes,
        slope=(1.0,) * len(codes),
        bias=(0.0,) * len(codes),
        thresholds=(0.5,) * len(codes),
        abstain_margin=0.0,
        fitted_on={"records": 0},
    )
    scores = {
        "model_run": model_run,
        "records": 0,
        "macro": SCORES,
        "macro_classes": list(codes),
        "classes": dict.fromkeys(codes, SCORES),
    }
    kind, version = evaluations.EVALUATION, evaluations.SCHEMA_VERSION
    with publish.publishing(folder, kind=kind, schema_version=version) as staging:
        (staging / evaluations.SCORES_FILE).write_text(publish.to_json(scores))
        (staging / bundles.OPERATING_POINT_FILE).write_text(point.to_json())
