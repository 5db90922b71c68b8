"""Start the service on a port and end it cleanly."""

import errno
import signal
import socket
from types import FrameType
from typing import Final

import uvicorn

from serving.access import refuse_open_doors
from serving.app import create_app
from serving.http_protocol import WholeBodyProtocol
from serving.logs import log_to_stderr
from serving.settings import DEFAULT_PORT, ServingSettings
from vizecg.errors import InputError
from vizecg.registry import fail_quickly

_PORTS_TO_TRY: Final = 50
_BACKLOG: Final = 128
# Longer than callers keep a connection that has nothing to do (httpx 5 s, nginx 60 s): if we closed it first, we would
# now and then close it on a request that is on its way. uvicorn's own are 5 s.
_KEEP_ALIVE_S: Final = 65


def serve(settings: ServingSettings) -> None:
    """Answer until SIGTERM or Ctrl-C; accepted requests are answered first.

    Raises:
        InputError: the port that was asked for is taken, the address cannot be
            listened on or is for others and there are no API keys, or `settings.bundle` cannot be served.
    """
    refuse_open_doors(settings)
    fail_quickly()
    log_to_stderr(settings.log)
    # uvicorn hands a signal on once it has drained: that ends us with code 0 instead of as killed.
    for received in (signal.SIGTERM, signal.SIGINT):
        signal.signal(received, _end)
    with listen(settings) as listening:
        app = create_app(settings)
        print(_greeting(settings, listening), flush=True)
        config = uvicorn.Config(
            app,
            http=WholeBodyProtocol,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=settings.drain_s,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        uvicorn.Server(config).run(sockets=[listening])


def listen(settings: ServingSettings) -> socket.socket:
    """Take the port: the one asked for, or else 8000 or the next free one.

    The socket is bound here and handed on, so nobody can take the port in between.

    Raises:
        InputError: it is taken, or the address is none of this machine.
    """
    asked = settings.port is not None
    first = settings.port if settings.port is not None else DEFAULT_PORT
    for port in [first] if asked else range(first, first + _PORTS_TO_TRY):
        try:
            return _bound(settings.host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = (error.strerror or str(error)).lower()
                raise InputError(f"cannot listen on {settings.host} port {port}: {reason}") from None
            if asked:
                raise InputError(
                    f"port {port} on {settings.host} is in use; stop what uses it, or ask for another with --port"
                ) from None
    raise InputError(
        f"no free port from {first} to {first + _PORTS_TO_TRY - 1} on {settings.host}; name one with --port"
    )


def _greeting(settings: ServingSettings, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    moved = f" ({DEFAULT_PORT} is taken)" if settings.port is None and port != DEFAULT_PORT else ""
    lines = [f"VizECG answers at http://{host}:{port}{moved}, its API is described at http://{host}:{port}/docs"]
    if settings.api_keys_file is None:
        lines.append("anybody on this machine may ask: there are no API keys")
    return "\n".join(lines)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    # asyncio sets this only on sockets that name their protocol, which these do not; without it a reply waits 40 ms
    # for the acknowledgement of its headers. Accepted connections inherit it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signature of a signal handler)
    raise SystemExit(0)
