"""Environment of every program we start: nothing reports home, all state inside the checkout."""

import os
import tempfile
from typing import TYPE_CHECKING

from vizecg import NOTHING_REPORTS_HOME
from vizecg.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from vizecg.settings import Settings


def house_environment(settings: "Settings") -> dict[str, str]:
    """Variables to set for programs that run here, beside those of the shell."""
    state = settings.state_dir
    never_by_proxy = _never_by_proxy()
    return {
        **NOTHING_REPORTS_HOME,
        "NO_PROXY": never_by_proxy,
        "no_proxy": never_by_proxy,
        "VIZECG_STATE_DIR": str(state),
        "VIZECG_TRACKING_URI": settings.tracking_uri,
        "VIZECG_LEDGER_URL": settings.ledger_url,
        "VIZECG_REPOSITORY": settings.repository,
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # A flow run whose process is gone is told by its silence; see flows/deploy.py.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "DVC_SITE_CACHE_DIR": str(state / "dvc"),
        "DVC_GLOBAL_CONFIG_DIR": str(state / "dvc"),
        "MPLCONFIGDIR": str(state / "matplotlib"),
        # A registry that does not answer is said to be down after seconds, not after minutes.
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "GIT_PYTHON_REFRESH": "quiet",
        # Threads that spin while they wait starve each other where other work shares the cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
    }


def enter(settings: "Settings") -> None:
    """Set these variables for this process and its children; what the user has set stays.

    Makes the state folder: Prefect makes its home inside it, and not the folders above.

    Raises:
        InputError: the state folder cannot be made, or nothing can be written there.
    """
    _make_writable(settings.state_dir)
    for name, value in house_environment(settings).items():
        os.environ.setdefault(name, value)


def _never_by_proxy() -> str:
    """What the shell says, and this machine: its proxy is for the world outside, our servers are on loopback."""
    said = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return ",".join(dict.fromkeys(filter(None, (*said.split(","), "127.0.0.1", "localhost"))))


def _make_writable(folder: "Path") -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # what a mode says is not what a read-only file system does
            pass
    except OSError as error:
        raise InputError(
            f"the state folder {folder} cannot be made or written ({error.strerror}); "
            "set VIZECG_STATE_DIR to a folder that can"
        ) from None
