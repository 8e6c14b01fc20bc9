"""A real MCP server over stdio: its tools are listed, called, and its faults are results."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("mcp")

from tests.support.http_server import free_port
from tests.support.random_model import babbler
from understudy.chat.loop import run_call
from understudy.chat.mcp import McpServer
from understudy.chat.session import Session
from understudy.errors import ToolError, UsageError
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


# A hundred tools in pages of ten, all kinds of results, and tools that cannot be used
ODD = """
import sys
import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

OBJECT = {"type": "object", "properties": {}}
PAIR = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {
    "at": {"type": "array", "items": [{"type": "number"}, {"type": "number"}]}}}
NAMES = [*(f"tool_{i}" for i in range(89)), "3d_render", "pair", "text", "link", "picture",
         "structured", "silent", "empty", "fails", "slow", "bad name", "bad_schema"]
SCHEMAS = {"pair": PAIR, "bad_schema": {"type": "object", "properties": {"x": {"$ref": "#/y"}}}}

async def list_tools(context, params):
    start = int(params.cursor) if params and params.cursor else 0
    page = NAMES[start:start + 10]
    tools = [types.Tool(name=n, input_schema=SCHEMAS.get(n, OBJECT)) for n in page]
    more = str(start + 10) if start + 10 < len(NAMES) else None
    return types.ListToolsResult(tools=tools, next_cursor=more)

def result(*content, **more):
    return types.CallToolResult(content=list(content), **more)

async def call_tool(context, params):
    text = types.TextResourceContents(uri="file:///a.txt", text="the inside")
    if params.name == "text":
        return result(types.EmbeddedResource(resource=text))
    if params.name == "link":
        return result(types.ResourceLink(name="A", uri="file:///a.txt", description="a letter"))
    if params.name == "picture":
        return result(types.ImageContent(data="AAAA", mime_type="image/png"))
    if params.name == "structured":
        return result(structured_content={"answer": 42})
    if params.name == "silent":
        return result(types.TextContent(text=""), structured_content={"result": []})
    if params.name == "fails":
        return result(types.TextContent(text="no such inn"), is_error=True)
    if params.name == "slow":
        await context.session.report_progress(1, 2, "half")
        return result(types.TextContent(text="done"))
    if params.name == "empty":
        return result()
    return result(types.TextContent(text=params.name + " " + str(params.arguments)))

server = Server("odd", on_list_tools=list_tools, on_call_tool=call_tool)

async def main():
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())

if sys.argv[1:] == ["stdio"]:
    anyio.run(main)
else:
    import uvicorn
    uvicorn.run(server.streamable_http_app(), port=int(sys.argv[1]), log_level="error")
"""
RESULTS = {
    "tool_17": "tool_17 {}",
    "3d_render": "3d_render {}",
    "pair": "pair {}",
    "text": "[file:///a.txt]\nthe inside",
    "link": "[link to A at file:///a.txt: a letter]",
    "picture": "[image/png, 3 bytes, not shown]",
    "structured": '{"answer": 42}',
    "silent": '{"result": []}',
    "empty": "(no result: the tool gave nothing back)",
    "fails": '{"error": "ToolError: no such inn"}',
    "slow": "done",
}


# protocol 2026-07-28: who listens is told of changes
GROWS = """
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
server = MCPServer("shop")

def rope() -> str:
    return "7 coins"

@server.tool()
async def open_shop(context: Context) -> str:
    server.add_tool(rope)
    server.remove_tool("open_shop")
    await context.notify_tools_changed()
    return "open"

import sys
if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    server.run("streamable-http", port=int(sys.argv[1]))
"""
# the older handshake, by hand: the notice comes unasked
GROWS_OLD = """
import json, sys
TOOLS = ["open_shop"]

def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

