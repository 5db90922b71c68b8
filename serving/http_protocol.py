"""HTTP of a connection as uvicorn speaks it, but that a body can be taken whole, and a reply goes out in one piece.

uvicorn hands on a body in pieces of at most 256 kB, each copied half a dozen times and each a turn of the event loop
with reading stopped and begun again: of a photo of 1 MB that is most of what HTTP costs. And it sends the head of a
reply by itself, which wakes whoever waits for the body.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import h11
import numpy as np
from starlette.requests import ClientDisconnect
from starlette.types import Message, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_WHOLE_BODY: Final = "vizecg.whole_body"
"""Extension of an ASGI scope."""
_HEAD_BYTES: Final = 4_096
_PIECE_BYTES: Final = 65_536


class WholeBodyProtocol(H11Protocol, asyncio.BufferedProtocol):
    """h11 reads the head of a request and what came with it; the rest of a body goes where the app wants it.

    A body whose length is not declared, or that nobody takes whole, is read by h11 as ever.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (uvicorn's own)
        super().__init__(*args, **kwargs)
        self._piece = memoryview(bytearray(_PIECE_BYTES))
        self._rest: memoryview | None = None
        """Where the rest of a body goes that is taken whole; None while h11 reads."""
        self._early = b""
        """What came behind such a body before its reply was complete."""
        self._replies: _HeadWithBody

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As uvicorn."""
        self._replies = _HeadWithBody(cast(asyncio.Transport, transport), state=lambda: self.conn.our_state)
        super().connection_made(cast(asyncio.Transport, self._replies))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (asyncio's own)
        """Where the next bytes go."""
        if self._rest:
            return self._rest
        # Behind a head comes the body, which h11 need not see.
        return self._piece[:_HEAD_BYTES] if self.conn.their_state is h11.IDLE else self._piece

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        if self._rest:
            self._rest = self._rest[nbytes:]
            if not self._rest:
                self.cycle.message_event.set()
        elif self._rest is None:
            self.data_received(bytes(self._piece[:nbytes]))
        else:  # of the next request, before this one is answered
            self._early += self._piece[:nbytes]
            self.flow.pause_reading()

    def handle_events(self) -> None:
        """As uvicorn, whose task for a request begins only after this."""
        super().handle_events()
        if self.scope is not None:
            scope = cast(Scope, self.scope)
            scope.setdefault("extensions", {})[_WHOLE_BODY] = self._whole_body

    def on_response_complete(self) -> None:
        """As uvicorn, but that an h11 which has not seen the end of a body is followed by another."""
        self._replies.next()
        early = b""
        if self._rest is not None:
            if self._rest:  # the reply came before the end of the body, so where a next request begins is not known
                self.transport.close()
            self.conn = h11.Connection(h11.SERVER)
            early, self._early, self._rest = self._early, b"", None
        super().on_response_complete()
        if early and not self.transport.is_closing():
            self.data_received(early)

    async def _whole_body(self) -> bytes | None:
        declared = next((value for name, value in self.headers if name == b"content-length"), None)
        if declared is None:
            return None
        cycle = self.cycle
        begun = cast(Message, await cycle.receive())  # answers `Expect: 100-continue` too
        if begun["type"] == "http.disconnect":
            raise ClientDisconnect
        piece: bytes = begun["body"]
        if not begun["more_body"]:
            return piece
        body = np.empty(int(declared), np.uint8)  # takes memory only where bytes have come
        whole = memoryview(cast(Any, body))  # numpy says before Python 3.12 not that it has one
        whole[: len(piece)] = piece
        self._rest = whole[len(piece) :]
        self.flow.resume_reading()
        while self._rest and not cycle.disconnected:
            await cycle.message_event.wait()
            cycle.message_event.clear()
        if cycle.disconnected:
            raise ClientDisconnect
        cycle.more_body = False
        return body.tobytes()


async def whole_body(scope: Scope) -> bytes | None:
    """Take the body of a request in one piece, before anything of it was received.

    Whoever asks has looked at the declared length: so much memory may be taken.

    Returns:
        None where that is not possible; then it comes in pieces, as ASGI has it.

    Raises:
        ClientDisconnect: the connection ended before the body did.
    """
    take: Callable[[], Awaitable[bytes | None]] | None = scope.get("extensions", {}).get(_WHOLE_BODY)
    return None if take is None else await take()


class _HeadWithBody:
    """A transport that keeps the head of a reply until the first of its body is there.

    Args:
        transport: what sends.
        state: of our side of the connection, as h11 sees it.
    """

    def __init__(self, transport: asyncio.Transport, *, state: Callable[[], object]) -> None:
        self._transport = transport
        self._state = state
        self._head: bytes | None = None
        self._begun = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever else a transport has)
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """As a transport."""
        if not self._begun and self._state() is h11.SEND_BODY:
            self._begun, self._head = True, data
            return
        if self._head is not None:
            data, self._head = self._head + data, None
        self._transport.write(data)

    def close(self) -> None:
        """As a transport."""
        self.write(b"")
        self._transport.close()

    def next(self) -> None:
        """What is written next belongs to another reply."""
        self._begun = False
