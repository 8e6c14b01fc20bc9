"""ChatML, as SmolLM2 and Qwen2.5 use it:

    <|im_start|>system
    {system}<|im_end|>
    <|im_start|>user
    {prompt}<|im_end|>
    <|im_start|>assistant

Where a conversation has no system message the checkpoint's template supplies its default. Tools are
announced in the system turn and called in `<tool_call>` tags (the form of Hermes and Qwen);
documents stand there too, as in NVIDIA's form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.text.call_forms import TOOL_CALL_FORM
from understudy.text.templates.base import (
    ChatTemplate,
    Context,
    Message,
    Origin,
    Prompt,
    PromptPart,
    Stops,
    checked,
    content_of,
    context_text,
    last_user_index,
    origin_of,
)
from understudy.text.tokenizer import Tokenizer
from understudy.text.toolcalls import calls_of_message, write_call

_TOOLS_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_TOOLS_AFTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


class ChatmlChatTemplate(ChatTemplate):
    name = "chatml"
    call_form = TOOL_CALL_FORM

    def __init__(self, tokenizer: Tokenizer, template: str | None = None) -> None:
        super().__init__(tokenizer)
        end = tokenizer.marker_id("<|im_end|>")
        ids = dict.fromkeys([*tokenizer.eos_ids, *([end] if end is not None else [])])
        self.stops = Stops(tuple(ids), ("<|im_end|>", "<|im_start|>"))
        self._takes_any_role = template is not None  # as a template itself does
        self.default_system = _default_system(template or tokenizer.chat_template)

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        contexts: Sequence[Context] | None = None,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        turns = checked(messages, roles=None) if self._takes_any_role else checked(messages)
        if (not turns or turns[0]["role"] != "system") and (
            self.default_system or tools or contexts
        ):
            default = {"role": "system", "content": self.default_system, "origin": "template"}
            turns = [default, *turns]
        last_user = last_user_index(turns)
        parts: list[PromptPart] = []
        for i, message in enumerate(turns):
            origin = origin_of(message, i, last_user)
            is_tool = message["role"] == "tool"
            continues = is_tool and i > 0 and turns[i - 1]["role"] == "tool"
            if not continues:
                parts.append(
                    PromptPart(f"<|im_start|>{'user' if is_tool else message['role']}", True)
                )
            if is_tool:
                parts += [
                    PromptPart("\n<tool_response>\n", True),
                    PromptPart(content_of(message), origin=origin),
                    PromptPart("\n</tool_response>", True),
                ]
            else:
                parts += [PromptPart("\n", True), *self._content(message, origin)]
            if i == 0 and message["role"] == "system":
                parts += announcements(bool(content_of(message)), tools or [], contexts or [])
            if not (is_tool and i + 1 < len(turns) and turns[i + 1]["role"] == "tool"):
                parts.append(PromptPart("<|im_end|>\n", True))
        if add_generation_prompt:
            parts.append(PromptPart("<|im_start|>assistant\n", True))
        return Prompt(tuple(part for part in parts if part.text))

    @staticmethod
    def _content(message: Message, origin: Origin) -> list[PromptPart]:
        parts = [PromptPart(content_of(message), origin=origin)]
        for i, call in enumerate(calls_of_message(message)):
            line = "\n" if i or parts[0].text else ""
            parts += [
                PromptPart(f"{line}<tool_call>\n", True),
                PromptPart(write_call(*call), origin=origin),
                PromptPart("\n</tool_call>", True),
            ]
        return parts


def announcements(
    has_text: bool, tools: Sequence[Mapping[str, Any]], contexts: Sequence[Context]
) -> list[PromptPart]:
    """What stands in a system message about tools and documents."""
    parts: list[PromptPart] = []
    if tools:
        parts += [PromptPart(("\n\n" if has_text else "") + _TOOLS_BEFORE, True)]
        for tool in tools:
            parts += [
                PromptPart("\n", True),
                PromptPart(json.dumps(tool, ensure_ascii=False), origin="tools"),
            ]
        parts += [PromptPart(_TOOLS_AFTER, True)]
    for i, text in enumerate(map(context_text, contexts)):
        blank = "\n\n" if i == 0 and (has_text or tools) else "\n" if i else ""
        parts += [
            PromptPart(f"{blank}<context> ", True),
            PromptPart(text.strip(), origin="documents"),
            PromptPart(" </context>", True),
        ]
    return parts


def _default_system(template: str | None) -> str:
    """The system text that a checkpoint's template puts in where there is none (SmolLM2,
    Qwen2.5).
    """
    match = re.search(r"<\|im_start\|>system(?:\\n|\n)([^'\"{]*?)<\|im_end\|>", template or "")
    return match[1].replace("\\n", "\n") if match else ""
