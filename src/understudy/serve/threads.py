"""Sessions from the event loop: their generators and calls wait for the engine in threads of their
own, and can be ended from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from understudy.engine.handles import CANCEL_SCOPE, CancelScope

T = TypeVar("T")
_THREADS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="session")


async def in_thread(function: Callable[[], T], scope: CancelScope) -> T:
    """Runs a function that asks a model. Cancelling the task cancels its requests, and waits until
    the function has ended.
    """
    context = contextvars.copy_context()
    context.run(CANCEL_SCOPE.set, scope)
    work = asyncio.get_running_loop().run_in_executor(_THREADS, context.run, function)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        scope.cancel()
        with contextlib.suppress(Exception):
            await work
        raise


async def pieces_of(make: Callable[[], Iterator[str]], scope: CancelScope) -> AsyncIterator[str]:
    """What a session's generator gives. Leaving the loop closes the generator, as its own thread
    would.
    """
    pieces = await in_thread(make, scope)
    try:
        while (piece := await in_thread(lambda: next(pieces, None), scope)) is not None:
            yield piece
    finally:
        scope.cancel()
        pieces.close()  # type: ignore[attr-defined]
