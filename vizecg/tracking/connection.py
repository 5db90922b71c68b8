"""How MLflow is reached, what is said when it is not, and numbers by the batch."""

import logging
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vizecg.errors import InputError, Unavailable
from vizecg.registry import fail_quickly
from vizecg.settings import EXPERIMENT_NAME, Settings, shown

if TYPE_CHECKING:
    from mlflow import MlflowClient

Point = tuple[str, float, int]
"""Name, value and step of one number."""

# What MLflow takes at once, and how much of one value.
_METRICS_AT_ONCE: Final = 1000
_PARAMS_AT_ONCE: Final = 100
_LONGEST_PARAM: Final = 6000
# Without it MLflow's pages take an experiment for one about language models.
_KIND: Final = {"mlflow.experimentKind": "custom_model_development"}
# A bundle is a dozen small files, and whoever prints an address prints it once.
_QUIET: Final = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
_SERVER_ERROR: Final = re.compile(r"\b5\d\d\b.*error|error code 5\d\d", flags=re.IGNORECASE)
_NOT_IN_A_NAME: Final = re.compile(r"[^\w\-. :/]")


class TrackingUnavailable(InputError):
    """MLflow does not answer, or not as MLflow."""


class TrackingAway(TrackingUnavailable, Unavailable):
    """MLflow does not answer now, or cannot reach its database or store."""


def client(settings: Settings) -> "MlflowClient":
    """Talk to MLflow: a server, or the embedded database, which is made when it is not there.

    Raises:
        TrackingUnavailable: the database cannot be used. A server is asked only by the first call.
    """
    fail_quickly()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it greets every new database
    uri = settings.tracking_uri
    database = uri.removeprefix("sqlite:///")
    with asking(settings):
        if database != uri:
            Path(database).parent.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def asking(settings: Settings) -> Iterator[None]:
    """Turn what MLflow's client raises into one sentence with the address and what to do.

    Raises:
        TrackingUnavailable: MLflow does not answer (`TrackingAway`), or refuses.
    """
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    try:
        yield
    except errors_of_stores(MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        silent = "API request to" in said and "failed with exception" in said
        # MLflow's own words may hold the address too.
        what = "does not answer" if silent else f"refuses ({shown(said).rstrip('.')[:300]})"
        # A server that is starting or has lost its store says 5xx; a connection that broke has no number of its own.
        broke = (isinstance(error, OSError) and error.errno is None) or isinstance(error, errors_of_stores())
        kind = TrackingAway if silent or broke or _SERVER_ERROR.search(said) else TrackingUnavailable
        raise kind(
            f"MLflow at {shown(settings.tracking_uri)} {what}; start it, or set VIZECG_TRACKING_URI to one that works"
        ) from error


def errors_of_stores(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What the client of an S3 store raises where MLflow's lets it through, beside others; else those alone."""
    if "boto3" not in sys.modules:  # what nobody has imported has raised nothing, and importing it takes seconds
        return others
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return *others, Boto3Error, BotoCoreError, ClientError


def ensure_experiment(mlflow: "MlflowClient", settings: Settings) -> str:
    """Find the project's experiment, or make it; a deleted one is brought back, for MLflow keeps its name taken."""
    from mlflow.exceptions import MlflowException

    # A database of this machine keeps its files beside it; a server has decided where its own are.
    embedded = not settings.tracking_uri.startswith(("http://", "https://"))
    place = settings.artifact_root.resolve().as_uri() if embedded else None
    found = mlflow.get_experiment_by_name(EXPERIMENT_NAME)
    if found is None:
        try:
            return str(mlflow.create_experiment(EXPERIMENT_NAME, artifact_location=place, tags=_KIND))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = mlflow.get_experiment_by_name(EXPERIMENT_NAME)
    assert found is not None  # noqa: S101 (it exists, as MLflow has just said)
    if found.lifecycle_stage != "active":
        mlflow.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def log_metrics(mlflow: "MlflowClient", run_id: str, points: Iterable[Point]) -> None:
    """Write numbers, many at a time."""
    from mlflow.entities import Metric

    timestamp_ms = time.time_ns() // 1_000_000
    metrics = [Metric(key=name, value=value, timestamp=timestamp_ms, step=step) for name, value, step in points]
    for first in range(0, len(metrics), _METRICS_AT_ONCE):
        mlflow.log_batch(run_id, metrics=metrics[first : first + _METRICS_AT_ONCE])


def log_params(mlflow: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    """Write parameters, many at a time. Writing one twice with the same value is no harm."""
    from mlflow.entities import Param

    entries = [Param(key=name, value=value) for name, value in params.items()]
    for first in range(0, len(entries), _PARAMS_AT_ONCE):
        mlflow.log_batch(run_id, params=entries[first : first + _PARAMS_AT_ONCE])


def flat_params(params: Mapping[str, object], *, prefix: str = "") -> dict[str, str]:
    """Nested parameters -> `section.name` -> text, as MLflow takes them."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= flat_params(value, prefix=f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)[:_LONGEST_PARAM]
    return flat


def flat_numbers(content: Mapping[str, object], *, prefix: str = "") -> dict[str, float]:
    """Nested numbers -> `section/name` -> number; what is no number, or not defined, is left out."""
    flat: dict[str, float] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= flat_numbers(value, prefix=f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            flat[_NOT_IN_A_NAME.sub("_", f"{prefix}{name}")] = float(value)
    return flat
