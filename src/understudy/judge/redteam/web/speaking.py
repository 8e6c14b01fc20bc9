"""From the thread that drives the model to the events that the page reads; one thing is spoken at a
time.

Stopping is a flag that the thread looks at after each piece: it then leaves the generator, which
ends the request before its next token and keeps what was said. A page that goes away stops its
answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from understudy.errors import UnderstudyError, UsageError
from understudy.serve.errors import from_understudy
from understudy.serve.events import event

_END = object()


class Speaker:
    """Runs generators that ask the model. `conversation` is the one that is being answered, None
    while it is quiet."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="redteam")
        self._stop = threading.Event()
        self.conversation: str | None = None

    def stop(self, conversation: str | None = None) -> bool:
        """Ends what is being said (in this conversation); returns whether anything was."""
        if self.conversation is None or conversation not in (None, self.conversation):
            return False
        self._stop.set()
        return True

    def close(self) -> None:
        """Ends what is being said and waits until it is kept."""
        self.stop()
        self._thread.shutdown(wait=True)

    async def events(
        self, conversation: str, make: Callable[[], Iterator[tuple[str, Any]]]
    ) -> AsyncIterator[bytes]:
        """What the generator gives, as (name, data) events; an error is the last one.

        Raises:
            UsageError: something is being said.
        """
        if self.conversation is not None:
            raise UsageError(
                "the model is speaking",
                where="conversation",
                do="wait for the end of its answer, or stop it",
            )
        self.conversation = conversation
        self._stop.clear()
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any]()
        work = loop.run_in_executor(
            self._thread,
            self._drive,
            make,
            lambda item: loop.call_soon_threadsafe(queue.put_nowait, item),
        )
        return self._read(queue, work)

    async def _read(
        self, queue: asyncio.Queue[Any], work: asyncio.Future[None]
    ) -> AsyncIterator[bytes]:
        try:
            while (item := await queue.get()) is not _END:
                yield item
        finally:
            self._stop.set()
            await asyncio.shield(work)

    def _drive(
        self, make: Callable[[], Iterator[tuple[str, Any]]], put: Callable[[Any], object]
    ) -> None:
        try:
            pieces = make()
            try:
                for name, data in pieces:
                    put(event(data, name))
                    if self._stop.is_set():
                        break
            finally:
                pieces.close()  # type: ignore[attr-defined]
        except UnderstudyError as error:
            put(event(from_understudy(error).to_openai()))
        except Exception as error:  # our fault: said to the page, told to the log
            put(event({"error": {"message": f"a fault of this server ({type(error).__name__})"}}))
            raise
        finally:
            self.conversation = None
            put(_END)
