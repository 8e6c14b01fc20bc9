"""Checkpoints with several chat templates: the default, one called `tool_use` for when tools are
given, and others by name.

That is transformers' rule (`get_chat_template`, 5.24) and llama.cpp's. Templates by other names are
taken on request alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from understudy.errors import TemplateError
from understudy.text.templates.base import ChatTemplate, Context, Message, Prompt, Stops
from understudy.text.tokenizer import Tokenizer
from understudy.text.toolcalls import ParsedCall

TOOL_USE = "tool_use"


class NamedChatTemplates(ChatTemplate):
    """`default` for conversations without tools, `tool_use` for those with; either may be
    missing.
    """

    def __init__(
        self, tokenizer: Tokenizer, default: ChatTemplate | None, tool_use: ChatTemplate | None
    ) -> None:
        super().__init__(tokenizer)
        self._default, self._tool_use = default, tool_use
        known = [template for template in (default, tool_use) if template is not None]
        self.name = known[0].name if known else "named"
        ids = [token for template in known for token in template.stops.token_ids]
        strings = [text for template in known for text in template.stops.strings]
        self.stops = Stops(tuple(dict.fromkeys(ids)), tuple(dict.fromkeys(strings)))
        self.call_form = known[-1].call_form if known else None

    @property
    def source(self) -> str:
        return "\n".join(one.source for one in (self._default, self._tool_use) if one is not None)

    def with_variables(
        self, variables: Mapping[str, Any], *, thinking: bool | None = None
    ) -> NamedChatTemplates:
        default, tool_use = (
            None if one is None else one.with_variables(variables, thinking=thinking)
            for one in (self._default, self._tool_use)
        )
        return NamedChatTemplates(self.tokenizer, default, tool_use)

    def _for(self, has_tools: bool) -> ChatTemplate:
        chosen = self._tool_use if has_tools and self._tool_use is not None else self._default
        if chosen is None:
            raise TemplateError(
                "the checkpoint has chat templates by name, and none for this conversation",
                expected="default" if not has_tools else f"default or {TOOL_USE}",
                found=" ".join(sorted(self.tokenizer.named_templates)),
                do="give tools, choose a template by its name, or use a completion",
            )
        return chosen

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        contexts: Sequence[Context] | None = None,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        return self._for(bool(tools)).render(
            messages, tools=tools, contexts=contexts, add_generation_prompt=add_generation_prompt
        )

    def tool_result(self, content: str) -> Prompt:
        return self._for(True).tool_result(content)

    def parse(
        self, text: str, names: Collection[str] | None = None
    ) -> tuple[str, list[ParsedCall]]:
        return self._for(True).parse(text, names)

    def clean(self, text: str) -> str:
        return self._for(True).clean(text)
