"""The stages of dvc.yaml as tasks: a task runs `dvc repro` of its stage, so dvc.lock stays the truth."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import yaml

from vizecg.errors import Conflict, GateRefused, InputError, VizecgError
from vizecg.process import start_supervised, stop

PIPELINE_FILE: Final = "dvc.yaml"
Outcome = Literal["ran", "restored from cache", "unchanged"]

_EXIT_CODE = re.compile(r"exited with (\d+)")
_DVC_LOCKED = re.compile(r"Unable to acquire lock|is busy, it is being blocked by", re.IGNORECASE)
_OUR_SENTENCE: Final = "vizecg: "
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
_KINDS: Final[dict[int, type[VizecgError]]] = {kind.exit_code: kind for kind in (InputError, GateRefused, Conflict)}


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
        InputError: the stage cannot use what it was given, or took too long.
        GateRefused: a hard expectation did not hold.
        Conflict: somebody else is running the pipeline here.
    """
    began_s = time.monotonic()
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", name]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    process = start_supervised(command, cwd=workspace, environment=environment, output=subprocess.PIPE)
    timed_out = threading.Event()

    def give_up() -> None:
        timed_out.set()
        stop(process)

    timer = threading.Timer(timeout_s, give_up)
    timer.start()
    try:
        lines = list(_spoken(process, say=say))
        process.wait()
    finally:
        timer.cancel()
        stop(process)
        if process.stdout is not None:
            process.stdout.close()
    if timed_out.is_set():
        raise InputError(f"stage {name} was stopped after {timeout_s:.0f} s, its time limit")
    if process.returncode != 0:
        raise _why_it_failed(name, lines=lines)
    return StageResult(name=name, outcome=_outcome(lines), seconds=time.monotonic() - began_s)


def _spoken(process: subprocess.Popen[str], *, say: Callable[[str], None]) -> Iterator[str]:
    assert process.stdout is not None  # noqa: S101 (it was started with a pipe)
    for raw in process.stdout:
        line = raw.rstrip()
        if line and not line.strip().startswith(_HINTS):
            say(line)
            yield line


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
    said = [line.removeprefix(_OUR_SENTENCE) for line in lines if line.startswith(_OUR_SENTENCE)]
    code = int(found[-1]) if (found := _EXIT_CODE.findall(text)) else 2
    last_words = said[-1] if said else " / ".join(lines[-5:]) or "it printed nothing"
    return _KINDS.get(code, InputError)(f"stage {name}: {last_words}")
