"""The checkpoint's own chat template, in a sandbox, with what transformers gives such templates.

Every string that is data goes in behind a sentinel and is put back afterwards, so that the output falls apart into markup and
data: a marker inside a message stays plain text even here. A template that changes the sentinels (it measures, slices or trims
content) is rendered a second time with the data as they are; then markers in data are told apart by counting: a marker that
the data hold is refused.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from jinja2 import TemplateError as JinjaError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from understudy.errors import TemplateError
from understudy.text.dialects.base import (
    Dialect,
    Message,
    Origin,
    Part,
    Prompt,
    Stops,
    checked,
    content_of,
    last_user_index,
    origin_of,
)
from understudy.text.tokenizer import Tokenizer
from understudy.text.toolcalls import calls_of_message

MAX_RANGE = 10_000
_SENTINEL = re.compile("\ue000(\\d+)\ue001")


class JinjaDialect(Dialect):
    name = "jinja"
    call_open, call_close = "<tool_call>", "</tool_call>"

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        if not tokenizer.chat_template:
            raise TemplateError("the checkpoint has no chat template", do="use a completion instead of messages")
        try:
            self._template = _environment().from_string(tokenizer.chat_template)
        except JinjaError as error:
            raise TemplateError(f"the chat template cannot be read ({error})") from error
        turn_ends = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>")
        ends = [tokenizer.marker_id(text) for text in turn_ends]
        self.stops = Stops(tuple(dict.fromkeys([*tokenizer.eos_ids, *(token for token in ends if token is not None)])))

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        contexts: Sequence[str] | None = None,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        turns = checked(messages)
        last_user = last_user_index(turns)
        data: list[tuple[str, Origin]] = []

        def hide(text: str, origin: Origin) -> str:
            data.append((text, origin))
            return f"\ue000{len(data) - 1}\ue001"

        hidden = [self._hidden(m, origin_of(m, i, last_user), hide) for i, m in enumerate(turns)]
        passages = [hide(text, "documents") for text in contexts or []]
        out = self._run(hidden, tools, passages, add_generation_prompt)
        found = _SENTINEL.findall(out)
        if sorted(map(int, found)) == list(range(len(data))) and not tools:
            return _assembled(out, data)
        return self._checked_by_counting(turns, tools, contexts, add_generation_prompt)

    @staticmethod
    def _hidden(message: Message, origin: Origin, hide: Any) -> dict[str, Any]:
        text = content_of(message)
        return {**message, "content": hide(text.strip(), origin) if text.strip() else text}

    def _checked_by_counting(
        self, turns: Sequence[Message], tools: Any, contexts: Sequence[str] | None, add_generation_prompt: bool
    ) -> Prompt:
        texts = [content_of(m) for m in turns] + list(contexts or []) + [json.dumps(list(tools or []), ensure_ascii=False)]
        texts += [json.dumps(list(calls_of_message(m)), ensure_ascii=False) for m in turns]
        for text in texts:
            for marker in self.tokenizer.markers:
                if marker in text:
                    raise TemplateError("a control marker stands in the data, and this template changes what it is given",
                                        found=marker, do="remove the marker from the text")  # fmt: skip
        plain = [{**m, "content": content_of(m)} for m in turns]
        return Prompt((Part(self._run(plain, tools, list(contexts or []), add_generation_prompt), True),))

    def _run(self, messages: Any, tools: Any, contexts: Any, add_generation_prompt: bool) -> str:
        def token(id: int | None) -> str:
            return self.tokenizer.id_to_piece(id) if id is not None else ""

        try:
            return self._template.render(
                messages=messages, tools=list(tools) if tools else None, contexts=contexts or None, documents=contexts or None,
                add_generation_prompt=add_generation_prompt, bos_token=token(self.tokenizer.bos_id),
                eos_token=token(next(iter(self.tokenizer.eos_ids), None)), pad_token=token(self.tokenizer.pad_id),
            )  # fmt: skip
        except TemplateError:
            raise
        except Exception as error:  # a template can raise anything
            raise TemplateError(f"the chat template failed ({type(error).__name__}: {error})") from error


def _assembled(out: str, data: Sequence[tuple[str, Origin]]) -> Prompt:
    parts: list[Part] = []
    at = 0
    for match in _SENTINEL.finditer(out):
        text, origin = data[int(match[1])]
        parts += [Part(out[at : match.start()], True), Part(text, origin=origin)]
        at = match.end()
    return Prompt(tuple(part for part in [*parts, Part(out[at:], True)] if part.text))


def _environment() -> Environment:
    """As transformers sets it up (utils/chat_template_utils.py), with ranges kept short."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])

    def to_json(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def refuse(message: object) -> None:
        raise TemplateError(f"the chat template refuses these messages: {message}")

    def short_range(*bounds: int) -> range:
        numbers = range(*bounds)
        if len(numbers) > MAX_RANGE:
            raise TemplateError("the chat template counts too far", expected=f"at most {MAX_RANGE}", found=len(numbers))
        return numbers

    environment.filters["tojson"] = to_json
    environment.globals |= {
        "raise_exception": refuse,
        "range": short_range,
        "strftime_now": lambda form: datetime.datetime.now().strftime(form),
    }
    return environment
