"""Only this machine, and of its browser only this page, may ask.

A page of another site can make a browser ask this machine by name (DNS rebinding: the Host header
tells) or across origins (the Origin header tells). Nobody needs a key: whoever may read the store's
file may read what it says.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from understudy.serve.errors import ApiError
from understudy.serve.server import json_response
from understudy.serve.shell import is_known_host, limited, size_fault

MAX_BODY_BYTES = 64 << 20  # an import; a message or a setup is far smaller


class PageAccess:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        fault = _fault(Headers(scope=scope))
        if fault is not None:
            answer = json_response(fault.to_openai(), fault.status, {"Connection": "close"})
            await answer(scope, receive, send)
            return
        await self.app(scope, limited(receive, MAX_BODY_BYTES), send)


def _fault(headers: Headers) -> ApiError | None:
    host, origin = headers.get("host", ""), headers.get("origin")
    if not is_known_host(host):
        return ApiError(403, f"host {host[:100]!r} is not served here", code="host_not_allowed")
    if origin is not None and origin != f"http://{host}":
        return ApiError(403, f"origin {origin[:100]!r} may not ask", code="origin_not_allowed")
    return size_fault(headers, MAX_BODY_BYTES)
