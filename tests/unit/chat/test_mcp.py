"""A real MCP server over stdio: its tools are listed, called, and its faults are results."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("mcp")

from understudy.chat.loop import run_call
from understudy.chat.mcp import McpServer
from understudy.errors import ToolError
from understudy.generation.reply import ToolCall

SERVER = """
import sys
from mcp.server import MCPServer
server = MCPServer("shop")

@server.tool()
def price(item: str, count: int = 1) -> str:
    "The price of an item."
    return f"{count} {item}: {3 * count} coins"

@server.tool()
def leave() -> str:
    import os
    os._exit(1)

sys.stderr = open("/dev/null", "w")
server.run("stdio")
"""


def call(tools, name: str, **arguments):
    return run_call(tools, ToolCall("1", name, arguments), timeout_s=5)


def test_tools_of_a_server(tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    with McpServer(sys.executable, [str(tmp_path / "server.py")]) as server:
        assert [tool.name for tool in server.tools] == ["price", "leave"]
        assert server.tools[0].description == "The price of an item."
        assert server.tools[0].parameters["required"] == ["item"]
        assert call(server.tools, "price", item="rope", count=2).content == "2 rope: 6 coins"
        assert call(server.tools, "price", item="rope", count="x").is_error
        assert call(server.tools, "leave").is_error
    assert call(server.tools, "price", item="rope").is_error


@pytest.mark.parametrize(
    "command",
    [
        ["/no/such/server"],
        [sys.executable, "-c", "print('hello')"],
        [sys.executable, "-c", "import time; time.sleep(60)"],
    ],
)
def test_what_is_no_server(command):
    with pytest.raises(ToolError) as caught:
        McpServer(command[0], command[1:], timeout_s=2)
    assert "\n" not in str(caught.value)


def test_a_server_that_has_just_ended(tmp_path, monkeypatch):
    (tmp_path / "server.py").write_text(SERVER)
    with McpServer(sys.executable, [str(tmp_path / "server.py")]) as server:
        pass
    monkeypatch.setattr(
        server._thread, "is_alive", lambda: True
    )  # its loop is closed before its thread has ended
    server.close()
    assert call(server.tools, "price", item="rope").is_error
