"""One thread that steps a model's engine for all requests of a server.

worker = Worker(model); ticket = worker.submit(request, client="…")
async for output in ticket: ...                  # leaving the loop: ticket.cancel()

A worker takes a model over: `model.outputs`, which sessions and characters use from threads of their own, waits here too. Requests
beyond `max_running` wait, those of each client in a row of their own, and the rows take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from typing import TypeVar

from understudy.engine import Output, Request
from understudy.errors import Cancelled, UnderstudyError
from understudy.model import Model

Delivered = Output | Exception
T = TypeVar("T")
FRAME_S = 1 / 60  # how often an answer under way is looked at: a screen shows no more
_log = logging.getLogger("understudy.serve")


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
    pass


class TimeoutExceeded(UnderstudyError):
    pass


class Ticket:
    """One request under way. `deliver` is called by the worker's thread."""

    def __init__(
        self, worker: Worker, request: Request, client: str, deliver: Callable[[Delivered], None]
    ) -> None:
        self.request, self.client, self.deliver = request, client, deliver
        self.added = time.monotonic()
        self.id: int | None = None  # the engine's, once it is admitted
        self.num_left = request.params.n
        self.is_cancelled = False
        self._worker = worker

    def cancel(self) -> None:
        """Ends the request before the engine's next step. Nothing is delivered any more."""
        if self.num_left and not self.is_cancelled:
            self.is_cancelled = True
            self._worker.tell(self._worker.drop, self)

    def fail(self, error: Exception) -> None:
        """As `cancel`, but whoever waits is told."""
        self._worker.tell(self._worker.fail, self, error)


class Hold:
    """What lets another thread end the requests of a session: set `HOLD` where the session runs, call `cancel` anywhere."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.tickets: list[Ticket] = []
        self.is_cancelled = False

    def cancel(self) -> None:
        """Whoever waits for these requests gets Cancelled before the engine's next step."""
        self.is_cancelled = True
        for ticket in self.tickets:
            ticket.fail(Cancelled("the request was cancelled"))


HOLD: ContextVar[Hold | None] = ContextVar("HOLD", default=None)


class AsyncTicket:
    """A ticket for one event loop: iterate over its outputs.

    The first output wakes the loop at once, as does the last; those between are fetched once in `FRAME_S`, since a wake for
    each would cost a fast model a twelfth of its speed.
    """

    def __init__(self, worker: Worker, request: Request, client: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Delivered] = asyncio.Queue()
        self._brought: deque[Delivered] = deque()  # by the worker's thread, for the loop to fetch
        self._is_watched = False  # the loop will look without being woken
        self.ticket = Ticket(worker, request, client, self._deliver)
        self._left = request.params.n

    def _deliver(self, item: Delivered) -> None:
        self._brought.append(item)
        is_last = isinstance(item, Exception) or item.finish_reason is not None
        if is_last or not self._is_watched:
            self._is_watched = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._fetch)

    def _fetch(self) -> None:
        has_news = bool(self._brought)
        while self._brought:
            self._arrived.put_nowait(self._brought.popleft())
        if has_news:
            self._loop.call_later(FRAME_S, self._fetch)
            return
        self._is_watched = False
        if self._brought:  # came between the two lines above: its bringer counted on us
            self._is_watched = True
            self._loop.call_soon(self._fetch)

    def cancel(self) -> None:
        self.ticket.cancel()

    async def __aiter__(self) -> AsyncIterator[Output]:
        try:
            while self._left:
                item = await self._arrived.get()
                if isinstance(item, Exception):
                    raise item
                self._left -= item.finish_reason is not None
                yield item
        finally:
            self.cancel()


