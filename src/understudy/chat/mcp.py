"""Tools of an MCP server that speaks over standard input and output (extra `mcp`).

with McpServer("python", ["server.py"]) as server:
    session = Session(model, tools=server.tools)

The server runs with the caller's rights and a minimal environment; its calls go through the session's time limit, size clamp and
approval like any other.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from understudy.errors import MissingError, SchemaError, ToolError
from understudy.generation.tools import Tool


class McpServer:
    """A server process and its tools.

    Args:
        command, arguments: what to start.
        environment: variables beside the minimal ones.
        folder: where to start it.
        timeout_s: for starting and listing.

    Raises:
        MissingError: the extra is not installed.
        ToolError: the server does not start, or does not speak MCP.
    """

    def __init__(
        self,
        command: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        folder: str | Path | None = None,
        timeout_s: float = 20.0,
    ) -> None:
        try:
            from mcp import StdioServerParameters
        except ImportError as error:
            raise MissingError(
                "the extra `mcp` is not installed", do="pip install 'understudy[mcp]'"
            ) from error
        self._parameters = StdioServerParameters(
            command=command,
            args=list(arguments),
            env=dict(environment) if environment else None,
            cwd=folder,
        )
        self._name = " ".join([command, *arguments])[:80]
        self._loop = asyncio.new_event_loop()
        self._ready: concurrent.futures.Future[list[Any]] = concurrent.futures.Future()
        self._session: Any = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=f"mcp {self._name}", daemon=True)
        self._thread.start()
        try:
            listed = self._ready.result(timeout_s)
        except concurrent.futures.TimeoutError:
            self.close()
            raise ToolError(
                f"the MCP server did not answer within {timeout_s:g} s", where=self._name
            ) from None
        except Exception as error:
            self.close()
            raise ToolError(
                f"the MCP server cannot be used ({_first_line(error)})", where=self._name
            ) from error
        self.tools = tuple(tool for tool in map(self._tool, listed) if tool is not None)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # reported where somebody waits
            if not self._ready.done():
                self._ready.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        from mcp import ClientSession, stdio_client

        self._task = asyncio.current_task()
        async with (
            stdio_client(self._parameters) as (reader, writer),
            ClientSession(reader, writer) as session,
        ):
            await session.initialize()
            self._session = session
            self._ready.set_result(list((await session.list_tools()).tools))
            await asyncio.Event().wait()  # until `close` cancels

    def _tool(self, listed: Any) -> Tool | None:
        async def call(**arguments: Any) -> str:
            return await asyncio.wrap_future(
                self._submit(self._session.call_tool(listed.name, arguments))
            )

        try:
            return Tool(listed.name, listed.description or "", listed.input_schema, call)
        except SchemaError as error:
            raise ToolError(
                f"a tool of the MCP server cannot be used ({error})", where=self._name
            ) from error

    def _submit(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[str]:
        async def read() -> str:
            result = await coroutine
            text = "\n".join(_content(part) for part in result.content)
            if result.is_error:
                raise ToolError(text or "the tool failed")
            return text

        reading = read()
        try:
            return asyncio.run_coroutine_threadsafe(reading, self._loop)
        except RuntimeError:  # the loop is closed
            reading.close()
            coroutine.close()
            raise ToolError("the MCP server has ended", where=self._name) from None

    def close(self) -> None:
        """Ends the server."""
        if self._task is None:
            return
        with contextlib.suppress(
            RuntimeError
        ):  # it has ended by itself, perhaps just now, and closed its loop
            self._loop.call_soon_threadsafe(self._task.cancel)
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


def _content(part: Any) -> str:
    return (
        str(part.text)
        if getattr(part, "type", "") == "text"
        else f"[{getattr(part, 'type', 'content')} left out]"
    )


def _first_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
