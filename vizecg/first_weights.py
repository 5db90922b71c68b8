"""First weights in a file: made from simulated records by a command, and the ones that lie in the checkout.

Those let a training on few real records begin where nine minutes of others end. They are made of
simulated records alone, so they hold nothing of anybody.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from pydantic import BaseModel

from vizecg import publish, steps
from vizecg.config import PARAMS_FILE, read_params
from vizecg.errors import InputError
from vizecg.recipe import InitialWeights, PretrainingParams, Recipe

if TYPE_CHECKING:
    from vizecg.steps import ingest, render

SHIPPED: Final = Path("weights/simulated.safetensors")
"""In a checkout: learned by the network of its params.yaml, at the resolution of its pages."""
KEPT: Final = Path("models/.pretrained")
"""Records, pages and weights that a pretraining has made; the step train finds them there too."""
_ANY_NUMBER: Final = 1


def pretrain_and_write(out: Path, asked: PretrainingParams) -> None:
    """Pretrain the network of params.yaml on simulated records, and write its weights.

    Args:
        out: safetensors file, replaced whole or not at all.
        asked: how many records, and for how long.

    Raises:
        InputError: params.yaml cannot be used, or the records or pages cannot be made.
        Conflict: another process pretrains in this folder.
    """
    from vizecg.pretraining import Looks, pretrained
    from vizecg.steps.render import page_recipe

    began_s = time.monotonic()
    params = read_params(PARAMS_FILE, models=steps.params_models())
    ingesting, rendering = cast("ingest.Params", params["ingest"]), cast("render.Params", params["render"])
    pages = page_recipe(rendering)
    looks = Looks(
        task=ingesting.task,
        sampling_hz=ingesting.sampling_hz,
        upload_px_per_mm=pages.upload_px_per_mm,
        spec=pages.spec,
    )
    train = _training(params)
    # Without other first weights; and as a `Recipe`, whose digest is that of the same pretraining inside the step.
    recipe = Recipe.model_validate(
        {**train.model_dump(include=set(Recipe.model_fields)), "model": train.model.model_copy(update={"init": None})}
    )
    kept = pretrained(recipe, asked, looks=looks, folder=KEPT)
    publish.write_atomically(out, kept.read_bytes())
    print(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB after {time.monotonic() - began_s:.0f} s; to begin with it:\n"
        f'  train.model.init={{path: {out}, sha256: "{publish.sha256_of(out)}"}}'
    )


def shipped_for(checkout: Path) -> InitialWeights | None:
    """The weights that lie in a checkout, where they fit the network of its params.yaml and no others are asked for.

    Raises:
        InputError: params.yaml cannot be used.
    """
    from vizecg.models import build_model

    train = _training(read_params(checkout / PARAMS_FILE, models=steps.params_models()))
    file = checkout / SHIPPED
    if train.pretraining is not None or train.model.init is not None or not file.is_file():
        return None
    content = publish.sha256_of(file)
    begun = train.model.model_copy(update={"init": InitialWeights(path=str(file), sha256=content)})
    try:
        build_model(begun, labels=_ANY_NUMBER, seed=0)  # layers that answer label by label fit any task
    except InputError:
        return None
    return InitialWeights(path=str(SHIPPED), sha256=content)


def _training(params: Mapping[str, BaseModel]) -> Recipe:
    train = params["train"]
    assert isinstance(train, Recipe)  # noqa: S101 (params_models says so)
    return train
