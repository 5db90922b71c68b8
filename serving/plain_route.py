"""A route that is described by FastAPI and called without it: what its dependencies cost is most of a small request."""

from collections.abc import Awaitable, Callable, Coroutine
from inspect import signature
from typing import Any, cast

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from serving.access import Requires


class PlainRoute(APIRoute):
    """For functions of the request and the service alone, which answer with a model or a response.

    Who may ask is looked at as everywhere (`dependencies=[requires(…)]`, and no others), and OpenAPI says
    the same of it as of any route. What is spared: solving a tree of five dependencies, and validating
    an answer that its own class has validated.

    Raises:
        TypeError: its function takes anything else, or it has a dependency that is no door: neither would be seen to.
    """

    _answer: Callable[[Request], Coroutine[Any, Any, Response]]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI asks for it (its documentation, "Custom Request and APIRoute class")."""
        if list(signature(self.endpoint).parameters) != ["request", "service"]:
            raise TypeError(f"{self.endpoint.__name__} must take request and service, and nothing else")
        doors = [dependency.dependency for dependency in self.dependencies]
        if not all(isinstance(door, Requires) for door in doors):
            raise TypeError(f"{self.endpoint.__name__} may depend on requires(…) alone, got {doors}")
        answer = cast(Callable[..., Awaitable[BaseModel | Response]], self.endpoint)

        async def reply_to(request: Request) -> Response:
            for door in doors:
                await cast(Requires, door).let_in(request)
            reply = await answer(request, request.app.state.service)
            if isinstance(reply, Response):
                return reply
            return Response(reply.model_dump_json(), media_type="application/json")

        self._answer = reply_to
        return reply_to

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As any route, without the two stacks of things to be closed after the reply: such a function has none."""
        if not self.methods or scope["method"] not in self.methods:
            await super().handle(scope, receive, send)
            return
        reply = await self._answer(Request(scope, receive, send))
        await reply(scope, receive, send)
