"""Options that make a session: tools, documents, a character."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import inspect
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli.options import add_calls
from understudy.cli.terminal import write
from understudy.errors import UsageError

if TYPE_CHECKING:
    from understudy.chat.session import Session
    from understudy.generation.intent import CallSettings
    from understudy.generation.moderation import TextGuard
    from understudy.generation.reply import ToolCall
    from understudy.generation.tools import GivenTool, Tool
    from understudy.model import Model


def add_tools(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("tools")
    group.add_argument(
        "--tools",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file whose functions are tools, or a JSON list of OpenAI tools (repeatable)",
    )
    group.add_argument(
        "--mcp",
        action="append",
        default=[],
        metavar="COMMAND",
        help="an MCP server over stdio (repeatable)",
    )
    group.add_argument("--allow", action="store_true", help="run every call without asking")
    group.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="for one call (default 30)"
    )
    add_calls(group)


def add_sources(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("documents and character")
    group.add_argument(
        "--documents",
        type=Path,
        metavar="INDEX",
        help="answer from an index that `understudy rag add` made",
    )
    group.add_argument(
        "--character", type=Path, metavar="CARD", help="speak as the character of a card"
    )
    group.add_argument("--user", default="User", help="your name, for characters")


def add_thinking(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("thoughts, of models that think before they answer")
    group.add_argument(
        "--thinking", choices=("on", "off"), help="default: as the model's chat template has it"
    )
    group.add_argument(
        "--reasoning-budget",
        type=int,
        metavar="TOKENS",
        help="most tokens of thoughts (default: half of those of an answer)",
    )


@contextlib.contextmanager
def tools_of(arguments: argparse.Namespace) -> Iterator[tuple[GivenTool, ...]]:
    """The tools that the arguments name; MCP servers run until the end of the block."""
    with contextlib.ExitStack() as stack:
        tools: list[GivenTool] = [tool for path in arguments.tools for tool in read_tools(path)]
        for command in arguments.mcp:
            from understudy.chat.mcp import McpServer

            words = shlex.split(command)
            if not words:
                raise UsageError("no command", where="--mcp")
            tools.append(stack.enter_context(McpServer(words[0], words[1:])))
        yield tuple(tools)


@contextlib.contextmanager
def session_of(
    arguments: argparse.Namespace, model: Model, *, guard: TextGuard | None = None, **sampling: Any
) -> Iterator[Session]:
    """The session that the arguments ask for."""
    from understudy.chat.session import Session, SessionSettings

    with contextlib.ExitStack() as stack:
        tools = stack.enter_context(tools_of(arguments))
        documents = character = None
        if arguments.documents is not None:
            from understudy.rag.index import Index

            documents = stack.enter_context(Index(arguments.documents))
            documents.search("?", 1)  # what is wrong with it is said now
        if arguments.character is not None:
            from understudy.roleplay.card_files import read_card

            character = read_card(arguments.character)
        settings = SessionSettings(
            timeout_s=arguments.timeout,
            calls=_calls_of(arguments, model),
            user=arguments.user,
            thinking=None if arguments.thinking is None else arguments.thinking == "on",
            reasoning_budget=arguments.reasoning_budget,
        )
        yield Session(
            model,
            system=arguments.system or "",
            tools=tools,
            documents=documents,
            character=character,
            settings=settings,
            approve=None if arguments.allow else ask_first,
            guard=guard,
            **sampling,
        )


def _calls_of(arguments: argparse.Namespace, model: Model) -> CallSettings | None:
    """The model's own switches of calls with those that the arguments set."""
    from understudy.generation.call_switches import call_switches

    policy, switches = model.limits.calls, call_switches(arguments.calls)
    return policy.switched(switches).settings if policy is not None else None


def ask_first(call: ToolCall) -> bool:
    """Asks on the terminal; without one nothing is allowed."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    write(
        f"\nrun {call.name}({json.dumps(call.arguments, ensure_ascii=False)})? [y/N] ", sys.stderr
    )
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def read_tools(path: Path) -> list[Tool]:
    """The tools of a file.

    Raises:
        UsageError: it cannot be read, or holds no tools.
    """
    from understudy.generation.tools import Tool

    if path.suffix == ".py":
        functions = _functions(path)
        if not functions:
            raise UsageError("the file defines no public function", where=path)
        return [Tool.from_function(function) for function in functions]
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"tools cannot be read ({error})", where=path, expected="a .py or .json file"
        ) from error
    return [Tool.from_openai(tool) for tool in (listed if isinstance(listed, list) else [listed])]


def _functions(path: Path) -> list[Callable[..., Any]]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError("no such file", where=path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(
            f"the file cannot be run ({type(error).__name__}: {error})", where=path
        ) from error
    members = [
        value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]
    return [function for function in members if function.__module__ == path.stem]
