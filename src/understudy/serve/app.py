"""The application: `create_app({"name": model}, Settings())` is an ASGI application for uvicorn or
any other server.

To add a route: a function in a file of `api/` and its line in `ROUTES`, which is also what
`/openapi.json` is written from.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from understudy.generation.moderation import TextGuard
from understudy.model import Model
from understudy.serve.access import AccessControl
from understudy.serve.api import status
from understudy.serve.api.routes import ROUTES
from understudy.serve.errors import ApiError
from understudy.serve.events import ClientGone
from understudy.serve.metrics import Metrics
from understudy.serve.openapi import describe
from understudy.serve.pool import LoadedModel, Loader, Pool
from understudy.serve.server import Server, json_response
from understudy.serve.settings import Settings
from understudy.serve.shell import exception_handlers

MakeGuard = Callable[[Model], TextGuard]


def create_app(
    models: Mapping[str, Model | Loader],
    settings: Settings | None = None,
    *,
    guard: MakeGuard | None = None,
) -> Starlette:
    """The application.

    Args:
        models: by name, the first is the default: loaded models, which then belong to the server's
            engine threads, or functions that load one when it is first asked for.
        settings: limits, keys and folders; default those of a server for this machine alone.
        guard: makes the guard of what goes into and out of a model (`safety.guard.Guard`); None:
            nothing is checked.
    """
    settings = settings or Settings()
    server = Server(settings, Pool(models, settings), Metrics())
    status.declare(server)

    def on_load(served: LoadedModel) -> None:
        served.guard = guard(served.model) if guard is not None else None
        status.watch(server, served)

    server.pool.on_load = on_load
    document = describe(ROUTES)

    async def openapi(request: Request) -> Response:
        return json_response(document)

    routes = [Route(entry.path, entry.endpoint, methods=[entry.method]) for entry in ROUTES]
    app = Starlette(
        routes=[
            *routes,
            Route("/openapi.json", openapi),
            Route("/", status.page),
            Route("/page/{name:path}", status.page),
        ],
        middleware=[Middleware(AccessControl, server=server)],
        exception_handlers={
            **exception_handlers(_write),
            ClientGone: _gone,
            ClientDisconnect: _gone,  # while it sent its body
        },
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.server = server
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    """Loads the default model before the first request; at the end fails what is left and ends the
    engines.
    """
    server: Server = app.state.server
    if server.pool.names:
        server.pool.give_back(await server.pool.take(None))
    try:
        yield
    finally:
        server.is_stopping = True
        await server.pool.stop()


def _write(request: Request, error: ApiError) -> Response:
    document = (
        error.to_anthropic() if request.url.path.startswith("/v1/messages") else error.to_openai()
    )
    request.state.record["error"] = error.message[:200]
    return json_response(document, error.status, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody reads this; the status is nginx's for a client that closed the connection."""
    return Response(status_code=499)
