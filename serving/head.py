"""HEAD, which every resource that answers GET answers too (RFC 9110, 9.3.2): load balancers ask so whether we live."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadMiddleware:
    """Lets a route answer HEAD as it would GET; the server leaves the body out.

    The scope is changed and not copied: the route that is found is written into it, and counted further out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_as_head(message: Message) -> None:
            scope["method"] = "HEAD"  # the server decides by it whether a body goes out
            await send(message)

        scope["method"] = "GET"
        await self._app(scope, receive, send_as_head)


def allowed(methods: str) -> str:
    """What stands in `Allow`, as routes know it and as it is: where GET is allowed, HEAD is."""
    named = [name.strip() for name in methods.split(",")]
    return ", ".join([*named, "HEAD"] if "GET" in named and "HEAD" not in named else named)
