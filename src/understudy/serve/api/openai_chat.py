"""`/v1/chat/completions`: a body becomes a request, and its answers chunks or one document."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from understudy.engine import TokenLogprob, Usage
from understudy.generation.call_switches import checked_switches
from understudy.generation.chat_request import ChatRequest, OfferedTools
from understudy.generation.reader import CallPiece, CallStart, ReasoningPiece, ReplyPiece, TextPiece
from understudy.serve.answers import Answers, Finish, prepare
from understudy.serve.api.bodies import answer_of, bias_of, sampled, stops_of, usage_to_come
from understudy.serve.api.openai_chat_bodies import AllowedChoice, ChatCompletionsBody, NamedChoice
from understudy.serve.errors import ApiError
from understudy.serve.events import event, respond
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import RequestContext, json_response, with_model
from understudy.serve.tokens import chat_logprobs, shown_logprobs

FINISH: dict[Finish, str] = {
    "stop": "stop",
    "length": "length",
    "calls": "tool_calls",
    "filter": "content_filter",
}


@with_model(ChatCompletionsBody)
async def chat_completions(context: RequestContext, body: ChatCompletionsBody) -> Response:
    chat = _Chat(
        context, body, await Answers.begin(context, await asyncio.to_thread(chat_ask, body))
    )
    return await (
        respond(context, events=chat.events())
        if body.stream
        else respond(context, whole=chat.whole())
    )


@with_model(ChatCompletionsBody)
async def apply_template(context: RequestContext, body: ChatCompletionsBody) -> Response:
    """The prompt of a conversation as text, with the fields of `/v1/chat/completions`
    (llama-server).

    A beginning token that the tokenizer adds anyway is left out, as there. Markers that stand in
    the messages are markers to whoever sends the text to `/completion`.
    """
    prepared = await prepare(context, await asyncio.to_thread(chat_ask, body))
    tokenizer = context.model.tokenizer
    opening = "".join(map(tokenizer.id_to_piece, tokenizer.opening_ids))
    text = "" if prepared.prompt is None else prepared.prompt.text
    context.close()
    return json_response({"prompt": text.removeprefix(opening)})


def chat_ask(body: ChatCompletionsBody) -> ChatRequest:
    """What a body asks for.

    Raises:
        ApiError: parts of it contradict each other.
    """
    if body.top_logprobs and not body.logprobs:
        raise ApiError(
            400, "top_logprobs: needs logprobs", param="top_logprobs", code="invalid_value"
        )
    conversation, prefill = _begun(body)
    return ChatRequest(
        conversation,
        is_parallel=body.parallel_tool_calls is not False,
        answer=answer_of(body.response_format, body.grammar),
        sampling=sampling_of(body),
        overflow=body.overflow or "refuse",
        prefill=prefill,
        opens_turn=body.continue_final_message or body.add_generation_prompt is not False,
        thinking=body.thinking(),
        offered=_offered(body),
        calls=checked_switches(body.calls or {}),
    )


def _offered(body: ChatCompletionsBody) -> OfferedTools:
    """The tools of a body, of `allowed_tools` those that it names."""
    tools = tuple(body.tools or ())
    choice: Any = body.tool_choice
    if isinstance(choice, NamedChoice):
        choice = choice.function.name
    elif isinstance(choice, AllowedChoice):
        names = {
            tool.get("function", tool).get("name")
            for tool in choice.allowed_tools.tools
            if isinstance(tool.get("function", tool), dict)
        }
        tools = tuple(tool for tool in tools if tool.function.name in names)
        choice = choice.allowed_tools.mode
    left_out: Any = {"cache_control": True, "function": {"strict"}}
    given = [tool.model_dump(exclude=left_out, exclude_none=True) for tool in tools]
    return OfferedTools(given, choice)


def _begun(body: ChatCompletionsBody) -> tuple[list[dict[str, Any]], str]:
    """The messages, and the beginning of the answer where the last of them is one."""
    conversation = [message.to_message() for message in body.messages]
    if not body.continue_final_message:
        return conversation, ""
    last = conversation[-1]
    if last["role"] != "assistant" or last.get("tool_calls") or body.add_generation_prompt:
        raise ApiError(
            400,
            "continue_final_message: needs an assistant's text at the end, without calls, and no "
            "add_generation_prompt",
            param="continue_final_message",
            code="invalid_value",
        )
    return conversation[:-1], str(last["content"])


def sampling_of(body: ChatCompletionsBody) -> dict[str, Any]:
    if body.max_tokens is not None and body.max_completion_tokens not in (None, body.max_tokens):
        raise ApiError(
            400,
            "max_tokens: contradicts max_completion_tokens",
            param="max_tokens",
            code="invalid_value",
        )
    return (
        sampled(body)
        | body.repetition_sampling()
        | {
            "max_tokens": body.max_completion_tokens or body.max_tokens,
            "stop": stops_of(body.stop),
            "logit_bias": bias_of(body.logit_bias),
            "logprobs": (body.top_logprobs or 0) if body.logprobs else None,
        }
    )


def usage_document(context: RequestContext, ledger: dict[str, Any] | None = None) -> dict[str, Any]:
    used = context.usage()
    document: dict[str, Any] = {
        "prompt_tokens": used["prompt"],
        "completion_tokens": used["completion"],
        "total_tokens": used["prompt"] + used["completion"],
        "prompt_tokens_details": {"cached_tokens": used["cached"]},
        "completion_tokens_details": {"reasoning_tokens": used["reasoning"]},
        **context.guard_document(),
    }
    return document if ledger is None else {**document, "context": ledger}


def timings(usages: list[Usage]) -> dict[str, float]:
    """How fast it went, in llama-server's words."""
    first = max((u.first_token_s for u in usages), default=0.0)
    decode = max((u.decode_s for u in usages), default=0.0)
    tokens = sum(max(0, u.completion_tokens - 1) for u in usages)
    return {
        "prompt_ms": round(first * 1e3, 2),
        "predicted_ms": round(decode * 1e3, 2),
        "predicted_per_second": round(tokens / decode, 2) if decode > 0 else 0.0,
    }


