"""`/v1/models` and `/v1/chat/completions`."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from understudy.engine import TokenLogprob, Usage
from understudy.engine.handles import AsyncOutputs
from understudy.generation.prepare import AnswerForm, ChatRequest, PreparedRequest
from understudy.generation.reader import CallPiece, CallStart, ReasoningPiece, ReplyPiece, TextPiece
from understudy.serve.answers import read
from understudy.serve.api.bodies import (
    Body,
    JsonObject,
    Penalty,
    Probability,
    Samplers,
    Seed,
    Stop,
    StreamOptions,
    Temperature,
    Tokens,
    sampled,
    stops_of,
)
from understudy.serve.content import admit, outputs_of, texts_of
from understudy.serve.errors import ApiError
from understudy.serve.events import event
from understudy.serve.generate import Finish, ledger_of, prepare_chat, read_tools
from understudy.serve.server import (
    RequestContext,
    json_response,
    read_body,
    respond,
    server_of,
    with_model,
)
from understudy.serve.tokens import chat_logprobs, shown_logprobs


class TextPart(Body):
    type: Literal["text"]
    text: str


class RefusalPart(Body):
    type: Literal["refusal"]
    refusal: str


ChatPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class CalledFunction(Body):
    name: str
    arguments: str


class MessageCall(Body):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None  # clients send back what was streamed


class ChatMessage(Body):
    """A message. Answers of this server can be sent back as they are."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ChatPart] | None = None
    name: str | None = None
    tool_calls: list[MessageCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None

    def to_message(self) -> dict[str, Any]:
        """As chat templates take it."""
        content = self.content
        if isinstance(content, list):
            content = "".join(
                part.text if isinstance(part, TextPart) else part.refusal for part in content
            )
        message: dict[str, Any] = {"role": self.role, "content": content or self.refusal or ""}
        if self.reasoning_content:
            message["reasoning_content"] = self.reasoning_content
        if self.tool_calls:
            message["tool_calls"] = [
                {
                    "type": "function",
                    "id": call.id,
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in self.tool_calls
            ]
        message |= {
            key: entry
            for key, entry in (("name", self.name), ("tool_call_id", self.tool_call_id))
            if entry is not None
        }
        return message


class FunctionTool(Body):
    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class ChatTool(Body):
    type: Literal["function"]
    function: FunctionTool


class NamedFunction(Body):
    name: str


class NamedChoice(Body):
    type: Literal["function"]
    function: NamedFunction


class AllowedTools(Body):
    mode: Literal["auto", "required"]
    tools: list[JsonObject]


class AllowedChoice(Body):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class SchemaFormat(Body):
    name: str
    description: str | None = None
    schema_: Annotated[JsonObject | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None


class ChatCompletionsBody(Samplers):
    model: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    seed: Seed | None = None
    stop: Stop = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    response_format: ResponseFormat | None = None
    tools: list[ChatTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    continue_final_message: bool | None = None  # vLLM's: the answer goes on the last message
    add_generation_prompt: bool | None = None
    # Fields that say something about the caller, or whose only accepted values change nothing.
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    modalities: list[Literal["text"]] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    verbosity: Literal["medium"] | None = None
    prediction: JsonObject | None = None  # a guess that could only save time


FINISH: dict[Finish, str] = {
    "stop": "stop",
    "length": "length",
    "calls": "tool_calls",
    "filter": "content_filter",
}


async def models(request: Request) -> Response:
    """The models of this server; those that are loaded say how much they hold."""
    data = [entry for name in server_of(request).pool.names for entry in _models(request, name)]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return json_response({"object": "list", "data": data, "has_more": False, **ends})


async def model(request: Request) -> Response:
    asked, pool = request.path_params["name"], server_of(request).pool
    base, adapter = pool.split(asked)
    listed = _models(request, pool.resolve(base if adapter else asked))
    found = next((entry for entry in listed if entry["id"] == asked), None)
    if found is None:
        pool.resolve(asked)  # says which models there are
    return json_response(found)


def _models(request: Request, name: str) -> list[dict[str, Any]]:
    """A model, and with each of its adapters, which a request may name as its model. One that acts
    on the jobs by itself is not listed.
    """
    plain, pool = _model(request, name), server_of(request).pool
    served = next((served for served in pool.loaded if served.name == name), None)
    loaded = served.model.adapters.list() if served is not None else ()
    by_itself = served.model.limits.job_adapter if served is not None else None
    return [plain] + [
        plain
        | {
            "id": f"{name}:{adapter.name}",
            "display_name": f"{name}:{adapter.name}",
            "parent": name,
            "adapter": {"id": adapter.id, "sha256": adapter.sha256, "rank": adapter.rank},
        }
        for adapter in loaded
        if adapter.name != by_itself
    ]


def _model(request: Request, name: str) -> dict[str, Any]:
    pool = server_of(request).pool
    served = next((served for served in pool.loaded if served.name == name), None)
    document: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": pool.created,
        "owned_by": "understudy",
        "type": "model",  # this and the next two are Anthropic's
        "display_name": name,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(pool.created)),
    }
    if served is not None:
        document |= {
            "max_model_len": served.model.engine.context,
            "meta": {
                "n_vocab": served.model.spec.vocab_size,
                "n_ctx": served.model.engine.context,
                "size": served.model.packed_bytes,
            },
        }
        if served.guard is not None:
            document["guard"] = {"checks": list(served.guard.checks)}
    return document


@with_model(ChatCompletionsBody)
async def chat_completions(context: RequestContext, body: ChatCompletionsBody) -> Response:
    ask = chat_ask(body)
    prepared = await prepare_chat(context.model, ask, context.server.settings)
    chat = _Chat(context, body, prepared, await admit(context, prepared, texts_of(ask.messages)))
    return await (
        respond(context, events=chat.events())
        if body.stream
        else respond(context, whole=chat.whole())
    )


async def apply_template(request: Request) -> Response:
    """The prompt of a conversation as text, with the fields of `/v1/chat/completions`
    (llama-server).

    A beginning token that the tokenizer adds anyway is left out, as there. Markers that stand in
    the messages are markers to whoever sends the text to `/completion`.
    """
    body = await read_body(request, ChatCompletionsBody)
    async with server_of(request).pool.lease(body.model) as served:
        prepared = await prepare_chat(served.model, chat_ask(body), server_of(request).settings)
        tokenizer = served.model.tokenizer
        opening = "".join(map(tokenizer.id_to_piece, tokenizer.opening_ids))
        text = "" if prepared.prompt is None else prepared.prompt.text
        return json_response({"prompt": text.removeprefix(opening)})


def chat_ask(body: ChatCompletionsBody) -> ChatRequest:
    """What a body asks for.

    Raises:
        ApiError: parts of it contradict each other.
    """
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
    given = [tool.model_dump(exclude={"function": {"strict"}}, exclude_none=True) for tool in tools]
    made, chosen, notes = read_tools(given, choice)
    if body.top_logprobs and not body.logprobs:
        raise ApiError(
            400, "top_logprobs: needs logprobs", param="top_logprobs", code="invalid_value"
        )
    conversation, prefill = _begun(body)
    return ChatRequest(
        conversation,
        made,
        chosen,
        body.parallel_tool_calls is not False,
        answer_of(body.response_format, body.grammar),
        sampling_of(body),
        body.overflow or "refuse",
        notes,
        prefill,
        opens_turn=body.continue_final_message or body.add_generation_prompt is not False,
    )


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


def answer_of(form: ResponseFormat | None, grammar: str | None) -> AnswerForm:
    if form is None or form.type == "text":
        return AnswerForm(lark=grammar)
    if grammar is not None:
        raise ApiError(
            400, "grammar: not together with response_format", param="grammar", code="invalid_value"
        )
    if form.type == "json_object":
        return AnswerForm(json_schema={"type": "object"})
    if form.json_schema is None or form.json_schema.schema_ is None:
        name = "response_format.json_schema"
        raise ApiError(
            400, f"{name}: a schema is needed", param=name, code="missing_required_parameter"
        )
    return AnswerForm(json_schema=form.json_schema.schema_)


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


def bias_of(bias: dict[str, float] | None) -> dict[int, float] | None:
    try:
        return None if bias is None else {int(token): value for token, value in bias.items()}
    except ValueError as error:
        raise ApiError(
            400, "logit_bias: keys are token ids", param="logit_bias", code="invalid_value"
        ) from error


def usage_document(context: RequestContext, ledger: dict[str, Any] | None = None) -> dict[str, Any]:
    used = context.usage()
    document: dict[str, Any] = {
        "prompt_tokens": used["prompt"],
        "completion_tokens": used["completion"],
        "total_tokens": used["prompt"] + used["completion"],
        "prompt_tokens_details": {"cached_tokens": used["cached"]},
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
        self,
        context: RequestContext,
        body: ChatCompletionsBody,
        prepared: PreparedRequest,
        outputs: AsyncOutputs | None,
    ) -> None:
        self.context, self.body, self.prepared = context, body, prepared
        self.outputs = outputs_of(context, outputs, body.n or 1)
        self.head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": context.name,
            "system_fingerprint": context.model.fingerprint,
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
        begun = None if self.prepared.tools else ""  # a call alone has no content, as OpenAI has it
        for index in range(self.body.n or 1):
            yield self._chunk(index, {"role": "assistant", "content": begun})
        async for output, pieces, finish in read(self.context, self.prepared, self.outputs):
            self.context.note(output.usage)
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
            usage = usage_document(self.context, await ledger_of(self.context.model, self.prepared))
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
        async for output, pieces, finish in read(self.context, self.prepared, self.outputs):
            self.context.note(output.usage)
            answers[output.index].take(pieces, shown_logprobs(output), finish)
        usage = usage_document(self.context, await ledger_of(self.context.model, self.prepared))
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
