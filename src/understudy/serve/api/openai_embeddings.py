"""`/v1/embeddings` from the embedder of documents."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from understudy.serve.api.bodies import (
    Body,
    Several,
)
from understudy.serve.errors import ApiError
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import Server, json_response, read_body, server_of
from understudy.text.embed import Embedder, normalised, open_embedder


class EmbeddingsBody(Body):
    model: str | None = None
    input: str | Annotated[Several[str], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=1 << 16)] | None = None
    user: str | None = None


_OPENING = asyncio.Lock()


async def embeddings(request: Request) -> Response:
    body = await read_body(request, EmbeddingsBody)
    server = server_of(request)
    name = server.settings.embedder
    if body.model not in (None, name, *server.pool.names):
        raise ApiError(
            404,
            f"there is no model {body.model!r}; there is: {name}",
            param="model",
            code="model_not_found",
        )
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(texts):
        raise ApiError(400, "input: holds an empty text", param="input", code="invalid_value")
    embedder = await _embedder_of(server)
    if body.dimensions is not None and body.dimensions > embedder.dim:
        raise ApiError(
            400, f"dimensions: at most {embedder.dim}", param="dimensions", code="invalid_value"
        )
    vectors = await asyncio.to_thread(embedder.embed, texts)
    if body.dimensions is not None:
        vectors = normalised(vectors[:, : body.dimensions])
    data = [
        {"object": "embedding", "index": i, "embedding": _shown(row, body.encoding_format)}
        for i, row in enumerate(vectors)
    ]
    words = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": words, "total_tokens": words}
    return json_response({"object": "list", "data": data, "model": name, "usage": usage})


async def _embedder_of(server: Server) -> Embedder:
    """The server's embedder, opened when it is first asked for."""
    stores = server.stores
    async with _OPENING:
        if stores.embedder is None:
            stores.embedder = await asyncio.to_thread(open_embedder, server.settings.embedder)
    return stores.embedder


def _shown(vector: NDArray[np.float32], encoding: str | None) -> str | list[float]:
    """A vector as base64 of little-endian float32, or as numbers."""
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.astype(float).tolist()
    return numbers


ROUTES = (
    RouteEntry(
        "POST",
        "/v1/embeddings",
        embeddings,
        EmbeddingsBody,
        "Vectors of texts (OpenAI)",
    ),
)
