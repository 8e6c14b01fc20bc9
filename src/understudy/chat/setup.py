"""What a session was given. An exchange keeps to one setup, whatever is changed meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.chat.settings import Approve, SessionSettings
from understudy.chat.sources import ActiveCharacter, Documents
from understudy.generation.moderation import TextGuard
from understudy.generation.thinking import Thinking
from understudy.generation.tools import Tool
from understudy.model import Model
from understudy.text.templates import ChatTemplate


@dataclass(frozen=True, slots=True)
class SessionSetup:
    """See `Session`. `texts` stand in every prompt, `character` is in play."""

    model: Model
    settings: SessionSettings
    system: str = ""
    tools: tuple[Tool, ...] = ()
    texts: tuple[str, ...] = ()
    documents: Documents | None = None
    character: ActiveCharacter | None = None
    guard: TextGuard | None = None
    approve: Approve | None = None

    @property
    def context(self) -> int:
        """Tokens of prompt and answer."""
        return min(self.settings.context or self.model.context, self.model.context)

    @property
    def chat_template(self) -> ChatTemplate:
        """The model's, with thoughts switched as the settings say."""
        thinking = Thinking(self.settings.thinking, self.settings.reasoning_budget)
        return thinking.template_of(self.model.chat_template)

    @property
    def is_grounded(self) -> bool:
        """Whether answers must quote the documents."""
        if self.documents is None or self.settings.grounded is not None:
            return bool(self.settings.grounded) and self.documents is not None
        return not self.tools and self.character is None

    @property
    def repeats_question(self) -> bool:
        """Whether the question is asked once more behind the results of tools."""
        if self.settings.repeats_question is not None:
            return self.settings.repeats_question
        chat_template, template = self.model.chat_template, self.model.tokenizer.chat_template or ""
        return chat_template.name != "nemotron" and "tool" not in template

    def sampling(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options of `Model.generate` for one reply, its limit of tokens among them."""
        room = min(self.settings.reserve, self.context // 2)
        limit = options.get("max_tokens") or room
        sampling = {**options, "max_tokens": limit}
        if self.model.chat_template.reasoning is not None:
            budget = self.settings.reasoning_budget
            sampling |= {
                "thinking": self.settings.thinking,
                "reasoning_budget": limit // 2 if budget is None else budget,
            }
        if self.character is not None and self.settings.stops_at_speakers:
            given = options.get("stop") or ()
            own = (given,) if isinstance(given, str) else tuple(given)
            sampling["stop"] = (*own, *self.character.stops)
        return sampling
