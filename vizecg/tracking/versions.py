"""Versions of the registered model: one for each bundle, uploaded, read back, and named by its digest."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from vizecg import bundle as bundles
from vizecg import intake, publish
from vizecg.bundle import Contract
from vizecg.errors import InputError, Unavailable
from vizecg.patience import patiently
from vizecg.protocol import words_of
from vizecg.registry import BUNDLE_FOLDER, DIGEST_TAG, NoSuchVersion, PinnedVersion, Registry
from vizecg.settings import MODEL_NAME, Settings, shown
from vizecg.tracking.connection import TrackingUnavailable, asking, client, errors_of_stores
from vizecg.tracking.runs import ensure_bare_run, ensure_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.types import TensorSpec
    from onnx import ValueInfoProto

# The version's source: MLflow's own description, and beside it the bundle as it was published. One training may
# give several bundles, and a version's files must outlive the next one: the digest's first digits are in the name.
MODEL_FOLDER: Final = "model"
EXAMPLE_FILE: Final = "input_example.json"
# Before the digest of a pin of data: a version made from what that pin names has a tag of this name.
PIN_TAG: Final = "made_from_pin."
ABOUT_THE_MODEL: Final = (
    "VizECGNet: diagnostic classes from the picture of a printed 12-lead ECG. "
    "Research software, not a medical device. `champion` is what the service answers with; "
    "who moved it and why is in `vizecg models history`."
)


class BrokenUpload(Unavailable):
    """What MLflow gives back is not what it was given; a store that was away for a moment looks the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """One version of the registered model; `created` is False when it was there before."""

    name: str
    version: str
    run_id: str
    created: bool


def ensure_registered(
    bundle: Path,
    *,
    settings: Settings,
    model_run: Path | None = None,
    evaluation: Path | None = None,
    tags: Mapping[str, str] | None = None,
) -> RegisteredVersion:
    """Find the version with this bundle, or upload the bundle and register it; either way its files are read back.

    An MLflow that does not answer is asked again for `settings.patience_s`: what an earlier attempt has done is found.

    Args:
        bundle: published folder of a model.
        settings: which MLflow.
        model_run: of its training, so that the version's run has the whole record.
        evaluation: of the same; the two go together.
        tags: of the version, such as `git_sha` and `dvc_lock`; one that is there already stays.

    Raises:
        InputError: the bundle is missing or damaged, MLflow does not answer, or gives other files back.
        Conflict: another process of this machine is registering.
    """
    return patiently(
        lambda: _ensure(bundle, settings=settings, model_run=model_run, evaluation=evaluation, tags=tags or {}),
        patience_s=settings.patience_s,
        say=lambda line: print(f"register: {line}", flush=True),
    )


def _ensure(
    bundle: Path, *, settings: Settings, model_run: Path | None, evaluation: Path | None, tags: Mapping[str, str]
) -> RegisteredVersion:
    digest, contract = bundles.read(bundle)
    with publish.locked(settings.state_dir / "registering"):
        if model_run is not None and evaluation is not None:
            run_id = ensure_run(settings, model_run=model_run, evaluation=evaluation)
        else:
            run_id = ensure_bare_run(settings, digest=digest, contract=contract)
        found = find_version(settings, digest=digest)
        whole = found is not None and _is_whole(settings, str(found.source), digest=digest)
        if found is None or not whole:
            found, created = _upload_and_register(settings, bundle, run_id=run_id, found=found)
        else:
            created = False
        _add_tags(settings, found, {**_tags_of(settings, run_id), **tags})
    return RegisteredVersion(name=MODEL_NAME, version=str(found.version), run_id=str(found.run_id), created=created)


def find_version(settings: Settings, *, digest: str) -> "ModelVersion | None":
    """The newest version registered with a bundle of this digest."""
    mlflow = client(settings)
    with asking(settings):
        found = mlflow.search_model_versions(f"name = '{MODEL_NAME}' and tags.{DIGEST_TAG} = '{digest}'")
    return max(found, key=lambda version: int(version.version), default=None)


