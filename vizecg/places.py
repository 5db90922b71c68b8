"""Where a pipeline runs on other data or with other parameters: a clone, so that the checkout stays as it is."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vizecg import workspace
from vizecg.config import assignment
from vizecg.environment import house_environment
from vizecg.errors import InputError
from vizecg.settings import Settings, shown

PHYSIONET: Final = "physionet"
PHYSIONET_LIMIT: Final = 1000
"""Records that a first look at PhysioNet's copy takes; a recipe says itself how many it wants."""
_LIMIT: Final = "ingest.limit"
SIMULATED: Final = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the pipeline runs, and with which environment variables."""

    folder: Path
    environment: Mapping[str, str]


def clone_for(
    name: str,
    *,
    checkout: Path,
    data: str,
    settings: Settings,
    say: Callable[[str], object],
    overrides: Sequence[str] = (),
) -> Place:
    """Make or renew the clone of a name and its data, with its parameters, the source pinned.

    Args:
        name: of what is to run there.
        checkout: whose last commit runs.
        data: "simulated", "physionet", an address, a folder or an archive.
        settings: whose state folder holds the clone.
        say: hears in one line where it runs, and what it leaves out.
        overrides: section.name=value, for its params.yaml.

    Raises:
        InputError: the data are not there, or a parameter cannot be set.
    """
    source, of_source = source_of(data)
    of_source = [each for each in of_source if not (each.startswith(_LIMIT) and _sets(_LIMIT, overrides))]
    folder = settings.state_dir / "workspaces" / f"{name}-{Path(source).name.split('.')[0] or 'root'}"
    workspace.prepare(folder, checkout=checkout)
    if changed := workspace.uncommitted_files(checkout):
        say(f"Note: runs the last commit; changes not committed are left out ({', '.join(changed[:3])}).")
    said = f"{source} (they have no medical meaning)" if source == SIMULATED else shown(source)
    say(f"Records: {said}. Running in a clone, {folder.relative_to(checkout)}, so the checkout stays as it is.")
    place = Place(folder=folder, environment={**os.environ, **house_environment(settings)})
    _vizecg(["source", "pin", *(f"--set={each}" for each in (*of_source, *overrides))], place=place)
    return place


def source_of(data: str) -> tuple[str, list[str]]:
    """What `DATA=` means: the source, and the parameters that name it.

    Raises:
        InputError: there is no such folder or archive.
    """
    if data == PHYSIONET:
        return data, [f"ingest.source={data}", f"{_LIMIT}={PHYSIONET_LIMIT}"]
    if data == SIMULATED or data.startswith(("https://", "http://", "s3://")):
        return data, [assignment("ingest.source", data)]
    path = Path(data).expanduser().resolve()
    if not path.exists():
        raise InputError(
            f"DATA={data}: there is no such folder or archive; allowed: {PHYSIONET}, {SIMULATED}, an https:// or "
            "s3:// address, a folder, an archive"
        )
    return str(path), [assignment("ingest.source", str(path))]


def _sets(name: str, overrides: Sequence[str]) -> bool:
    return any(each.partition("=")[0].strip() == name for each in overrides)


def _vizecg(arguments: Sequence[str], *, place: Place) -> None:
    """Run a command of ours in a place; its error is its own sentence.

    Raises:
        InputError: it did not end well.
    """
    done = subprocess.run(
        [sys.executable, "-m", "vizecg", *arguments],
        cwd=place.folder,
        env=dict(place.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise InputError(done.stderr.strip().removeprefix("vizecg: "))
