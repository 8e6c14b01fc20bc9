"""`/v1/responses`: conversations that the server remembers, in memory and per client, the longest
unused forgotten first.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from understudy.generation.chat_request import AnswerForm, ChatRequest, OfferedTools
from understudy.generation.reader import ReplyPiece
from understudy.generation.thinking import Thinking
from understudy.serve.answers import Answers
from understudy.serve.api.bodies import thinks
from understudy.serve.api.responses_bodies import (
    Item,
    MessageItem,
    ReferenceItem,
    ResponsesChoice,
    ResponsesRequest,
    messages_of,
)
from understudy.serve.api.responses_output import ItemEvents, OutputItems, as_item
from understudy.serve.errors import ApiError
from understudy.serve.events import respond
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import RequestContext, json_response, server_of, with_model
from understudy.serve.stores import StoredResponse


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
                    return as_item(item)
        raise ApiError(404, f"{param}: there is no item {id[:80]!r}", param=param, code="not_found")

    def delete(self, id: str) -> None:
        self.get(id)
        del self._stored[self._client, id]


@with_model(ResponsesRequest)
async def responses(context: RequestContext, body: ResponsesRequest) -> Response:
    stored = ClientResponses(context.request)
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
    answers = await Answers.begin(context, await asyncio.to_thread(_ask, body, items))
    response = _Response(context, body, answers, items, len(before))
    if not body.stream:
        return await respond(context, whole=response.whole())
    return await respond(
        context,
        events=response.events(),
        write_error=response.failed,
    )


async def get_response(request: Request) -> Response:
    stored = ClientResponses(request).get(request.path_params["id"])
    return json_response(stored.document)


async def delete_response(request: Request) -> Response:
    id = request.path_params["id"]
    ClientResponses(request).delete(id)
    return json_response({"id": id, "object": "response", "deleted": True})


def _ask(body: ResponsesRequest, items: list[Item]) -> ChatRequest:
    """What a body asks for."""
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
    sampling = body.draw_sampling() | {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_tokens": body.max_output_tokens,
    }
    overflow: Any = "keep_end" if body.truncation == "auto" else "refuse"
    return ChatRequest(
        [*head, *messages_of(items)],
        is_parallel=body.parallel_tool_calls is not False,
        answer=answer,
        sampling=sampling,
        overflow=overflow,
        thinking=Thinking(thinks(body.reasoning.effort if body.reasoning is not None else None)),
        offered=_offered(body),
    )


def _offered(body: ResponsesRequest) -> OfferedTools:
    choice = body.tool_choice
    wanted = choice.name if isinstance(choice, ResponsesChoice) else choice
    return OfferedTools([tool.to_openai() for tool in body.tools or ()], wanted)


class _Response:
    """One response, as events or whole."""

    def __init__(
        self,
        context: RequestContext,
        body: ResponsesRequest,
        answers: Answers,
        items: list[Item],
        num_before: int,
    ) -> None:
        self.context, self.body, self.answers, self.items = context, body, answers, items
        self.num_before, self.is_stopped = num_before, False
        self.id, self.created = f"resp_{secrets.token_hex(16)}", int(time.time())
        self.output, self.status = OutputItems(), "in_progress"
        self.write = ItemEvents(self.output)

    def _document(self, usage: dict[str, Any] | None = None) -> dict[str, Any]:
        body, params = self.body, self.answers.prepared.request.params
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
            "model": self.context.name,
            "output": self.output.all,
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
        async for _, pieces, finish in self.answers:
            for piece in pieces:
                yield piece
            if finish is not None:
                self.status, self.is_stopped = (
                    "incomplete" if finish in ("length", "filter") else "completed",
                    finish == "filter",
                )

    async def _finished(self) -> dict[str, Any]:
        used = self.context.usage()
        usage = {
            "input_tokens": used["prompt"],
            "input_tokens_details": {"cached_tokens": used["cached"]},
            "output_tokens": used["completion"],
            "output_tokens_details": {"reasoning_tokens": used["reasoning"]},
            "total_tokens": used["prompt"] + used["completion"],
            "context": await self.answers.ledger(),
            **self.context.guard_document(),
        }
        document = self._document(usage)
        if self.body.store is not False:
            items = (
                self.items[: self.num_before]
                if self.is_stopped
                else [*self.items, *map(as_item, self.output.all)]
            )
            ClientResponses(self.context.request).put(document, items)
        return document

    async def whole(self) -> dict[str, Any]:
        async for piece in self._pieces():
            self.output.add(piece)
        if self.is_stopped:
            self.output = OutputItems()
            self.output.refuse(self.context.notice)
        for item in self.output.all:
            item["status"] = self._item_status(item)
        return await self._finished()

    def failed(self, error: ApiError) -> bytes:
        """The event of a fault after the beginning: its fields as the reference lists them, and
        under `error`, where openai's and Vercel's clients look for them.
        """
        inner = error.to_openai()["error"]
        fields = {key: inner[key] for key in ("code", "message", "param")}
        return self.write.event("error", **fields, error=inner)

    def _item_status(self, item: dict[str, Any]) -> str:
        is_cut = self.status == "incomplete" and item is self.output.last
        return "incomplete" if is_cut else "completed"

    async def events(self) -> AsyncIterator[bytes]:
        output, write = self.output, self.write
        yield write.event("response.created", response=self._document())
        yield write.event("response.in_progress", response=self._document())
        async for piece in self._pieces():
            is_new = output.is_begun_by(piece)
            if is_new and output.all:
                for data in write.closing("completed"):
                    yield data
            output.add(piece)
            for data in (*(write.opening() if is_new else ()), *write.delta(piece)):
                yield data
        if output.all:
            for data in write.closing(self._item_status(output.last)):
                yield data
        if self.is_stopped:
            for data in write.refusal(self.context.notice):
                yield data
        document = await self._finished()
        yield write.event(f"response.{self.status}", response=document)


ROUTES = (
    RouteEntry(
        "POST",
        "/v1/responses",
        responses,
        ResponsesRequest,
        "Answer a conversation and remember it (OpenAI)",
    ),
    RouteEntry("GET", "/v1/responses/{id}", get_response),
    RouteEntry("DELETE", "/v1/responses/{id}", delete_response),
)
