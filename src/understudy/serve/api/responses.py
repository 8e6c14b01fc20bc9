"""`/v1/responses`: conversations that the server remembers, in memory and per client, the longest
unused forgotten first.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from starlette.requests import Request
from starlette.responses import Response

from understudy.engine.handles import AsyncOutputs
from understudy.generation.prepare import AnswerForm, ChatRequest, PreparedRequest
from understudy.generation.reader import CallPiece, CallStart, ReasoningPiece, ReplyPiece, TextPiece
from understudy.serve.answers import read
from understudy.serve.api.bodies import (
    Body,
    JsonObject,
    Probability,
    StreamOptions,
    Temperature,
    Tokens,
)
from understudy.serve.api.openai_chat import FunctionTool
from understudy.serve.content import admit, outputs_of, texts_of
from understudy.serve.errors import ApiError
from understudy.serve.events import event
from understudy.serve.generate import ledger_of, prepare_chat, read_tools
from understudy.serve.server import (
    RequestContext,
    json_response,
    respond,
    server_of,
    with_model,
)
from understudy.serve.stores import StoredResponse


class TextContent(Body):
    type: Literal["input_text", "output_text"]
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class RefusalContent(Body):
    """What this server writes where its guard stopped an answer."""

    type: Literal["refusal"]
    refusal: str


Content = Annotated[
    Annotated[TextContent, Tag("text")] | Annotated[RefusalContent, Tag("refusal")],
    Discriminator(lambda part: _kind_of_content(part)),
]


def _kind_of_content(part: Any) -> str:
    kind = str(part.get("type") if isinstance(part, dict) else getattr(part, "type", ""))
    return "text" if kind in ("input_text", "output_text", "text") else kind


class MessageItem(Body):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Content]
    id: str | None = None
    status: str | None = None
    phase: str | None = None


class CallItem(Body):
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: str | None = None
    namespace: None = None
    caller: JsonObject | None = None
    is_async: Annotated[Literal[False] | None, Field(alias="async")] = None


class ResultItem(Body):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[TextContent]
    id: str | None = None
    status: str | None = None


class ReasoningItem(Body):
    """An earlier answer's reasoning, which the conversation goes on without."""

    type: Literal["reasoning"]
    id: str | None = None
    summary: list[Any] | None = None
    content: list[Any] | None = None
    encrypted_content: str | None = None
    status: str | None = None


class ReferenceItem(Body):
    """An item of an earlier response, by its id."""

    type: Literal["item_reference"]
    id: str


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[ResultItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[ReferenceItem, Tag("item_reference")],
    Discriminator(lambda item: _kind_of_item(item)),
]


def _kind_of_item(item: Any) -> str:
    """Messages may come without a type."""
    kind = item.get("type") if isinstance(item, dict) else getattr(item, "type", None)
    return "message" if kind is None else str(kind)


def messages_of(items: list[Item]) -> list[dict[str, Any]]:
    """As chat templates take it; neighbouring calls are one message."""
    messages: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, CallItem):
            call = {
                "type": "function",
                "id": item.call_id,
                "function": {"name": item.name, "arguments": item.arguments},
            }
            if messages and messages[-1]["role"] == "assistant":
                messages[-1].setdefault("tool_calls", []).append(call)
            else:
                messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        elif isinstance(item, ResultItem):
            result = {"role": "tool", "tool_call_id": item.call_id}
            messages.append({**result, "content": text_of(item.output)})
        elif isinstance(item, MessageItem):
            messages.append({"role": item.role, "content": text_of(item.content)})
    return messages


def text_of(content: str | list[Content] | list[TextContent]) -> str:
    if isinstance(content, str):
        return content
    return "".join(
        part.refusal if isinstance(part, RefusalContent) else part.text for part in content
    )


class ResponsesTool(FunctionTool):
    type: Literal["function"]

    def to_openai(self) -> dict[str, Any]:
        parameters = self.parameters or {"type": "object", "properties": {}}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description or "",
                "parameters": parameters,
            },
        }


class ResponsesChoice(Body):
    type: Literal["function"]
    name: str


class TextFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema_: Annotated[JsonObject | None, Field(alias="schema")] = None
    strict: bool | None = None


class TextOptions(Body):
    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = None


