"""The log of the service: JSON lines that name the request and hold nothing of what was sent."""

import json
import logging
import time
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("vizecg.requests")

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""Of the request that is worked on; threads started for it inherit it."""
_ASKED_BY_PROBES: Final = ("/health", "/ready", "/metrics")
_MOST_CAUSES: Final = 5


class JsonFormatter(logging.Formatter):
    """One object a line. An exception is its kinds and places: its own words may quote what was sent."""

    def format(self, record: logging.LogRecord) -> str:
        """JSON, with `fields` of the record beside the usual ones."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if (request_id := REQUEST_ID.get()) is not None:
            told["request_id"] = request_id
        if record.exc_info and record.exc_info[1] is not None:
            told["exceptions"] = _described(record.exc_info[1])
        return json.dumps(told, default=str)


class TextFormatter(logging.Formatter):
    """For people at a terminal; with what the request was, and exceptions as in JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and one more for each place of an exception."""
        fields = "".join(f" {name}={value}" for name, value in getattr(record, "fields", {}).items())
        lines = [f"{self.formatTime(record)} {record.levelname} {record.getMessage()}{fields}"]
        if record.exc_info and record.exc_info[1] is not None:
            for one in _described(record.exc_info[1]):
                lines += [f"  {one['kind']}", *(f"    {place}" for place in one["places"])]
        return "\n".join(lines)


class RequestLogMiddleware:
    """A line for each request: route as declared, status, time, whose key; never a path, a header or a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        REQUEST_ID.set(scope["state"]["request_id"])

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            _note(scope, status=status, seconds=time.perf_counter() - started)


def log_to_stderr(form: Literal["json", "text"]) -> None:
    """Send what this service and uvicorn have to say there, in one form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    for name, level in (("vizecg", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
    # It warns of every broken form; the caller hears of it.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)


def _note(scope: Scope, *, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "none")
    key = scope["state"].get("key")
    fields = {
        "method": scope["method"] if scope["method"].isalpha() and len(scope["method"]) < 8 else "other",
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 1),
        "key": None if key is None else key.id,
    }
    level = logging.DEBUG if route in _ASKED_BY_PROBES and status < 500 else logging.INFO
    log.log(level, "request answered", extra={"fields": fields})


def _described(error: BaseException) -> list[dict[str, Any]]:
    """The exception and what it came from, outermost first."""
    described: list[dict[str, Any]] = []
    one: BaseException | None = error
    while one is not None and len(described) < _MOST_CAUSES:
        frames = traceback.extract_tb(one.__traceback__)
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        described.append({"kind": type(one).__name__, "places": places})
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return described
