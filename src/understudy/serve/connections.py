"""Connections that say nothing: uvicorn waits for a request to begin for ever, this does not.

What comes within `RECEIVE_TIMEOUT_S` counts: the headers of a request, from the connection's first
moment or from their first byte; then the body, whose pauses `shell.limited` measures.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from understudy.serve.shell import RECEIVE_TIMEOUT_S


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose headers do not come."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            self._wait_for_headers()  # of a request that has begun
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_headers(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(RECEIVE_TIMEOUT_S, self._leave)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _leave(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
