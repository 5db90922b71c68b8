"""Start the service on a port and end it cleanly."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from serving.access import refuse_open_doors
from serving.app import create_app
from serving.listening import greeting, listen
from serving.logs import log_to_stderr
from serving.settings import ServingSettings
from serving.together import Together
from vizecg.registry import fail_quickly

# Longer than callers keep a connection that has nothing to do (httpx 5 s, nginx 60 s): if we closed it first, we would
# now and then close it on a request that is on its way. uvicorn's own are 5 s.
_KEEP_ALIVE_S: Final = 65
_LATE_S: Final = 0.1
_TICKS_TO_A_BEAT: Final = 10  # of a tenth of a second
_MOST_HEAD_BYTES: Final = 65_536
"""Of a request line and its headers."""


def serve(settings: ServingSettings) -> None:
    """Answer until SIGTERM or Ctrl-C; accepted requests are answered first.

    Raises:
        InputError: the port that was asked for is taken, the address cannot be
            listened on or is for others and there are no API keys, or `settings.bundle` cannot be served.
    """
    refuse_open_doors(settings)
    listening = listen(settings)
    answer(settings, listening, begun=lambda: print(greeting(settings, listening), flush=True))


def answer(
    settings: ServingSettings,
    listening: socket.socket,
    *,
    begun: Callable[[], None],
    alive: Callable[[], None] | None = None,
    together: Together | None = None,
) -> None:
    """Answer what comes over a socket until SIGTERM or Ctrl-C; accepted requests are answered first.

    Args:
        settings: of the service.
        listening: closed at the end.
        begun: called once, when it answers.
        alive: called about once a second from then on, by the event loop itself: who hears nothing knows that it hangs.
        together: with whom it answers; None: alone.

    Raises:
        InputError: as `create_app`.
    """
    fail_quickly()
    log_to_stderr(settings.log)
    # uvicorn hands a signal on once it has drained: that ends us with code 0 instead of as killed.
    for received in (signal.SIGTERM, signal.SIGINT):
        signal.signal(received, _end)
    with listening:
        app = create_app(settings, together=together)
        _Server(configuration(app, settings), begun=begun, alive=alive).run(sockets=[listening])


def configuration(app: ASGIApp, settings: ServingSettings) -> uvicorn.Config:
    """How HTTP is spoken, whatever else is installed."""
    return uvicorn.Config(
        app,
        # Named, for uvicorn would take httptools where somebody installed it, and with that a head has no end.
        http="h11",
        h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
        loop="asyncio",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.drain_s,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )


class _Server(uvicorn.Server):
    """Tells when it has begun and that it lives, and ends as soon as everything accepted is answered."""

    def __init__(
        self, config: uvicorn.Config, *, begun: Callable[[], None], alive: Callable[[], None] | None = None
    ) -> None:
        super().__init__(config)
        self._begun = begun
        self._alive = alive or (lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._begun()

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_TO_A_BEAT == 0:
            self._alive()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        telling = asyncio.create_task(self._tell_who_comes_late())
        try:
            await super().shutdown(sockets=sockets)
        finally:
            telling.cancel()

    async def _tell_who_comes_late(self) -> None:
        """Close connections after their answer, again and again while the service drains.

        uvicorn tells those that it knows when it stops listening. One that was being accepted in that moment would go
        on asking, be answered for as long as the drain may take, and then be cut off.
        """
        while True:
            await asyncio.sleep(_LATE_S)
            self._alive()
            for connection in list(self.server_state.connections):
                connection.shutdown()


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signature of a signal handler)
    raise SystemExit(0)
