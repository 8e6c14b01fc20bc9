"""Sessions from the event loop: their generators and calls wait for the engine in threads of their own, and can be ended from outside."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from understudy.serve.worker import HOLD, Hold

T = TypeVar("T")
_THREADS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="session")


async def in_thread(function: Callable[[], T], hold: Hold) -> T:
    """Runs a function that asks a model. Cancelling the task cancels its requests, and waits until the function has ended."""
    context = contextvars.copy_context()
    context.run(HOLD.set, hold)
    work = asyncio.get_running_loop().run_in_executor(_THREADS, context.run, function)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        hold.cancel()
        with contextlib.suppress(Exception):
            await work
        raise


async def pieces_of(make: Callable[[], Iterator[str]], hold: Hold) -> AsyncIterator[str]:
    """What a session's generator gives. Leaving the loop closes the generator, as its own thread would."""
    pieces = await in_thread(make, hold)
    try:
        while (piece := await in_thread(lambda: next(pieces, None), hold)) is not None:
            yield piece
    finally:
        hold.cancel()
        pieces.close()  # type: ignore[attr-defined]
