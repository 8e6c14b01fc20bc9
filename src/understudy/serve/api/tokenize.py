"""`/tokenize`, `/detokenize` and `/tokenizer_info`, for lm-eval and for counting."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from understudy.serve.api.bodies import Body, Several
from understudy.serve.errors import ApiError
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import json_response, read_body, server_of
from understudy.serve.tokens import bytes_of, token_text
from understudy.text import Tokenizer


class TokenizeBody(Body):
    """llama-server's `content`, or vLLM's `prompt`."""

    model: str | None = None
    content: str | None = None
    prompt: str | None = None
    add_special: bool | None = None
    add_special_tokens: bool | None = None
    parse_special: bool | None = None
    with_pieces: bool | None = None
    return_token_strs: bool | None = None


class DetokenizeBody(Body):
    model: str | None = None
    tokens: Annotated[Several[int], Field(max_length=1 << 20)]


async def tokenize(request: Request) -> Response:
    """Ids of a text that the caller wrote whole: markers in it are markers unless `parse_special`
    is false.
    """
    body = await read_body(request, TokenizeBody)
    if (body.content is None) == (body.prompt is None):
        raise ApiError(
            400,
            "content: give content or prompt",
            param="content",
            code="missing_required_parameter",
        )
    text = body.content if body.content is not None else body.prompt or ""
    is_vllm = body.prompt is not None
    add = body.add_special_tokens if body.add_special_tokens is not None else body.add_special
    async with server_of(request).pool.lease(body.model) as served:
        tokenizer = served.model.tokenizer
        tokens = await asyncio.to_thread(
            tokenizer.encode,
            text,
            markers=body.parse_special is not False,
            add_special=add if add is not None else is_vllm,
        )
        shown: list[Any] = tokens
        if body.with_pieces:
            shown = await asyncio.to_thread(_with_pieces, tokenizer, tokens)
        document: dict[str, Any] = {
            "tokens": shown,
            "count": len(tokens),
            "max_model_len": served.model.engine.context,
        }
        if body.return_token_strs:
            document["token_strs"] = [token_text(tokenizer, token) for token in tokens]
        return json_response(document)


def _with_pieces(tokenizer: Tokenizer, tokens: list[int]) -> list[dict[str, Any]]:
    return [{"id": token, "piece": _piece(tokenizer, token)} for token in tokens]


def _piece(tokenizer: Tokenizer, token: int) -> str | list[int]:
    """A token's text, or the numbers of its bytes where they are no whole characters, as
    llama-server has it.
    """
    data = bytes_of(tokenizer, token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


async def detokenize(request: Request) -> Response:
    """Text of ids, as llama-server's `content` and vLLM's `prompt`."""
    body = await read_body(request, DetokenizeBody)
    async with server_of(request).pool.lease(body.model) as served:
        text = served.model.tokenizer.decode(body.tokens)
        return json_response({"content": text, "prompt": text})


async def tokenizer_info(request: Request) -> Response:
    """What lm-eval asks before it scores: markers and template."""
    async with server_of(request).pool.lease(None) as served:
        tokenizer = served.model.tokenizer
        eos = tokenizer.eos_ids[0] if tokenizer.eos_ids else None

        def text(token: int | None) -> str | None:
            return None if token is None else token_text(tokenizer, token)

        return json_response(
            {
                "tokenizer_class": "understudy",
                "vocab_size": tokenizer.vocab_size,
                "model_max_length": served.model.engine.context,
                "bos_token": text(tokenizer.bos_id),
                "bos_token_id": tokenizer.bos_id,
                "eos_token": text(eos),
                "eos_token_id": eos,
                "pad_token": text(tokenizer.pad_id),
                "pad_token_id": tokenizer.pad_id,
                "unk_token": None,
                "add_bos_token": tokenizer.add_bos,
                "chat_template": tokenizer.chat_template,
            }
        )


ROUTES = (
    RouteEntry("POST", "/tokenize", tokenize, TokenizeBody),
    RouteEntry("POST", "/detokenize", detokenize, DetokenizeBody),
    RouteEntry("GET", "/tokenizer_info", tokenizer_info),
)
