"""The application: `create_app(live)` is an ASGI application for uvicorn or any other server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from understudy.judge.redteam.conversation import Live
from understudy.judge.redteam.web import routes
from understudy.judge.redteam.web.access import PageAccess
from understudy.serve.api.status import PAGE as SHARED
from understudy.serve.api.status import static_file
from understudy.serve.errors import ApiError
from understudy.serve.server import json_response
from understudy.serve.shell import exception_handlers

PAGE = Path(__file__).parent / "page"
ROUTES = (
    Route("/api/about", routes.about),
    Route("/api/conversations", routes.conversations),
    Route("/api/conversations", routes.add_conversation, methods=["POST"]),
    Route("/api/conversations/{id}", routes.conversation),
    Route("/api/conversations/{id}/say", routes.say, methods=["POST"]),
    Route("/api/conversations/{id}/stop", routes.stop, methods=["POST"]),
    Route("/api/conversations/{id}/branch", routes.branch, methods=["POST"]),
    Route("/api/conversations/{id}/rerun", routes.rerun, methods=["POST"]),
    Route("/api/conversations/{id}/ratings", routes.rate, methods=["POST"]),
    Route("/api/conversations/{id}/fixes", routes.fix, methods=["POST"]),
    Route("/api/goals", routes.goals),
    Route("/api/goals", routes.add_goal, methods=["POST"]),
    Route("/api/goals/{id}", routes.change_goal, methods=["POST"]),
    Route("/api/convert", routes.converted, methods=["POST"]),
    Route("/api/card", routes.card, methods=["POST"]),
    Route("/api/overview", routes.overview),
    Route("/api/export", routes.export),
    Route("/api/import", routes.take, methods=["POST"]),
)


def create_app(live: Live, *, rater: str = "") -> Starlette:
    """The workbench over a store and a model.

    Args:
        rater: the name that the page begins with.
    """
    bench = routes.Bench(live, rater)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            bench.speaker.close()

    app = Starlette(
        routes=[
            *ROUTES,
            Route("/", _page),
            Route("/workbench/{name:path}", _page),
            Route("/page/{name:path}", _shared),
        ],
        middleware=[Middleware(PageAccess)],
        exception_handlers=exception_handlers(_write),
        lifespan=lifespan,
    )
    app.state.bench = bench
    return app


async def _page(request: Request) -> Response:
    return static_file(PAGE, request.path_params.get("name") or "index.html")


async def _shared(request: Request) -> Response:
    """What the page has in common with the server's: elements, requests, the stylesheet."""
    return static_file(SHARED, request.path_params["name"])


def _write(request: Request, error: ApiError) -> Response:
    return json_response(error.to_openai(), error.status, error.headers)
