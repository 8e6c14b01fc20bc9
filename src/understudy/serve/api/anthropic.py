"""`/v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.responses import Response

from understudy.engine.handles import AsyncOutputs
from understudy.generation.prepare import AnswerForm, ChatRequest, PreparedRequest
from understudy.generation.reader import CallPiece, CallStart, ReasoningPiece, ReplyPiece, TextPiece
from understudy.serve.answers import read
from understudy.serve.api.bodies import (
    Body,
    DrawSamplers,
    JsonObject,
    Probability,
    StopText,
    Tokens,
)
from understudy.serve.content import admit, outputs_of, texts_of
from understudy.serve.errors import ApiError
from understudy.serve.events import event
from understudy.serve.generate import ledger_of, prepare_chat, read_tools
from understudy.serve.server import RequestContext, json_response, respond, with_model


class AnthropicBlock(Body):
    cache_control: JsonObject | None = None  # the cache here needs no hints


class TextBlock(AnthropicBlock):
    type: Literal["text"]
    text: str
    citations: list[Any] | None = None


class RedactedBlock(Body):
    type: Literal["redacted_thinking"]
    data: str


class ThinkingBlock(Body):
    """An earlier answer's reasoning, which the conversation goes on without."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class ToolUseBlock(AnthropicBlock):
    type: Literal["tool_use"]
    id: str
    name: str
    input: JsonObject
    caller: JsonObject | None = None
    toolset_name: None = None


class ToolReference(AnthropicBlock):
    """What a client's search for tools found: a tool that was deferred is offered from here on."""

    type: Literal["tool_reference"]
    tool_name: str


ResultPart = Annotated[TextBlock | ToolReference, Field(discriminator="type")]


class ToolResultBlock(AnthropicBlock):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[ResultPart] | None = None
    is_error: bool | None = None


class AnthropicMessage(Body):
    role: Literal["user", "assistant", "system"]
    content: (
        str
        | list[
            Annotated[
                TextBlock | ThinkingBlock | RedactedBlock | ToolUseBlock | ToolResultBlock,
                Field(discriminator="type"),
            ]
        ]
    )

    def to_messages(self) -> list[dict[str, Any]]:
        """As chat templates take it: results of tools are messages of their own and come first, as
        they were asked for.
        """
        if isinstance(self.content, str):
            return [{"role": self.role, "content": self.content}]
        results = [
            {"role": "tool", "tool_call_id": b.tool_use_id, "content": result_text(b)}
            for b in self.content
            if isinstance(b, ToolResultBlock)
        ]
        text = "".join(block.text for block in self.content if isinstance(block, TextBlock))
        calls = [
            {
                "type": "function",
                "id": b.id,
                "function": {"name": b.name, "arguments": json.dumps(b.input, ensure_ascii=False)},
            }
            for b in self.content
            if isinstance(b, ToolUseBlock)
        ]
        if calls:
            return [*results, {"role": self.role, "content": text, "tool_calls": calls}]
        return (
            [*results, {"role": self.role, "content": text}]
            if text or not results
            else list(results)
        )


def result_text(block: ToolResultBlock) -> str:
    content = block.content or ""
    text = content if isinstance(content, str) else "".join(map(_part_text, content))
    return f"Error: {text}" if block.is_error else text


def _part_text(part: TextBlock | ToolReference) -> str:
    return part.text if isinstance(part, TextBlock) else f"The tool {part.tool_name} can be called."


class AnthropicTool(Body):
    type: Literal["custom"] | None = None
    name: str
    description: str | None = None
    input_schema: JsonObject
    cache_control: JsonObject | None = None
    strict: bool | None = None
    eager_input_streaming: bool | None = None  # pieces of a call come as they are written anyway
    defer_loading: bool | None = None  # shown once a result names it

    def to_openai(self) -> dict[str, Any]:
        function = {
            "name": self.name,
            "description": self.description or "",
            "parameters": self.input_schema,
        }
        return {"type": "function", "function": function}


class AnthropicChoice(Body):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Metadata(Body):
    user_id: str | None = None


class Thinking(Body):
    """Taken whatever it says: a model thinks as its own template has it."""

    type: Literal["disabled", "enabled", "adaptive"]
    budget_tokens: Annotated[int, Field(ge=1)] | None = None
    display: str | None = None


class OutputFormat(Body):
    type: Literal["json_schema"]
    schema_: Annotated[JsonObject, Field(alias="schema")]


class OutputConfig(Body):
    format: OutputFormat | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None  # says nothing here


