"""Chat templates: how messages become a prompt that a checkpoint was trained on, and how its tool
calls are read back.

To add one: `text/chat templates/<name>.py` with a class like the others, and a line in
`CHAT_TEMPLATES`.
"""

from __future__ import annotations

from collections.abc import Callable

from understudy.errors import TemplateError
from understudy.text.templates.base import ChatTemplate, Message, Prompt, PromptPart, Stops
from understudy.text.templates.chatml import ChatmlChatTemplate
from understudy.text.templates.jinja import JinjaChatTemplate
from understudy.text.templates.named import TOOL_USE, NamedChatTemplates
from understudy.text.templates.nemotron import NemotronChatTemplate
from understudy.text.templates.plain import PlainChatTemplate
from understudy.text.tokenizer import Tokenizer
from understudy.text.toolcalls import ParsedCall

CHAT_TEMPLATES: dict[str, Callable[[Tokenizer], ChatTemplate]] = {
    "nemotron": NemotronChatTemplate,
    "chatml": ChatmlChatTemplate,
    "jinja": JinjaChatTemplate,
    "plain": PlainChatTemplate,
}


def chat_template_for(
    architecture: str, tokenizer: Tokenizer, template: str | None = None
) -> ChatTemplate:
    """The chat template that fits a checkpoint: Nemotron's own, ChatML, the checkpoint's template,
    or none.

    ChatML is taken where the template writes the same as it on a few conversations; its tools and
    documents come on top.

    Args:
        template: instead of the tokenizer's.

    Raises:
        TemplateError: the template cannot be read.
    """
    if template is None and tokenizer.named_templates:
        return _named(architecture, tokenizer)
    template = tokenizer.chat_template or "" if template is None else template
    has_nemotron_markers = (
        tokenizer.marker_id("<extra_id_0>") is not None
        and tokenizer.marker_id("<extra_id_1>") is not None
    )
    if has_nemotron_markers and (architecture == "nemotron" or "<extra_id_1>" in template):
        return NemotronChatTemplate(tokenizer)
    if not template:
        return (
            ChatmlChatTemplate(tokenizer)
            if tokenizer.marker_id("<|im_start|>") is not None
            else PlainChatTemplate(tokenizer)
        )
    own = JinjaChatTemplate(tokenizer, template)
    if tokenizer.marker_id("<|im_start|>") is not None and own.reasoning is None:
        chatml = ChatmlChatTemplate(tokenizer, template)
        if _write_the_same(chatml, own, knows_tools="tools" in template):
            return chatml
    return own


def _named(architecture: str, tokenizer: Tokenizer) -> ChatTemplate:
    default, tool_use = tokenizer.chat_template, tokenizer.named_templates.get(TOOL_USE)
    return NamedChatTemplates(
        tokenizer,
        None if default is None else chat_template_for(architecture, tokenizer, default),
        None if tool_use is None else chat_template_for(architecture, tokenizer, tool_use),
    )


_SYSTEM, _USER, _REPLY = (
    {"role": role, "content": text}
    for role, text in (("system", "s"), ("user", "u"), ("assistant", "a"))
)
_TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "d",
        "parameters": {"type": "object", "properties": {}},
    },
}
_CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}],
}
_PROBES: tuple[tuple[list[Message], list[Message] | None], ...] = (
    ([_USER], None),
    ([_SYSTEM, _USER], None),
    ([_USER, _REPLY, _USER], None),
    ([_SYSTEM, _USER], [_TOOL]),
    ([_USER, _CALL, {"role": "tool", "content": "r"}, {"role": "tool", "content": "r"}], [_TOOL]),
)


def _write_the_same(one: ChatTemplate, other: ChatTemplate, knows_tools: bool) -> bool:
    try:
        return all(
            one.render(messages, tools=tools).text == other.render(messages, tools=tools).text
            for messages, tools in _PROBES
            if knows_tools or tools is None
        )
    except TemplateError:
        return False


__all__ = [
    "CHAT_TEMPLATES",
    "ChatTemplate",
    "JinjaChatTemplate",
    "Message",
    "ParsedCall",
    "Prompt",
    "PromptPart",
    "Stops",
    "chat_template_for",
]
