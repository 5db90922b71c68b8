"""The service: `create_app(settings)` puts the rooms together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from fastapi import FastAPI

from serving import batch, explain, feedback, headers, inference_protocol, openapi, page, problems, routes
from serving.access import Access
from serving.audit import AuditTrail
from serving.decoding import Decoders
from serving.ending import EndingMiddleware
from serving.head import HeadMiddleware
from serving.limits import WorkQueue
from serving.logs import RequestLogMiddleware
from serving.metrics import Metrics, MetricsMiddleware
from serving.request_id import RequestIdMiddleware
from serving.settings import ServingSettings
from serving.shadow import Shadow
from serving.together import Together
from serving.upload_space import UploadSpace, UploadSpaceMiddleware
from serving.watcher import ServedModel, Watcher, prove
from vizecg.answer import DISCLAIMER

_FIRST_ATTEMPT_S: Final = 10.0
DESCRIPTION: Final = (
    "Diagnosis from the printed ECG image alone. "
    f"{DISCLAIMER} Errors are problem details (RFC 9457), `application/problem+json`."
)


def create_app(settings: ServingSettings, *, together: Together | None = None) -> FastAPI:
    """Build one service.

    With `settings.bundle` that folder is served, and nothing else ever. Without,
    the service follows `settings.alias` of the registry and is ready when the
    first version has proven itself.

    Args:
        settings: of the service.
        together: with whom it answers on one port; None: alone. Then it begins only when its first attempt at a model
            is over: until then the others answer what comes.

    Raises:
        InputError: `settings.bundle` cannot be served or has a shadow, anybody could ask from other machines, answers
            must be kept and cannot be, or the largest body would find no room.
    """
    metrics = Metrics(together)
    access = Access(settings, metrics=metrics)
    audit = AuditTrail(settings, metrics=metrics)
    space = UploadSpace(settings, metrics=metrics)
    model = ServedModel(metrics)
    watcher: Watcher | None = None
    shadow = Shadow(settings, alias=settings.shadow, metrics=metrics) if settings.shadow else None
    if settings.bundle is not None:
        model.swap(prove(settings.bundle, threads=settings.threads))
        model.registry_is("not used")
    else:
        watcher = Watcher(model=model, settings=settings, metrics=metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        decoders = Decoders(settings, metrics=metrics)
        decoders.start()
        queue = WorkQueue(at_once=settings.predictions_at_once, waiting=settings.predictions_waiting, metrics=metrics)
        app.state.service = routes.Service(
            settings=settings,
            model=model,
            metrics=metrics,
            queue=queue,
            decoders=decoders,
            access=access,
            audit=audit,
            shadow=shadow,
        )
        followers = [one for one in (watcher, shadow) if one is not None]
        for one in followers:
            one.start()
        if watcher is not None and together is not None:
            await anyio.to_thread.run_sync(watcher.attempted.wait, _FIRST_ATTEMPT_S)
        if together is not None and together.replaces:
            metrics.worker_restarts.inc()
        yield
        queue.close()
        decoders.close()  # what still works is answered already: the server has waited as long as it may
        async with anyio.create_task_group() as stopping:
            for one in followers:
                stopping.start_soon(anyio.to_thread.run_sync, one.stop)
        audit.close()

    # FastAPI's own documentation pages load scripts from elsewhere; serving.docs_page needs none.
    app = FastAPI(
        title="VizECG",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
    )
    app.state.access = access
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign] # FastAPI's documented way
    problems.install(app)
    app.router.routes[:0] = routes.asked_often.routes  # not included: to look through two routers costs more
    for part in (routes, batch, explain, feedback, inference_protocol, page):
        app.include_router(part.router)
    app.add_middleware(HeadMiddleware)  # added first, so innermost: all others see what was asked
    app.add_middleware(EndingMiddleware)  # and these what it answers
    app.add_middleware(UploadSpaceMiddleware, space=space)
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    headers.allow_origins(app, settings.cors_origins)
    app.add_middleware(headers.SecurityHeadersMiddleware)
    app.add_middleware(RequestLogMiddleware)
    app.add_middleware(RequestIdMiddleware)  # added last, so outermost: everything inside has a name
    return app
