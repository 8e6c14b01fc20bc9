"""Running what a model called: within a time limit, with its faults as results, its size clamped,
and only with approval.

A tool's function runs in a thread of its own. One that hangs is left behind when its time is up
(Python cannot end a thread); the conversation goes on without it.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import inspect
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from understudy.chat.settings import Approve
from understudy.generation.reply import ToolCall, ToolResult
from understudy.generation.tools import Tool
from understudy.text import Tokenizer

CHARACTERS_PER_TOKEN = (
    64  # more than any vocabulary needs on average: what lies beyond is never encoded
)


def run_call(
    tools: Sequence[Tool], call: ToolCall, *, timeout_s: float, approve: Approve | None = None
) -> ToolResult:
    """Runs one call; whatever happens becomes a result.

    Args:
        approve: asked before anything runs; False refuses.
    """
    started = time.perf_counter()
    tool = next(tool for tool in tools if tool.name == call.name)
    assert tool.run is not None
    if approve is not None and not approve(call):
        return ToolResult(call, _error("the user did not allow this call"), True)
    value, fault = _within(timeout_s, tool.run, call.arguments)
    seconds = time.perf_counter() - started
    if fault is not None:
        return ToolResult(call, _error(fault), True, seconds=seconds)
    return ToolResult(call, as_text(value), seconds=seconds)


def _within(
    timeout_s: float, function: Callable[..., Any], arguments: dict[str, Any]
) -> tuple[Any, str | None]:
    outcome: list[tuple[Any, str | None]] = []

    async def finished(coroutine: Any) -> Any:
        return await asyncio.wait_for(coroutine, timeout_s)

    def work() -> None:
        try:
            value = function(**arguments)
            outcome.append(
                (asyncio.run(finished(value)) if inspect.isawaitable(value) else value, None)
            )
        except TimeoutError:
            return
        except (
            BaseException
        ) as error:  # SystemExit and the like too: a tool must not end its caller
            outcome.append((None, f"{type(error).__name__}: {error}"[:500]))

    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run,
        args=(work,),
        name=f"tool {getattr(function, '__name__', '')}",
        daemon=True,
    )
    thread.start()
    thread.join(timeout_s + 0.1)
    return outcome[0] if outcome else (None, f"no result within {timeout_s:g} s")


def as_text(value: Any) -> str:
    """A result as text: a string as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def clamped(result: ToolResult, tokenizer: Tokenizer, max_tokens: int) -> ToolResult:
    """The result within so many tokens; what is cut is said at its end."""
    text = result.content
    ids = tokenizer.encode(text[: max_tokens * CHARACTERS_PER_TOKEN])
    if len(ids) <= max_tokens and len(text) <= max_tokens * CHARACTERS_PER_TOKEN:
        return result
    kept = tokenizer.decode(ids[: max(1, max_tokens - 16)]).rstrip("�")
    kept = kept if text.startswith(kept) else text[: max(1, max_tokens - 16)]
    mark = f" … [cut: {len(kept):,} of {len(text):,} characters]"
    return dataclasses.replace(result, content=kept + mark, was_cut=True)


def _error(text: str) -> str:
    return json.dumps({"error": " ".join(text.split())}, ensure_ascii=False)
