"""Counters of one service, for Prometheus: base units, never an id as a label."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.together import Together
from vizecg.answer import Answer, ModelIdentity

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Every metric, in a registry of its own: two apps in one process do not share counts.

    Args:
        together: with whom it counts. Then every worker shows the sum of what all have counted; how their gauges are
            joined is said at each, and a worker that has ended is in no gauge.
    """

    def __init__(self, together: Together | None = None) -> None:
        self.registry = CollectorRegistry()
        self._together = together
        self._named: dict[Gauge, Gauge] = {}
        """Gauges that name a model, each with the one it names now."""
        self.requests = Counter(
            "vizecg_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "vizecg_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.predictions = Counter("vizecg_predictions", "Pictures answered", ["decision"], registry=self.registry)
        self.positives = Counter("vizecg_positive_labels", "Labels found positive", ["code"], registry=self.registry)
        self.model_loads = Counter(
            "vizecg_model_loads", "Attempts to follow the alias", ["outcome"], registry=self.registry
        )
        self.model_info = Gauge(
            "vizecg_model_info",
            "The model that answers",
            ["name", "version", "bundle_digest"],
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.ready = Gauge(
            "vizecg_ready", "1 when a model answers", multiprocess_mode="livemin", registry=self.registry
        )
        self.registry_up = Gauge(
            "vizecg_registry_up",
            "1 when the registry answered last",
            multiprocess_mode="livemin",
            registry=self.registry,
        )
        self.stale = Gauge(
            "vizecg_model_stale",
            "1 while a version answers that the registry does not name, or cannot",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.refused = Counter("vizecg_refused", "Requests refused before any work", ["reason"], registry=self.registry)
        self.waiting = Gauge(
            "vizecg_predictions_waiting",
            "Pictures that wait to be worked on",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.upload_bytes = Gauge(
            "vizecg_upload_bytes",
            "Bytes of bodies in memory, or announced",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.shadow = Counter(
            "vizecg_shadow", "Pictures meant for the challenger too", ["outcome"], registry=self.registry
        )
        self.shadow_labels = Counter(
            "vizecg_shadow_labels",
            "Labels of which champion and challenger said the same, or not",
            ["code", "said"],
            registry=self.registry,
        )
        self.shadow_info = Gauge(
            "vizecg_shadow_info",
            "The model that is asked beside the one that answers",
            ["name", "version", "bundle_digest"],
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        for outcome in ("compared", "dropped", "incomparable", "failed"):
            self.shadow.labels(outcome)
        self.decoder_restarts = Counter(
            "vizecg_decoder_restarts", "Processes that unpack pictures, replaced", ["reason"], registry=self.registry
        )
        if together is not None:
            self.worker_restarts = Counter(
                "vizecg_worker_restarts", "Processes that answer, replaced", registry=self.registry
            )
        for reason in ("memory", "cpu", "wall", "ended", "start"):
            self.decoder_restarts.labels(reason)
        for reason in ("key", "scope", "rate", "overload", "uploads", "audit"):
            self.refused.labels(reason)
        for outcome in ("ok", "failed"):
            self.model_loads.labels(outcome)

    def answered(self, answer: Answer) -> None:
        """Count one prediction."""
        self.predictions.labels(answer.decision).inc()
        for label in answer.labels:
            if label.positive:
                self.positives.labels(label.code).inc()

    def serves(self, model: ModelIdentity) -> None:
        """Name the model that answers from now on."""
        self._name(self.model_info, model)
        self.ready.set(1)

    def shadows(self, model: ModelIdentity | None) -> None:
        """Name the model that is compared from now on, if there is one."""
        self._name(self.shadow_info, model)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry if self._together is None else _Summed(self._together))

    def _name(self, gauge: Gauge, model: ModelIdentity | None) -> None:
        if self._together is None:
            gauge.clear()
        elif gauge in self._named:  # what workers count together cannot be taken back, only be set to 0
            self._named.pop(gauge).set(0)
        if model is not None:
            self._named[gauge] = gauge.labels(model.name, model.version or "none", model.bundle_digest)
            self._named[gauge].set(1)


class _Summed(Collector):
    """What all workers have counted."""

    def __init__(self, together: Together) -> None:
        self._folder = together.folder

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client asks for it; a model that no worker has any more is left out."""
        # A file that another worker makes at this moment is empty, which prometheus_client cannot read.
        files = [str(path) for path in self._folder.glob("*.db") if _size_of(path)]
        summed: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call] # theirs
        for metric in summed:
            if metric.name.endswith("_info"):
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # its worker has ended
        return 0


class MetricsMiddleware:
    """Counts every HTTP request by its route as declared, so that a path invented by a caller makes no new series."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(time.perf_counter() - started)
