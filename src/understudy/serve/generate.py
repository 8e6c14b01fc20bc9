"""From messages to the engine and back to pieces of text and calls: what chat completions, messages and responses share.

prepared = await prepare_chat(model, ChatAsk(messages, tools=…))      # checked: whatever is wrong is said here
async for piece in run(served, prepared, client): ...
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.engine import Output, Request, SamplingParams
from understudy.engine.request import MaskFactory, Overflow
from understudy.errors import ContextError, SchemaError, UsageError
from understudy.generation.calls import call_grammar, callable_tools
from understudy.generation.contract import contract_of, said_of
from understudy.generation.plan import Ledger, count_origins
from understudy.generation.reader import ReplyPiece, StreamParser
from understudy.generation.tools import Tool
from understudy.model import Model
from understudy.serve.errors import ApiError
from understudy.serve.pool import Served
from understudy.serve.settings import Settings
from understudy.serve.worker import AsyncTicket, BusyError, StoppedError
from understudy.text.grammar import Grammar
from understudy.text.templates import Prompt

MAX_TOOLS = 128  # OpenAI's limit
Finish = Literal["stop", "length", "calls", "filter"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What may stand as text: `json_schema` or a `lark` grammar, of which at most one is given."""

    json_schema: Mapping[str, Any] | None = None
    lark: str | None = None

    @property
    def is_given(self) -> bool:
        return self.json_schema is not None or self.lark is not None


