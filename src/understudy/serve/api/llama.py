"""llama-server's own routes, as SillyTavern calls them: `/props` and `/completion`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from understudy.engine import Output
from understudy.generation.chat_request import AnswerForm
from understudy.generation.prepare import PreparedRequest, answer_mask
from understudy.serve.answers import admit
from understudy.serve.api.bodies import bias_of, stops_of
from understudy.serve.api.llama_bodies import LlamaCompletionBody
from understudy.serve.api.openai_chat import timings
from understudy.serve.content import Outputs
from understudy.serve.errors import ApiError
from understudy.serve.events import event, respond
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import RequestContext, json_response, server_of, with_model
from understudy.serve.texts import checked_texts, encode_parts, prepare_text, shown_text
from understudy.serve.tokens import chat_logprobs, shown_logprobs
from understudy.text import Tokenizer


async def props(request: Request) -> Response:
    """Template and context, which SillyTavern asks when it connects."""
    async with server_of(request).pool.lease(None) as served:
        tokenizer, driver = served.model.tokenizer, served.driver
        generation = {
            "n_ctx": served.model.engine.context,
            "id": 0,
            "is_processing": driver.num_running > 0,
            "params": {},
        }
        return json_response(
            {
                "default_generation_settings": generation,
                "total_slots": served.num_slots,
                "model_path": served.name,
                "model_alias": served.name,
                "chat_template": tokenizer.chat_template or "",
                "bos_token": _marker(tokenizer, tokenizer.bos_id),
                "eos_token": _marker(
                    tokenizer, tokenizer.eos_ids[0] if tokenizer.eos_ids else None
                ),
                "modalities": {"vision": False, "audio": False},
                "build_info": "understudy",
            }
        )


def _marker(tokenizer: Tokenizer, token: int | None) -> str:
    return "" if token is None else tokenizer.id_to_piece(token)


@with_model(LlamaCompletionBody)
async def completion(context: RequestContext, body: LlamaCompletionBody) -> Response:
    ignored = body.ignored_fields()
    prepared = await asyncio.to_thread(_prepare, context, body)
    text = shown_text(context.model, body.prompt)
    form = AnswerForm(json_schema=body.json_schema)
    outputs = checked_texts(context, prepared, await admit(context, prepared, [text]), form)
    writer = _Completion(context, body, outputs)
    answer = await (
        respond(context, events=writer.events())
        if body.stream
        else respond(context, whole=writer.whole())
    )
    if ignored:
        answer.headers["X-Understudy-Ignored"] = ", ".join(ignored)
    return answer


def _prepare(context: RequestContext, body: LlamaCompletionBody) -> PreparedRequest:
    model = context.model
    parts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    if len(parts) > 1 and all(isinstance(part, str) for part in parts):
        raise ApiError(
            400,
            "prompt: one prompt at a time; /v1/completions takes several",
            param="prompt",
            code="invalid_value",
        )
    tokens = encode_parts(model, parts)
    num = body.first("n_predict", "max_tokens", "max_new_tokens")
    grammar = body.first("grammar", "grammar_string") or None
    if grammar is not None and body.json_schema is not None:
        raise ApiError(
            400, "grammar: not together with json_schema", param="grammar", code="invalid_value"
        )
    stops = dict.fromkeys(
        (*stops_of(body.stop), *(body.stopping_strings or ()), *(body.stop_sequence or ()))
    )
    top_k = body.top_k if body.top_k is not None and body.top_k > 0 else None
    sampling = body.repetition_sampling() | {
        "max_tokens": None if num is None or num < 0 else max(1, num),
        "temperature": body.temperature,
        "top_k": top_k,
        "top_p": body.top_p,
        "min_p": body.min_p,
        "repetition_penalty": body.first("repeat_penalty", "repetition_penalty", "rep_pen"),
        "penalty_last_n": body.first("repeat_last_n", "repetition_penalty_range", "rep_pen_range"),
        "penalize_prompt": True,
        "frequency_penalty": body.frequency_penalty,
        "presence_penalty": body.presence_penalty,
        "ignore_eos": body.ignore_eos,
        "seed": body.seed if body.seed is None or body.seed >= 0 else None,
        "stop": tuple(stop for stop in stops if stop),
        "logit_bias": _bias(model.tokenizer, body.logit_bias),
        "logprobs": body.n_probs or None,
    }
    mask = answer_mask(model.tokenizer, AnswerForm(json_schema=body.json_schema, lark=grammar))
    return prepare_text(context, tokens, sampling, make_mask=mask)


def _bias(
    tokenizer: Tokenizer, bias: list[list[Any]] | dict[str, float] | None
) -> dict[int, float] | None:
    """`[[id or text, number or false], …]`; false forbids a token."""
    if bias is None or isinstance(bias, dict):
        return bias_of(bias)
    result: dict[int, float] = {}
    for entry in bias:
        if (
            len(entry) != 2
            or isinstance(entry[0], (bool, float))
            or isinstance(entry[1], str)
            or entry[1] is True
        ):
            raise ApiError(
                400,
                "logit_bias: entries are [token, number or false]",
                param="logit_bias",
                code="invalid_value",
            )
        tokens = tokenizer.encode(entry[0]) if isinstance(entry[0], str) else [entry[0]]
        result |= dict.fromkeys(tokens, -1e9 if entry[1] is False else float(entry[1]))
    return result


class _Completion:
    """One continued text, as events or whole."""

    def __init__(
        self, context: RequestContext, body: LlamaCompletionBody, outputs: Outputs
    ) -> None:
        self.context, self.body, self.outputs = context, body, outputs

    def _stopped(self) -> dict[str, Any]:
        head = {
            "content": "",
            "tokens": [],
            "stop": True,
            "index": 0,
            "id_slot": 0,
            "model": self.context.name,
        }
        return {
            **head,
            "stop_type": "content_filter",
            "stopping_word": "",
            "guard": self.context.stops[0].to_document(),
        }

    def _document(self, output: Output) -> dict[str, Any]:
        document: dict[str, Any] = {
            "content": output.text,
            "tokens": list(output.new_tokens),
            "stop": output.finish_reason is not None,
            "index": 0,
            "id_slot": 0,
        }
        if self.body.n_probs:
            entries = chat_logprobs(
                self.context.model.tokenizer, shown_logprobs(output), self.body.n_probs
            )
            document["completion_probabilities"] = entries
        if output.finish_reason is not None and output.usage is not None:
            kind = (
                "limit"
                if output.finish_reason == "length"
                else "word"
                if isinstance(output.stop, str)
                else "eos"
            )
            document |= {
                "model": self.context.name,
                "stop_type": kind,
                "stopping_word": output.stop if isinstance(output.stop, str) else "",
                "truncated": False,
                "tokens_evaluated": output.usage.prompt_tokens,
                "tokens_cached": output.usage.cached_tokens,
                "tokens_predicted": output.usage.completion_tokens,
                "timings": timings([output.usage]),
            }
        return document

    async def events(self) -> AsyncIterator[bytes]:
        async for output, is_stopped in self.outputs:
            yield event(self._stopped() if is_stopped else self._document(output))

    async def whole(self) -> dict[str, Any]:
        text, probabilities, tokens = "", [], []
        document: dict[str, Any] = {}
        async for output, is_stopped in self.outputs:
            if is_stopped:
                return self._stopped()
            document = self._document(output)
            text += document["content"]
            tokens += document["tokens"]
            probabilities += document.get("completion_probabilities", [])
        document |= {"content": text, "tokens": tokens}
        return document | ({"completion_probabilities": probabilities} if self.body.n_probs else {})


ROUTES = (
    RouteEntry("GET", "/props", props),
    RouteEntry(
        "POST",
        "/completion",
        completion,
        LlamaCompletionBody,
        "Continue a text (llama-server)",
    ),
)