def all_versions(settings: Settings) -> "list[ModelVersion]":
    """Every version, newest first."""
    mlflow = client(settings)
    found: list[ModelVersion] = []
    token = None
    with asking(settings):
        while token is None or token:
            page = mlflow.search_model_versions(f"name = '{MODEL_NAME}'", max_results=1000, page_token=token or None)
            found += page
            token = page.token or ""
    return sorted(found, key=lambda version: -int(version.version))


def all_aliases(settings: Settings) -> dict[str, str]:
    """Alias -> version; a search for versions leaves the aliases out."""
    mlflow = client(settings)
    with asking(settings):
        known = mlflow.search_registered_models(f"name = '{MODEL_NAME}'")
    return {alias: str(version) for model in known for alias, version in model.aliases.items()}


def aliased(settings: Settings, *, alias: str) -> PinnedVersion | None:
    """Which version an alias means, None when it means none."""
    client(settings)  # makes the embedded database: an empty registry is empty, not missing
    try:
        return Registry(settings).resolve(alias)
    except NoSuchVersion:
        return None


def set_alias(settings: Settings, *, alias: str, pinned: PinnedVersion) -> None:
    """Let an alias point at a version, and read it back.

    Raises:
        TrackingUnavailable: MLflow does not answer, or says afterwards that the alias points elsewhere.
    """
    mlflow = client(settings)
    with asking(settings):
        mlflow.set_registered_model_alias(MODEL_NAME, alias, pinned.version)
    now = aliased(settings, alias=alias)
    if now is None or (now.version, now.bundle_digest) != (pinned.version, pinned.bundle_digest):
        raise TrackingUnavailable(
            f"MLflow at {shown(settings.tracking_uri)} was told that {MODEL_NAME}@{alias} is version "
            f"{pinned.version} and says it is {f'version {now.version}' if now else 'none'}; "
            "somebody else moves aliases there"
        )


def drop_alias(settings: Settings, *, alias: str) -> None:
    """Let an alias point nowhere; nothing happens when it does already."""
    mlflow = client(settings)
    with asking(settings):
        mlflow.delete_registered_model_alias(MODEL_NAME, alias)


def _upload_and_register(
    settings: Settings, bundle: Path, *, run_id: str, found: "ModelVersion | None"
) -> "tuple[ModelVersion, bool]":
    """Upload and read back before there is a version: MLflow would call it READY whatever its files are."""
    digest, contract = bundles.read(bundle)
    mlflow = client(settings)
    with asking(settings):
        place = f"{MODEL_FOLDER}-{digest[:12]}"
        source = f"{mlflow.get_run(run_id).info.artifact_uri}/{place}"
        _upload(mlflow, run_id, bundle=bundle, place=place)
    if not _is_whole(settings, source, digest=digest):
        raise BrokenUpload(
            f"MLflow at {shown(settings.tracking_uri)} gives back other files than bundle {digest[:12]} from "
            f"{shown(source)}; nothing was registered: see to its artifact store, then register again"
        )
    if found is not None and found.source == source:  # its files were damaged, and are whole again
        return found, False
    with asking(settings):
        _ensure_model(mlflow)
        tags = {DIGEST_TAG: digest, "simulated": str(contract.simulated).lower(), **_score_tags(contract)}
        text = _description(contract, digest=digest)
        # Nothing to wait for: the files are there, and READY would prove nothing about them.
        return mlflow.create_model_version(
            MODEL_NAME, source, run_id, tags=tags, description=text, await_creation_for=0
        ), True


def _upload(mlflow: "MlflowClient", run_id: str, *, bundle: Path, place: str) -> None:
    mlflow.log_artifacts(run_id, str(bundle), f"{place}/{BUNDLE_FOLDER}")
    with tempfile.TemporaryDirectory() as scratch:
        _describe_for_mlflow(Path(scratch), bundle=bundle, run_id=run_id, place=place)
        mlflow.log_artifacts(run_id, scratch, place)