class Worker:
    """See the module's docstring.

    Args:
        max_running: requests in the engine together.
        max_waiting: requests that may wait for that; more raise BusyError.
        timeout_s: a request that takes longer ends with TimeoutExceeded.
    """

    def __init__(
        self,
        model: Model,
        *,
        max_running: int = 32,
        max_waiting: int = 256,
        timeout_s: float = 600.0,
    ) -> None:
        self.model, self.max_running, self.max_waiting, self.timeout_s = (
            model,
            max_running,
            max_waiting,
            timeout_s,
        )
        self.on_output: Callable[[Ticket, Output], None] | None = None
        self.num_waiting = 0
        self._running: dict[int, Ticket] = {}
        self._waiting: OrderedDict[str, deque[Ticket]] = OrderedDict()
        self._told: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._is_stopping = False
        self._open_lock = threading.Lock()
        self._num_open = 0
        model.outputs = self.outputs  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    # ---- for all threads ----

    @property
    def num_open(self) -> int:
        return self._num_open

    @property
    def num_running(self) -> int:
        return len(self._running)

    def tell(self, action: Callable[..., None], *arguments: object) -> None:
        """Has something done by the worker's thread before its next step."""
        self._told.put(lambda: action(*arguments))

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Runs a function between two steps: for what needs the cache, such as saving states."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self.tell(run)
        return future

    def submit(self, request: Request, *, client: str = "") -> AsyncTicket:
        """Queues a request of the running event loop.

        Raises:
            BusyError: too many are waiting.
            StoppedError: the worker is stopping.
        """
        self._book()
        ticket = AsyncTicket(self, request, client)
        self.tell(self._enqueue, ticket.ticket)
        return ticket

    def outputs(self, request: Request) -> Iterator[Output]:
        """As `Model.outputs`, for a thread that is not the worker's."""
        self._book()
        hold = HOLD.get()
        arrived: queue.SimpleQueue[Delivered] = queue.SimpleQueue()
        ticket = Ticket(self, request, hold.client if hold is not None else "", arrived.put)
        if hold is not None:
            hold.tickets.append(ticket)
        self.tell(self._enqueue, ticket)
        if hold is not None and hold.is_cancelled:  # before there was anything to cancel
            hold.cancel()
        return self._receive(ticket, arrived)

    def _receive(self, ticket: Ticket, arrived: queue.SimpleQueue[Delivered]) -> Iterator[Output]:
        left = ticket.request.params.n
        try:
            while left:
                item = arrived.get()
                if isinstance(item, Exception):
                    raise item
                left -= item.finish_reason is not None
                yield item
        finally:
            ticket.cancel()

    def _book(self) -> None:
        with self._open_lock:
            if self._is_stopping:
                raise StoppedError("the server is stopping")
            if self._num_open >= self.max_running + self.max_waiting:
                raise BusyError(
                    self._num_open - self.max_running, max(1, min(60, self._num_open // 8))
                )
            self._num_open += 1

    def stop(self, *, timeout_s: float = 30.0) -> None:
        """Fails what is open and ends the thread."""
        with self._open_lock:
            self._is_stopping = True
        self.tell(lambda: None)
        self._thread.join(timeout_s)

    def fail_all(self, why: str) -> None:
        """Ends every open request with an error, as the end of a period of grace."""
        self.tell(self._fail_all, why)

    # ---- the worker's thread ----

    def _run(self) -> None:
        engine = self.model.engine
        while not self._is_stopping:
            self._listen(is_idle=not engine.has_work and not self.num_waiting)
            self._end_overdue()
            self._admit()
            if engine.has_work:
                self._step()
        self._listen(is_idle=False)
        for ticket in self._open():
            self._fail(ticket, StoppedError("the server is stopping"))

    def _listen(self, is_idle: bool) -> None:
        try:
            action = self._told.get(block=is_idle)
            while True:
                try:
                    action()
                except Exception:
                    _log.exception("an action of the engine's thread failed")
                action = self._told.get_nowait()
        except queue.Empty:
            return

    def _step(self) -> None:
        engine = self.model.engine
        try:
            outputs = engine.step()
        except Exception as error:  # a fault of ours must not leave anybody waiting for ever
            _log.exception("a step of the engine failed")
            for failed in list(self._running.values()):
                self._fail(failed, UnderstudyError(f"the engine failed ({type(error).__name__})"))
            return
        for output in outputs:
            ticket = self._running.get(output.id)
            if ticket is not None:
                self._hand_out(ticket, output)

    def _hand_out(self, ticket: Ticket, output: Output) -> None:
        if output.error is not None:
            self._fail(ticket, UnderstudyError(f"the request failed ({output.error})"))
            return
        if output.finish_reason is not None:
            ticket.num_left -= 1
            if not ticket.num_left:
                self._close(ticket)
        if self.on_output is not None:
            self.on_output(ticket, output)
        ticket.deliver(output)

    def _enqueue(self, ticket: Ticket) -> None:
        if not ticket.is_cancelled:
            self._waiting.setdefault(ticket.client, deque()).append(ticket)
            self.num_waiting += 1
        else:
            self._close(ticket)

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self.max_running:
            client, row = next(iter(self._waiting.items()))
            ticket = row.popleft()
            self.num_waiting -= 1
            del self._waiting[client]
            if row:
                self._waiting[client] = row  # behind the other clients
            try:
                ticket.id = self.model.engine.add(ticket.request)
            except Exception as error:
                self._fail(ticket, error)
                continue
            self._running[ticket.id] = ticket

    def _end_overdue(self) -> None:
        limit = time.monotonic() - self.timeout_s
        for ticket in self._open():
            if ticket.added < limit:
                self._fail(
                    ticket,
                    TimeoutExceeded(
                        "the request took too long", expected=f"at most {self.timeout_s:g} s"
                    ),
                )

    def _open(self) -> list[Ticket]:
        return [
            *self._running.values(),
            *(ticket for row in self._waiting.values() for ticket in row),
        ]

    def fail(self, ticket: Ticket, error: Exception) -> None:
        if ticket.num_left:
            self._fail(ticket, error)

    def _fail_all(self, why: str) -> None:
        for ticket in self._open():
            self._fail(ticket, StoppedError(why))

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        self.drop(ticket)
        ticket.deliver(error)

    def drop(self, ticket: Ticket) -> None:
        """Takes a request out, wherever it is."""
        if not ticket.num_left:
            return
        row = self._waiting.get(ticket.client)
        if ticket.id is not None:
            self.model.engine.cancel(ticket.id)
        elif row is not None and ticket in row:
            row.remove(ticket)
            self.num_waiting -= 1
            if not row:
                del self._waiting[ticket.client]
        ticket.num_left = 0
        self._close(ticket)

    def _close(self, ticket: Ticket) -> None:
        if ticket.id is not None:
            self._running.pop(ticket.id, None)
        ticket.num_left = 0
        with self._open_lock:
            self._num_open -= 1


__all__ = ["AsyncTicket", "BusyError", "StoppedError", "Ticket", "TimeoutExceeded", "Worker"]
