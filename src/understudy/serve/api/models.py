"""`/v1/models`: what this server has, in the fields of OpenAI and Anthropic together."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from understudy.serve.openapi import RouteEntry
from understudy.serve.server import json_response, server_of


async def models(request: Request) -> Response:
    """The models of this server; those that are loaded say how much they hold."""
    data = [entry for name in server_of(request).pool.names for entry in _models(request, name)]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return json_response({"object": "list", "data": data, "has_more": False, **ends})


async def model(request: Request) -> Response:
    asked, pool = request.path_params["name"], server_of(request).pool
    base, adapter = pool.split(asked)
    listed = _models(request, pool.resolve(base if adapter else asked))
    found = next((entry for entry in listed if entry["id"] == asked), None)
    if found is None:
        pool.resolve(asked)  # says which models there are
    return json_response(found)


def _models(request: Request, name: str) -> list[dict[str, Any]]:
    """A model, and with each of its adapters, which a request may name as its model. One that acts
    on the jobs by itself is not listed.
    """
    plain, pool = _model(request, name), server_of(request).pool
    served = next((served for served in pool.loaded if served.name == name), None)
    loaded = served.model.adapters.list() if served is not None else ()
    by_itself = served.model.limits.job_adapter if served is not None else None
    return [plain] + [
        plain
        | {
            "id": f"{name}:{adapter.name}",
            "display_name": f"{name}:{adapter.name}",
            "parent": name,
            "adapter": {"id": adapter.id, "sha256": adapter.sha256, "rank": adapter.rank},
        }
        for adapter in loaded
        if adapter.name != by_itself
    ]


def _model(request: Request, name: str) -> dict[str, Any]:
    pool = server_of(request).pool
    served = next((served for served in pool.loaded if served.name == name), None)
    document: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": pool.created,
        "owned_by": "understudy",
        "type": "model",  # this and the next two are Anthropic's
        "display_name": name,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(pool.created)),
    }
    if served is not None:
        document |= {
            "max_model_len": served.model.engine.context,
            "meta": {
                "n_vocab": served.model.spec.vocab_size,
                "n_ctx": served.model.engine.context,
                "size": served.model.packed_bytes,
            },
        }
        if served.guard is not None:
            document["guard"] = {"checks": list(served.guard.checks)}
    return document


ROUTES = (
    RouteEntry("GET", "/v1/models", models),
    RouteEntry("GET", "/v1/models/{name:path}", model, summary="One model"),
)
