"""Ours: `/v1/collections`, documents in; `collections_ask.py` has what comes out.

A collection is one index file in the state folder; without one it lasts as long as the server.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document
from understudy.rag.readers.apart import read_apart, reader_of
from understudy.rag.schema import StoreError
from understudy.serve.api.bodies import Body
from understudy.serve.collections import Collections
from understudy.serve.errors import ApiError
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import (
    Server,
    json_response,
    read_body,
    server_of,
)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class CollectionRequest(Body):
    name: Name


class DocumentRequest(Body):
    """A document as text; files come as multipart/form-data."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    text: Annotated[str, Field(min_length=1)]


MAX_FILES = 100


def collections_of(server: Server) -> Collections:
    """The collections of a server."""
    stores = server.stores
    if stores.collections is None:
        stores.collections = Collections(server.settings.state_folder, server.settings.embedder)
    return stores.collections


async def collections(request: Request) -> Response:
    known = collections_of(server_of(request))
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
    known = collections_of(server_of(request))
    async with known.lock:
        await asyncio.to_thread(known.create, body.name)
    return json_response(_document(known, body.name), 201)


async def collection(request: Request) -> Response:
    """A collection and the names of its documents."""
    known, name = collections_of(server_of(request)), request.path_params["name"]
    index = known.get(name)
    return json_response({**_document(known, name), "names": sorted(index.store.hashes())})


async def delete_collection(request: Request) -> Response:
    known, name = collections_of(server_of(request)), request.path_params["name"]
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
    known = collections_of(server_of(request))
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
    reader_of(Path(name))  # a kind without a reader is said before anything is written
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        path = Path(folder) / f"document{Path(name).suffix}"
        path.write_bytes(data)
        try:
            return read_apart(path)
        except DocumentError as error:
            raise DocumentError(
                error.what,
                where=name,
                expected=error.expected,
                found=error.found,
                do=error.do,
            ) from error


async def document(request: Request) -> Response:
    """The text of a document, in which citations are counted."""
    index = collections_of(server_of(request)).get(request.path_params["name"])
    name = request.path_params["document"]
    if name not in index.store.hashes():
        raise ApiError(404, f"there is no document {name[:80]!r}", code="not_found")
    return json_response({"object": "document", "name": name, "text": index.store.text_of(name)})


async def delete_document(request: Request) -> Response:
    """Takes a document out of its collection."""
    known = collections_of(server_of(request))
    index, name = known.get(request.path_params["name"]), request.path_params["document"]
    async with known.lock:
        if name not in index.store.hashes():
            raise ApiError(404, f"there is no document {name[:80]!r}", code="not_found")
        await asyncio.to_thread(index.store.remove, name)
    return json_response({"object": "document", "name": name, "deleted": True})


ROUTES = (
    RouteEntry("GET", "/v1/collections", collections),
    RouteEntry("POST", "/v1/collections", add_collection, CollectionRequest),
    RouteEntry("GET", "/v1/collections/{name}", collection),
    RouteEntry("DELETE", "/v1/collections/{name}", delete_collection),
    RouteEntry(
        "POST",
        "/v1/collections/{name}/documents",
        add_documents,
        DocumentRequest,
    ),
    RouteEntry("GET", "/v1/collections/{name}/documents/{document:path}", document),
    RouteEntry(
        "DELETE",
        "/v1/collections/{name}/documents/{document:path}",
        delete_document,
    ),
)
