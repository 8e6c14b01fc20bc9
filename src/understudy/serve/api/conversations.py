"""Ours: `/v1/conversations`, where the page keeps what was said, if its user wants that."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from understudy.serve.conversations import Conversations
from understudy.serve.errors import ApiError
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import json_response, server_of


def _kept(request: Request) -> tuple[Conversations, str]:
    return Conversations(server_of(request).settings.state_folder), str(request.state.client)


async def conversations(request: Request) -> Response:
    """The client's conversations, the newest first; `?search=` keeps those that hold the words."""
    kept, client = _kept(request)
    query = request.query_params.get("search", "")[:1000]
    found = await asyncio.to_thread(kept.listed, client, query)
    return json_response({"object": "list", "data": found})


async def conversation(request: Request) -> Response:
    kept, client = _kept(request)
    return json_response(await asyncio.to_thread(kept.get, client, request.path_params["id"]))


async def put_conversation(request: Request) -> Response:
    """A conversation as a JSON object."""
    kept, client = _kept(request)
    id = request.path_params["id"]
    await asyncio.to_thread(kept.put, client, id, _object(await request.body()))
    return json_response({"id": id, "object": "conversation"})


async def delete_conversation(request: Request) -> Response:
    kept, client = _kept(request)
    id = request.path_params["id"]
    await asyncio.to_thread(kept.delete, client, id)
    return json_response({"id": id, "object": "conversation", "deleted": True})


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "the body is not JSON", code="invalid_json") from error
    if not isinstance(document, dict):
        raise ApiError(400, "a conversation is a JSON object", code="invalid_value")
    return document


ROUTES = (
    RouteEntry("GET", "/v1/conversations", conversations),
    RouteEntry("GET", "/v1/conversations/{id}", conversation),
    RouteEntry("PUT", "/v1/conversations/{id}", put_conversation),
    RouteEntry("DELETE", "/v1/conversations/{id}", delete_conversation),
)
