"""The stages of dvc.yaml as tasks: a task runs `dvc repro` of its stage, so dvc.lock stays the truth."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import yaml

from flows.commands import error_of, run_command
from vizecg.errors import Conflict, InputError, VizecgError

PIPELINE_FILE: Final = "dvc.yaml"
Outcome = Literal["ran", "restored from cache", "unchanged"]

_EXIT_CODE = re.compile(r"exited with (\d+)")
_DVC_LOCKED = re.compile(r"Unable to acquire lock|is busy, it is being blocked by", re.IGNORECASE)
# What DVC advises after every stage to somebody who typed the command; in a run's log it is noise.
_HINTS: Final = (
    "To track the changes with git",
    "git add dvc.lock",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
    "Generating lock file",
    "Updating lock file",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """How a stage ended well: it ran, or there was nothing to do."""

    name: str
    outcome: Outcome
    seconds: float


def stage_names(workspace: Path) -> list[str]:
    """The stages in the order dvc.yaml lists them, which is the order they run in.

    Raises:
        InputError: there is no dvc.yaml with stages.
    """
    path = workspace / PIPELINE_FILE
    try:
        return list(yaml.safe_load(path.read_text(encoding="utf-8"))["stages"])
    except (FileNotFoundError, KeyError, TypeError, yaml.YAMLError):
        raise InputError(f"{path} holds no stages; run from a checkout of the project") from None


def run_stage(name: str, *, workspace: Path, timeout_s: float, say: Callable[[str], None]) -> StageResult:
    """Bring one stage up to date in a process group of its own, which ends with us, whatever ends us.

    Args:
        name: of the stage.
        workspace: folder with dvc.yaml.
        timeout_s: after which the group is stopped.
        say: receives every line it prints.

    Raises:
        InputError: the stage cannot use what it was given; `TimeLimit`: it took too long.
        GateRefused: a hard expectation did not hold.
        Conflict: somebody else is running the pipeline here.
    """
    began_s = time.monotonic()
    done = run_command(
        ["dvc", "repro", "--single-item", name],
        workspace=workspace,
        timeout_s=timeout_s,
        what=f"stage {name}",
        say=say,
        worth_saying=lambda line: bool(line) and not line.strip().startswith(_HINTS),
    )
    if done.exit_code != 0:
        raise _why_it_failed(name, lines=done.lines)
    return StageResult(name=name, outcome=_outcome(done.lines), seconds=time.monotonic() - began_s)


def _outcome(lines: list[str]) -> Outcome:
    text = "\n".join(lines)
    if "is cached - skipping run" in text:
        return "restored from cache"
    return "unchanged" if "didn't change, skipping" in text else "ran"


def _why_it_failed(name: str, *, lines: list[str]) -> VizecgError:
    """Find the step's own sentence and exit code in what DVC printed."""
    text = "\n".join(lines)
    if _DVC_LOCKED.search(text):
        return Conflict(f"stage {name}: another `dvc` is running in this folder; wait for it or stop it")
    code = int(found[-1]) if (found := _EXIT_CODE.findall(text)) else 2
    return error_of(f"stage {name}", lines=lines, exit_code=code)
