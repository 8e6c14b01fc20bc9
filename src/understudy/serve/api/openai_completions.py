"""`/v1/completions`: texts continued, with the prompt's own log-probabilities where `echo` asks for
them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.responses import Response

from understudy.engine import Output
from understudy.generation.prepare import PreparedRequest, answer_mask
from understudy.model import Model
from understudy.serve.answers import admit
from understudy.serve.api.bodies import (
    Penalty,
    Probability,
    ResponseFormat,
    Samplers,
    Seed,
    Several,
    Stop,
    StreamOptions,
    Temperature,
    answer_of,
    bias_of,
    sampled,
    stops_of,
    usage_to_come,
)
from understudy.serve.api.openai_chat import timings, usage_document
from understudy.serve.content import Outputs
from understudy.serve.errors import ApiError, unsupported
from understudy.serve.events import event, respond
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import RequestContext, with_model
from understudy.serve.texts import checked_texts, encode_text, prepare_text
from understudy.serve.tokens import CompletionLogprobs, shown_logprobs


class CompletionsBody(Samplers):
    model: str | None = None
    prompt: str | Several[str] | Several[int] | Several[Several[int]]
    best_of: Annotated[int, Field(ge=1, le=128)] | None = None
    echo: bool | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: Annotated[int, Field(ge=0, le=100)] | None = None
    max_tokens: Annotated[int, Field(ge=0, le=1 << 30)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    seed: Seed | None = None
    stop: Stop = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: Literal[""] | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    user: str | None = None
    response_format: ResponseFormat | None = None


DEFAULT_TOKENS = 16  # OpenAI's


@with_model(CompletionsBody)
async def completions(context: RequestContext, body: CompletionsBody) -> Response:
    max_choices = context.server.settings.max_choices
    if body.best_of not in (None, body.n or 1):
        raise unsupported("best_of", "only as many answers are made as are returned (n)")
    num_prompts = (
        len(body.prompt)
        if isinstance(body.prompt, list) and body.prompt and not isinstance(body.prompt[0], int)
        else 1
    )
    if num_prompts * (body.n or 1) > max_choices:
        raise ApiError(
            400,
            f"prompt: at most {max_choices} answers a request",
            param="prompt",
            code="invalid_value",
        )
    prepared = await asyncio.to_thread(_prepare, context, body)
    n, texts = body.n or 1, _texts(context.model, body)
    outputs = [
        await admit(context, one, [text], i * n)
        for i, (one, text) in enumerate(zip(prepared, texts, strict=True))
    ]
    writer = _Completion(context, body, prepared, outputs)
    return await (
        respond(context, events=writer.events())
        if body.stream
        else respond(context, whole=writer.whole())
    )


def _prepare(context: RequestContext, body: CompletionsBody) -> list[PreparedRequest]:
    model = context.model
    sampling = (
        sampled(body)
        | body.repetition_sampling()
        | {
            "max_tokens": DEFAULT_TOKENS if body.max_tokens is None else max(1, body.max_tokens),
            "stop": stops_of(body.stop),
            "logit_bias": bias_of(body.logit_bias),
            "logprobs": body.logprobs,
            "prompt_logprobs": body.logprobs if body.echo else None,
        }
    )
    mask = answer_mask(model.tokenizer, answer_of(body.response_format, body.grammar))
    prompts = _prompts(model, body)
    overflow = body.overflow or "refuse"
    return [
        prepare_text(context, tokens, sampling, overflow=overflow, make_mask=mask)
        for tokens in prompts
    ]


def _texts(model: Model, body: CompletionsBody) -> list[str]:
    """The prompts as texts, for the guard."""
    if isinstance(body.prompt, str):
        return [body.prompt]
    prompts = [body.prompt] if isinstance(body.prompt[0], int) else body.prompt
    return [
        one
        if isinstance(one, str)
        else model.tokenizer.decode([int(t) for t in one], skip_special=True)
        for one in prompts
    ]


def _prompts(model: Model, body: CompletionsBody) -> list[list[int]]:
    """Token ids of each prompt; a text gets the checkpoint's opening token, ids are taken as they
    are.
    """
    prompt = body.prompt
    if isinstance(prompt, str):
        return [encode_text(model, prompt)]
    if not prompt:
        raise ApiError(400, "prompt: is empty", param="prompt", code="invalid_value")
    if isinstance(prompt[0], int):
        return [[int(token) for token in prompt]]
    return [encode_text(model, one) for one in prompt]


class _Completion:
    """The answers to all prompts of one request: answer j of prompt i has index i * n + j."""

    def __init__(
        self,
        context: RequestContext,
        body: CompletionsBody,
        prepared: list[PreparedRequest],
        outputs: list[Outputs],
    ) -> None:
        self.context, self.body, self.n = context, body, body.n or 1
        self.prepared, self.outputs = prepared, outputs
        self.head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": context.name,
            "system_fingerprint": context.model.fingerprint,
            **(usage_to_come(body.stream_options) if body.stream else {}),
        }

    async def _choices(self) -> AsyncIterator[dict[str, Any]]:
        """What each output adds to its choice."""
        for i, (prepared, outputs) in enumerate(zip(self.prepared, self.outputs, strict=True)):
            writers = [
                _Choice(self.context.model, self.body, list(prepared.request.prompt))
                for _ in range(self.n)
            ]
            form = answer_of(self.body.response_format, self.body.grammar)
            async for output, is_stopped in checked_texts(self.context, prepared, outputs, form):
                if is_stopped:
                    stop = {"text": "", "logprobs": None, "finish_reason": "content_filter"}
                    place = i * self.n + output.index
                    yield {"index": place, **stop, "guard": self.context.stops[place].to_document()}
                elif (choice := writers[output.index].write(output)) is not None:
                    yield {"index": i * self.n + output.index, **choice}

    async def events(self) -> AsyncIterator[bytes]:
        async for choice in self._choices():
            yield event({**self.head, "choices": [choice]})
        if self.body.stream_options is not None and self.body.stream_options.include_usage:
            yield event(
                {
                    **self.head,
                    "choices": [],
                    "usage": usage_document(self.context),
                    "timings": timings(self.context.usages),
                }
            )
        yield event("[DONE]")

    async def whole(self) -> dict[str, Any]:
        choices: list[dict[str, Any]] = [
            {"index": i, "text": "", "logprobs": None, "finish_reason": None}
            for i in range(len(self.outputs) * self.n)
        ]
        async for choice in self._choices():
            known = choices[choice["index"]]
            known["text"] += choice["text"]
            known["finish_reason"] = choice["finish_reason"]
            if "guard" in choice:
                known |= {"text": "", "logprobs": None, "guard": choice["guard"]}
            if choice["logprobs"] is not None:
                known["logprobs"] = known["logprobs"] or {name: [] for name in choice["logprobs"]}
                for name, values in choice["logprobs"].items():
                    known["logprobs"][name] += values
        return {
            **self.head,
            "choices": choices,
            "usage": usage_document(self.context),
            "timings": timings(self.context.usages),
        }


class _Choice:
    """One answer, piece by piece."""

    def __init__(self, model: Model, body: CompletionsBody, prompt: list[int]) -> None:
        self.model, self.body, self.prompt = model, body, prompt
        self.logprobs = CompletionLogprobs(model.tokenizer, body.logprobs or 0)
        self.is_first = True

    def write(self, output: Output) -> dict[str, Any] | None:
        text, logprobs = "", None
        if self.is_first and self.body.echo:
            text = (
                self.model.tokenizer.decode(self.prompt, skip_special=True)
                if not isinstance(self.body.prompt, str)
                else self.body.prompt
            )
            if self.body.logprobs is not None:
                entries = output.prompt_logprobs or (None,) * len(self.prompt)
                logprobs = self.logprobs.write(entries, self.prompt)
        self.is_first = False
        if self.body.max_tokens != 0:
            text += output.text
            if self.body.logprobs is not None:
                shown = shown_logprobs(output)
                more = self.logprobs.write(shown, [entry.token for entry in shown])
                logprobs = (
                    more
                    if logprobs is None
                    else {name: logprobs[name] + more[name] for name in more}
                )
        finish = (
            None
            if output.finish_reason is None
            else "length"
            if output.finish_reason == "length"
            else "stop"
        )
        has_news = text or finish or (logprobs is not None and logprobs["tokens"])
        return {"text": text, "logprobs": logprobs, "finish_reason": finish} if has_news else None


ROUTES = (
    RouteEntry(
        "POST",
        "/v1/completions",
        completions,
        CompletionsBody,
        "Continue texts (OpenAI)",
    ),
)
