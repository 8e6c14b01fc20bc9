"""A lock with a letter box: what others want done is posted, and done by whoever holds the lock."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger("understudy.engine")


class Ownership:
    """Nothing that was posted stays undone: who gives the lock back looks once more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Posting never waits: the collector may do it anywhere, also where the lock is held.
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    @property
    def has_posted(self) -> bool:
        return not self._posted.empty()

    def put(self, action: Callable[[], None]) -> None:
        """Leaves an action for whoever holds the lock next."""
        self._posted.put(action)

    def settle(self) -> None:
        """Does what was posted, unless somebody holds the lock, who will."""
        while self.has_posted and self._lock.acquire(blocking=False):
            try:
                self._do_posted()
            finally:
                self._lock.release()

    @contextmanager
    def held(self, timeout_s: float = -1) -> Iterator[bool]:
        """The lock for the block, with what was posted done; False where it was not to be had."""
        is_held = self._lock.acquire(timeout=timeout_s)
        try:
            if is_held:
                self._do_posted()
            yield is_held
        finally:
            if is_held:
                self._lock.release()
                self.settle()

    def _do_posted(self) -> None:
        while True:
            try:
                action = self._posted.get_nowait()
            except queue.Empty:
                return
            try:
                action()
            except Exception:
                _log.exception("an action of the engine's owner failed")
