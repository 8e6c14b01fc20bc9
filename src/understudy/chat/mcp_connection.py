"""One connection to an MCP server, over standard input and output or streamable HTTP, and what it
says of changes.

connection = McpConnection(target_of("python", ["server.py"]), on_change)   # inside an event loop
client = await connection.client(); …; await connection.end()
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import MissingError, UsageError


class McpConnection:
    """Held by a task of its own, since a connection is to be left where it was entered.

    Args:
        target: makes the transport: see `target_of`.
        on_change: called when the server says that its list of tools is another one.
    """

    def __init__(self, target: Callable[[], Any], on_change: Callable[[], None]) -> None:
        self._ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._leave, self._on_change = asyncio.Event(), on_change
        self._task = asyncio.ensure_future(self._hold(target))

    async def _hold(self, target: Callable[[], Any]) -> None:
        from mcp import Client

        try:
            async with Client(target(), message_handler=self._heard) as client:
                listening = asyncio.ensure_future(self._listen(client))
                self._ready.set_result(client)
                try:
                    await self._leave.wait()
                finally:
                    listening.cancel()
                    with contextlib.suppress(BaseException):
                        await listening
        except BaseException as error:  # said where somebody waits
            if not self._ready.done():
                self._ready.set_exception(error)
                self._ready.exception()  # nobody may wait any more
            elif isinstance(error, asyncio.CancelledError):
                raise

    async def _heard(self, message: Any) -> None:
        """What servers of the older handshake say without being asked."""
        from mcp_types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self._on_change()

    async def _listen(self, client: Any) -> None:
        """Servers of protocol 2026-07-28 tell of changes to those who listen."""
        from mcp import MCPError
        from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost

        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        with contextlib.suppress(ListenNotSupportedError, MCPError, SubscriptionLost, TimeoutError):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._on_change()

    async def client(self) -> Any:
        return await asyncio.shield(self._ready)

    @property
    def is_lost(self) -> bool:
        return self._leave.is_set() or self._task.done()

    def leave(self) -> None:
        self._leave.set()

    async def end(self) -> None:
        """Leaves, and waits for it a while: a server may take its time to end."""
        if not self._ready.done():
            self._task.cancel()
        self.leave()
        with contextlib.suppress(BaseException):
            await asyncio.wait_for(self._task, 4)


def target_of(
    command: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None,
    folder: str | Path | None,
    headers: Mapping[str, str] | None,
) -> Callable[[], Any]:
    """What makes the transport of one connection."""
    try:
        from mcp import StdioServerParameters
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client
    except ImportError as error:
        raise MissingError(
            "the extra `mcp` is not installed", do="pip install 'understudy[mcp]'"
        ) from error
    if not command.startswith(("http://", "https://")):
        if headers:
            raise UsageError("headers are for an address", where="headers", found=command)
        parameters = StdioServerParameters(
            command=command,
            args=list(arguments),
            env=dict(environment) if environment else None,
            cwd=folder,
        )
        return lambda: parameters
    if arguments or environment or folder:
        raise UsageError("an address takes no arguments", where=command)
    given = dict(headers) if headers else None

    @contextlib.asynccontextmanager
    async def over_http() -> AsyncIterator[Any]:
        async with (
            create_mcp_http_client(given) as http,
            streamable_http_client(command, http_client=http) as streams,
        ):
            yield streams

    return over_http
