"""The owner of an engine: everybody submits to it, one thread at a time steps.

driver = Driver(engine)
for output in driver.outputs(request): ...             # in a thread
async for output in driver.submit(request): ...        # in an event loop
driver.call(lambda engine: engine.pool.num_free)       # between two steps

A caller that is alone steps the engine itself: a script pays for no thread. As soon as a second
request is open, or one of an event loop, a thread of the driver steps for all, and it ends when
there has been nothing to do for a while. Whatever changes the engine from elsewhere is posted, and
done by whoever steps next.
"""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from understudy.engine.dispatch import Admission, Dispatcher, OnOutput, Terms
from understudy.engine.engine import Engine
from understudy.engine.handles import (
    CANCEL_SCOPE,
    AsyncOutputs,
    BusyError,
    CancelScope,
    Delivered,
    RequestHandle,
    StoppedError,
)
from understudy.engine.output import Output
from understudy.engine.ownership import Ownership
from understudy.engine.request import Request
from understudy.errors import UsageError

T = TypeVar("T")
_ALIVE: weakref.WeakSet[Driver] = weakref.WeakSet()  # with a thread: closed before the end
IDLE_S = 5.0  # the driver's thread ends after so long without work
RETRY_S = 0.005  # a caller that waits to step looks up this often whether a thread does it by now


