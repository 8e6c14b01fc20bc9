"""`/v1/embeddings` from the embedder of documents."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from understudy.serve.api.bodies import (
    Body,
)
from understudy.serve.errors import ApiError
from understudy.serve.server import json_response, read_body, server_of
from understudy.text.embed import open_embedder


class EmbeddingsBody(Body):
    model: str | None = None
    input: str | Annotated[list[str], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=1 << 16)] | None = None
    user: str | None = None


_OPENING = asyncio.Lock()


async def embeddings(request: Request) -> Response:
    body = await read_body(request, EmbeddingsBody)
    server = server_of(request)
    if body.model not in (None, server.settings.embedder, *server.pool.names):
        raise ApiError(
            404,
            f"there is no model {body.model!r}; there is: {server.settings.embedder}",
            param="model",
            code="model_not_found",
        )
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(texts):
        raise ApiError(400, "input: holds an empty text", param="input", code="invalid_value")
    stores = server.stores
    async with _OPENING:
        if stores.embedder is None:
            stores.embedder = await asyncio.to_thread(open_embedder, server.settings.embedder)
    embedder = stores.embedder
    if body.dimensions is not None and body.dimensions > embedder.dim:
        raise ApiError(
            400, f"dimensions: at most {embedder.dim}", param="dimensions", code="invalid_value"
        )
    vectors = await asyncio.to_thread(embedder.embed, texts)
    if body.dimensions is not None:  # the first so many, made unit length again
        vectors = vectors[:, : body.dimensions]
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    words = sum(len(text.split()) for text in texts)

    def shown(row: Any) -> Any:
        return (
            base64.b64encode(row.astype("<f4").tobytes()).decode()
            if body.encoding_format == "base64"
            else row.astype(float).tolist()
        )

    data = [
        {"object": "embedding", "index": i, "embedding": shown(row)}
        for i, row in enumerate(vectors)
    ]
    return json_response(
        {
            "object": "list",
            "data": data,
            "model": server.settings.embedder,
            "usage": {"prompt_tokens": words, "total_tokens": words},
        }
    )
