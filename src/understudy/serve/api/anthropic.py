"""`/v1/messages` and `/v1/messages/count_tokens`: answers as events of blocks, or one message."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from understudy.generation.chat_request import AnswerForm, ChatRequest, OfferedTools
from understudy.generation.reader import CallPiece, CallStart, ReasoningPiece, ReplyPiece, TextPiece
from understudy.generation.thinking import Thinking
from understudy.serve.answers import Answers
from understudy.serve.api.anthropic_bodies import CountRequest, MessagesRequest
from understudy.serve.errors import ApiError
from understudy.serve.events import event, respond
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import RequestContext, json_response, with_model

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
    answer = AnswerForm(json_schema=form.schema_ if form is not None else None)
    ask = await asyncio.to_thread(_ask, body, sampling, answer)
    message = _Message(context, body, await Answers.begin(context, ask))
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
    ask = await asyncio.to_thread(lambda: _ask(body, {}).with_tools_read())
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
    """What a body asks for."""
    choice = body.tool_choice
    conversation = body.to_messages()
    if not conversation:
        raise ApiError(400, "messages: at least one that says something", param="messages")
    prefill = ""
    if (last := conversation[-1])["role"] == "assistant" and not last.get("tool_calls"):
        prefill = str(conversation.pop()["content"])
    return ChatRequest(
        conversation,
        is_parallel=choice is None or not choice.disable_parallel_tool_use,
        answer=answer or AnswerForm(),
        sampling=sampling,
        prefill=prefill,
        thinking=body.thinking.asked() if body.thinking is not None else Thinking(),
        offered=_offered(body),
    )


def _offered(body: CountRequest) -> OfferedTools:
    choice = body.tool_choice
    wanted = None
    if choice is not None:
        wanted = choice.name or "" if choice.type == "tool" else _CHOICES[choice.type]
    return OfferedTools([tool.to_openai() for tool in body.offered()], wanted)


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

    def __init__(self, context: RequestContext, body: MessagesRequest, answers: Answers) -> None:
        self.context, self.body, self.answers = context, body, answers
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
        async for output, pieces, finish in self.answers:
            for piece in pieces:
                yield piece
            if finish is not None:
                self.stop_reason = _STOPS[finish]
                if finish == "length" and self.answers.prepared.is_capped:
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
        usage = {**self._usage(), "context": await self.answers.ledger()}
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
        usage = {**self._usage(), "input_tokens": self.answers.prepared.num_prompt}
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
        usage_end = {**self._usage(), "context": await self.answers.ledger()}
        yield _event("message_delta", delta=self._end(), usage=usage_end)
        yield _event("message_stop")


def _event(name: str, **fields: Any) -> bytes:
    return event({"type": name, **fields}, name)


ROUTES = (
    RouteEntry(
        "POST",
        "/v1/messages",
        messages,
        MessagesRequest,
        "Answer a conversation (Anthropic)",
    ),
    RouteEntry("POST", "/v1/messages/count_tokens", count_tokens, CountRequest),
)
