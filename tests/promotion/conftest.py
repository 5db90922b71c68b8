"""Small bundles with every file a real one has, and an MLflow of this machine to put them in."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vizecg import bundle as bundles
from vizecg import modelrun, publish
from vizecg.intake import CanonicalSpec
from vizecg.labels import TASKS, slug
from vizecg.operating_point import OperatingPoint
from vizecg.settings import MODEL_NAME, Settings

SPEC = CanonicalSpec(height_px=32, width_px=48, px_per_mm=1.5)
SCORES = {"macro_auroc": 0.9, "macro_auroc_low": 0.85, "macro_auroc_high": 0.94, "records": 130}


def _write_onnx(path: Path, *, seed: int, labels: int, spec: CanonicalSpec) -> None:
    kernel = np.random.default_rng(seed).normal(0, 0.05, (labels, 1, 16, 16)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["evidence"], strides=[16, 16]),
        helper.make_node("GlobalAveragePool", ["evidence"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    grid = [spec.height_px // 16, spec.width_px // 16]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, spec.height_px, spec.width_px])]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", labels]),
        helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["n", labels, *grid]),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [numpy_helper.from_array(kernel, "kernel")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def _operating_point(codes: tuple[str, ...]) -> OperatingPoint:
    ones = (1.0,) * len(codes)
    return OperatingPoint(
        classes=codes,
        slope=ones,
        bias=(0.0,) * len(codes),
        thresholds=(0.5,) * len(codes),
        abstain_margin=0.05,
        fitted_on={"records": 133},
    )


def write_bundle(
    folder: Path,
    *,
    seed: int = 0,
    simulated: bool = True,
    task: str = "superdiagnostic",
    codes: tuple[str, ...] | None = None,
    spec: CanonicalSpec = SPEC,
) -> Path:
    codes = TASKS[task].codes if codes is None else codes
    names = {entry.code: entry.name for entry in TASKS[task].classes}
    contract = bundles.Contract(
        schema_version=1,
        model_name=MODEL_NAME,
        task=task,
        classes=tuple(bundles.ClassEntry(code=code, name=names[code]) for code in codes),
        image=bundles.ImageSize(
            height_px=spec.height_px, width_px=spec.width_px, px_per_mm=spec.px_per_mm, field_mm=(32.0, 21.3)
        ),
        paper_scales=(bundles.PaperScale(mm_per_s=25, mm_per_mv=10),),
        operating_point=_operating_point(codes),
        quality_limits=bundles.QualityLimits(max_pixels=1_000_000),
        tolerance=bundles.GoldenTolerance(gray_levels=2, logits=1e-3, probabilities=0.02),
        intended_use="tests",
        simulated=simulated,
        scores=bundles.Headline(macro_auroc=0.9, low=0.85, high=0.94, records=130),
        inputs=bundles.Inputs(model_run="a" * 64, evaluation="b" * 64, records=None, pages=None),
        packages={},
    )
    golden = bundles.GoldenEntry(
        image="page-0.png", canonical="page-0.npy", logits=(0.0,) * len(codes), probabilities=(0.5,) * len(codes)
    )
    with publish.publishing(folder, kind=bundles.BUNDLE, schema_version=bundles.SCHEMA_VERSION) as staging:
        _write_onnx(staging / bundles.ONNX_FILE, seed=seed, labels=len(codes), spec=spec)
        (staging / bundles.CONTRACT_FILE).write_text(publish.to_json(contract.model_dump(mode="json")))
        (staging / bundles.WEIGHTS_FILE).write_bytes(b"weights")
        (staging / "goldens").mkdir()
        (staging / bundles.GOLDENS_FILE).write_text(bundles.Goldens(pages=(golden,)).model_dump_json())
        (staging / "goldens" / "page-0.png").write_bytes(b"PNG")
        np.save(staging / "goldens" / "page-0.npy", np.full((spec.height_px, spec.width_px), 255, np.uint8))
    return folder


def write_model_run(folder: Path, *, epochs: int = 3, simulated: bool = True, codes: tuple[str, ...] = ()) -> Path:
    by_class = {f"fold9/auroc_{slug(code)}": 0.6 for code in codes}
    history = [
        {"epoch": n, "loss/total": 1 / n, "fold9/auroc_image": 0.7 + n / 100, **by_class} for n in range(1, epochs + 1)
    ]
    description = {
        "task": "superdiagnostic",
        "params": {"epochs": epochs, "model": {"dim": 128}, "seed": 1},
        "precision": "float32",
        "best_epoch": epochs,
        "records": "1" * 64,
        "pages": "2" * 64,
        "source": {"uri": "simulated://1000?seed=7", "simulated": simulated, "digest": "3" * 64},
        "simulated": simulated,
    }
    with publish.publishing(
        folder, kind=modelrun.MODEL_RUN, schema_version=modelrun.SCHEMA_VERSION
    ) as staging:  # fmt: skip
        (staging / modelrun.DESCRIPTION_FILE).write_text(publish.to_json(description))
        lines = "".join(json.dumps(line) + "\n" for line in history)
        (staging / modelrun.HISTORY_FILE).write_text(lines)
        (staging / modelrun.WEIGHTS_FILE).write_bytes(b"weights")
    return folder


def write_evaluation(
    folder: Path, *, macro_auroc: float = 0.9, classes: dict[str, dict[str, float | None]] | None = None
) -> Path:
    scores = {**SCORES, "macro_auroc": macro_auroc, "classes": classes or {"MI": {"auroc": 0.91, "auprc": None}}}
    scores |= {"schema_version": 1, "fold": 10, "simulated": True, "age": {"90+": {"auroc": 0.8}}}
    with publish.publishing(folder, kind="evaluation", schema_version=1) as staging:
        (staging / "metrics.json").write_text(publish.to_json(scores))
        (staging / "figures").mkdir()
        (staging / "figures" / "roc.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them: they take a second and a half to make."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def settings(tmp_path: Path, empty_mlflow: Path) -> Settings:
    """The embedded default: MLflow's database and files, and the ledger, under one folder of this test."""
    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(empty_mlflow, state / "mlflow.db")
    urls = {"tracking_uri": f"sqlite:///{state}/mlflow.db", "ledger_url": f"sqlite:///{state}/ledger.db"}
    return Settings(state_dir=state, **urls)


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Write a bundle by a name: `make_bundle("first", seed=1)`."""
    return lambda name, **content: write_bundle(tmp_path / name, **content)


@pytest.fixture
def model_run(tmp_path: Path) -> Path:
    return write_model_run(tmp_path / "run")


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    return write_evaluation(tmp_path / "evaluation")


@pytest.fixture
def make_evaluation(tmp_path: Path) -> Callable[..., Path]:
    return lambda name, **content: write_evaluation(tmp_path / name, **content)


@pytest.fixture
def make_model_run(tmp_path: Path) -> Callable[..., Path]:
    return lambda name, **content: write_model_run(tmp_path / name, **content)
