"""What every application here is built on: faults as answers, known hosts, bodies of bounded size.

The server's page and the red team's (`judge.redteam.web`) share it; who may ask is said by each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from understudy.atomic import is_full_disk
from understudy.errors import UnderstudyError
from understudy.serve.errors import ApiError, as_api_error, full_disk
from understudy.serve.settings import is_loopback

RECEIVE_TIMEOUT_S = 30.0  # longest pause of a client in a request
BODY_TIMEOUT_S = 300.0  # for a whole body
Write = Callable[[Request, ApiError], Response]
Handler = Callable[[Request, Exception], Awaitable[Response]]


def exception_handlers(write: Write) -> dict[Any, Handler]:
    """Every fault as an answer of `write`: those of requests, missing routes, our own."""

    async def fault(request: Request, error: Exception) -> Response:
        return write(request, as_api_error(error))

    async def missing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path}: {error.detail}"
        code = "method_not_allowed" if error.status_code == 405 else "not_found"
        headers = dict(error.headers or {})
        return write(request, ApiError(error.status_code, message, code=code, headers=headers))

    async def broken(request: Request, error: Exception) -> Response:
        what = f"a fault of this server ({type(error).__name__})"
        return write(request, ApiError(500, what, code="internal_error"))

    async def unwritten(request: Request, error: Exception) -> Response:
        if not is_full_disk(error):
            raise error
        return write(request, full_disk())

    return {
        ApiError: fault,
        UnderstudyError: fault,
        HTTPException: missing,
        OSError: unwritten,
        Exception: broken,
    }


def is_known_host(netloc: str, names: Collection[str] = ()) -> bool:
    """Whether a Host header, or an origin's host, is this machine's own or one of some names."""
    try:
        name = urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) or name.casefold() in {one.casefold().strip("[]") for one in names}


def size_fault(headers: Headers, most: int) -> ApiError | None:
    """What is wrong with the length that a body announces."""
    length = headers.get("content-length", "0")
    is_fine = length.isascii() and length.isdigit() and int(length[:20]) <= most
    return None if is_fine else _too_large(most)


def limited(receive: Receive, most: int) -> Receive:
    """The body as it comes, up to `most` bytes: a chunked one does not tell its length before.

    A client that pauses in it, or drips, is answered 408.
    """
    num_read, is_whole = 0, False
    started = time.monotonic()

    async def receive_limited() -> Message:
        nonlocal num_read, is_whole
        if is_whole:  # what comes now is that the client has gone
            return await receive()
        left = min(RECEIVE_TIMEOUT_S, started + BODY_TIMEOUT_S - time.monotonic())
        try:
            message = await asyncio.wait_for(receive(), max(left, 0.0))
        except TimeoutError:
            what = f"the body did not come whole; {num_read} bytes did"
            headers = {"Connection": "close"}
            raise ApiError(408, what, code="body_timeout", headers=headers) from None
        is_whole = not message.get("more_body", False)
        num_read += len(message.get("body", b""))
        if num_read > most:
            raise _too_large(most)
        return message

    return receive_limited


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the body is too large; at most {most} bytes", code="body_too_large")
