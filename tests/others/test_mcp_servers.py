"""The official example server of MCP, of its TypeScript SDK, over stdio and over streamable HTTP:
every tool, every kind of result, errors, progress, and going on after it was started anew."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("mcp")

from tests.others.support import npm_folder
from tests.support.http_server import free_port
from understudy.chat.loop import run_call
from understudy.chat.mcp import McpServer
from understudy.generation.reply import ToolCall

pytestmark = pytest.mark.others
EVERYTHING = "@modelcontextprotocol/server-everything"
VERSION = "2026.8.31"
TASK_ONLY = "simulate-research-query"
# tool, its arguments, what the model reads of the result
CALLS = [
    ("echo", {"message": "hi"}, ["Echo: hi"]),
    ("get-sum", {"a": 2, "b": 3}, ["5"]),
    ("get-structured-content", {"location": "Chicago"}, ['"temperature"', '"conditions"']),
    (
        "get-annotated-message",
        {"messageType": "error", "includeImage": True},
        ["Error", "[image/png, ", "bytes, not shown]"],
    ),
    ("get-resource-links", {"count": 2}, ["[link to ", " at demo://resource/"]),
    (
        "get-resource-reference",
        {"resourceType": "Text", "resourceId": 1},
        ["[demo://resource/dynamic/text/1]\n"],
    ),
    ("get-tiny-image", {}, ["[image/png, "]),
    ("trigger-long-running-operation", {"duration": 0.2, "steps": 2}, ["completed"]),
    ("toggle-simulated-logging", {}, ["logging"]),
]
FAULTS = [
    ("get-sum", {"a": "two", "b": 3}),
    ("get-resource-reference", {"resourceType": "Text", "resourceId": -1}),
    ("gzip-file-as-resource", {"name": "a", "data": "no address"}),
]


@pytest.fixture(scope="module")
def program() -> Path:
    folder = npm_folder("mcp-servers", [f"{EVERYTHING}@{VERSION}"])
    return folder / "node_modules" / EVERYTHING / "dist" / "index.js"


def check(server: McpServer, told: list[tuple[object, ...]]) -> None:
    assert len(server.tools) == 12
    assert [line.partition(": ")[2] for line in server.left_out] == [
        f"{TASK_ONLY}: runs as a task only, which is not implemented"
    ]
    for name, arguments, expected in CALLS:
        result = called(server, name, arguments)
        assert not result.is_error, result.content
        assert all(part in result.content for part in expected), (name, result.content)
    for name, arguments in FAULTS:
        assert called(server, name, arguments).is_error, (name, arguments)
    assert [one[:3] for one in told] == [
        ("trigger-long-running-operation", done, 2) for done in (1, 2)
    ]


def called(server: McpServer, tool: str, arguments: dict[str, object]):
    return run_call(server.tools, ToolCall("1", tool, arguments), timeout_s=30)


def test_over_stdio(program):
    told: list[tuple[object, ...]] = []
    with (
        pytest.warns(UserWarning, match=TASK_ONLY),
        McpServer("node", [str(program), "stdio"], on_progress=lambda *a: told.append(a)) as server,
    ):
        check(server, told)


def test_over_http_and_after_a_new_start(program):
    port, told = free_port(), list[tuple[object, ...]]()
    with contextlib.ExitStack() as stack:
        with running(program, port):
            address = f"http://127.0.0.1:{port}/mcp"
            with pytest.warns(UserWarning, match=TASK_ONLY):
                server = stack.enter_context(
                    McpServer(address, on_progress=lambda *a: told.append(a))
                )
            check(server, told)
        assert called(server, "echo", {"message": "x"}).is_error
        with running(program, port):
            assert called(server, "echo", {"message": "again"}).content == "Echo: again"


@contextlib.contextmanager
def running(program: Path, port: int):
    environment = {**os.environ, "PORT": str(port)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["node", program, "streamableHttp"], env=environment, **quiet)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()
