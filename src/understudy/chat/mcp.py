"""Tools of an MCP server: one that is started here and speaks over its standard input and output,
or one behind an address, over streamable HTTP (extra `mcp`).

with McpServer("python", ["server.py"]) as server:
    session = Session(model, tools=[server])
with McpServer("http://127.0.0.1:3001/mcp", headers={"Authorization": "Bearer …"}) as server: ...

A started server runs with the caller's rights and a minimal environment. Calls go through the
session's time limit, size clamp and approval like any other. A connection that was lost is made
anew by the next call. A tool that cannot be used is left out and named in `left_out` and in a
warning; the others work. A server that says that its tools have changed is asked for them anew when
somebody next looks at them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import warnings
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from understudy.chat.mcp_connection import McpConnection, target_of
from understudy.chat.mcp_results import result_text
from understudy.errors import SchemaError, ToolError
from understudy.generation.tools import Tool

MAX_PAGES = 1000
OnProgress = Callable[[str, float, float | None, str | None], None]


class McpServer:
    """A server and its tools.

    Args:
        command: what to start, or the server's address (`http://…`, `https://…`).
        arguments, environment, folder: of a command; the variables are beside the minimal ones.
        headers: of requests to an address.
        prefix: stands before the tools' names, for servers whose tools are called alike.
        on_progress: told a tool's name, how far it is, of how much, and its message.
        timeout_s: for connecting and listing.

    Attributes:
        left_out: a line for each tool that cannot be called.

    Raises:
        MissingError: the extra is not installed.
        ToolError: the server does not start or answer, or does not speak MCP.
    """

    def __init__(
        self,
        command: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        folder: str | Path | None = None,
        headers: Mapping[str, str] | None = None,
        prefix: str = "",
        on_progress: OnProgress | None = None,
        timeout_s: float = 20.0,
    ) -> None:
        self._target = target_of(command, arguments, environment, folder, headers)
        self._name = " ".join([command, *arguments])[:80]
        self._prefix, self._on_progress, self._timeout_s = prefix, on_progress, timeout_s
        self._connection: McpConnection | None = None
        self._is_stale = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"mcp {self._name}", daemon=True)
        self._thread.start()
        try:
            listed = self._submit(self._list()).result(timeout_s)
        except (concurrent.futures.TimeoutError, TimeoutError):
            self.close()
            raise ToolError(
                f"the MCP server did not answer within {timeout_s:g} s", where=self._name
            ) from None
        except Exception as error:
            self.close()
            raise ToolError(
                f"the MCP server cannot be used ({_first_line(error)})", where=self._name
            ) from error
        self._tools, self.left_out = self._usable(listed)
        for line in self.left_out:
            warnings.warn(f"{self._name}: {line}", stacklevel=2)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What can be called now. Asks the server where it said that its tools have changed; if it
        does not answer, the old ones stay, with a warning.
        """
        if self._is_stale.is_set():
            self._is_stale.clear()
            known, left_out = self._tools, self.left_out
            try:
                self._tools, self.left_out = self._usable(
                    self._submit(self._list()).result(self._timeout_s)
                )
            except Exception as error:
                self._is_stale.set()
                warnings.warn(
                    f"{self._name}: its tools cannot be listed ({_first_line(error)})", stacklevel=2
                )
                return known
            for line in self.left_out:
                if line not in left_out:
                    warnings.warn(f"{self._name}: {line}", stacklevel=2)
        return self._tools

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _list(self) -> list[Any]:
        """The tools of all pages."""
        client = await self._connected()
        listed: list[Any] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            listed += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        return listed

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_lost:
            if self._connection is not None:
                self._is_stale.set()  # who answers now may be another
            self._connection = McpConnection(self._target, self._is_stale.set)
        return await asyncio.wait_for(self._connection.client(), self._timeout_s)

    def _usable(self, listed: Sequence[Any]) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
        tools: dict[str, Tool] = {}
        left_out: list[str] = []
        for one in listed:
            try:
                tool = self._tool(one)
                if tool.name in tools:
                    raise SchemaError("another tool has the same name", where=tool.name)
                _ = tool.contract.rule
            except SchemaError as error:
                left_out.append(f"tool left out: {error}")
            else:
                tools[tool.name] = tool
        return tuple(tools.values()), tuple(left_out)

    def _tool(self, listed: Any) -> Tool:
        name, execution = listed.name, getattr(listed, "execution", None)
        if getattr(execution, "task_support", None) == "required":
            raise SchemaError("runs as a task only, which is not implemented", where=name)

        async def call(**arguments: Any) -> str:
            return await asyncio.wrap_future(self._submit(self._call(name, arguments)))

        about = listed.description or getattr(listed, "title", None) or ""
        return Tool(self._prefix + name, about, listed.input_schema, call)

    async def _call(self, name: str, arguments: dict[str, Any]) -> str:
        try:
            result = await self._asked(name, arguments)
        except ToolError:
            raise
        except Exception as error:
            raise ToolError(_first_line(error), where=self._name) from error
        text = result_text(result)
        if result.is_error:
            raise ToolError(text)
        return text

    async def _asked(self, name: str, arguments: dict[str, Any]) -> Any:
        """The result of a call; asked once more where the server had forgotten the connection and
        so ran nothing."""
        for is_last in (False, True):
            client = await self._connected()
            try:
                return await client.call_tool(name, arguments, progress_callback=self._told(name))
            except Exception as error:
                assert self._connection is not None
                if _is_lost(error):
                    self._connection.leave()
                if is_last or not _ran_nothing(error):
                    raise
        raise AssertionError("the second time returns or raises")

    def _told(self, name: str) -> Any:
        async def tell(progress: float, total: float | None, message: str | None) -> None:
            if self._on_progress is not None:
                self._on_progress(name, progress, total, message)

        return tell

    def _submit(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()
            raise ToolError("the MCP server has ended", where=self._name) from None

    def close(self) -> None:
        """Ends the connection, and with it a server that was started."""

        async def end() -> None:
            if self._connection is not None:
                await self._connection.end()
            self._loop.stop()

        with contextlib.suppress(RuntimeError, ToolError):
            self._submit(end())
        self._thread.join(5)

    def __enter__(self) -> McpServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _is_lost(error: Exception) -> bool:
    """Whether the connection is gone, not only the call failed."""
    from mcp import MCPError
    from mcp_types.jsonrpc import CONNECTION_CLOSED

    if isinstance(error, MCPError):
        return error.code == CONNECTION_CLOSED or _ran_nothing(error)
    return not isinstance(error, TimeoutError | RuntimeError | ValueError)


def _ran_nothing(error: Exception) -> bool:
    """Whether a server said that it does not know the connection any more (streamable HTTP,
    404).
    """
    return "session terminated" in str(error).lower() or "session not found" in str(error).lower()


def _first_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
