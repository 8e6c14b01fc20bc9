"""The chat template of Nemotron-Mini-4B-Instruct:

    <extra_id_0>System
    {system}

    <tool> {...} </tool>
    <context> ... </context>

    <extra_id_1>User
    {prompt}
    <extra_id_1>Assistant
    <toolcall> {"name": ..., "arguments": {...}} </toolcall>
    <extra_id_1>Tool
    {result}
    <extra_id_1>Assistant

Every system message goes to the top. A turn ends with `</s>` or with the next `<extra_id_1>`; the
newline before it is cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.text.call_forms import TOOLCALL_FORM
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

_SPEAKERS = {"user": "User", "assistant": "Assistant", "tool": "Tool"}


class NemotronChatTemplate(ChatTemplate):
    name = "nemotron"
    call_form = TOOLCALL_FORM

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        markers = [tokenizer.marker_id(text) for text in ("</s>", "<extra_id_1>", "<extra_id_0>")]
        ids = dict.fromkeys(
            [*tokenizer.eos_ids, *(token for token in markers if token is not None)]
        )
        self.stops = Stops(tuple(ids), ("<extra_id_1>", "<extra_id_0>"))

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        contexts: Sequence[Context] | None = None,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        turns = checked(messages)
        last_user = last_user_index(turns)
        parts = [PromptPart("<extra_id_0>System", True)]
        for i, message in enumerate(turns):
            if message["role"] == "system":
                parts += [
                    PromptPart("\n"),
                    PromptPart(
                        content_of(message).strip(), origin=origin_of(message, i, last_user)
                    ),
                ]
                if tools or contexts:
                    parts.append(PromptPart("\n"))
        blocks = (
            (self._tools(tools or []), "tools"),
            (self._contexts(contexts or [], bool(tools)), "documents"),
        )
        for block, origin in blocks:
            parts += [
                PromptPart(text, origin=origin if is_data else "template")  # type: ignore[arg-type]
                for text, is_data in block
            ]
        parts.append(PromptPart("\n\n"))
        for i, message in enumerate(turns):
            if message["role"] != "system":
                parts += self._turn(message, origin_of(message, i, last_user))
        if add_generation_prompt:
            parts.append(PromptPart("<extra_id_1>Assistant\n", True))
        return Prompt(tuple(part for part in parts if part.text))

    @staticmethod
    def _tools(tools: Sequence[Mapping[str, Any]]) -> list[tuple[str, bool]]:
        pieces = []
        for tool in tools:
            pieces += [
                ("\n<tool> ", False),
                (json.dumps(tool, ensure_ascii=False), True),
                (" </tool>", False),
            ]
        return pieces

    @staticmethod
    def _contexts(contexts: Sequence[Context], follows_tools: bool) -> list[tuple[str, bool]]:
        pieces = [("\n", False)] if contexts and follows_tools else []
        for text in map(context_text, contexts):
            pieces += [("\n<context> ", False), (text.strip(), True), (" </context>", False)]
        return pieces

    @staticmethod
    def _turn(message: Message, origin: Origin) -> list[PromptPart]:
        parts = [PromptPart(f"<extra_id_1>{_SPEAKERS[message['role']]}\n", True)]
        text = content_of(message).strip()
        calls = [
            f"<toolcall> {write_call(*call)} </toolcall>" for call in calls_of_message(message)
        ]
        return [
            *parts,
            PromptPart("\n".join([text, *calls] if text else calls or [""]), origin=origin),
            PromptPart("\n"),
        ]

    def clean(self, text: str) -> str:
        """Checkpoints begin with one space under some runtimes and end with the newline before the
        next marker.
        """
        return text.removeprefix(" ").rstrip("\n").rstrip()
