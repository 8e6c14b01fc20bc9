"""What the routes share of building requests: tools read, limits of the server, the ledger.

prepared = await prepare_chat(model, ChatRequest(messages, tools=…))   # whatever is wrong is said
here
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from understudy.errors import SchemaError, UsageError
from understudy.generation import prepare
from understudy.generation.calls import callable_tools
from understudy.generation.plan import Ledger, count_origins
from understudy.generation.prepare import ChatRequest, PreparedRequest, RequestLimits
from understudy.generation.sizes import check_size
from understudy.generation.tools import Tool
from understudy.model import Model
from understudy.serve.errors import ApiError
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


def encode_text(model: Model, prompt: str | list[int]) -> list[int]:
    """Ids of a text to continue, refused first where no context of this size could hold it."""
    check_size(prompt, model.tokenizer, model.engine.context)
    return model.encode_prompt(prompt)


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


async def ledger_of(model: Model, prepared: PreparedRequest) -> dict[str, Any] | None:
    """Where the tokens of a conversation's prompt went: they sum to its length."""
    if prepared.prompt is None:
        return None
    request, context = prepared.request, model.engine.context
    room, length = context - (request.params.max_tokens or 1), len(request.prompt)
    first = length - room if length > room and request.overflow == "keep_end" else 0
    tokens = await asyncio.to_thread(
        count_origins, prepared.prompt, model.tokenizer, first, first + room
    )
    total, dropped = sum(tokens.values()), (*prepared.notes, *prepared.late)
    if length > room:
        dropped += (f"{length - room} tokens of the prompt ({request.overflow})",)
    reserve = min(prepared.request.params.max_tokens or context, context - min(total, context))
    return Ledger(tokens, reserve, context, dropped).to_document()
