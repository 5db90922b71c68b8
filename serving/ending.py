"""Requests that the end of the service cuts off: answered as what they are, not as a fault of the service."""

import asyncio
from http import HTTPStatus

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.problems import ProblemError, respond


class EndingMiddleware:
    """Answers 503 where the server has waited as long as it may (`VIZECG_DRAIN_S`) and cancels what is left.

    Without it the caller gets a bare 500, and so do log and metrics, of a request that nothing
    was wrong with: a body that came too slowly, or a picture that took too long.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except asyncio.CancelledError:
            if begun:  # half of a reply cannot be taken back; the connection that ends tells
                raise
            told = ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the service ends and did not finish this request in time; send it again",
                headers={"Connection": "close"},
            )
            await respond(Request(scope), told)(scope, receive, send)