class ReasoningOptions(Body):
    """Taken whatever they say: a model thinks as its own template has it."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


Include = Literal["reasoning.encrypted_content"]  # reasoning is not encrypted: nothing is added


class ResponsesRequest(Body):
    model: str | None = None
    input: str | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    tools: list[ResponsesTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ResponsesChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    text: TextOptions | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    truncation: Literal["auto", "disabled"] | None = None
    service_tier: Literal["auto", "default"] | None = None
    background: Literal[False] | None = None
    include: list[Include] | None = None
    reasoning: ReasoningOptions | None = None
    top_logprobs: Literal[0] | None = None
    prompt_cache_retention: str | None = None


class ClientResponses:
    """The stored responses of one client."""

    def __init__(self, request: Request) -> None:
        self._stored = server_of(request).stores.responses
        self._client = str(request.state.client)

    def put(self, document: dict[str, Any], items: list[Item]) -> None:
        self._stored.put((self._client, document["id"]), StoredResponse(document, items))

    def get(self, id: str, param: str | None = None) -> StoredResponse:
        stored = self._stored.touch((self._client, id))
        if stored is None:
            raise ApiError(404, f"there is no response {id[:80]!r}", param=param, code="not_found")
        return stored

    def item(self, id: str, param: str) -> Item:
        """An item that an earlier response of this client gave out."""
        for (owner, _), stored in reversed(self._stored.items()):
            for item in stored.document["output"] if owner == self._client else ():
                if item.get("id") == id:
                    return _as_item(item)
        raise ApiError(404, f"{param}: there is no item {id[:80]!r}", param=param, code="not_found")

    def delete(self, id: str) -> None:
        self.get(id)
        del self._stored[self._client, id]


@with_model(ResponsesRequest)
async def responses(work: RequestContext, body: ResponsesRequest) -> Response:
    stored = ClientResponses(work.request)
    earlier = body.previous_response_id
    before = stored.get(earlier, "previous_response_id").items if earlier else []
    given = body.input
    new = [MessageItem(role="user", content=given)] if isinstance(given, str) else given
    items = [
        *before,
        *(
            stored.item(item.id, f"input[{i}]") if isinstance(item, ReferenceItem) else item
            for i, item in enumerate(new)
        ),
    ]
    ask = _ask(body, items)
    prepared = await prepare_chat(work.model, ask, work.server.settings)
    outputs = await admit(work, prepared, texts_of(ask.messages))
    response = _Response(work, body, prepared, outputs, items, len(before))
    if not body.stream:
        return await respond(work, whole=response.whole())
    return await respond(
        work,
        events=response.events(),
        write_error=lambda error: event({"type": "error", **error.to_openai()["error"]}, "error"),
    )


async def get_response(request: Request) -> Response:
    stored = ClientResponses(request).get(request.path_params["id"])
    return json_response(stored.document)


async def delete_response(request: Request) -> Response:
    id = request.path_params["id"]
    ClientResponses(request).delete(id)
    return json_response({"id": id, "object": "response", "deleted": True})


def _ask(body: ResponsesRequest, items: list[Item]) -> ChatRequest:
    choice = (
        body.tool_choice.name if isinstance(body.tool_choice, ResponsesChoice) else body.tool_choice
    )
    tools, chosen, notes = read_tools([tool.to_openai() for tool in body.tools or ()], choice)
    form, answer = body.text.format if body.text is not None else None, AnswerForm()
    if form is not None and form.type == "json_schema" and form.schema_ is None:
        raise ApiError(
            400,
            "text.format.schema: missing",
            param="text.format.schema",
            code="missing_required_parameter",
        )
    if form is not None and form.type != "text":
        answer = AnswerForm(
            json_schema=form.schema_ if form.type == "json_schema" else {"type": "object"}
        )
    head = [{"role": "system", "content": body.instructions}] if body.instructions else []
    sampling = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_tokens": body.max_output_tokens,
    }
    overflow: Any = "keep_end" if body.truncation == "auto" else "refuse"
    return ChatRequest(
        [*head, *messages_of(items)],
        tools,
        chosen,
        body.parallel_tool_calls is not False,
        answer,
        sampling,
        overflow,
        notes,
    )


class _Response:
    """One response, as events or whole."""

    def __init__(
        self,
        work: RequestContext,
        body: ResponsesRequest,
        prepared: PreparedRequest,
        outputs: AsyncOutputs | None,
        items: list[Item],
        num_before: int,
    ) -> None:
        self.work, self.body, self.prepared, self.items = (
            work,
            body,
            prepared,
            items,
        )
        self.outputs, self.num_before, self.is_stopped = (
            outputs_of(work, outputs),
            num_before,
            False,
        )
        self.id, self.created = f"resp_{secrets.token_hex(16)}", int(time.time())
        self.output: list[dict[str, Any]] = []
        self.status, self.number = "in_progress", 0

    def _document(self, usage: dict[str, Any] | None = None) -> dict[str, Any]:
        body, params = self.body, self.prepared.request.params
        tools = [
            {"type": "function", "strict": True, **t.model_dump(exclude={"type", "strict"})}
            for t in body.tools or ()
        ]
        choice = (
            body.tool_choice.model_dump()
            if isinstance(body.tool_choice, ResponsesChoice)
            else body.tool_choice or "auto"
        )
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": self.status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": self._why} if self.status == "incomplete" else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "model": self.work.served.name,
            "output": self.output,
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": body.previous_response_id,
            "store": body.store is not False,
            "temperature": params.temperature,
            "text": {"format": body.text.format.model_dump(by_alias=True, exclude_none=True)}
            if body.text and body.text.format
            else {"format": {"type": "text"}},
            "tool_choice": choice,
            "tools": tools,
            "top_p": params.top_p,
            "truncation": body.truncation or "disabled",
            "usage": usage,
        }

    @property
    def _why(self) -> str:
        return "content_filter" if self.is_stopped else "max_output_tokens"

    async def _pieces(self) -> AsyncIterator[ReplyPiece]:
        async for output, pieces, finish in read(self.work, self.prepared, self.outputs):
            self.work.note(output.usage)
            for piece in pieces:
                yield piece
            if finish is not None:
                self.status, self.is_stopped = (
                    "incomplete" if finish in ("length", "filter") else "completed",
                    finish == "filter",
                )

    async def _finished(self) -> dict[str, Any]:
        used = self.work.usage()
        usage = {
            "input_tokens": used["prompt"],
            "input_tokens_details": {"cached_tokens": used["cached"]},
            "output_tokens": used["completion"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used["prompt"] + used["completion"],
            "context": await ledger_of(self.work.model, self.prepared),
            **self.work.guard_document(),
        }
        document = self._document(usage)
        if self.body.store is not False:
            items = (
                self.items[: self.num_before]
                if self.is_stopped
                else [*self.items, *map(_as_item, self.output)]
            )
            ClientResponses(self.work.request).put(document, items)
        return document

    async def whole(self) -> dict[str, Any]:
        async for piece in self._pieces():
            self._take(piece)
        if self.is_stopped:
            self.output = [_refusal(self.work.notice)]
        for item in self.output:
            item["status"] = self._item_status(item)
        return await self._finished()

    def _item_status(self, item: dict[str, Any]) -> str:
        return (
            "incomplete" if self.status == "incomplete" and item is self.output[-1] else "completed"
        )

    def _take(self, piece: ReplyPiece) -> bool:
        """Adds a piece to the output; whether it began a new item."""
        if isinstance(piece, CallStart):
            self.output.append(
                {
                    "type": "function_call",
                    "id": f"fc_{secrets.token_hex(12)}",
                    "call_id": piece.id,
                    "name": piece.name,
                    "arguments": "",
                    "status": "in_progress",
                }
            )
            return True
        if isinstance(piece, CallPiece):
            self.output[-1]["arguments"] += piece.text
            return False
        kind = "message" if isinstance(piece, TextPiece) else "reasoning"
        is_new = not self.output or self.output[-1]["type"] != kind
        if is_new:
            self.output.append(_new_item(kind))
        self.output[-1]["content"][0]["text"] += piece.text
        return is_new

    # ---- events ----

    def _event(self, kind: str, **fields: Any) -> bytes:
        self.number += 1
        return event({"type": kind, "sequence_number": self.number - 1, **fields}, kind)

    def _place(self) -> dict[str, Any]:
        return {"output_index": len(self.output) - 1, "item_id": self.output[-1]["id"]}

    async def events(self) -> AsyncIterator[bytes]:
        yield self._event("response.created", response=self._document())
        yield self._event("response.in_progress", response=self._document())
        async for piece in self._pieces():
            if self.output and not isinstance(piece, CallPiece):
                kind = _KINDS[type(piece)]
                if kind == "function_call" or self.output[-1]["type"] != kind:
                    for data in self._closing("completed"):
                        yield data
            if self._take(piece):
                for data in self._opening():
                    yield data
            if isinstance(piece, TextPiece):
                yield self._event(
                    "response.output_text.delta",
                    **self._place(),
                    content_index=0,
                    delta=piece.text,
                    logprobs=[],
                )
            elif isinstance(piece, ReasoningPiece):
                yield self._event(
                    "response.reasoning_text.delta",
                    **self._place(),
                    content_index=0,
                    delta=piece.text,
                )
            elif not isinstance(piece, CallStart):
                yield self._event(
                    "response.function_call_arguments.delta", **self._place(), delta=piece.text
                )
        if self.output:
            for data in self._closing(self._item_status(self.output[-1])):
                yield data
        if self.is_stopped:
            for data in self._refusing():
                yield data
        document = await self._finished()
        yield self._event(f"response.{self.status}", response=document)

    def _opening(self) -> list[bytes]:
        item, index = self.output[-1], len(self.output) - 1
        has_parts = item["type"] != "function_call"
        empty = {**item, "content": []} if has_parts else {**item, "arguments": ""}
        opened = [self._event("response.output_item.added", output_index=index, item=empty)]
        if has_parts:
            part = {**item["content"][0], "text": ""}
            opened.append(
                self._event(
                    "response.content_part.added", **self._place(), content_index=0, part=part
                )
            )
        return opened

    def _refusing(self) -> list[bytes]:
        self.output.append(_refusal(self.work.notice))
        item, place, end = self.output[-1], self._place(), self._event
        part, item["status"] = item["content"][0], "incomplete"
        index = place["output_index"]
        return [
            end(
                "response.output_item.added",
                output_index=index,
                item={**item, "content": [], "status": "in_progress"},
            ),
            end(
                "response.content_part.added",
                **place,
                content_index=0,
                part={**part, "refusal": ""},
            ),
            end("response.refusal.delta", **place, content_index=0, delta=part["refusal"]),
            end("response.refusal.done", **place, content_index=0, refusal=part["refusal"]),
            end("response.content_part.done", **place, content_index=0, part=part),
            end("response.output_item.done", output_index=index, item=item),
        ]

    def _closing(self, status: str) -> list[bytes]:
        item = self.output[-1]
        item["status"], place = status, self._place()
        end = self._event
        if item["type"] == "message":
            part = item["content"][0]
            closed = [
                end(
                    "response.output_text.done",
                    **place,
                    content_index=0,
                    text=part["text"],
                    logprobs=[],
                ),
                end("response.content_part.done", **place, content_index=0, part=part),
            ]
        elif item["type"] == "reasoning":
            part = item["content"][0]
            closed = [
                end("response.reasoning_text.done", **place, content_index=0, text=part["text"]),
                end("response.content_part.done", **place, content_index=0, part=part),
            ]
        else:
            closed = [
                end(
                    "response.function_call_arguments.done",
                    **place,
                    name=item["name"],
                    arguments=item["arguments"],
                )
            ]
        return [
            *closed,
            end("response.output_item.done", output_index=place["output_index"], item=item),
        ]


_KINDS: dict[type, str] = {
    TextPiece: "message",
    ReasoningPiece: "reasoning",
    CallStart: "function_call",
}


def _refusal(notice: str) -> dict[str, Any]:
    """The message that stands in the place of what the guard stopped."""
    item = _new_item("message")
    item["content"] = [{"type": "refusal", "refusal": notice}]
    return item


def _new_item(kind: str) -> dict[str, Any]:
    """A message or a reasoning that has just begun."""
    if kind == "reasoning":
        content = [{"type": "reasoning_text", "text": ""}]
        return {
            "type": "reasoning",
            "id": f"rs_{secrets.token_hex(12)}",
            "summary": [],
            "content": content,
            "status": "in_progress",
        }
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    return {
        "type": "message",
        "id": f"msg_{secrets.token_hex(12)}",
        "role": "assistant",
        "status": "in_progress",
        "content": [part],
    }


def _as_item(item: dict[str, Any]) -> Item:
    if item["type"] == "reasoning":
        return ReasoningItem(type="reasoning", id=item["id"], content=item["content"])
    if item["type"] == "function_call":
        return CallItem(
            type="function_call",
            call_id=item["call_id"],
            name=item["name"],
            arguments=item["arguments"],
        )
    part = item["content"][0]
    return MessageItem(role="assistant", content=part.get("text", part.get("refusal", "")))