class _Chat:
    """One chat completion, written as chunks or as a whole. Both read the same pieces."""

    def __init__(
        self, context: RequestContext, body: ChatCompletionsBody, answers: Answers
    ) -> None:
        self.context, self.body, self.answers = context, body, answers
        self.head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": context.name,
            "system_fingerprint": context.model.fingerprint,
            **(usage_to_come(body.stream_options) if body.stream else {}),
        }

    def _logprobs(self, entries: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
        if not self.body.logprobs:
            return None
        return {
            "content": chat_logprobs(
                self.context.model.tokenizer, entries, self.body.top_logprobs or 0
            ),
            "refusal": None,
        }

    async def events(self) -> AsyncIterator[bytes]:
        # a call alone has no content, as OpenAI has it
        begun = None if self.answers.prepared.tools else ""
        for index in range(self.body.n or 1):
            yield self._chunk(index, {"role": "assistant", "content": begun})
        async for output, pieces, finish in self.answers:
            entries = shown_logprobs(output)
            deltas = [_delta(piece) for piece in pieces] or (
                [{}] if entries and self.body.logprobs else []
            )
            for i, delta in enumerate(deltas):
                yield self._chunk(
                    output.index, delta, logprobs=self._logprobs(entries) if i == 0 else None
                )
            if finish == "filter":
                yield self._chunk(output.index, {"refusal": self.context.notice})
            if finish is not None:
                yield self._chunk(output.index, {}, finish=FINISH[finish])
        if self.body.stream_options is not None and self.body.stream_options.include_usage:
            usage = usage_document(self.context, await self.answers.ledger())
            yield event(
                {
                    **self.head,
                    "object": "chat.completion.chunk",
                    "choices": [],
                    "usage": usage,
                    "timings": timings(self.context.usages),
                }
            )
        yield event("[DONE]")

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        finish: str | None = None,
        logprobs: dict[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        if finish == FINISH["filter"]:
            choice["guard"] = self.context.stops[index].to_document()
        return event({**self.head, "object": "chat.completion.chunk", "choices": [choice]})

    def _choice(self, index: int, answer: _Answer) -> dict[str, Any]:
        if answer.finish == FINISH["filter"]:
            message = {"role": "assistant", "content": None, "refusal": self.context.notice}
            stopped = {
                "index": index,
                "message": message,
                "logprobs": None,
                "finish_reason": answer.finish,
            }
            return {**stopped, "guard": self.context.stops[index].to_document()}
        logprobs = self._logprobs(tuple(answer.logprobs))
        return {
            "index": index,
            "message": answer.message(),
            "logprobs": logprobs,
            "finish_reason": answer.finish,
        }

    async def whole(self) -> dict[str, Any]:
        answers = [_Answer() for _ in range(self.body.n or 1)]
        async for output, pieces, finish in self.answers:
            answers[output.index].take(pieces, shown_logprobs(output), finish)
        usage = usage_document(self.context, await self.answers.ledger())
        choices = [self._choice(i, answer) for i, answer in enumerate(answers)]
        return {
            **self.head,
            "object": "chat.completion",
            "choices": choices,
            "usage": usage,
            "timings": timings(self.context.usages),
        }


def _delta(piece: ReplyPiece) -> dict[str, Any]:
    if isinstance(piece, TextPiece):
        return {"content": piece.text}
    if isinstance(piece, ReasoningPiece):
        return {"reasoning_content": piece.text}
    if isinstance(piece, CallStart):
        function = {"name": piece.name, "arguments": ""}
        return {
            "tool_calls": [
                {"index": piece.index, "id": piece.id, "type": "function", "function": function}
            ]
        }
    return {"tool_calls": [{"index": piece.index, "function": {"arguments": piece.text}}]}


class _Answer:
    """One answer put together from its pieces."""

    def __init__(self) -> None:
        self.text, self.reasoning = "", ""
        self.calls: list[dict[str, Any]] = []
        self.logprobs: list[TokenLogprob] = []
        self.finish: str | None = None

    def take(
        self, pieces: list[ReplyPiece], entries: tuple[TokenLogprob, ...], finish: Finish | None
    ) -> None:
        self.logprobs += entries
        self.finish = FINISH[finish] if finish is not None else self.finish
        for piece in pieces:
            if isinstance(piece, TextPiece):
                self.text += piece.text
            elif isinstance(piece, ReasoningPiece):
                self.reasoning += piece.text
            elif isinstance(piece, CallStart):
                self.calls.append(
                    {
                        "id": piece.id,
                        "type": "function",
                        "function": {"name": piece.name, "arguments": ""},
                    }
                )
            elif isinstance(piece, CallPiece):
                self.calls[piece.index]["function"]["arguments"] += piece.text

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.text or (None if self.calls else ""),
            "refusal": None,
        }
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        return {**message, "tool_calls": self.calls} if self.calls else message


ROUTES = (
    RouteEntry(
        "POST",
        "/v1/chat/completions",
        chat_completions,
        ChatCompletionsBody,
        "Answer a conversation (OpenAI)",
    ),
    RouteEntry(
        "POST",
        "/apply-template",
        apply_template,
        ChatCompletionsBody,
        "The prompt of a conversation as text (llama-server)",
    ),
)
