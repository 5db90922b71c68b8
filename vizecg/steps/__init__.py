"""The steps of the pipeline, in order: each module has `Params`, a section of params.yaml, and `run`.

A step's name is the name of its module, of its stage in dvc.yaml, of its section
in params.yaml and of its Prefect task. Everything heavy is imported inside
`run`, so that checking all parameters costs no time.
"""

from importlib import import_module
from types import ModuleType
from typing import Final

from pydantic import BaseModel

NAMES: Final = ("ingest", "render", "validate", "train", "evaluate", "register")


def step(name: str) -> ModuleType:
    """Import one step.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in NAMES:
        raise ValueError(f"unknown step {name!r}; known: {list(NAMES)}")
    return import_module(f"vizecg.steps.{name}")


def params_models() -> dict[str, type[BaseModel]]:
    """Section of params.yaml -> its type, of every step, the gates, the comparison and the monitor."""
    from vizecg.comparing import Params as CompareParams
    from vizecg.drift import Params as MonitorParams
    from vizecg.gates import Params as PromoteParams

    others = {"promote": PromoteParams, "compare": CompareParams, "monitor": MonitorParams}
    return {name: step(name).Params for name in NAMES} | others