class Driver:
    """See the module's docstring. Safe to use from any thread and any event loop.

    Args:
        engine: nobody else may step or change it.
        where: the model's path, for messages.
    """

    def __init__(self, engine: Engine, *, where: object = None) -> None:
        self.where = where
        self.dispatcher = Dispatcher(engine, self._forget, where)
        self._ownership = Ownership()  # of the engine
        # Of what follows. Reentrant: the collector may end a forgotten stream while it is held.
        self._state_lock = threading.RLock()
        self._open: set[RequestHandle] = set()
        self._thread: threading.Thread | None = None
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_closed = False

    @property
    def engine(self) -> Engine:
        """For its sizes and counts; whoever changes it does so by `call` or `post`."""
        self._check_open()
        return self.dispatcher.engine

    @property
    def num_open(self) -> int:
        return len(self._open)

    @property
    def num_running(self) -> int:
        return len(self.dispatcher.running)

    @property
    def num_waiting(self) -> int:
        return len(self.dispatcher.waiting)

    def configure(
        self, admission: Admission, on_output: OnOutput | None = None
    ) -> Callable[[], None]:
        """How many requests are taken, and who is told of outputs; at first no limit, nobody. What
        was said last holds, until the function that is returned takes it back."""
        terms, said = Terms(admission, on_output), self.dispatcher.terms
        said.append(terms)
        return lambda: said.remove(terms)

    # ---- for all threads ----

    def submit(self, request: Request, *, client: str = "") -> AsyncOutputs:
        """Queues a request of the running event loop.

        Raises:
            BusyError: too many are waiting.
            UsageError: the model is closed.
            UnderstudyError: while the outputs are read: the request failed midway.
        """
        outputs = AsyncOutputs(request.params.n)
        outputs.handle = RequestHandle(self._end, request, client, outputs.deliver)
        self._open_request(outputs.handle, needs_thread=True)
        return outputs

    def outputs(self, request: Request) -> Iterator[Output]:
        """As `submit`, from a thread: runs the request; leaving the loop early cancels it."""
        scope = CANCEL_SCOPE.get()
        arrived: queue.SimpleQueue[Delivered] = queue.SimpleQueue()
        client = scope.client if scope is not None else ""
        handle = RequestHandle(self._end, request, client, arrived.put)
        return self._receive(handle, arrived, scope)

    def call(self, function: Callable[[Engine], T]) -> T:
        """Runs a function between two steps: for what needs the cache, such as saved states."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function(self.dispatcher.engine))
            except BaseException as error:
                future.set_exception(error)

        with self._state_lock:
            self._check_open()
            if is_posted := self._thread is not None:
                self._ownership.put(run)
                self._wake.put(None)
        if is_posted:
            return future.result()
        with self._ownership.held():
            return function(self.engine)

    def post(self, action: Callable[[], None]) -> None:
        """Has something done with the engine, now where nobody steps, else before the next step.

        Never waits, so that it may be called where the collector ends a forgotten stream.
        """
        self._ownership.put(action)
        if self._thread is not None:
            self._wake.put(None)
        else:
            self._ownership.settle()

    def fail_clients(self, why: str) -> None:
        """Ends the open requests of a server's clients with StoppedError."""
        with self._state_lock:
            handles = [handle for handle in self._open if handle.client]
        for handle in handles:
            handle.fail(StoppedError(why))

    def close(self) -> None:
        """Fails what is open and lets the engine go. Closing twice is no error."""
        with self._state_lock:
            if self._is_closed:
                return
            self._is_closed = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._wake.put(None)
            thread.join()
        with self._ownership.held():
            for handle in list(self._open):
                self.dispatcher.end(handle, UsageError("the model is closed", where=self.where))
            del self.dispatcher.engine

    # ---- waiting ----

    def _open_request(self, handle: RequestHandle, *, needs_thread: bool = False) -> None:
        """Books a place and queues the request; begins a thread where nobody could step for it."""
        with self._state_lock:
            self._check_open()
            admission = self.dispatcher.admission
            if len(self._open) >= admission.max_running + admission.max_waiting:
                num = len(self._open)
                raise BusyError(num - admission.max_running, max(1, min(60, num // 8)))
            self._open.add(handle)
            self._ownership.put(lambda: self.dispatcher.enqueue(handle))
            if self._thread is not None:
                self._wake.put(None)
            elif needs_thread or len(self._open) > 1:
                self._thread = _begun(self)

    def _check_open(self) -> None:
        if self._is_closed:
            raise UsageError("the model is closed", where=self.where, do="load it again")

    def _receive(
        self,
        handle: RequestHandle,
        arrived: queue.SimpleQueue[Delivered],
        scope: CancelScope | None,
    ) -> Iterator[Output]:
        self._open_request(handle)
        if scope is not None:
            scope.add(handle)
        num_left = handle.request.params.n
        try:
            while num_left:
                item = self._next(arrived)
                if isinstance(item, Exception):
                    raise item
                num_left -= item.finish_reason is not None
                yield item
        finally:
            handle.cancel()

    def _next(self, arrived: queue.SimpleQueue[Delivered]) -> Delivered:
        """What comes next for a thread that waits; it steps where nobody else does."""
        while True:
            if not arrived.empty() or self._thread is not None:
                return arrived.get()
            with self._ownership.held(RETRY_S) as is_held:
                if is_held and arrived.empty() and not self._is_closed:
                    self.dispatcher.turn()

    def _run(self) -> None:
        """The driver's thread."""
        while not self._is_closed:
            with self._ownership.held():
                self.dispatcher.turn()
                is_idle = not self.dispatcher.has_work
            if is_idle and self._has_idled():
                break
        self._ownership.settle()

    def _has_idled(self) -> bool:
        """Waits for something to do; True where nothing came, and the thread ends."""
        try:
            self._wake.get(timeout=IDLE_S)
        except queue.Empty:
            with self._state_lock:
                if not self._open and not self._ownership.has_posted:
                    self._thread = None
                    return True
        return False

    def _forget(self, handle: RequestHandle) -> None:
        with self._state_lock:
            self._open.discard(handle)

    def _end(self, handle: RequestHandle, error: Exception | None) -> None:
        self.post(lambda: self.dispatcher.end(handle, error))


def _begun(driver: Driver) -> threading.Thread:
    thread = threading.Thread(target=driver._run, name="engine", daemon=True)
    thread.start()
    _ALIVE.add(driver)
    return thread


@atexit.register
def _close_all() -> None:
    """A thread that outlives the interpreter's modules would keep the engine's memory for ever."""
    for driver in list(_ALIVE):
        driver.close()
