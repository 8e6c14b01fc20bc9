"""How an answer goes out: as server-sent events or as one document (`respond`). Both stop their
work when the client has gone.

Between two events of a long prompt comes a comment line, so that proxies keep the connection. A
client that does not read for `write_timeout_s` is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from understudy.errors import UnderstudyError
from understudy.serve.errors import ApiError, as_api_error
from understudy.serve.server import RequestContext, json_response

_log = logging.getLogger("understudy.serve")
T = TypeVar("T")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def event(data: Any, name: str | None = None) -> bytes:
    """One event with JSON (or a bare word) as its data."""
    text = data if isinstance(data, str) else _JSON.encode(data)
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode("utf-8", "replace")


class ClientGone(Exception):
    """The client closed the connection before its answer was there."""


class EventStream(Response):
    """Sends events as they come. When the client goes, the generator is closed, which cancels its
    request.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[bytes],
        *,
        ping_s: float,
        write_timeout_s: float,
        on_end: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._ping_s, self._write_timeout_s, self._on_end = (
            events,
            ping_s,
            write_timeout_s,
            on_end,
        )
        self._look_s = min(ping_s, write_timeout_s) / 4
        self._writing_since: float | None = None
        self._is_over = False
        self._written = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One task sends; this one only looks after it, now and then, so that an event costs no
        timer of its own.
        """
        gone = asyncio.ensure_future(_until_gone(receive))
        sending = asyncio.ensure_future(self._send(send))
        how = "done"
        try:
            while not sending.done():
                await asyncio.wait(
                    (sending, gone), timeout=self._look_s, return_when=asyncio.FIRST_COMPLETED
                )
                if sending.done():
                    break
                if gone.done() or self._is_stuck():
                    how = "gone"
                    break
                if self._is_silent():
                    await asyncio.wait_for(self._write(send, b": ping\n\n"), self._write_timeout_s)
            if sending.done():
                sending.result()
        except (OSError, TimeoutError):
            how = "gone"
        finally:
            gone.cancel()
            sending.cancel()
            with contextlib.suppress(BaseException):
                await sending
            with contextlib.suppress(Exception):
                await self._events.aclose()  # type: ignore[attr-defined]
            if self._on_end is not None:
                self._on_end(how)

    async def _send(self, send: Send) -> None:
        self._writing_since = time.monotonic()
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        self._writing_since = None
        async for data in self._events:
            await self._write(send, data)
        self._is_over, self._writing_since = True, time.monotonic()  # no comment behind the end
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send, data: bytes) -> None:
        self._writing_since = time.monotonic()
        await send({"type": "http.response.body", "body": data, "more_body": True})
        self._writing_since, self._written = None, time.monotonic()

    def _is_stuck(self) -> bool:
        return (
            self._writing_since is not None
            and time.monotonic() - self._writing_since > self._write_timeout_s
        )

    def _is_silent(self) -> bool:
        if self._writing_since is not None or self._is_over:
            return False
        return time.monotonic() - self._written > self._ping_s


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


async def respond(
    context: RequestContext,
    *,
    events: AsyncIterator[bytes] | None = None,
    whole: Awaitable[dict[str, Any]] | None = None,
    write_error: Callable[[ApiError], bytes] = lambda error: event(error.to_openai()),
) -> Response:
    """Answers with events as they come, or with one JSON document; then the work is closed."""
    if events is not None:
        settings = context.server.settings
        stream = with_errors(events, write_error)
        return EventStream(
            stream,
            ping_s=settings.ping_s,
            write_timeout_s=settings.write_timeout_s,
            on_end=context.close,
        )
    assert whole is not None
    try:
        return json_response(await unless_gone(context.request, whole))
    finally:
        context.close()


async def with_errors(
    events: AsyncIterator[bytes], write_error: Callable[[ApiError], bytes]
) -> AsyncIterator[bytes]:
    """The events; a fault after the beginning becomes the last one, since the status has been
    sent.
    """
    try:
        async for data in events:
            yield data
    except (ApiError, UnderstudyError) as error:
        yield write_error(as_api_error(error))
    except Exception as error:  # our fault: said to the client, told to the log
        _log.exception("an answer failed midway")
        yield write_error(
            ApiError(500, f"a fault of this server ({type(error).__name__})", code="internal_error")
        )
    finally:
        await events.aclose()  # type: ignore[attr-defined]
