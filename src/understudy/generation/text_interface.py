"""Text on one side, tokens on the other: prompts of every kind become requests, and what the engine
gives becomes replies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.engine import Output, Request, SamplingParams, as_ids
from understudy.errors import MissingError, UsageError
from understudy.generation.prepare import (
    MaskFactory,
    RequestLimits,
    make_request,
    sampling_params,
)
from understudy.generation.reader import StreamParser, read_reply
from understudy.generation.reply import Reply, numbered
from understudy.generation.thinking import (
    NO_THOUGHTS,
    Thinking,
    closed,
    starts_inside,
    thinking_mask,
)
from understudy.spec import ModelSpec
from understudy.text import Tokenizer
from understudy.text.templates import ChatTemplate, Message, Prompt, chat_template_for

PromptLike = str | Sequence[int] | Sequence[Message] | Prompt
"""A text to continue, its token ids, messages to answer, or a prompt that was rendered."""


class TextInterface:
    """Of one model.

    Args:
        tokenizer: None where the checkpoint has none; only token ids are prompts then.
        where: of the model, for errors.
    """

    def __init__(
        self, spec: ModelSpec, tokenizer: Tokenizer | None, limits: RequestLimits, where: Path
    ) -> None:
        self._tokenizer, self._limits, self._where = tokenizer, limits, where
        self._chat_template = (
            chat_template_for(spec.architecture, tokenizer) if tokenizer is not None else None
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """Raises:
        MissingError: the checkpoint has none.
        """
        if self._tokenizer is None:
            raise MissingError(
                "the checkpoint has no tokenizer",
                where=self._where,
                do="put its tokenizer.json or tokenizer.model into the folder",
            )
        return self._tokenizer

    @property
    def chat_template(self) -> ChatTemplate:
        """Raises:
        MissingError: the checkpoint has no tokenizer.
        """
        _ = self.tokenizer
        assert self._chat_template is not None
        return self._chat_template

    def encode(
        self,
        prompt: PromptLike,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        contexts: Sequence[str] | None = None,
    ) -> list[int]:
        """See `Model.encode_prompt`."""
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt, markers=True, add_special=True)
        if isinstance(prompt, Prompt):
            return prompt.encode(self.tokenizer)
        if not is_chat_prompt(prompt):
            return as_ids(prompt)  # type: ignore[arg-type]
        messages: Sequence[Message] = prompt  # type: ignore[assignment]
        rendered = self.chat_template.render(messages, tools=tools, contexts=contexts)
        return rendered.encode(self.tokenizer)

    def request(self, prompt: PromptLike, options: dict[str, Any]) -> Request:
        """A request with options of `Model.generate`; those that are taken leave `options`.

        Raises:
            UsageError: an unknown option, or one out of range.
            ContextError: prompt and answer do not fit.
        """
        may_call = may_hold_calls(prompt, options) or options.get("make_mask") is not None
        rendered = {name: options.pop(name, None) for name in ("tools", "contexts")}
        thinking = Thinking(*(options.pop(name, None) for name in ("thinking", "reasoning_budget")))
        given: dict[str, Any] = {
            name: options.pop(name)
            for name in ("overflow", "make_mask", "priority")
            if name in options
        }
        params = options.pop("params", None)
        if params is not None and options:
            raise UsageError("give either params or single settings", found=", ".join(options))
        params = params or sampling_params(options, self._limits)
        if not is_chat_prompt(prompt):
            return make_request(self.encode(prompt), params, self._limits, **given)
        return self._chat_request(prompt, rendered, thinking, params, given, may_call)

    def _chat_request(
        self,
        prompt: PromptLike,
        rendered: Mapping[str, Any],
        thinking: Thinking,
        params: SamplingParams,
        given: dict[str, Any],
        may_call: bool,
    ) -> Request:
        mask: MaskFactory | None = given.pop("make_mask", None)
        if mask is not None and thinking == Thinking():
            thinking = NO_THOUGHTS  # what a grammar asks for is wanted at once
        template = thinking.template_of(self.chat_template)
        if not isinstance(prompt, Prompt):
            messages: Sequence[Message] = prompt  # type: ignore[assignment]
            prompt = template.render(messages, **rendered)
        prompt = closed(template, prompt, thinking)
        mask = thinking_mask(template, prompt, mask, thinking)
        return make_request(
            prompt.encode(self.tokenizer),
            params,
            self._limits,
            stops=template.stops,
            shown=template.shown_tokens(may_call=may_call),
            thinks=starts_inside(template, prompt),
            make_mask=mask,
            **given,
        )

    def asked(
        self, prompt: PromptLike, options: dict[str, Any]
    ) -> tuple[Request, Callable[[list[Output]], Reply]]:
        """As `request`, and what makes a reply of the outputs of one of its answers."""
        is_chat, may_call = is_chat_prompt(prompt), may_hold_calls(prompt, options)
        request = self.request(prompt, options)
        template = self._chat_template if is_chat else None
        tools = None if may_call else ()

        def read(outputs: list[Output]) -> Reply:
            raw = "".join(output.text for output in outputs)
            if template is None:
                return _reply(outputs, raw, None, raw)
            parser = read_reply(template, raw, tools, is_thinking=request.thinks)
            return _reply(outputs, raw, parser, template.clean(parser.text))

        return request, read


def _reply(outputs: list[Output], raw: str, read: StreamParser | None, text: str) -> Reply:
    last = outputs[-1]
    assert last.finish_reason is not None
    assert last.usage is not None
    return Reply(
        text,
        last.finish_reason,
        (last.usage,),
        raw_text=raw,
        tokens=tuple(token for output in outputs for token in output.new_tokens),
        reasoning=read.reasoning if read is not None else "",
        logprobs=tuple(entry for output in outputs for entry in output.logprobs),
        prompt_logprobs=next(
            (o.prompt_logprobs for o in outputs if o.prompt_logprobs is not None), None
        ),
        tool_calls=tuple(numbered(read.calls if read is not None else [])),
    )


def is_chat_prompt(prompt: PromptLike) -> bool:
    """Whether the model is asked for an answer, not for the continuation of a text."""
    if isinstance(prompt, str | Prompt):
        return isinstance(prompt, Prompt)
    return len(prompt) > 0 and isinstance(prompt[0], Mapping)


def may_hold_calls(prompt: PromptLike, options: Mapping[str, Any]) -> bool:
    """Whether a reply may hold calls: tools are given, or stand in a prompt that was rendered."""
    if isinstance(prompt, Prompt):
        return any(part.origin == "tools" for part in prompt.parts)
    return bool(options.get("tools"))
