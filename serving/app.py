"""The service: `create_app(settings)` puts the rooms together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from fastapi import FastAPI

from serving import openapi, problems, routes
from serving.metrics import Metrics, MetricsMiddleware
from serving.request_id import RequestIdMiddleware
from serving.settings import ServingSettings
from serving.watcher import ServedModel, Watcher, prove
from vizecg.answer import DISCLAIMER

DESCRIPTION: Final = (
    "Diagnosis from the printed ECG image alone. "
    f"{DISCLAIMER} Errors are problem details (RFC 9457), `application/problem+json`."
)


def create_app(settings: ServingSettings) -> FastAPI:
    """Build one service.

    With `settings.bundle` that folder is served, and nothing else ever. Without,
    the service follows `settings.alias` of the registry and is ready when the
    first version has proven itself.

    Raises:
        InputError: `settings.bundle` cannot be served.
    """
    metrics = Metrics()
    model = ServedModel(metrics)
    watcher: Watcher | None = None
    if settings.bundle is not None:
        model.swap(prove(settings.bundle, threads=settings.threads))
        model.registry_is("not used")
    else:
        watcher = Watcher(model=model, settings=settings, metrics=metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = routes.Service(
            settings=settings,
            model=model,
            metrics=metrics,
            limiter=anyio.CapacityLimiter(settings.predictions_at_once),
        )
        if watcher is not None:
            watcher.start()
        yield
        if watcher is not None:
            await anyio.to_thread.run_sync(watcher.stop)

    # FastAPI's own documentation pages load scripts from elsewhere; serving.docs_page needs none.
    app = FastAPI(
        title="VizECG", version="1", description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign] # FastAPI's documented way
    problems.install(app)
    app.include_router(routes.router)
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    app.add_middleware(RequestIdMiddleware)  # added last, so outermost: everything inside has a name
    return app
