"""The OpenAPI document, where FastAPI's own says less or other than what is sent."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.problems import MEDIA_TYPE


def document(app: FastAPI) -> dict[str, Any]:
    """Describe an app; made once and kept by it."""
    if app.openapi_schema is None:
        described = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.router.routes
        )
        for path in described["paths"].values():
            for operation in path.values():
                for response in operation["responses"].values():
                    _send_problems_as_problems(response.get("content", {}))
        app.openapi_schema = described
    return app.openapi_schema


def _send_problems_as_problems(content: dict[str, Any]) -> None:
    """FastAPI documents a model under the type of the route's own reply; ours goes out under its own and no other."""
    if MEDIA_TYPE in content:
        for kind in content.keys() - {MEDIA_TYPE}:
            content[MEDIA_TYPE]["schema"] = content.pop(kind)["schema"]
