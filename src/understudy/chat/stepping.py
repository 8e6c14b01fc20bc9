"""For asyncio what a session offers to threads: each step of its generator runs in a thread."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from understudy.generation.reply import Reply


class AsyncReplies(ABC):
    """`asay` and `astream`, made of `stream` and `last`."""

    last: Reply | None

    @abstractmethod
    def stream(self, text: str, **options: Any) -> Iterator[str]:
        """The answer to `text` piece by piece; at the end the reply is in `last`."""

    def _drained(self, pieces: Iterator[str]) -> Reply:
        """The reply, once all of its pieces were taken."""
        collections.deque(pieces, maxlen=0)
        assert self.last is not None
        return self.last

    async def asay(self, text: str, **options: Any) -> Reply:
        """As `say`, for asyncio; cancelling the task cuts the reply."""
        async for _ in self.astream(text, **options):
            pass
        assert self.last is not None
        return self.last

    def astream(self, text: str, **options: Any) -> AsyncIterator[str]:
        """As `stream`, for asyncio; each step runs in a thread."""
        return stepped_in_threads(lambda: self.stream(text, **options))


async def stepped_in_threads(make: Callable[[], Iterator[str]]) -> AsyncIterator[str]:
    """What the generator that `make` makes gives. Leaving early closes it, once its step is
    over.
    """
    pieces = await asyncio.to_thread(make)
    step: asyncio.Future[str | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, pieces, None))
            if (piece := await asyncio.shield(step)) is None:
                return
            yield piece
    finally:
        if step is not None and not step.done():
            with contextlib.suppress(Exception):
                await step  # a running generator cannot be closed
        pieces.close()  # type: ignore[attr-defined]
