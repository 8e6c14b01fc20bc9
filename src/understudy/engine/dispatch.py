"""Requests on their way through an engine: who waits, who runs, who gets what a step gave.

Nothing here knows of threads: `Driver` calls it, one thread at a time.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from understudy.engine.engine import Engine
from understudy.engine.handles import RequestHandle, TimeoutExceeded
from understudy.engine.output import Output
from understudy.errors import UnderstudyError

_log = logging.getLogger("understudy.engine")


@dataclass(frozen=True, slots=True)
class Admission:
    """How many requests a driver takes.

    Attributes:
        max_running: requests in the engine together.
        max_waiting: requests that may wait for that; more raise BusyError.
        timeout_s: a request that takes longer ends with TimeoutExceeded.
    """

    max_running: int = 1 << 30
    max_waiting: int = 1 << 30
    timeout_s: float = math.inf


OnOutput = Callable[[RequestHandle, Output], None]


@dataclass(frozen=True, eq=False, slots=True)
class Terms:
    """What one user of a driver says: how many requests are taken, and who is told of outputs."""

    admission: Admission = field(default_factory=Admission)
    on_output: OnOutput | None = None


class FairQueue:
    """Requests that wait, each client's in a row of its own; the rows take turns."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, deque[RequestHandle]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(row) for row in list(self._rows.values()))

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __iter__(self) -> Iterator[RequestHandle]:
        return iter([handle for row in self._rows.values() for handle in row])

    def put(self, handle: RequestHandle) -> None:
        self._rows.setdefault(handle.client, deque()).append(handle)

    def take(self) -> RequestHandle:
        client, row = self._rows.popitem(last=False)
        handle = row.popleft()
        if row:
            self._rows[client] = row  # behind the other clients
        return handle

    def remove(self, handle: RequestHandle) -> None:
        row = self._rows.get(handle.client, deque())
        if handle in row:
            row.remove(handle)
        if not row:
            self._rows.pop(handle.client, None)


class Dispatcher:
    """Admits requests to an engine, steps it, and hands out what each step adds.

    Args:
        engine: nobody else steps or changes it.
        on_end: told of each request that is over, however it ended.
        where: the model's path, for messages.
    """

    def __init__(
        self, engine: Engine, on_end: Callable[[RequestHandle], None], where: object = None
    ) -> None:
        self.engine, self.where = engine, where
        self.terms = [Terms()]  # the last ones hold
        self.running: dict[int, RequestHandle] = {}
        self.waiting = FairQueue()
        self._on_end = on_end

    @property
    def admission(self) -> Admission:
        """The one that holds now."""
        return self.terms[-1].admission

    @property
    def has_work(self) -> bool:
        return self.engine.has_work or bool(self.waiting)

    def turn(self) -> None:
        """Ends what takes too long, admits what may run, and computes one step."""
        if self.admission.timeout_s < math.inf:
            self._end_overdue()
        while self.waiting and len(self.running) < self.admission.max_running:
            self._admit(self.waiting.take())
        if self.engine.has_work:
            self._step()

    def open_handles(self) -> list[RequestHandle]:
        return [*self.running.values(), *self.waiting]

    def _step(self) -> None:
        try:
            outputs = self.engine.step()
        except UnderstudyError as error:
            _log.error("a step of the engine failed: %s", error)
            self._end_all(error.what, error)
            return
        except Exception as error:  # a fault of ours must not leave anybody waiting for ever
            _log.exception("a step of the engine failed")
            self._end_all(f"the engine failed ({type(error).__name__})", error)
            return
        for output in outputs:
            handle = self.running.get(output.id)
            if handle is not None:
                self._hand_out(handle, output)

    def _end_all(self, what: str, cause: Exception) -> None:
        do = cause.do if isinstance(cause, UnderstudyError) else None
        for handle in list(self.running.values()):
            fault = UnderstudyError(what, where=self.where if do else None, do=do)
            fault.__cause__ = cause
            self.end(handle, fault)

    def _hand_out(self, handle: RequestHandle, output: Output) -> None:
        if output.error is not None:
            self.end(
                handle, UnderstudyError(f"the request failed ({output.error})", where=self.where)
            )
            return
        if output.finish_reason is not None:
            handle.num_left -= 1
            if not handle.num_left:
                self._forget(handle)
        if (on_output := self.terms[-1].on_output) is not None:
            on_output(handle, output)
        handle.deliver(output)

    def enqueue(self, handle: RequestHandle) -> None:
        if handle.is_cancelled or not handle.num_left:
            self._forget(handle)
            return
        self.waiting.put(handle)

    def _admit(self, handle: RequestHandle) -> None:
        try:
            handle.id = self.engine.add(handle.request)
        except Exception as error:
            self.end(handle, error)
            return
        self.running[handle.id] = handle

    def _end_overdue(self) -> None:
        timeout_s = self.admission.timeout_s
        limit = time.monotonic() - timeout_s
        for handle in [one for one in self.open_handles() if one.added < limit]:
            expected = f"at most {timeout_s:g} s"
            self.end(handle, TimeoutExceeded("the request took too long", expected=expected))

    def end(self, handle: RequestHandle, error: Exception | None = None) -> None:
        """Takes a request out, wherever it is; whoever waits gets the error."""
        if not handle.num_left:
            return
        handle.num_left = 0
        if handle.id is not None:
            self.engine.cancel(handle.id)
        else:
            self.waiting.remove(handle)
        self._forget(handle)
        if error is not None:
            handle.deliver(error)

    def _forget(self, handle: RequestHandle) -> None:
        if handle.id is not None:
            self.running.pop(handle.id, None)
        self._on_end(handle)
