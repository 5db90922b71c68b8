"""A training cut off goes on where it was: what is written, and whose it must be to be continued."""

import hashlib
import io
import logging
import pickle
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from vizecg.batches import TrainingData
from vizecg.code_digest import digest_of_code
from vizecg.errors import InputError
from vizecg.publish import write_atomically
from vizecg.recipe import Recipe
from vizecg.training.arithmetic import Arithmetic
from vizecg.training.processes import Team
from vizecg.training.reports import EpochReport
from vizecg.training.run import Net, Run

logger = logging.getLogger(__name__)

CHECKPOINT_NAME: Final = "last.pt"
_PLAIN: Final = ("steps_done", "epochs_done", "best_epoch", "best_auroc", "steps_in_epoch", "parts")
_CODE: Final = ("batches", "losses", "models", "training")
# How a training is read and how often it is written down changes no weight.
_WITHOUT_EFFECT: Final = {"loader_threads", "checkpoint_every_steps"}


def identity_of(data: TrainingData, recipe: Recipe, *, seed: int, arithmetic: Arithmetic) -> dict[str, str]:
    """What must be the same for a checkpoint to be continued; by name, so the log can say what is not."""
    sides = (np.asarray(rows, np.int64).tobytes() for rows in (data.training_rows, data.validation_rows))
    return {
        "data": ":".join([data.digest, *(hashlib.sha256(side).hexdigest() for side in sides)]),
        "recipe": recipe.model_dump_json(exclude=_WITHOUT_EFFECT),
        "seed": str(seed),
        "precision": arithmetic.precision,
        "device": arithmetic.device.type,
        "processes": str(arithmetic.team.size),
        "torch": str(torch.__version__),
        "code": code_digest(),
    }


def save(run: Run[Net], path: Path, *, identity: dict[str, str], team: Team) -> None:
    """Replace the checkpoint at `path`; called by every process, written by one."""
    generators = team.gathered(run.generators)
    if not team.leads:
        return
    content = {
        "identity": identity,
        "model": run.model.state_dict(),
        "averaged": run.averaged.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "best_state": run.best_state,
        "numbers": {name: getattr(run, name) for name in _PLAIN},
        "generators": generators,
        "history": [report.to_dict() for report in run.history],
    }
    written = io.BytesIO()
    torch.save(content, written)
    write_atomically(path, written.getvalue())


def restore(run: Run[Net], path: Path, *, identity: dict[str, str], team: Team) -> bool:
    """Go on from the checkpoint at `path`, if it is of this training; says whether it was.

    Raises:
        InputError: it cannot be read.
    """
    if not path.exists():
        return False
    content = _read(path)
    found = content["identity"]
    if other := sorted(name for name in identity if found.get(name) != identity[name]):
        logger.warning("%s belongs to another run (%s differ); starting anew", path, ", ".join(other))
        return False
    run.model.load_state_dict(content["model"])
    run.averaged.load_state_dict(content["averaged"])
    run.optimizer.load_state_dict(content["optimizer"])
    run.best_state, run.generators = content["best_state"], content["generators"][team.rank]
    for name in _PLAIN:
        setattr(run, name, content["numbers"][name])
    run.history = [EpochReport(**report) for report in content["history"]]
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        # Onto the CPU: generators live there, and the rest is copied to where its counterpart is.
        content: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        content["identity"].get("data")
    except (
        OSError,
        RuntimeError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        pickle.UnpicklingError,
    ):
        # What torch raises depends on where the bytes stop making sense.
        raise InputError(f"{path} is not a checkpoint of ours or is damaged; delete it to start anew") from None
    return content


def code_digest() -> str:
    """Of the modules that decide what a step of training does."""
    return digest_of_code(_CODE)
