"""From messages to the engine and back to pieces of text and calls: what chat completions, messages and responses share.

prepared = await prepare_chat(model, ChatRequest(messages, tools=…))      # checked: whatever is wrong is said here
async for piece in run(served, prepared, client): ...
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal

from understudy.engine import Output
from understudy.engine.handles import AsyncOutputs, BusyError, StoppedError
from understudy.errors import SchemaError, UsageError
from understudy.generation import prepare
from understudy.generation.calls import callable_tools
from understudy.generation.plan import Ledger, count_origins
from understudy.generation.prepare import ChatRequest, PreparedRequest, RequestLimits
from understudy.generation.reader import ReplyPiece, StreamParser
from understudy.generation.tools import Tool
from understudy.model import Model
from understudy.serve.errors import ApiError
from understudy.serve.pool import LoadedModel
from understudy.serve.settings import Settings

MAX_TOOLS = 128  # OpenAI's limit
Finish = Literal["stop", "length", "calls", "filter"]


async def prepare_chat(model: Model, chat: ChatRequest, settings: Settings) -> PreparedRequest:
    """`prepare.prepare_chat` in a thread: a schema can take a while."""
    limits = limits_of(model, settings)
    return await asyncio.to_thread(
        prepare.prepare_chat, model.chat_template, model.tokenizer, limits, chat
    )


def limits_of(model: Model, settings: Settings) -> RequestLimits:
    return dataclasses.replace(
        model.limits,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        caps_answers=True,
    )


def prepare_text(
    model: Model,
    tokens: Sequence[int],
    sampling: Mapping[str, Any],
    settings: Settings,
    **options: Any,
) -> PreparedRequest:
    """A text to continue; `options` are those of `prepare.make_request`."""
    limits = limits_of(model, settings)
    params = prepare.sampling_params(sampling, limits)
    return PreparedRequest(prepare.make_request(tokens, params, limits, **options))


def read_tools(
    tools: Sequence[Mapping[str, Any]], choice: str | Mapping[str, Any] | None
) -> tuple[tuple[Tool, ...], str, tuple[str, ...]]:
    """OpenAI's dicts as tools, the choice among them, and a line for each that is left out: see
    `callable_tools`."""
    if len(tools) > MAX_TOOLS:
        raise ApiError(400, f"tools: at most {MAX_TOOLS}", param="tools", code="invalid_value")
    try:
        return callable_tools(tools, choice)
    except (UsageError, SchemaError) as error:
        place = "tool_choice" if error.where == "tool_choice" else "tools"
        raise ApiError(400, f"{place}: {error}", param=place, code="invalid_value") from error


def submit(served: LoadedModel, prepared: PreparedRequest, client: str) -> AsyncOutputs:
    """Queues a request; a full queue is a 429, a stopping server a 503."""
    try:
        return served.driver.submit(prepared.request, client=client)
    except BusyError as error:
        raise ApiError(
            429, str(error), code="server_busy", headers={"Retry-After": str(error.retry_after_s)}
        ) from error
    except StoppedError as error:
        raise ApiError(
            503, str(error), code="server_stopping", headers={"Retry-After": "5"}
        ) from error


async def read(
    model: Model,
    prepared: PreparedRequest,
    outputs: AsyncIterator[tuple[Output, bool]],
    count_calls: Callable[[int, int], None],
) -> AsyncIterator[tuple[Output, list[ReplyPiece], Finish | None]]:
    """The engine's outputs, each with the pieces that became certain by it, and with an answer's last why it ended.

    `outputs` says of each whether the guard ended the answer with it. `count_calls` is told how many calls an answer holds whole, and how many were cut.
    """
    parsers = [
        StreamParser(
            model.chat_template, prepared.tools, is_strict=True, continues=prepared.continues
        )
        for _ in range(prepared.request.params.n)
    ]
    async for output, is_stopped in outputs:
        parser = parsers[output.index]
        pieces = parser.push(output.text)
        finish: Finish | None = None
        if output.finish_reason is not None:
            pieces += parser.finish()
            count_calls(parser.num_calls - parser.is_cut, int(parser.is_cut))
            finish = (
                "filter"
                if is_stopped
                else "length"
                if output.finish_reason == "length"
                else "calls"
                if parser.num_calls
                else "stop"
            )
        yield output, pieces, finish


async def ledger_of(model: Model, prepared: PreparedRequest) -> dict[str, Any] | None:
    """Where the tokens of a conversation's prompt went: they sum to its length."""
    if prepared.prompt is None:
        return None
    tokens = await asyncio.to_thread(count_origins, prepared.prompt, model.tokenizer)
    total, context = sum(tokens.values()), model.engine.context
    dropped = prepared.notes
    if total > context - (prepared.request.params.max_tokens or 1):
        dropped += (
            f"{total + (prepared.request.params.max_tokens or 1) - context} tokens of the prompt ({prepared.request.overflow})",
        )
    reserve = min(prepared.request.params.max_tokens or context, context - min(total, context))
    return Ledger(tokens, reserve, context, dropped).to_document()
