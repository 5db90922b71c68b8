"""The steps of dvc.yaml as commands, made from the signature of each step's `run`.

Every `Path` that `run` takes is an option of that name.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from vizecg import steps

STEP_HELP: Final = {
    "ingest": "Read the source's records into a checked record set.",
    "render": "Draw each record as ECG pages and take them in.",
    "validate": "Hold records and pages against what must be true of them.",
    "train": "Train VizECGNet with the signal beside the image.",
    "evaluate": "Calibrate on fold 9, score on fold 10; with --images, measure a bundle on your own pages.",
    "register": "Make the bundle and register it in MLflow.",
}


def step_command(name: str) -> click.Command:
    """The command of one step; what it reads and writes are its options."""

    def callback(**paths: Path) -> None:
        from vizecg.config import PARAMS_FILE, read_params
        from vizecg.process import die_with_parent

        die_with_parent()
        params = read_params(PARAMS_FILE, models=steps.params_models())[name]
        _run_of(name)(params, **paths)

    class Lazy(click.Command):
        """Its options come from the step's signature, which is read when the command is used."""

        def get_params(self, ctx: click.Context) -> list[click.Parameter]:
            paths = [parameter for parameter in inspect.signature(_run_of(name)).parameters if parameter != "params"]
            options: list[click.Parameter] = [
                click.Option(
                    [f"--{path.replace('_', '-')}"], type=click.Path(path_type=Path), required=True, expose_value=True
                )
                for path in paths
            ]
            return [*options, *super().get_params(ctx)]

    return Lazy(
        name, callback=callback, help=f"{STEP_HELP[name]}\n\nNumbers come from section `{name}` of params.yaml."
    )


def _run_of(name: str) -> Callable[..., None]:
    run: Callable[..., None] = steps.step(name).run
    return run