class CountRequest(Body):
    model: str | None = None
    messages: Annotated[list[AnthropicMessage], Field(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[AnthropicTool] | None = None
    tool_choice: AnthropicChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: JsonObject | None = None
    context_management: JsonObject | None = None  # nothing is edited here: what is sent is read
    thread: JsonObject | None = None

    def to_messages(self) -> list[dict[str, Any]]:
        system = (
            self.system
            if isinstance(self.system, str)
            else "".join(block.text for block in self.system or ())
        )
        turns = [one for message in self.messages for one in message.to_messages()]
        said = [system, *(str(one["content"]) for one in turns if one["role"] == "system")]
        whole = "\n\n".join(text for text in said if text)  # most templates have one, at the top
        head = [{"role": "system", "content": whole}] if whole else []
        return [*head, *(one for one in turns if one["role"] != "system")]

    def offered(self) -> list[AnthropicTool]:
        """The tools that may be called: deferred ones only after a result has named them."""
        parts = (
            part
            for message in self.messages
            if isinstance(message.content, list)
            for block in message.content
            if isinstance(block, ToolResultBlock) and isinstance(block.content, list)
            for part in block.content
        )
        named = {part.tool_name for part in parts if isinstance(part, ToolReference)}
        return [tool for tool in self.tools or () if not tool.defer_loading or tool.name in named]


class MessagesRequest(CountRequest, DrawSamplers):
    max_tokens: Tokens
    stop_sequences: Annotated[list[StopText], Field(max_length=32)] | None = None
    stream: bool | None = None
    temperature: Probability | None = None
    top_k: Annotated[int, Field(ge=0, le=1 << 30)] | None = None
    top_p: Probability | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_STOPS = {"stop": "end_turn", "length": "max_tokens", "calls": "tool_use", "filter": "refusal"}


@with_model(MessagesRequest)
async def messages(context: RequestContext, body: MessagesRequest) -> Response:
    _refuse_threads(body)
    sampling = body.draw_sampling() | {
        "max_tokens": body.max_tokens,
        "temperature": body.temperature,
        "top_k": body.top_k,
        "top_p": body.top_p,
        "stop": tuple(body.stop_sequences or ()),
    }
    form = body.output_config.format if body.output_config is not None else None
    ask = _ask(body, sampling, AnswerForm(json_schema=form.schema_ if form is not None else None))
    prepared = await prepare_chat(context.model, ask, context.server.settings)
    message = _Message(
        context, body, prepared, await admit(context, prepared, texts_of(ask.messages))
    )
    if not body.stream:
        return await respond(context, whole=message.whole())
    return await respond(
        context,
        events=message.events(),
        write_error=lambda error: event(error.to_anthropic(), "error"),
    )


@with_model(CountRequest)
async def count_tokens(context: RequestContext, body: CountRequest) -> Response:
    """Tokens that a conversation would have as a prompt."""
    _refuse_threads(body)
    ask = _ask(body, {})
    tools = [tool.to_openai() for tool in ask.tools] if ask.choice != "none" else []
    tokens = await asyncio.to_thread(context.model.encode_prompt, ask.messages, tools=tools or None)
    num_begun = len(context.model.tokenizer.encode(ask.prefill)) if ask.prefill else 0
    context.close()
    return json_response({"input_tokens": len(tokens) + num_begun})


def _refuse_threads(body: CountRequest) -> None:
    """Conversations are not kept here; said as the SDKs know it, which then go on without."""
    if body.thread is not None:
        raise ApiError(
            400,
            "thread: conversations are not kept by this server; send their messages",
            param="thread",
            code="unsupported_parameter",
            details={"error_code": "thread_unsupported_request", "unsupported": ["thread"]},
        )


def _ask(
    body: CountRequest, sampling: dict[str, Any], answer: AnswerForm | None = None
) -> ChatRequest:
    choice = body.tool_choice
    wanted = (
        None
        if choice is None
        else choice.name or ""
        if choice.type == "tool"
        else _CHOICES[choice.type]
    )
    tools, chosen, notes = read_tools([tool.to_openai() for tool in body.offered()], wanted)
    is_parallel = choice is None or not choice.disable_parallel_tool_use
    conversation = body.to_messages()
    if not conversation:
        raise ApiError(400, "messages: at least one that says something", param="messages")
    prefill = ""
    if (last := conversation[-1])["role"] == "assistant" and not last.get("tool_calls"):
        prefill = str(conversation.pop()["content"])
    return ChatRequest(
        conversation,
        tools,
        chosen,
        is_parallel,
        answer or AnswerForm(),
        sampling,
        notes=notes,
        prefill=prefill,
    )


_KINDS: dict[type, str] = {
    TextPiece: "text",
    ReasoningPiece: "thinking",
    CallPiece: "tool_use",
}
_EMPTY: dict[str, dict[str, Any]] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}
_FIELDS = {"text": "text", "thinking": "thinking", "tool_use": "input"}
_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


class _Message:
    """One message, as events or whole: `_blocks` gives both what they need."""

    def __init__(
        self,
        context: RequestContext,
        body: MessagesRequest,
        prepared: PreparedRequest,
        outputs: AsyncOutputs | None,
    ) -> None:
        self.context, self.body, self.prepared, self.outputs = (
            context,
            body,
            prepared,
            outputs_of(context, outputs),
        )
        self.head = {
            "id": f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": context.name,
        }
        self.content: list[dict[str, Any]] = []
        self.stop_reason: str | None = None
        self.stop_sequence: str | None = None

    async def _pieces(self) -> AsyncIterator[ReplyPiece]:
        async for output, pieces, finish in read(self.context, self.prepared, self.outputs):
            self.context.note(output.usage)
            for piece in pieces:
                yield piece
            if finish is not None:
                self.stop_reason = _STOPS[finish]
                if finish == "length" and self.prepared.is_capped:
                    self.stop_reason = "model_context_window_exceeded"
                if finish == "stop" and output.stop in (self.body.stop_sequences or ()):
                    self.stop_reason, self.stop_sequence = "stop_sequence", str(output.stop)

    def _end(self) -> dict[str, Any]:
        """Why the message ended; of one that the guard stopped what it found, in the words of the
        protocol.
        """
        end: dict[str, Any] = {"stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence}
        if self.stop_reason == _STOPS["filter"]:
            why = f"{self.context.notice} ({self.context.stops[0]})"
            end["stop_details"] = {
                "type": "refusal",
                "category": "general_harms",
                "explanation": why,
            }
        return end

    def _usage(self) -> dict[str, Any]:
        used = self.context.usage()
        return {
            "input_tokens": used["prompt"] - used["cached"],
            "output_tokens": used["completion"],
            "cache_read_input_tokens": used["cached"],
            "cache_creation_input_tokens": 0,
            **self.context.guard_document(),
        }

    async def whole(self) -> dict[str, Any]:
        async for piece in self._pieces():
            self._take(piece)
        self.content = [] if self.stop_reason == _STOPS["filter"] else self.content
        for block in self.content:
            if block["type"] == "tool_use":
                block["input"] = json.loads(block["input"] or "{}")
        usage = {**self._usage(), "context": await ledger_of(self.context.model, self.prepared)}
        return {**self.head, "content": self.content, **self._end(), "usage": usage}

    def _take(self, piece: ReplyPiece) -> bool:
        """Adds a piece to the content; whether it began a new block."""
        if isinstance(piece, CallStart):
            self.content.append(
                {
                    "type": "tool_use",
                    "id": "toolu_" + piece.id.removeprefix("call_"),
                    "name": piece.name,
                    "input": "",
                }
            )
            return True
        kind = _KINDS[type(piece)]
        is_new = not self.content or self.content[-1]["type"] != kind
        if is_new:
            self.content.append({"type": kind, **_EMPTY[kind]})
        self.content[-1][_FIELDS[kind]] += piece.text
        return is_new

    async def events(self) -> AsyncIterator[bytes]:
        usage = {**self._usage(), "input_tokens": self.prepared.num_prompt}
        start: dict[str, Any] = {
            **self.head,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        yield _event("message_start", message=start)
        async for piece in self._pieces():
            if self._take(piece):
                if len(self.content) > 1:
                    yield _event("content_block_stop", index=len(self.content) - 2)
                block = self.content[-1]
                yield _event(
                    "content_block_start",
                    index=len(self.content) - 1,
                    content_block={**block, **_EMPTY[block["type"]]},
                )
            if not isinstance(piece, CallStart):
                kind = _KINDS[type(piece)]
                delta = {"type": _DELTAS[kind][0], _DELTAS[kind][1]: piece.text}
                yield _event("content_block_delta", index=len(self.content) - 1, delta=delta)
        if self.content:
            yield _event("content_block_stop", index=len(self.content) - 1)
        usage_end = {**self._usage(), "context": await ledger_of(self.context.model, self.prepared)}
        yield _event("message_delta", delta=self._end(), usage=usage_end)
        yield _event("message_stop")


def _event(name: str, **fields: Any) -> bytes:
    return event({"type": name, **fields}, name)