for line in sys.stdin:
    message = json.loads(line)
    method, number = message.get("method"), message.get("id")
    if method == "initialize":
        about = {"name": "old", "version": "1"}
        version = message["params"]["protocolVersion"]
        send(id=number, result={"protocolVersion": version, "serverInfo": about,
                                "capabilities": {"tools": {"listChanged": True}}})
    elif method == "tools/list":
        send(id=number, result={"tools": [
            {"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]})
    elif method == "tools/call":
        if message["params"]["name"] == "open_shop":
            TOOLS[:] = ["rope", "bad name"]
            send(method="notifications/tools/list_changed")
        send(id=number, result={"content": [{"type": "text", "text": "open"}]})
    elif number is not None:
        send(id=number, error={"code": -32601, "message": "no such method"})
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


def call(tools, name: str, **arguments):
    return run_call(tools, ToolCall("1", name, arguments), timeout_s=30)


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
    monkeypatch.setattr(server._thread, "is_alive", lambda: True)  # its loop closes before it ends
    server.close()
    assert call(server.tools, "price", item="rope").is_error


def check_odd(server):
    assert len(server.tools) == 99
    assert [line.partition(":")[0] for line in server.left_out] == ["tool left out"] * 2
    assert "bad name" in server.left_out[0]
    assert "bad_schema: x: a $ref points at nothing" in server.left_out[1]
    for name, expected in RESULTS.items():
        result = call(server.tools, name)
        assert (result.content, result.is_error) == (expected, name == "fails")


def test_every_page_every_kind_of_result_and_one_bad_tool(tmp_path):
    (tmp_path / "odd.py").write_text(ODD)
    heard = []
    command = [str(tmp_path / "odd.py"), "stdio"]
    with (
        pytest.warns(UserWarning, match="bad name"),
        McpServer(sys.executable, command, on_progress=lambda *a: heard.append(a)) as server,
    ):
        check_odd(server)
    assert heard == [("slow", 1, 2, "half")]


def names_of(source, wanted):
    """Its tools, once they are those that are wanted, or as they are after five seconds."""
    for _ in range(50):
        if (names := [tool.name for tool in source.tools]) == wanted:
            break
        time.sleep(0.1)
    return names


def test_tools_that_change_are_listed_anew(model, tmp_path):
    (tmp_path / "grows.py").write_text(GROWS)
    with McpServer(sys.executable, [str(tmp_path / "grows.py"), "stdio"]) as server:
        before = server.tools
        session = Session(model, tools=[server, call_by_hand])
        assert [tool.name for tool in session.tools] == ["open_shop", "call_by_hand"]
        assert call(before, "open_shop").content == "open"
        assert names_of(session, ["rope", "call_by_hand"]) == ["rope", "call_by_hand"]
        assert call(session.tools, "rope").content == "7 coins"
        assert call(before, "open_shop").is_error


def test_over_http_too(tmp_path):
    pytest.importorskip("uvicorn")
    (tmp_path / "grows.py").write_text(GROWS)
    port = free_port()
    process = subprocess.Popen([sys.executable, str(tmp_path / "grows.py"), str(port)])
    try:
        wait_for(port)
        with McpServer(f"http://127.0.0.1:{port}/mcp") as server:
            assert call(server.tools, "open_shop").content == "open"
            assert names_of(server, ["rope"]) == ["rope"]
    finally:
        process.terminate()
        process.wait()


def test_servers_of_the_older_handshake_say_it_unasked(tmp_path):
    (tmp_path / "old.py").write_text(GROWS_OLD)
    with McpServer(sys.executable, [str(tmp_path / "old.py")]) as server:
        assert call(server.tools, "open_shop").content == "open"
        with pytest.warns(UserWarning, match="bad name"):
            assert names_of(server, ["rope"]) == ["rope"]
        assert [line for line in server.left_out if "bad name" in line]


def test_a_server_that_cannot_say_its_tools_keeps_the_old_ones(tmp_path):
    (tmp_path / "old.py").write_text(GROWS_OLD)
    with McpServer(sys.executable, [str(tmp_path / "old.py")], timeout_s=2) as server:
        server._is_stale.set()
        server._connection.leave()
        (tmp_path / "old.py").write_text("")
        with pytest.warns(UserWarning, match="cannot be listed"):
            assert [tool.name for tool in server.tools] == ["open_shop"]


def call_by_hand() -> str:
    """Not of a server."""
    return ""


def test_over_http_and_after_the_server_was_started_anew(tmp_path):
    pytest.importorskip("uvicorn")
    (tmp_path / "odd.py").write_text(ODD)
    port = free_port()

    @contextlib.contextmanager
    def running():
        process = subprocess.Popen([sys.executable, str(tmp_path / "odd.py"), str(port)])
        try:
            wait_for(port)
            yield
        finally:
            process.terminate()
            process.wait()

    address = f"http://127.0.0.1:{port}/mcp"
    with contextlib.ExitStack() as stack:
        with running():
            with pytest.warns(UserWarning, match="bad name"):
                server = stack.enter_context(McpServer(address, prefix="odd_"))
            assert call(server.tools, "odd_text").content == RESULTS["text"]
        assert call(server.tools, "odd_text").is_error
        with running():
            assert call(server.tools, "odd_text").content == RESULTS["text"]
    with pytest.raises(ToolError, match="cannot be used"):
        McpServer(address, timeout_s=5)


def test_a_started_server_that_died_is_started_anew(tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    with McpServer(sys.executable, [str(tmp_path / "server.py")]) as server:
        assert call(server.tools, "leave").is_error
        assert call(server.tools, "price", item="rope", count=2).content == "2 rope: 6 coins"


def test_what_an_address_does_not_take():
    with pytest.raises(UsageError, match="takes no arguments"):
        McpServer("http://127.0.0.1/mcp", ["x"])
    with pytest.raises(UsageError, match="headers are for an address"):
        McpServer("python", headers={"a": "b"})


def wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError("the server did not start")
