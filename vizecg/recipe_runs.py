"""Recipe files: parameters that differ from params.yaml, and what is to be done with them.

A recipe runs in a clone, so the checkout and its params.yaml stay as they are, and a second
run of the same recipe on the same data skips what has not changed.
"""

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vizecg.errors import InputError
from vizecg.places import Place, clone_for
from vizecg.process import start_supervised, stop
from vizecg.publish import locked
from vizecg.settings import Settings, repository_root

Job = Literal["compare", "retrain"]

_COMMANDS: Final[Mapping[Job, tuple[tuple[str, ...], ...]]] = {
    # Nobody compares on pages that have not passed validation.
    "compare": (("dvc", "repro", "validate"), ("vizecg", "compare")),
    "retrain": (("vizecg", "retrain", "--no-promote"),),
}


class RecipeFile(BaseModel):
    """What a recipe file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str = Field(min_length=1, description="what it is for and what it takes, for people")
    jobs: tuple[Job, ...] = Field(min_length=1, description="in this order")
    params: dict[str, Any] = Field(description="section.name -> value, in place of that of params.yaml")


def read_recipe(path: Path) -> RecipeFile:
    """Read a recipe file; its parameters are checked when they are put into params.yaml.

    Raises:
        InputError: it is not there, is not YAML, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {path} cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"recipe {path} is not YAML: {str(error).splitlines()[0]}") from None
    try:
        return RecipeFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"recipe {path}: {where}: {first['msg']}; it holds about, jobs and params") from None


def assignments_of(recipe: RecipeFile) -> list[str]:
    """Its parameters as `config.override` takes them."""
    return [f"{name}={_in_one_line(value)}" for name, value in recipe.params.items()]


def run_recipe(path: Path, *, data: str) -> int:
    """Run all jobs of a recipe; the first that does not end well is the last.

    Args:
        path: the recipe file.
        data: "simulated", "physionet", an address, a folder or an archive.

    Returns:
        The exit code of the last command that ran; it has said itself what was wrong.

    Raises:
        InputError: the recipe or the data cannot be used.
        Conflict: the same recipe is running in this checkout.
    """
    recipe = read_recipe(path)
    checkout = repository_root()
    settings = Settings(state_dir=checkout / ".state")
    with locked(settings.state_dir / f"recipe-{path.stem}"):
        print(f"{path.stem}: {recipe.about.strip()}", flush=True)
        place = clone_for(
            path.stem, checkout=checkout, data=data, settings=settings, say=_say, overrides=assignments_of(recipe)
        )
        for command in (command for job in recipe.jobs for command in _COMMANDS[job]):
            began_s = time.monotonic()
            code = _run(command, place=place)
            _say(f"{' '.join(command)}: {time.monotonic() - began_s:.0f} s, exit code {code}")
            if code != 0:
                return code
    _say(f"What it wrote lies in {place.folder.relative_to(checkout)}/reports.")
    return 0


def _run(command: tuple[str, ...], *, place: Place) -> int:
    sys.stdout.flush()
    process = start_supervised(
        [sys.executable, "-m", *command], cwd=place.folder, environment=place.environment, output=sys.stdout
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 128 + 2
    finally:
        stop(process)


def _in_one_line(value: Any) -> str:  # noqa: ANN401 (whatever YAML holds)
    """As YAML reads it back, in one line."""
    written = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf)
    return written.removesuffix("...\n").strip()


def _say(text: str) -> None:
    print(text, flush=True)
