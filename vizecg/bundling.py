"""Make a bundle: a pure function of a model run and its evaluation.

Goldens are pages of simulated hearts, whatever the model was trained on: a
bundle travels, and no patient's page may travel with it.
"""

import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vizecg import bundle, intake, model_card, modelrun, publish, report
from vizecg import evaluation as evaluations
from vizecg.bundle import (
    ClassEntry,
    Contract,
    GoldenEntry,
    Goldens,
    GoldenTolerance,
    Headline,
    ImageSize,
    Inputs,
    PaperScale,
    QualityLimits,
)
from vizecg.errors import InputError
from vizecg.intake import CanonicalSpec
from vizecg.labels import LabelClass
from vizecg.operating_point import OperatingPoint
from vizecg.predictor import ImageModel
from vizecg.reference import REFERENCE_FILE, read_reference, write_reference
from vizecg.settings import MODEL_NAME
from vizecg.textbook import textbook_pages

INTENDED_USE: Final = (
    "Research on reading diagnostic classes from pictures of printed 12-lead ECGs, 25 mm/s and 10 mm/mV. "
    "Not a medical device: must not guide the diagnosis or treatment of a patient."
)
# What decides the numbers that a bundle gives.
_PACKAGES: Final = ("numpy", "onnxruntime", "opencv-python-headless", "pillow", "simplejpeg", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a bundle is made from, verified and read."""

    model_run: Path
    evaluation: Path
    description: dict[str, Any]
    scores: dict[str, Any]
    classes: tuple[LabelClass, ...]
    operating_point: OperatingPoint
    inputs: Inputs

    @property
    def spec(self) -> CanonicalSpec:
        """Input of the model."""
        return CanonicalSpec(**self.description["image"])


def build(staging: Path, *, model_run: Path, evaluation: Path, goldens: int, tolerance: GoldenTolerance) -> Sources:
    """Fill a staging folder with everything but the manifest.

    Args:
        staging: empty folder, see `publish.publishing`.
        model_run: published by train.
        evaluation: published by evaluate.
        goldens: how many, at most `MOST_PAGES`.
        tolerance: how far a later answer may be from a golden one.

    Returns:
        What it was made from.

    Raises:
        InputError: a source is missing or damaged, they do not belong together,
            or the model gives no numbers.
    """
    sources = read_sources(model_run, evaluation=evaluation)
    for source, name, target in (
        (model_run, modelrun.ONNX_FILE, bundle.ONNX_FILE),
        (model_run, modelrun.WEIGHTS_FILE, bundle.WEIGHTS_FILE),
        (evaluation, bundle.OPERATING_POINT_FILE, bundle.OPERATING_POINT_FILE),
    ):
        shutil.copyfile(source / name, staging / target)
    # An evaluation of before has none; its bundle is served all the same, and the monitor says so.
    if (reference := read_reference(evaluation / REFERENCE_FILE)) is not None:
        write_reference(staging / REFERENCE_FILE, reference)
    contract = _contract(sources, tolerance=tolerance)
    (staging / bundle.CONTRACT_FILE).write_text(publish.to_json(contract.model_dump(mode="json")), encoding="utf-8")
    model = ImageModel(staging / bundle.ONNX_FILE, sources.spec)
    _write_goldens(staging, pages=textbook_pages(goldens), model=model, operating_point=sources.operating_point)
    slices = report.read_slices(evaluation / report.SLICES_FILE)
    card = model_card.write(contract, scores=sources.scores, description=sources.description, slices=slices)
    (staging / bundle.MODEL_CARD_FILE).write_text(card, encoding="utf-8")
    return sources


def read_sources(model_run: Path, *, evaluation: Path) -> Sources:
    """Verify both folders, and that the one was scored which is bundled.

    Raises:
        InputError: they are missing, damaged, not of one model, or of a rival.
    """
    run_manifest = publish.verify(model_run, kind=modelrun.MODEL_RUN, schema_version=modelrun.SCHEMA_VERSION)
    scored = publish.verify(evaluation, kind=evaluations.EVALUATION, schema_version=evaluations.SCHEMA_VERSION)
    description = _json(model_run / modelrun.DESCRIPTION_FILE)
    if (architecture := modelrun.architecture_of(description)) != "vizecgnet":
        raise InputError(
            f"{model_run} is a rival ({architecture}), trained to compare with and never served; set "
            "train.model.architecture to vizecgnet and run train and evaluate again"
        )
    scores = _json(evaluation / evaluations.SCORES_FILE)
    if (scored_run := scores.get("model_run")) != run_manifest.digest:
        raise InputError(
            f"{evaluation} scores model run {str(scored_run)[:12]}…, {model_run} is {run_manifest.digest[:12]}…; "
            "run evaluate again"
        )
    operating_point = OperatingPoint.read(evaluation / bundle.OPERATING_POINT_FILE)
    classes = modelrun.classes_of(description, source=model_run / modelrun.DESCRIPTION_FILE)
    if operating_point.classes != (codes := tuple(entry.code for entry in classes)):
        raise InputError(
            f"{evaluation} is for the classes {list(operating_point.classes)}, {model_run} for "
            f"{list(codes)}; run evaluate again"
        )
    return Sources(
        model_run=model_run,
        evaluation=evaluation,
        description=description,
        scores=scores,
        classes=classes,
        operating_point=operating_point,
        inputs=Inputs(
            model_run=run_manifest.digest,
            evaluation=scored.digest,
            records=description.get("records"),
            pages=description.get("pages"),
        ),
    )


def check_torch_agrees(staging: Path, *, description: dict[str, Any], tolerance: GoldenTolerance) -> None:
    """Run the weights in torch on the goldens: they must say what the ONNX file says.

    Args:
        staging: folder that `build` has filled.
        description: of the model run.
        tolerance: how far the logits may differ.

    Raises:
        InputError: they do not, so weights and ONNX are not of one model.
    """
    import torch
    from safetensors.torch import load_file

    from vizecg.models import empty_model, page_network
    from vizecg.recipe import ModelConfig

    labels = len(description["classes"])
    network = page_network(empty_model(ModelConfig.model_validate(description["config"]), labels=labels))
    network.load_state_dict(load_file(staging / bundle.WEIGHTS_FILE))
    network.eval()
    for golden in bundle.read_goldens(staging):
        with torch.inference_mode():
            logits = network.predict_image(torch.from_numpy(intake.to_tensor(golden.canonical)))[0].numpy()
        worst = float(np.abs(logits - golden.logits).max())
        if not worst <= tolerance.logits:
            raise InputError(
                f"{golden.name}: the logits of {bundle.WEIGHTS_FILE} and {bundle.ONNX_FILE} differ by {worst:.4g}, "
                f"allowed {tolerance.logits:g}; train again"
            )


def _contract(sources: Sources, *, tolerance: GoldenTolerance) -> Contract:
    spec = sources.spec
    return Contract(
        schema_version=bundle.SCHEMA_VERSION,
        model_name=MODEL_NAME,
        task=sources.description["task"],
        classes=tuple(ClassEntry(code=entry.code, name=entry.name) for entry in sources.classes),
        image=ImageSize(
            height_px=spec.height_px,
            width_px=spec.width_px,
            px_per_mm=spec.px_per_mm,
            field_mm=(spec.width_px / spec.px_per_mm, spec.height_px / spec.px_per_mm),
        ),
        paper_scales=(PaperScale(mm_per_s=25.0, mm_per_mv=10.0),),
        operating_point=sources.operating_point,
        quality_limits=QualityLimits(max_pixels=intake.DecodeLimits().max_pixels),
        tolerance=tolerance,
        intended_use=INTENDED_USE,
        simulated=sources.description["simulated"],
        scores=_headline(sources.scores),
        inputs=sources.inputs,
        packages={name: version(name) for name in _PACKAGES},
    )


def _headline(scores: dict[str, Any]) -> Headline:
    return Headline(
        macro_auroc=scores["macro"]["auroc"],
        low=scores["macro"]["auroc_low"],
        high=scores["macro"]["auroc_high"],
        records=scores["records"],
    )


def _write_goldens(staging: Path, *, pages: list[bytes], model: ImageModel, operating_point: OperatingPoint) -> None:
    place = (staging / bundle.GOLDENS_FILE).parent
    place.mkdir()
    entries = []
    for at, data in enumerate(pages):
        taken = intake.normalise(intake.open_upload(data), spec=model.spec)
        if not taken.is_ecg:
            raise InputError(f"the intake takes golden page {at} for no ECG: {[f.message for f in taken.findings]}")
        entry = _golden(f"page-{at}", taken.canonical, model=model, operating_point=operating_point)
        (place / entry.image).write_bytes(data)
        np.save(place / entry.canonical, taken.canonical)
        entries.append(entry)
    content = Goldens(pages=tuple(entries)).model_dump(mode="json")
    (staging / bundle.GOLDENS_FILE).write_text(publish.to_json(content), encoding="utf-8")


def _golden(
    name: str, canonical: NDArray[np.uint8], *, model: ImageModel, operating_point: OperatingPoint
) -> GoldenEntry:
    logits = model.logits(canonical[np.newaxis])
    return GoldenEntry(
        image=f"{name}.png",
        canonical=f"{name}.npy",
        logits=tuple(map(float, logits[0])),
        probabilities=tuple(map(float, operating_point.probabilities(logits)[0])),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}); produce its folder again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold an object; produce its folder again")
    return content
