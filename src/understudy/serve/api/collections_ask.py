"""Ours: passages of a collection, and answers with quotes from its documents."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from understudy.engine.handles import CancelScope
from understudy.generation.moderation import Verdict
from understudy.rag.answering import Answer, ask
from understudy.rag.index import Index
from understudy.rag.operating_point import DEFAULT_POINT, OperatingPoint
from understudy.serve.api.bodies import Body, Probability, Seed
from understudy.serve.api.collections import collections_of
from understudy.serve.content import input_verdict, verdict_of
from understudy.serve.events import respond
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import (
    RequestContext,
    json_response,
    read_body,
    server_of,
    with_model,
)
from understudy.serve.threads import in_thread


class SearchRequest(Body):
    query: Annotated[str, Field(min_length=1, max_length=4000)]
    k: Annotated[int, Field(ge=1, le=100)] = 8
    mode: Literal["fused", "words", "vectors"] = "fused"


class AskRequest(Body):
    question: Annotated[str, Field(min_length=1, max_length=4000)]
    model: str | None = None
    k: Annotated[int, Field(ge=1, le=32)] = 8
    threshold: Probability | None = None
    max_tokens: Annotated[int, Field(ge=16, le=4096)] = 384
    temperature: Probability | None = None
    seed: Seed | None = None


async def search(request: Request) -> Response:
    """Passages for a query, the best first."""
    body = await read_body(request, SearchRequest)
    index = collections_of(server_of(request)).get(request.path_params["name"])
    passages = await asyncio.to_thread(index.search, body.query, body.k, mode=body.mode)
    rows = [
        {
            "document": p.chunk.path,
            "page": p.chunk.page,
            "start": p.chunk.start,
            "end": p.chunk.end,
            "heading": p.chunk.heading,
            "score": round(p.score, 6),
            "text": p.chunk.text,
        }
        for p in passages
    ]
    return json_response({"object": "list", "data": rows})


@with_model(AskRequest)
async def ask_collection(context: RequestContext, body: AskRequest) -> Response:
    """An answer with quotes that stand in the documents, or that they do not say."""
    index = collections_of(context.server).get(context.request.path_params["name"])
    return await respond(context, whole=_ask(context, index, body))


async def _ask(context: RequestContext, index: Index, body: AskRequest) -> dict[str, Any]:
    guard = context.served.guard
    if guard is not None:
        verdict = await input_verdict(context, [body.question])
        if not verdict.is_safe:
            return _stopped(context, verdict)
    answer = await in_thread(lambda: _answer(context, index, body), CancelScope(context.client))
    context.note(answer.usage)
    if guard is not None and answer.text is not None:
        said = "\n".join((answer.text, *(citation.quote for citation in answer.citations)))
        verdict = await verdict_of(context, said, "output")
        if not verdict.is_safe:
            return _stopped(context, verdict)
    return _answer_document(answer, context.guard_document())


def _answer(context: RequestContext, index: Index, body: AskRequest) -> Answer:
    point = DEFAULT_POINT
    if body.threshold is not None:
        point = OperatingPoint(body.threshold, float("nan"), float("nan"), "not measured")
    sampling: dict[str, Any] = {"temperature": body.temperature, "seed": body.seed}
    return ask(
        context.model,
        index,
        body.question,
        k=body.k,
        point=point,
        max_tokens=body.max_tokens,
        **{name: value for name, value in sampling.items() if value is not None},
    )


def _answer_document(answer: Answer, guard_document: dict[str, Any]) -> dict[str, Any]:
    citations = [
        {"quote": c.quote, "document": c.path, "page": c.page, "start": c.start, "end": c.end}
        for c in answer.citations
    ]
    return {
        "object": "answer",
        "answer": answer.text,
        "is_answered": answer.text is not None,
        "why": answer.why,
        "citations": citations,
        "confidence": round(answer.confidence, 4),
        "dropped": list(answer.dropped),
        "usage": {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens if answer.usage else 0,
            **guard_document,
        },
    }


def _stopped(context: RequestContext, verdict: Verdict) -> dict[str, Any]:
    """The guard stopped the question or the answer: no answer, and why."""
    context.note_stop(verdict, 0)
    return {
        "object": "answer",
        "answer": None,
        "is_answered": False,
        "why": context.notice,
        "citations": [],
        "confidence": 0.0,
        "dropped": [],
        "guard": verdict.to_document(),
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, **context.guard_document()},
    }


ROUTES = (
    RouteEntry("POST", "/v1/collections/{name}/search", search, SearchRequest),
    RouteEntry("POST", "/v1/collections/{name}/ask", ask_collection, AskRequest),
)