@dataclass(frozen=True, slots=True)
class ChatAsk:
    """A conversation to go on with. `choice` is none, auto, required or the name of a tool; `notes`
    are said in `usage`. The answer goes on from `prefill`, the beginning of its text."""

    messages: Sequence[Mapping[str, Any]]
    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    is_parallel: bool = True
    answer: Answer = field(default_factory=Answer)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    overflow: Overflow = "refuse"
    notes: tuple[str, ...] = ()
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that the engine will take. `prompt` is there for conversations, `tools` are what may be called."""

    request: Request
    prompt: Prompt | None = None
    tools: tuple[Tool, ...] = ()
    dropped: tuple[str, ...] = ()
    is_capped: bool = False  # less than was asked for is free
    continues: bool = False  # the answer goes on a text

    @property
    def num_prompt(self) -> int:
        return len(self.request.prompt)


async def prepare_chat(model: Model, ask: ChatAsk, settings: Settings) -> Prepared:
    """Renders, encodes and compiles, in a thread: a schema can take a while.

    Raises:
        UnderstudyError: what is wrong with the request, in a line.
    """
    return await asyncio.to_thread(_prepare_chat, model, ask, settings)


def _prepare_chat(model: Model, ask: ChatAsk, settings: Settings) -> Prepared:
    tools = [tool.to_openai() for tool in ask.tools] if ask.choice != "none" else []
    prompt = model.chat_template.render(ask.messages, tools=tools or None)
    if ask.prefill:
        prompt = _with_prefill(prompt, ask)
    stops = model.chat_template.stops
    sampling = {**ask.sampling}
    sampling["stop"] = tuple(dict.fromkeys((*sampling.get("stop", ()), *stops.strings)))
    if not sampling.get("ignore_eos"):
        sampling["stop_token_ids"] = stops.token_ids
    request = make_request(
        model,
        prompt.encode(model.tokenizer),
        sampling,
        settings,
        overflow=ask.overflow,
        make_mask=_chat_mask(model, ask),
        continues=bool(ask.prefill),
    )
    capped = _capped(request, ask.sampling.get("max_tokens"))
    return Prepared(
        request,
        prompt,
        ask.tools if ask.choice != "none" else (),
        (*ask.notes, *capped),
        is_capped=bool(capped),
        continues=bool(ask.prefill),
    )


def _with_prefill(prompt: Prompt, ask: ChatAsk) -> Prompt:
    """The prompt with the beginning of the answer behind it, which is data like every message."""
    if ask.answer.is_given:
        raise UsageError(
            "an answer that is held to a form cannot go on a text",
            where="messages",
            do="end with the user's message",
        )
    return prompt.going_on(ask.prefill)


def _capped(request: Request, asked: int | None) -> tuple[str, ...]:
    """A line where less than was asked for is free."""
    given = request.params.max_tokens
    if asked is None or given is None or given >= asked:
        return ()
    return (f"answer: at most {given} tokens of the {asked} that were asked for",)


def make_request(
    model: Model,
    tokens: Sequence[int],
    sampling: Mapping[str, Any],
    settings: Settings,
    *,
    overflow: Overflow = "refuse",
    make_mask: MaskFactory | None = None,
    continues: bool = False,
) -> Request:
    """A request as the engine will take it: limits are put in, and what the engine would refuse is refused here."""
    given = {name: value for name, value in sampling.items() if value is not None}
    given.setdefault("temperature", settings.temperature)
    if settings.max_tokens is not None:
        given["max_tokens"] = min(given.get("max_tokens", settings.max_tokens), settings.max_tokens)
    if given.get("top_p") == 0:
        given["top_p"] = 1e-6
    params = SamplingParams(**given)
    if not tokens:
        raise UsageError("the prompt is empty", where="prompt", do="give at least one token")
    limit = model.spec.vocab_size
    for token in (*tokens, *params.logit_bias):
        if not 0 <= token < limit:
            raise UsageError(
                "a token is outside the vocabulary", expected=f"0 to {limit - 1}", found=token
            )
    if overflow == "refuse" and params.max_tokens is not None:
        params = dataclasses.replace(
            params, max_tokens=_free(model, len(tokens), params.max_tokens)
        )
    elif overflow == "refuse":
        _free(model, len(tokens), 1)
    return Request(list(tokens), params, overflow, make_mask, continues=continues)


def _free(model: Model, num_prompt: int, asked: int) -> int:
    """How many tokens an answer may have of those that were asked for, which means "at most" in
    every protocol here.

    Raises:
        ContextError: not one; in the words by which clients of both big protocols know it.
    """
    context = model.engine.context
    if num_prompt < context:
        return min(asked, context - num_prompt)
    raise ContextError(
        f"prompt is too long: {num_prompt} tokens + {asked} for the answer > {context} maximum",
        do="shorten the prompt, or start the server with a larger --context",
    )


def _chat_mask(model: Model, ask: ChatAsk) -> MaskFactory | None:
    lark = ask.answer.lark
    if ask.tools:
        if ask.answer.json_schema is not None:
            lark = f"start: {_rule_of(ask.answer.json_schema)}"
        grammar = call_grammar(
            model.tokenizer,
            model.chat_template,
            ask.tools,
            ask.choice,
            is_parallel=ask.is_parallel,
            answer=lark,
        )
        return Grammar(model.tokenizer).lark(grammar)
    return answer_mask(model, ask.answer)


def answer_mask(model: Model, answer: Answer) -> MaskFactory | None:
    """The grammar of an answer without tools, compiled."""
    if answer.json_schema is not None:
        return Grammar(model.tokenizer).lark(f"start: {_rule_of(answer.json_schema)}")
    return Grammar(model.tokenizer).lark(answer.lark) if answer.lark is not None else None


def _rule_of(schema: Mapping[str, Any]) -> str:
    """The rule of an answer's schema; what is wrong with it is said of the answer's format."""
    try:
        return contract_of(schema).rule
    except SchemaError as error:
        raise said_of("response format", error) from error


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


def submit(served: Served, prepared: Prepared, client: str) -> AsyncTicket:
    """Queues a request; a full queue is a 429, a stopping server a 503."""
    try:
        return served.worker.submit(prepared.request, client=client)
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
    prepared: Prepared,
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


async def ledger_of(model: Model, prepared: Prepared) -> dict[str, Any] | None:
    """Where the tokens of a conversation's prompt went: they sum to its length."""
    if prepared.prompt is None:
        return None
    tokens = await asyncio.to_thread(count_origins, prepared.prompt, model.tokenizer)
    total, context = sum(tokens.values()), model.engine.context
    dropped = prepared.dropped
    if total > context - (prepared.request.params.max_tokens or 1):
        dropped += (
            f"{total + (prepared.request.params.max_tokens or 1) - context} tokens of the prompt ({prepared.request.overflow})",
        )
    reserve = min(prepared.request.params.max_tokens or context, context - min(total, context))
    return Ledger(tokens, reserve, context, dropped).to_document()
