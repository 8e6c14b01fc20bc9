"""How the server is: `/health`, `/ready`, `/metrics`, `/ps`, and the page."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from understudy.serve.errors import ApiError
from understudy.serve.openapi import RouteEntry
from understudy.serve.pool import LoadedModel
from understudy.serve.server import Server, json_response, server_of

PAGE = Path(__file__).parent.parent / "page"
# Nothing from elsewhere, nothing inline: were a model's text ever taken for markup, it still could
# not run or load anything.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src "
    "'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def health(request: Request) -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


async def ready(request: Request) -> Response:
    """The default model is loaded and requests are taken."""
    server = server_of(request)
    is_ready = not server.is_stopping and bool(server.pool.loaded)
    return json_response(
        {"status": "ready" if is_ready else "stopping" if server.is_stopping else "loading"},
        200 if is_ready else 503,
    )


async def metrics(request: Request) -> Response:
    return Response(server_of(request).metrics.text(), media_type="text/plain; version=0.0.4")


async def ps(request: Request) -> Response:
    """The models that are loaded and what they are doing."""
    server = server_of(request)
    return json_response(
        {
            "uptime_s": round(time.time() - server.started, 1),
            "models": [_served(served) for served in server.pool.loaded],
            "not_loaded": [
                name
                for name in server.pool.names
                if name not in {s.name for s in server.pool.loaded}
            ],
        }
    )


def _served(served: LoadedModel) -> dict[str, Any]:
    model, pool = served.model, served.model.engine.pool
    return {
        "name": served.name,
        "architecture": model.spec.architecture,
        "weight_bytes": model.packed_bytes,
        "context": model.engine.context,
        "guard": list(served.guard.checks) if served.guard is not None else [],
        "running": served.driver.num_running,
        "waiting": served.driver.num_waiting,
        "cache_pages": pool.num_pages,
        "cache_pages_held": pool.num_pages - pool.num_free,
        "idle_s": round(time.time() - served.last_used, 1),
    }


async def page(request: Request) -> Response:
    """The page and the files beside it."""
    return static_file(PAGE, request.path_params.get("name") or "index.html")


def static_file(folder: Path, name: str) -> Response:
    """A file of a page, under its policy; nothing outside its folder.

    Raises:
        ApiError: 404.
    """
    missing = ApiError(404, "there is no such page", code="not_found")
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise missing
    except (ValueError, OSError) as error:  # a NUL in the name, or a name that is too long
        raise missing from error
    kinds = {
        ".html": "text/html",
        ".js": "text/javascript",
        ".css": "text/css",
        ".svg": "image/svg+xml",
        ".json": "application/json",
    }
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Response(
        path.read_bytes(),
        media_type=kinds.get(path.suffix, "application/octet-stream"),
        headers=headers,
    )


def declare(server: Server) -> None:
    """What `/metrics` tells."""
    for name, meaning in _COUNTERS.items():
        server.metrics.counter(f"understudy_{name}_total", meaning)
    for name, meaning in _HISTOGRAMS.items():
        server.metrics.histogram(f"understudy_{name}_seconds", meaning)
    pool = server.pool

    def by_model(name: str, meaning: str, value: Callable[[LoadedModel], int]) -> None:
        server.metrics.gauge(
            f"understudy_{name}",
            meaning,
            lambda: [({"model": one.name}, value(one)) for one in pool.loaded],
        )

    by_model("requests_running", "Requests in the engine.", lambda one: one.driver.num_running)
    by_model("requests_waiting", "Requests in the queue.", lambda one: one.driver.num_waiting)
    by_model("cache_pages", "Cache pages.", lambda one: one.model.engine.pool.num_pages)
    by_model("cache_pages_held", "Cache pages that requests hold.", _num_held)
    server.metrics.gauge(
        "understudy_models_loaded", "Models in memory.", lambda: [({}, len(pool.loaded))]
    )


def _num_held(loaded: LoadedModel) -> int:
    pool = loaded.model.engine.pool
    return pool.num_pages - pool.num_free


_COUNTERS = {
    "http_requests": "Requests by route and status.",
    "prompt_tokens": "Tokens of prompts.",
    "cached_tokens": "Tokens of prompts that the cache already held.",
    "completion_tokens": "Tokens of answers.",
    "answers": "Answers by the reason of their end.",
    "tool_calls": "Tool calls written; `cut` ended before they were complete.",
    "guard_checks": "Texts that the guard looked at, by side.",
    "guard_stops": "Categories for which the guard stopped a text, by side and how they were "
    "found.",
}
_HISTOGRAMS = {
    "http_request": "Seconds from a request to the end of its answer.",
    "first_token": "Seconds from a request to its first token, queueing included.",
    "token": "Seconds between tokens, mean of an answer.",
}


def watch(server: Server, served: LoadedModel) -> None:
    """Counts what a model's engine gives out."""
    metrics, name = server.metrics, served.name

    def on_output(outputs: object, output: Any) -> None:
        usage = output.usage
        if usage is None:
            return
        metrics.count("understudy_answers_total", model=name, reason=output.finish_reason)
        metrics.count("understudy_completion_tokens_total", usage.completion_tokens, model=name)
        if output.index == 0:
            metrics.count("understudy_prompt_tokens_total", usage.prompt_tokens, model=name)
            metrics.count("understudy_cached_tokens_total", usage.cached_tokens, model=name)
            metrics.observe("understudy_first_token_seconds", usage.first_token_s, model=name)
        if usage.completion_tokens > 1:
            metrics.observe(
                "understudy_token_seconds",
                usage.decode_s / (usage.completion_tokens - 1),
                model=name,
            )

    served.on_output = on_output


ROUTES = (
    RouteEntry("GET", "/health", health),
    RouteEntry("GET", "/ready", ready),
    RouteEntry("GET", "/metrics", metrics, summary="Numbers for Prometheus"),
    RouteEntry("GET", "/ps", ps),
)
