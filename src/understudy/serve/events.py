"""Server-sent events, and answers that stop their work when the client has gone.

Between two events of a long prompt comes a comment line, so that proxies keep the connection. A client that does not read for
`write_timeout_s` is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")


def event(data: Any, name: str | None = None) -> bytes:
    """One event with JSON (or a bare word) as its data."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode("utf-8", "replace")


class ClientGone(Exception):
    """The client closed the connection before its answer was there."""


class EventStream(Response):
    """Sends events as they come. When the client goes, the generator is closed, which cancels its request."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncIterator[bytes], *, ping_s: float, write_timeout_s: float, on_end: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._ping_s, self._write_timeout_s, self._on_end = events, ping_s, write_timeout_s, on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_until_gone(receive))
        how = "done"
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for data in self._with_pings(gone):
                message = {"type": "http.response.body", "body": data, "more_body": True}
                await asyncio.wait_for(send(message), self._write_timeout_s)
            if gone.done():
                how = "gone"
            else:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (OSError, TimeoutError):
            how = "gone"
        finally:
            gone.cancel()
            with contextlib.suppress(Exception):
                await self._events.aclose()  # type: ignore[attr-defined]
            if self._on_end is not None:
                self._on_end(how)

    async def _with_pings(self, gone: asyncio.Future[None]) -> AsyncIterator[bytes]:
        """The events, with comments in long silences, up to the end or until the client has gone."""
        following: asyncio.Future[bytes] | None = None
        try:
            while True:
                if following is None:
                    following = asyncio.ensure_future(anext(self._events))
                await asyncio.wait((following, gone), timeout=self._ping_s, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                if not following.done():
                    yield b": ping\n\n"
                    continue
                try:
                    data = following.result()
                except StopAsyncIteration:
                    return
                following = None
                yield data
        finally:
            if following is not None and not following.done():
                following.cancel()
                with contextlib.suppress(BaseException):
                    await following


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of some work, which is cancelled when the client goes before it is done.

    Raises:
        ClientGone: it went.
    """
    gone = asyncio.ensure_future(_until_gone(request.receive))
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((gone, task), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(BaseException):
                await task
