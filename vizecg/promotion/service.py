"""Does the service load a bundle, and answer as when it was made? Asked of the very program that will serve it."""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

import vizecg
from vizecg import bundle as bundles
from vizecg.client import Client
from vizecg.environment import house_environment
from vizecg.errors import Conflict, InputError
from vizecg.gates import Served
from vizecg.servers import LOOPBACK, reserved, started, wait_until_healthy
from vizecg.settings import Settings

UP_WITHIN_S: Final = 300.0
# What whoever promotes has set for a service of theirs is not for this one, which nobody else may ask.
_NOT_OF_OURS: Final = "VIZECG_"


def try_to_serve(bundle: Path) -> Served:
    """Start a service with a bundle, ask it about the pages stored there, and stop it.

    Args:
        bundle: folder of a verified bundle.

    Raises:
        Conflict: the service of somebody else answers where this one was to.
    """
    if importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("fastapi") is None:
        return Served(pages=0)
    goldens = bundles.read_goldens(bundle)
    with tempfile.TemporaryDirectory(prefix="vizecg-serves-") as scratch:
        try:
            wrong = _ask(bundle, goldens=goldens, folder=Path(scratch))
        except InputError as error:
            wrong = f"a service that was started with it: {error}"
    return Served(pages=len(goldens), wrong=wrong)


def _ask(bundle: Path, *, goldens: list[bundles.Golden], folder: Path) -> str | None:
    digest, contract = bundles.read(bundle)
    tolerance = contract.tolerance.probabilities
    # Any port, for two that promote at once and took the same would be judged by one service.
    with reserved(0) as held:
        port = held.getsockname()[1]
    url = f"http://{LOOPBACK}:{port}"
    with started(
        "the service",
        [sys.executable, "-m", "vizecg", "serve", "--port", str(port)],
        url=url,
        health="/ready",
        cwd=folder,
        environment=_environment(bundle.resolve(), state=folder / "state"),
        log=folder / "service.log",
    ) as service:
        wait_until_healthy(service, timeout_s=UP_WITHIN_S)
        with Client(url) as client:
            for golden in goldens:
                answer = client.predict(golden.data)
                if answer.model.bundle_digest != digest:
                    raise Conflict(f"another service took port {port} of {LOOPBACK} just now; promote again")
                said = [label.probability for label in answer.labels]
                far = float(np.max(np.abs(np.array(said) - golden.probabilities))) if said else float("inf")
                if not far <= tolerance:
                    what = f"differs by {far:.3f} from what it said" if said else "rejects it, and did not"
                    return f"asked about {golden.name}, the service {what} when the bundle was made ({tolerance:.3f})"
    return None


def _environment(bundle: Path, *, state: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OF_OURS)}
    house = house_environment(Settings(state_dir=state))
    ours = {name: value for name, value in house.items() if not name.startswith(_NOT_OF_OURS)}
    # The service of this very code, also where another version is installed.
    path = f"{Path(vizecg.__file__).parent.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return {
        **kept,
        **ours,
        "PYTHONPATH": path,
        "VIZECG_STATE_DIR": str(state),
        "VIZECG_BUNDLE": str(bundle),
        "VIZECG_AUDIT": "off",
    }
