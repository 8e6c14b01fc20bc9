"""Text on one side, tokens on the other: prompts of every kind become requests, and what the engine
gives becomes replies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.engine import Output, Request, as_ids
from understudy.errors import MissingError, UsageError
from understudy.generation.prepare import RequestLimits, make_request, sampling_params
from understudy.generation.reader import read_reply
from understudy.generation.reply import Reply, numbered
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
        rendered = {name: options.pop(name, None) for name in ("tools", "contexts")}
        given = {
            name: options.pop(name)
            for name in ("overflow", "make_mask", "priority")
            if name in options
        }
        params = options.pop("params", None)
        if params is not None and options:
            raise UsageError("give either params or single settings", found=", ".join(options))
        return make_request(
            self.encode(prompt, **rendered),
            params or sampling_params(options, self._limits),
            self._limits,
            stops=self.chat_template.stops if is_chat_prompt(prompt) else None,
            **given,
        )

    def reply(self, outputs: list[Output], is_chat: bool, may_call: bool) -> Reply:
        """The reply that the outputs of one answer make up.

        Args:
            is_chat: not the continuation of a text.
            may_call: tool calls are looked for.
        """
        last = outputs[-1]
        assert last.finish_reason is not None
        assert last.usage is not None
        raw = "".join(output.text for output in outputs)
        read = read_reply(self.chat_template, raw, None if may_call else ()) if is_chat else None
        calls = read.calls if read is not None else []
        return Reply(
            self.chat_template.clean(read.text) if read is not None else raw,
            last.finish_reason,
            (last.usage,),
            raw_text=raw,
            tokens=tuple(token for output in outputs for token in output.new_tokens),
            reasoning=read.reasoning if read is not None else "",
            logprobs=tuple(entry for output in outputs for entry in output.logprobs),
            prompt_logprobs=next(
                (o.prompt_logprobs for o in outputs if o.prompt_logprobs is not None), None
            ),
            tool_calls=tuple(numbered(calls)),
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
