"""First weights from simulated records, of which there is any number, before the few real ones.

A switch of section `train`: the very network of the recipe learns first from simulated
patients on pages of all styles through all cameras, both streams where it has both. The
weights are then its `model.init`. Records, pages and weights are kept by all that decides
them, so ten trainings out of fold share one, which they may: no simulated patient is anybody's.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vizecg import publish
from vizecg.code_digest import DRAWING, digest_of_code
from vizecg.errors import InputError
from vizecg.recipe import InitialWeights, PretrainingParams, Recipe

if TYPE_CHECKING:
    from vizecg.batches import TrainingData
    from vizecg.intake import CanonicalSpec
    from vizecg.pages import PageSet
    from vizecg.records import RecordSet
    from vizecg.training import EpochReport

_CODE: Final = (*DRAWING, "simulate")
_FOLDS: Final = tuple(range(1, 11))
# A share of the network's own seed would tie the first weights to one training of several.
_SEED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What simulated records and their pages have in common with those that are learned from next."""

    task: str
    sampling_hz: int
    upload_px_per_mm: float
    spec: "CanonicalSpec"


def with_first_weights(recipe: Recipe, *, record_set: "RecordSet", page_set: "PageSet", folder: Path) -> Recipe:
    """The recipe with its pretraining done: `model.init` names the weights; as it is where it asks for none.

    Args:
        recipe: of a training on `record_set`.
        record_set: whose task the simulated records are to have.
        page_set: whose resolution their pages are to have.
        folder: where weights are kept, and where they are found again.

    Raises:
        InputError: the records or pages cannot be made.
        Conflict: another process pretrains into the same folder.
    """
    if recipe.pretraining is None:
        return recipe
    refuse_other_classes(record_set)
    looks = Looks(
        task=record_set.task,
        sampling_hz=record_set.sampling_hz,
        upload_px_per_mm=page_set.recipe["upload_px_per_mm"],
        spec=page_set.spec,
    )
    kept = pretrained(recipe, recipe.pretraining, looks=looks, folder=folder)
    init = InitialWeights(path=str(kept), sha256=publish.sha256_of(kept))
    return recipe.model_copy(update={"pretraining": None, "model": recipe.model.model_copy(update={"init": init})})


def pretrained(recipe: Recipe, asked: PretrainingParams, *, looks: Looks, folder: Path) -> Path:
    """Pretrain the network of a recipe, unless it was done before.

    Args:
        recipe: of the training that is to begin with these weights.
        asked: from how many simulated records, and for how long.
        looks: task and sampling rate of the records, resolutions of their pages.
        folder: where weights are kept, and where they are found again.

    Returns:
        The safetensors file in `folder`.

    Raises:
        InputError: the records or pages cannot be made.
        Conflict: another process pretrains into the same folder.
    """
    alone, drawn = _pretraining_recipe(recipe, asked), _identity_of_pages(asked, looks=looks)
    kept = folder / f"pretrained-{_identity(alone, drawn=drawn)[:16]}.safetensors"
    if kept.exists():
        print(f"pretraining: on {asked.records} simulated records, done before", flush=True)
        return kept
    with publish.locked(kept):
        data = _simulated(asked, looks=looks, place=folder / f"simulated-{drawn[:16]}")
        publish.write_atomically(kept, _weights(asked, alone, data=data, checkpoints=kept.with_suffix("")))
        shutil.rmtree(kept.with_suffix(""), ignore_errors=True)
    return kept


def _pretraining_recipe(recipe: Recipe, asked: PretrainingParams) -> Recipe:
    """How the network learns from simulated records: as from real ones, but not from teachers trained before."""
    changes: dict[str, Any] = {"pretraining": None, "epochs": asked.epochs, "select": "last"}
    if recipe.schedule == "frozen":
        changes["distillation"] = recipe.distillation.model_copy(update={"weight": 0.0})
    return recipe.model_copy(update={**changes, "checkpoint_every_steps": None})


def _weights(asked: PretrainingParams, recipe: Recipe, *, data: "TrainingData", checkpoints: Path) -> bytes:
    from safetensors.torch import save

    from vizecg.training import train

    print(f"pretraining: {asked.epochs} epochs on {len(data.training_rows)} simulated records", flush=True)
    trained = train(data, recipe, seed=_SEED, checkpoint_dir=checkpoints, on_epoch=_say_epoch)
    state = {name: value.detach().contiguous() for name, value in trained.model.state_dict().items()}
    weights: bytes = save(state)
    return weights


def _say_epoch(report: "EpochReport") -> None:
    print(f"pretraining: epoch {report.epoch}, loss {report.losses['total']:.4f}, {report.seconds:.0f} s", flush=True)


def _simulated(asked: PretrainingParams, *, looks: Looks, place: Path) -> "TrainingData":
    """Simulated records and their pages, made by the steps that make any; made once for all networks."""
    from vizecg.learning import training_data
    from vizecg.pages import read_page_set
    from vizecg.records import read_record_set
    from vizecg.sources import write_pin
    from vizecg.steps import ingest, render

    ingesting = ingest.Params.model_validate(
        {
            "source": "simulated",
            "task": looks.task,
            "limit": None,
            "sampling_hz": looks.sampling_hz,
            "label_map": None,
            "fetch": {"connections": 1, "part_mb": 1, "tries": 1, "deadline_s": 1},
            "s3": {"endpoint_url": None, "region": None, "signed": False},
            "simulated": {"records": asked.records, "seed": asked.seed},
            "max_quarantined": 0.0,
            "workers": asked.workers,
        }
    )
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "records").exists():
        write_pin(place / "source.json", ingesting)
        ingest.run(ingesting, source=place / "source.json", records=place / "records")
    rendering = render.Params(
        seed=asked.seed,
        copies=asked.copies,
        style="drawn",
        camera="drawn",
        upload_px_per_mm=looks.upload_px_per_mm,
        px_per_mm=looks.spec.px_per_mm,
        workers=asked.workers,
        contact_sheet="none",
    )
    if not (place / "pages").exists():
        render.run(rendering, records=place / "records", pages=place / "pages")
    return training_data(
        read_record_set(place / "records"),
        page_set=read_page_set(place / "pages"),
        training_folds=_FOLDS,
        validation_folds=(),
    )


def refuse_other_classes(record_set: "RecordSet") -> None:
    """Stop where simulated records could not have the classes that are to be learned.

    Raises:
        InputError: the classes are those of a label map of the user's own.
    """
    from vizecg.labels import task_of

    known = task_of(record_set.task).codes
    if record_set.codes != known:
        raise InputError(
            f"train.pretraining: simulated records have the classes {list(known)} of task {record_set.task}, and these "
            f"records {list(record_set.codes)}; set train.pretraining to null"
        )


def _identity_of_pages(asked: PretrainingParams, *, looks: Looks) -> str:
    return _digest(
        {
            "asked": asked.model_dump(mode="json", include={"records", "seed", "copies"}),
            "task": looks.task,
            "sampling_hz": looks.sampling_hz,
            "spec": asdict(looks.spec),
            "upload_px_per_mm": looks.upload_px_per_mm,
            "code": digest_of_code(_CODE),
        }
    )


def _identity(recipe: Recipe, *, drawn: str) -> str:
    from vizecg.training import code_digest

    return _digest({"recipe": recipe.model_dump(mode="json"), "drawn": drawn, "code": code_digest()})


def _digest(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
