"""llama-server's `/lora-adapters`: what is loaded, and how strongly it acts on requests that choose
nothing.

Shapes are those of llama.cpp (2026-10); a number that is not there is refused, where llama.cpp
passes it over.
"""

from __future__ import annotations

from pydantic import RootModel
from starlette.requests import Request
from starlette.responses import Response

from understudy.serve.adapters import named_scales
from understudy.serve.api.bodies import LoraScale, Several
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import json_response, read_body, server_of


class LoraScales(RootModel[Several[LoraScale]]):
    """Scales by number; those not named act no more."""


async def lora_adapters(request: Request) -> Response:
    """The adapters of the default model, in llama-server's shape."""
    async with server_of(request).pool.lease(None) as served:
        listed = [
            {
                "id": adapter.id,
                "path": adapter.path or adapter.name,
                "scale": adapter.factor,
                "task_name": "",
                "prompt_prefix": "",
            }
            for adapter in served.model.adapters.list()
        ]
    return json_response(listed)


async def set_lora_adapters(request: Request) -> Response:
    """Sets how strongly adapters act on requests that choose nothing."""
    body = await read_body(request, LoraScales)
    async with server_of(request).pool.lease(None) as served:
        served.model.adapters.set_factors(named_scales(served, body.root))
    return json_response({"success": True})


ROUTES = (
    RouteEntry("GET", "/lora-adapters", lora_adapters),
    RouteEntry("POST", "/lora-adapters", set_lora_adapters, LoraScales),
)
