"""Requests under way, as those hold them who wait: in a thread, or in an event loop.

`Driver` makes handles and delivers to them. What is delivered is an `Output`, or the error that
ended the request.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from understudy.engine.output import Output
from understudy.engine.request import Request
from understudy.errors import Cancelled, UnderstudyError

if TYPE_CHECKING:
    import asyncio

Delivered = Output | Exception
FRAME_S = 1 / 60  # how often an answer under way is looked at: a screen shows no more


class BusyError(UnderstudyError):
    """The queue is full; `retry_after_s` is a guess of when it may not be."""

    def __init__(self, num_waiting: int, retry_after_s: int) -> None:
        super().__init__(
            "the server is busy",
            found=f"{num_waiting} requests are waiting",
            do=f"try again in {retry_after_s} s",
        )
        self.retry_after_s = retry_after_s


class StoppedError(UnderstudyError):
    """The server is stopping, and the request ended with it."""


class TimeoutExceeded(UnderstudyError):
    """The request took longer than its driver allows."""


class RequestHandle:
    """One request under way. `deliver` is called by whichever thread drives the engine.

    Args:
        end: takes the request out of the engine; an error goes to whoever waits.
        client: whose request it is, where a server made it; "" is the program itself.
    """

    def __init__(
        self,
        end: Callable[[RequestHandle, Exception | None], None],
        request: Request,
        client: str,
        deliver: Callable[[Delivered], None],
    ) -> None:
        self.request, self.client, self.deliver = request, client, deliver
        self.added = time.monotonic()
        self.id: int | None = None  # the engine's, once it is admitted
        self.num_left = request.params.n
        self.is_cancelled = False
        self._end = end

    def cancel(self) -> None:
        """Ends the request before the engine's next step. Nothing is delivered any more."""
        if self.num_left and not self.is_cancelled:
            self.is_cancelled = True
            self._end(self, None)

    def fail(self, error: Exception) -> None:
        """As `cancel`, but whoever waits gets the error."""
        self._end(self, error)


class CancelScope:
    """What lets another thread end the requests of a piece of work.

    Set `CANCEL_SCOPE` where the work runs; `cancel` may be called anywhere.
    """

    def __init__(self, client: str) -> None:
        self.client = client
        self.handles: list[RequestHandle] = []
        self.is_cancelled = False

    def add(self, handle: RequestHandle) -> None:
        self.handles = [known for known in self.handles if known.num_left]
        self.handles.append(handle)
        if self.is_cancelled:  # before there was anything to cancel
            self.cancel()

    def cancel(self) -> None:
        """Whoever waits for these requests gets Cancelled before the engine's next step."""
        self.is_cancelled = True
        for handle in self.handles:
            handle.fail(Cancelled("the request was cancelled"))


CANCEL_SCOPE: ContextVar[CancelScope | None] = ContextVar("CANCEL_SCOPE", default=None)


class AsyncOutputs:
    """The outputs of one request for one event loop; leaving the iteration cancels the request.

    The first output wakes the loop at once, as does the last; those between are fetched once in
    `FRAME_S`, since a wake for each would cost a fast model a twelfth of its speed.
    """

    def __init__(self, num_answers: int) -> None:
        import asyncio  # a loop has imported it: those who have none start without

        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Delivered] = asyncio.Queue()
        self._posted: deque[Delivered] = deque()  # by the engine's thread, for the loop to fetch
        self._is_watched = False  # the loop will look without being woken
        self._num_left = num_answers
        self.handle: RequestHandle  # set by the driver, before anything is delivered

    def deliver(self, item: Delivered) -> None:
        self._posted.append(item)
        is_last = isinstance(item, Exception) or item.finish_reason is not None
        if is_last or not self._is_watched:
            self._is_watched = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._fetch)

    def _fetch(self) -> None:
        has_news = bool(self._posted)
        while self._posted:
            self._arrived.put_nowait(self._posted.popleft())
        if has_news:
            self._loop.call_later(FRAME_S, self._fetch)
            return
        self._is_watched = False
        if self._posted:  # posted between the two lines above: its sender counted on us
            self._is_watched = True
            self._loop.call_soon(self._fetch)

    def cancel(self) -> None:
        self.handle.cancel()

    async def __aiter__(self) -> AsyncIterator[Output]:
        try:
            while self._num_left:
                item = await self._arrived.get()
                if isinstance(item, Exception):
                    raise item
                self._num_left -= item.finish_reason is not None
                yield item
        finally:
            self.cancel()
