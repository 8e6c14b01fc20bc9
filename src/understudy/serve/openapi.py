"""The table of routes as OpenAPI 3.1, from the same models that check the bodies."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One route. Its summary is the first line of the endpoint's docstring, or its name."""

    method: str
    path: str
    endpoint: Callable[[Request], Awaitable[Response]]
    body: type[BaseModel] | None = None
    summary: str = ""


def describe(entries: Sequence[RouteEntry]) -> dict[str, Any]:
    """The OpenAPI document."""
    from understudy import __version__

    bodies = list(dict.fromkeys(entry.body for entry in entries if entry.body is not None))
    refs, schemas = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Any] = {}
    for entry in entries:
        path = re.sub(r"\{(\w+):path\}", r"{\1}", entry.path)
        body = None if entry.body is None else refs[entry.body, "validation"]
        paths.setdefault(path, {})[entry.method.lower()] = _operation(entry, path, body)
    fault = {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
                "required": ["message", "type"],
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Understudy",
            "version": __version__,
            "description": "A small language model on this machine.",
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Fault": fault},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _operation(entry: RouteEntry, path: str, body: Any) -> dict[str, Any]:
    doc = (entry.endpoint.__doc__ or "").strip().split("\n")[0]
    name = getattr(entry.endpoint, "__name__", "route")
    fault = {
        "description": "What is wrong",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}},
    }
    operation: dict[str, Any] = {
        "operationId": f"{entry.method.lower()}_{name}",
        "summary": entry.summary or doc or name.replace("_", " "),
        "responses": {
            "200": {"description": "The answer"},
            "4XX": fault,
            "503": fault,
            "504": fault,
        },
    }
    if names := re.findall(r"\{(\w+)\}", path):
        operation["parameters"] = [
            {"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names
        ]
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return operation