def _describe_for_mlflow(folder: Path, *, bundle: Path, run_id: str, place: str) -> None:
    """Write what MLflow's pages show of a model: its signature and an example. The flavour only names the ONNX file."""
    import onnx
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema

    graph = onnx.load(bundle / bundles.ONNX_FILE, load_external_data=False).graph
    signature = ModelSignature(
        inputs=Schema([_tensor_spec(value) for value in graph.input]),
        outputs=Schema([_tensor_spec(value) for value in graph.output]),
    )
    example = intake.to_tensor(bundles.read_goldens(bundle)[0].canonical)  # (1, 1, H, W)
    # Three decimals are finer than the 256 shades of a page, and a third of the bytes.
    inputs = {"inputs": {graph.input[0].name: np.round(example.astype(np.float64), 3).tolist()}}
    (folder / EXAMPLE_FILE).write_text(json.dumps(inputs), encoding="utf-8")
    described = Model(
        artifact_path=place,
        run_id=run_id,
        signature=signature,
        saved_input_example_info={"artifact_path": EXAMPLE_FILE, "type": "ndarray", "format": "tf-serving"},
    )
    described.add_flavor("onnx", data=f"{BUNDLE_FOLDER}/{bundles.ONNX_FILE}", onnx_version=onnx.__version__)
    described.save(str(folder / "MLmodel"))


def _tensor_spec(value: "ValueInfoProto") -> "TensorSpec":
    from mlflow.types import TensorSpec
    from onnx.helper import tensor_dtype_to_np_dtype

    kind = value.type.tensor_type
    # An axis of no fixed size has a name instead of a number.
    shape = tuple(axis.dim_value if axis.HasField("dim_value") else -1 for axis in kind.shape.dim)
    return TensorSpec(tensor_dtype_to_np_dtype(kind.elem_type), shape, value.name)


def _is_whole(settings: Settings, source: str, *, digest: str) -> bool:
    """Download a version's bundle and hold it against its digest; MLflow gives truncated files without a word."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uris = {"tracking_uri": settings.tracking_uri, "registry_uri": settings.tracking_uri}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            got = download_artifacts(artifact_uri=f"{source}/{BUNDLE_FOLDER}", dst_path=scratch, **uris)
            return bundles.read(Path(got))[0] == digest
        except errors_of_stores(MlflowException, OSError, InputError):
            return False


def _ensure_model(mlflow: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    try:
        mlflow.create_registered_model(MODEL_NAME, description=ABOUT_THE_MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _add_tags(settings: Settings, version: "ModelVersion", tags: Mapping[str, str]) -> None:
    mlflow = client(settings)
    with asking(settings):
        for name, value in tags.items():
            if name not in (version.tags or {}):
                mlflow.set_model_version_tag(MODEL_NAME, version.version, name, value)


def _tags_of(settings: Settings, run_id: str) -> dict[str, str]:
    """What the run knows and whoever looks at the version wants to see there."""
    mlflow = client(settings)
    with asking(settings):
        known = mlflow.get_run(run_id).data.tags
    return {name: known[name] for name in ("run_digest", "evaluation_digest", "data_source") if name in known}


def _score_tags(contract: Contract) -> dict[str, str]:
    scores = contract.scores
    values = {"macro_auroc": scores.macro_auroc, "macro_auroc_low": scores.low, "macro_auroc_high": scores.high}
    return {name: f"{value:.4f}" for name, value in values.items() if value is not None}


def _description(contract: Contract, *, digest: str) -> str:
    scores = contract.scores
    parts = [f"Bundle `{digest[:12]}`."]
    if scores.macro_auroc is not None:
        ends = f" ({scores.low:.3f} to {scores.high:.3f})" if scores.low is not None and scores.high is not None else ""
        where = words_of(contract.operating_point.fitted_on).scored_on
        parts.append(f"Macro AUROC on {where}: {scores.macro_auroc:.3f}{ends}, {scores.records} records.")
    if contract.simulated:
        parts.append("Trained on **simulated** records: its answers have no medical meaning.")
    return " ".join(parts)
