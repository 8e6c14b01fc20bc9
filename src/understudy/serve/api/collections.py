"""Ours: `/v1/collections`, documents in, passages and quoted answers out.

A collection is one index file in the state folder; without one it lasts as long as the server.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from understudy.engine.handles import CancelScope
from understudy.errors import DocumentError
from understudy.generation.moderation import Verdict
from understudy.rag.abstain import DEFAULT_POINT, OperatingPoint
from understudy.rag.ask import Answer, ask
from understudy.rag.document import Builder, Document
from understudy.rag.index import Index
from understudy.rag.readers.apart import can_read, read_apart
from understudy.rag.schema import StoreError
from understudy.serve.api.bodies import Body, Probability, Seed
from understudy.serve.collections import Collections
from understudy.serve.content import input_verdict, verdict_of
from understudy.serve.errors import ApiError
from understudy.serve.server import (
    RequestContext,
    Server,
    json_response,
    read_body,
    respond,
    server_of,
    with_model,
)
from understudy.serve.threads import in_thread

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class CollectionRequest(Body):
    name: Name


class DocumentRequest(Body):
    """A document as text; files come as multipart/form-data."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    text: Annotated[str, Field(min_length=1)]


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


MAX_FILES = 100


def _collections(server: Server) -> Collections:
    stores = server.stores
    if stores.collections is None:
        stores.collections = Collections(server.settings.state_folder, server.settings.embedder)
    return stores.collections


async def collections(request: Request) -> Response:
    known = _collections(server_of(request))
    return json_response({"object": "list", "data": [_listed(known, name) for name in known.names]})


def _listed(known: Collections, name: str) -> dict[str, Any]:
    """A collection that cannot be read is listed with its fault, and hides no other."""
    try:
        return _document(known, name)
    except DocumentError as error:
        fault = str(DocumentError(error.what, expected=error.expected, found=error.found))
        return {"id": name, "object": "collection", "error": fault}


async def add_collection(request: Request) -> Response:
    body = await read_body(request, CollectionRequest)
    known = _collections(server_of(request))
    async with known.lock:
        await asyncio.to_thread(known.create, body.name)
    return json_response(_document(known, body.name), 201)


async def collection(request: Request) -> Response:
    """A collection and the names of its documents."""
    known, name = _collections(server_of(request)), request.path_params["name"]
    index = known.get(name)
    return json_response({**_document(known, name), "names": sorted(index.store.hashes())})


async def delete_collection(request: Request) -> Response:
    known, name = _collections(server_of(request)), request.path_params["name"]
    async with known.lock:
        known.delete(name)
    return json_response({"id": name, "object": "collection", "deleted": True})


def _document(known: Collections, name: str) -> dict[str, Any]:
    documents, chunks = known.get(name).store.counts()
    return {"id": name, "object": "collection", "documents": documents, "chunks": chunks}


async def add_documents(request: Request) -> Response:
    """Files as multipart/form-data, or one text as JSON. A document of the same name is
    replaced.
    """
    known = _collections(server_of(request))
    index = known.get(request.path_params["name"])
    added: list[str] = []
    failed: dict[str, str] = {}
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=MAX_FILES, max_fields=10) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            for file in files:
                name = PurePosixPath((file.filename or "").replace("\\", "/")).name[:255]
                data = await file.read()
                try:
                    document = await asyncio.to_thread(_read_upload, name, data)
                    async with known.lock:  # only while it goes in: reading may take long
                        await asyncio.to_thread(index.add_document, name, document)
                    added.append(name)
                except StoreError:
                    raise
                except DocumentError as error:
                    failed[name] = str(error)
    else:
        body = await read_body(request, DocumentRequest)
        builder = Builder(title=body.name)
        for paragraph in body.text.split("\n\n"):
            builder.add(paragraph)
        async with known.lock:
            await asyncio.to_thread(index.add_document, body.name, builder.build())
        added.append(body.name)
    if not added and not failed:
        raise ApiError(400, "no file came with the request", code="invalid_value")
    return json_response(
        {"added": added, "failed": failed, **_document(known, request.path_params["name"])},
        201 if added else 400,
    )


def _read_upload(name: str, data: bytes) -> Document:
    """Reads a file from a folder of its own, since readers go by its ending."""
    if not name or not can_read(Path(name)):
        raise DocumentError("no reader for this kind of file", where=name or "file")
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        path = Path(folder) / f"document{Path(name).suffix}"
        path.write_bytes(data)
        try:
            return read_apart(path)
        except DocumentError as error:
            raise DocumentError(
                error.what, where=name, expected=error.expected, found=error.found
            ) from error


async def document(request: Request) -> Response:
    """The text of a document, in which citations are counted."""
    index = _collections(server_of(request)).get(request.path_params["name"])
    name = request.path_params["document"]
    if name not in index.store.hashes():
        raise ApiError(404, f"there is no document {name[:80]!r}", code="not_found")
    return json_response({"object": "document", "name": name, "text": index.store.text_of(name)})


async def delete_document(request: Request) -> Response:
    """Takes a document out of its collection."""
    known = _collections(server_of(request))
    index, name = known.get(request.path_params["name"]), request.path_params["document"]
    async with known.lock:
        if name not in index.store.hashes():
            raise ApiError(404, f"there is no document {name[:80]!r}", code="not_found")
        await asyncio.to_thread(index.store.remove, name)
    return json_response({"object": "document", "name": name, "deleted": True})


async def search(request: Request) -> Response:
    """Passages for a query, the best first."""
    body = await read_body(request, SearchRequest)
    index = _collections(server_of(request)).get(request.path_params["name"])
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
    index = _collections(context.server).get(context.request.path_params["name"])
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
