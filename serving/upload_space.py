"""How many bytes of request bodies lie in memory at once: what would be more is refused before it is read.

A place in the line of pictures is taken only once a body is whole, so callers who send slowly, however many, would
otherwise fill the memory without ever being counted.
"""

from http import HTTPStatus
from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.metrics import Metrics
from serving.problems import RETRY_AFTER_S, ProblemError
from serving.settings import ServingSettings
from vizecg.errors import InputError

FORM_OVERHEAD_BYTES: Final = 64_000
"""Of a form around one picture."""
_SHARE: Final = "vizecg.upload_share"


class UploadSpace:
    """The memory of one process for bodies.

    Raises:
        InputError: the largest body that is allowed would never fit.
    """

    def __init__(self, settings: ServingSettings, *, metrics: Metrics) -> None:
        self.limit_bytes = int(settings.uploads_mb * 1e6)
        largest = max(settings.max_body_bytes + FORM_OVERHEAD_BYTES, settings.max_batch_bytes)
        if self.limit_bytes < largest:
            raise InputError(
                f"VIZECG_UPLOADS_MB is {settings.uploads_mb:g}, and one body may have {largest / 1e6:g} MB; raise it, "
                "or lower VIZECG_MAX_BODY_BYTES and VIZECG_MAX_BATCH_BYTES"
            )
        self._taken = 0
        self._metrics = metrics

    def take(self, more_bytes: int) -> None:
        """Count bytes.

        Raises:
            ProblemError: 503, there is no room for them.
        """
        if self._taken + more_bytes > self.limit_bytes:
            self._metrics.refused.labels("uploads").inc()
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"the service is at its limit: bodies of other requests take the {self.limit_bytes / 1e6:g} MB that "
                f"there are for them; ask again after {RETRY_AFTER_S} s",
            )
        self._changed(more_bytes)

    def give_back(self, taken_bytes: int) -> None:
        """These are in memory no longer."""
        self._changed(-taken_bytes)

    def _changed(self, by_bytes: int) -> None:
        self._taken += by_bytes
        self._metrics.upload_bytes.set(self._taken)


class _Share:
    """What one request takes of it."""

    def __init__(self, space: UploadSpace) -> None:
        self._space = space
        self._taken = 0

    def cover(self, body_bytes: int) -> None:
        """Take as much as makes room for a body of so many bytes; raises as `UploadSpace.take`."""
        if (missing := body_bytes - self._taken) > 0:
            self._space.take(missing)
            self._taken = body_bytes

    def end(self) -> None:
        self._space.give_back(self._taken)
        self._taken = 0


def make_room(request: Request, *, body_bytes: int) -> None:
    """Take memory for a body, until its request ends in whatever way.

    Args:
        request: to which it belongs.
        body_bytes: all of it, as declared or as far as it has come; what was taken before counts.

    Raises:
        ProblemError: 503, there is none.
    """
    share: _Share = request.scope[_SHARE]
    share.cover(body_bytes)


class UploadSpaceMiddleware:
    """Gives back what a request took when it has ended: answered, refused, cut off, or left by its caller."""

    def __init__(self, app: ASGIApp, *, space: UploadSpace) -> None:
        self._app = app
        self._space = space

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        share = scope[_SHARE] = _Share(self._space)
        try:
            await self._app(scope, receive, send)
        finally:
            share.end()
