"""A training in MLflow while it runs: a view that may fail in any way and never stops it."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from vizecg.settings import Settings, shown
from vizecg.tracking.connection import (
    asking,
    client,
    ensure_experiment,
    flat_numbers,
    flat_params,
    log_metrics,
    log_params,
)
from vizecg.tracking.runs import LIVE_TAG, new_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

Log = Callable[[int, Mapping[str, float]], None]
Status = Literal["FINISHED", "FAILED"]
_Report = tuple[int, Mapping[str, float]]

# How long the end of a training waits for the last numbers.
PATIENCE_S: Final = 5.0
_GATHER_S: Final = 0.5
_MOST_WAITING: Final = 100_000


@contextmanager
def live_run(settings: Settings, *, name: str, params: Mapping[str, object] | None = None) -> Iterator[Log]:
    """Show a training in MLflow while it runs.

    Numbers are handed to a thread; when MLflow is away it says so once and drops
    them. `ensure_run` makes the run complete afterwards, from the files.

    Args:
        settings: which MLflow.
        name: of the run.
        params: of the training, as it will write them into its artefact.

    Yields:
        `log(step, metrics)`: returns at once, raises nothing.
    """
    view = _LiveView(settings, name=name, params=flat_params(params or {}))
    try:
        yield view.log
    except BaseException:
        view.close("FAILED")
        raise
    view.close("FINISHED")


class _LiveView:
    def __init__(self, settings: Settings, *, name: str, params: Mapping[str, str]) -> None:
        self._settings = settings
        self._name = name
        self._params = params
        self._waiting: queue.Queue[_Report | Status] = queue.Queue(_MOST_WAITING)
        self._away = threading.Event()
        # A daemon: a request that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="mlflow-live-view", daemon=True)
        self._thread.start()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._hand_over((step, dict(metrics)))

    def close(self, status: Status) -> None:
        self._hand_over(status)
        if not self._away.is_set():
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive():
                self._give_up(f"MLflow at {shown(self._settings.tracking_uri)} takes more than {PATIENCE_S:.0f} s")

    def _hand_over(self, what: _Report | Status) -> None:
        if self._away.is_set():
            return
        try:
            self._waiting.put_nowait(what)
        except queue.Full:
            self._give_up(f"MLflow at {shown(self._settings.tracking_uri)} is slower than the training")

    def _run(self) -> None:
        try:
            mlflow = client(self._settings)
            with asking(self._settings):
                run_id = new_run(mlflow, ensure_experiment(mlflow, self._settings), name=self._name)
                mlflow.set_tag(run_id, LIVE_TAG, "true")
                log_params(mlflow, run_id, self._params)
                mlflow.set_terminated(run_id, status=self._follow(mlflow, run_id))
        # Whatever a view dies of, the training must not.
        except Exception as error:
            self._give_up(shown(str(error)))

    def _follow(self, mlflow: "MlflowClient", run_id: str) -> Status:
        """Write what comes in, one request for all that came since the last; returns how the training ended."""
        while True:
            reports, status = self._take_all()
            points = [(name, value, step) for step, said in reports for name, value in flat_numbers(said).items()]
            log_metrics(mlflow, run_id, points)
            if status is not None:
                return status
            if self._away.wait(_GATHER_S):
                return "FAILED"

    def _take_all(self) -> tuple[list[_Report], Status | None]:
        """Wait for something, then take everything there is."""
        reports: list[_Report] = []
        what = self._waiting.get()
        while True:
            if isinstance(what, str):
                return reports, what
            reports.append(what)
            try:
                what = self._waiting.get_nowait()
            except queue.Empty:
                return reports, None

    def _give_up(self, reason: str) -> None:
        if not self._away.is_set():
            self._away.set()
            logger.warning("no live view of the training: %s. It goes on, and is recorded at the end", reason)
