"""No template at all: base models. The texts of the messages stand one under the other, and the
model goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.text.templates.base import (
    ChatTemplate,
    Context,
    Message,
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


class PlainChatTemplate(ChatTemplate):
    name = "plain"
    note = "no chat template: the model goes on with the texts of the messages"

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self.stops = Stops(tokenizer.eos_ids)

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
        parts = [
            PromptPart(text.strip() + "\n", origin="documents")
            for text in map(context_text, contexts or [])
        ]
        for i, message in enumerate(turns):
            is_last = i + 1 == len(turns)
            parts.append(
                PromptPart(
                    content_of(message) + ("" if is_last else "\n"),
                    origin=origin_of(message, i, last_user),
                )
            )
        return Prompt(tuple(part for part in parts if part.text))
