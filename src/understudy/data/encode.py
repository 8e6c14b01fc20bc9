"""A conversation as tokens with weights: what the assistant says is learnt, to the token that ends
its turn.

The prompt is rendered by the same chat template that serves, so that training and serving see the
same bytes. A turn's tokens weigh `len ** -0.5` of it, so that a long answer does not drown the
decision of a short call; with `is_even` each weighs 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.checkpoint.checkpoint import Checkpoint
from understudy.data.trees import Encoded
from understudy.errors import DocumentError, UsageError
from understudy.text import Tokenizer, open_tokenizer
from understudy.text.templates import ChatTemplate, chat_template_for

TURN_WEIGHT = 4.0  # of a turn of 16 tokens each weighs 1


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What a chat template is given, and which messages are learnt (None: all the assistant's)."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    contexts: Sequence[str] = ()
    learnt: Collection[int] | None = None
    kind: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class ConversationEncoder:
    """Renders and encodes; one for a model."""

    tokenizer: Tokenizer
    chat_template: ChatTemplate
    is_even: bool = False
    ends: frozenset[int] = field(default=frozenset())

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, chat_template: ChatTemplate, **more: Any
    ) -> ConversationEncoder:
        ends = frozenset((*chat_template.stops.token_ids, *tokenizer.eos_ids))
        return cls(tokenizer, chat_template, ends=ends, **more)

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint, **more: Any) -> ConversationEncoder:
        """With the checkpoint's own tokenizer and chat template.

        Raises:
            UsageError: it has no tokenizer.
        """
        if checkpoint.tokenizer_source is None:
            raise UsageError("a model without a tokenizer has no prompts", where=checkpoint.path)
        tokenizer = open_tokenizer(checkpoint.tokenizer_source)
        template = chat_template_for(checkpoint.spec.architecture, tokenizer)
        return cls.of(tokenizer, template, **more)

    def encode(self, conversation: Dialogue) -> Encoded:
        """Tokens and weights; what stands behind the last learnt turn is left out.

        Raises:
            DocumentError: the chat template rewrites earlier turns, so that no mask would be right.
            TemplateError: it refuses the messages.
        """
        messages = conversation.messages
        learnt = conversation.learnt
        if learnt is None:
            learnt = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
        if not learnt:
            raise DocumentError(
                "a conversation in which nothing is learnt", where=conversation.kind
            )
        last = max(learnt)
        ids = self._ids(conversation, last + 1, is_open=False)
        weights = [0.0] * len(ids)
        for i in sorted(learnt):
            start = len(self._prefix(conversation, i, ids))
            end = self._end_of(ids, start, conversation, i)
            length = end - start
            each = 1.0 if self.is_even else TURN_WEIGHT * max(1, length) ** -0.5
            weights[start:end] = [each * conversation.weight] * length
        end = max(i for i, weight in enumerate(weights) if weight) + 1
        return Encoded(tuple(ids[:end]), tuple(weights[:end]), conversation.kind)

    def _prefix(self, conversation: Dialogue, count: int, whole: list[int]) -> list[int]:
        before = self._ids(conversation, count, is_open=True)
        if whole[: len(before)] != before:
            raise DocumentError(
                "the chat template rewrites earlier turns: loss masks would be wrong",
                where=self.chat_template.name,
            )
        return before

    def _end_of(self, ids: list[int], start: int, conversation: Dialogue, i: int) -> int:
        """One behind the token that ends the turn: the first that stops an answer."""
        end = next((at + 1 for at in range(start, len(ids)) if ids[at] in self.ends), None)
        return end or len(self._ids(conversation, i + 1, is_open=False))

    def _ids(self, conversation: Dialogue, count: int, *, is_open: bool) -> list[int]:
        prompt = self.chat_template.render(
            conversation.messages[:count],
            tools=conversation.tools or None,
            contexts=conversation.contexts or None,
            add_generation_prompt=is_open,
        )
        return list(prompt.encode(self.tokenizer))
