"""Who may ask, before anything is read: host, origin, key, size. Also the log line of every
request, since it sees them all.

A page of another site can make a browser ask this machine: by name (DNS rebinding; the Host header
tells) or across origins (the Origin header tells). Requests without these headers' foreign values
come from programs.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy.serve.errors import ApiError
from understudy.serve.keys import Keys, key_of
from understudy.serve.server import Server, json_response
from understudy.serve.shell import is_known_host, limited, size_fault

OPEN_PATHS = ("/health", "/ready", "/")
PAGE_PATHS = (
    "/page/"  # the page asks for the key, so it has to come without one; it holds nothing of anyone
)
FOREIGN = ("host_not_allowed", "origin_not_allowed")  # other faults a page may read: 401, 413
UPLOAD_PATHS = ("/v1/characters", "/v1/collections")


def _preflight(headers: Headers) -> dict[str, str]:
    """What an origin that may ask may send: all that it asks for; the SDKs bring a dozen headers of
    their own."""
    answer = {
        "access-control-allow-methods": "GET, POST, DELETE",
        "access-control-allow-headers": headers.get("access-control-request-headers", ""),
        "access-control-max-age": "600",
    }
    if headers.get("access-control-request-private-network") == "true":
        answer["access-control-allow-private-network"] = "true"
    return answer


class AccessControl:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self.app, self.server = app, server
        self.keys = Keys(server.settings.key_file) if server.settings.key_file is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].endswith("/") and not scope["path"].startswith(PAGE_PATHS):
            scope["path"] = scope["path"].rstrip("/") or "/"
        record: dict[str, Any] = {}
        state = scope.setdefault("state", {})
        state["record"], state["client"] = record, (scope.get("client") or ("?",))[0]
        started, status = time.monotonic(), 500
        headers = Headers(scope=scope)
        origin = headers.get("origin")

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if origin:
                    allowed = (
                        (b"access-control-allow-origin", origin.encode("latin-1")),
                        (b"access-control-expose-headers", b"*"),
                        (b"vary", b"Origin"),
                    )
                    message["headers"] = [*message["headers"], *allowed]
            await send(message)

        try:
            fault = self._fault(scope, headers)
            if fault is not None:
                origin = None if fault.code in FOREIGN else origin
                await self._refuse(fault, scope, receive, sending)
            elif scope["method"] == "OPTIONS" and origin:
                await json_response({}, 200, _preflight(headers))(scope, receive, sending)
            else:
                await self.app(scope, limited(receive, self._limit(scope)), sending)
        finally:
            self._note(scope, status, time.monotonic() - started, record)

    def _fault(self, scope: Scope, headers: Headers) -> ApiError | None:
        settings = self.server.settings
        host = headers.get("host", "")
        if not is_known_host(host, (*settings.allowed_hosts, settings.host)):
            return ApiError(
                403,
                f"host {host[:100]!r} is not served here; allow it with --allow-host",
                code="host_not_allowed",
            )
        origin = headers.get("origin")
        if origin and origin not in settings.allowed_origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not is_known_host(
                parts.netloc, (*settings.allowed_hosts, settings.host)
            ):
                return ApiError(
                    403,
                    f"origin {origin[:100]!r} may not ask; allow it with --allow-origin",
                    code="origin_not_allowed",
                )
        is_open = scope["path"] in OPEN_PATHS or scope["path"].startswith(PAGE_PATHS)
        if not is_open and scope["method"] != "OPTIONS" and self.keys is not None:
            name = self.keys.name_of(key_of(headers))
            if name is None:
                return ApiError(
                    401,
                    "a key is needed: Authorization: Bearer KEY",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            scope["state"]["client"] = name
        return size_fault(headers, self._limit(scope))

    def _limit(self, scope: Scope) -> int:
        settings = self.server.settings
        return (
            settings.max_upload_bytes
            if scope["path"].startswith(UPLOAD_PATHS)
            else settings.max_body_bytes
        )

    @staticmethod
    async def _refuse(fault: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        document = (
            fault.to_anthropic() if scope["path"].startswith("/v1/messages") else fault.to_openai()
        )
        await json_response(document, fault.status, {**fault.headers, "Connection": "close"})(
            scope, receive, send
        )

    def _note(self, scope: Scope, status: int, seconds: float, record: dict[str, Any]) -> None:
        route = scope.get("route")
        path = getattr(route, "path", None) or "other"
        self.server.metrics.count("understudy_http_requests_total", path=path, status=str(status))
        self.server.metrics.observe("understudy_http_request_seconds", seconds, path=path)
        if self.server.settings.log:
            line = {
                "time": round(time.time(), 3),
                "method": scope["method"],
                "path": scope["path"][:200],
                "status": status,
                "seconds": round(seconds, 4),
                "client": scope["state"]["client"],
                **record,
            }
            print(json.dumps(line), file=sys.stderr, flush=True)
