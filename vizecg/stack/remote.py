"""Speaking with a running stack from another terminal: its states, a restart, a command with its environment."""

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from vizecg.errors import Conflict, InputError
from vizecg.publish import locked, to_json, write_atomically
from vizecg.settings import Settings
from vizecg.stack.layout import client_environment, folder_of, read_layout
from vizecg.stack.parts import parts_of

_REQUEST_FILE: Final = "restart.json"
_PATIENCE_S: Final = 300.0
_LOOK_EVERY_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A part to stop and to start again after a while."""

    part: str
    away_s: float


def show_status() -> int:
    """Print the table of parts; returns the exit code, 0 when all of them answer, else 1."""
    from vizecg.stack.keeper import table_of

    layout = read_layout(folder_of(Settings()))
    table, all_up = table_of(parts_of(layout), layout=layout)
    Console(highlight=False, soft_wrap=True).print(table)
    return 0 if all_up else 1


def restart(part: str, *, away_s: float) -> None:
    """Ask the running stack to stop a part and to start it again after a while; returns when it answers.

    Raises:
        InputError: no stack is running here, there is no such part, or it did not come back.
        Conflict: another restart is under way.
    """
    folder = folder_of(Settings())
    layout = read_layout(folder)
    parts = parts_of(layout)
    if part not in parts:
        raise InputError(f"the stack has no part {part!r}; it has {', '.join(parts)}")
    _refuse_without_stack(folder)
    with locked(folder / "restart"):
        write_atomically(folder / _REQUEST_FILE, to_json(asdict(Request(part=part, away_s=away_s))))
        deadline_s = time.monotonic() + away_s + _PATIENCE_S
        while (folder / _REQUEST_FILE).exists() and time.monotonic() < deadline_s:
            time.sleep(_LOOK_EVERY_S)
        (folder / _REQUEST_FILE).unlink(missing_ok=True)
    if parts[part].state() is None:
        raise InputError(f"{part} did not come back; its log: {layout.log(part)}")


def run_in_stack(command: Sequence[str]) -> None:
    """Become a command that has the stack's addresses and passwords in its environment.

    Raises:
        InputError: no stack was started here, or there is no such program.
    """
    environment = client_environment(read_layout(folder_of(Settings())))
    # Beside this Python lie the commands of its environment, whatever PATH says.
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    program = shutil.which(command[0], path=path)
    if program is None:
        raise InputError(f"there is no program {command[0]!r}")
    os.execve(program, list(command), environment | {"PATH": path})  # noqa: S606 (what the user typed)


def next_request(folder: Path) -> Request | None:
    """What somebody asks of the stack, if anything."""
    try:
        return Request(**json.loads((folder / _REQUEST_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def finish_request(folder: Path) -> None:
    """Tell whoever asked that it is done."""
    (folder / _REQUEST_FILE).unlink(missing_ok=True)


def forget_requests(folder: Path) -> None:
    """What was asked of an earlier stack is not asked of this one."""
    finish_request(folder)


def _refuse_without_stack(folder: Path) -> None:
    try:
        with locked(folder):
            pass
    except Conflict:
        return
    raise InputError(f"no stack is running at {folder}; `vizecg stack up` starts it")
