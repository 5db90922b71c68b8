"""The port of the service, and the words with which it begins."""

import errno
import socket
from typing import Final

from serving.settings import DEFAULT_PORT, ServingSettings
from vizecg.errors import InputError

_PORTS_TO_TRY: Final = 50
_BACKLOG: Final = 128


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


def greeting(settings: ServingSettings, listening: socket.socket) -> str:
    """Where it answers, and whom."""
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
