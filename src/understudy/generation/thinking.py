"""Thoughts before an answer: switched on or off, held to a budget, and kept out of its grammar.

    template = Thinking(enabled=True).template_of(chat_template)
    mask = thinking_mask(template, prompt, inner=grammar, budget=256)

Between the marks of its template a model writes what it likes; the grammar of the answer begins
behind them. At the end of the budget the closing mark is written for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from understudy.engine.request import Mask, MaskFactory
from understudy.errors import UsageError
from understudy.text.templates import ChatTemplate, Prompt, PromptPart
from understudy.text.tokenizer import Marker, Tokenizer


@dataclass(frozen=True, slots=True)
class Thinking:
    """How an answer may be thought about.

    Attributes:
        enabled: None: as the template has it where nothing is said.
        budget: most tokens of thoughts; None: no bound of their own.
        variables: further ones of the chat template, under the names that it has for them.

    Raises:
        UsageError: a budget below 0.
    """

    enabled: bool | None = None
    budget: int | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.budget is not None and (type(self.budget) is not int or self.budget < 0):
            raise UsageError(
                "a budget of thoughts is a number of tokens",
                where="reasoning_budget",
                expected="0 or more",
                found=self.budget,
            )

    def template_of(self, chat_template: ChatTemplate) -> ChatTemplate:
        """The chat template with thoughts as they are asked for."""
        enabled = False if self.budget == 0 else self.enabled
        if not self.variables and enabled is None:
            return chat_template
        return chat_template.with_variables(self.variables, thinking=enabled)

    def notes_of(self, chat_template: ChatTemplate) -> tuple[str, ...]:
        """What of this the template has no place for."""
        is_asked = self.enabled or bool(self.budget)
        unknown = [name for name in self.variables if name not in chat_template.source]
        notes = [f"chat_template_kwargs: the template does not know {name}" for name in unknown]
        if is_asked and chat_template.reasoning is None:
            notes.append("thinking: the chat template of this model knows no thoughts")
        return tuple(notes)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an answer is: in its thoughts, behind them with `missing` to come before the answer,
    or in the answer, which begins at token `start`."""

    phase: Literal["thoughts", "gap", "answer"]
    start: int = 0
    missing: str = ""


class _Reader:
    """Follows the tokens of one answer through its thoughts."""

    def __init__(self, template: ChatTemplate, starts_inside: bool) -> None:
        assert template.reasoning is not None
        self._tokenizer, self._starts_inside = template.tokenizer, starts_inside
        self._opening, self._closing = (tag.encode() for tag in template.reasoning)
        self.gap = template.reasoning_gap
        first = _first_marker(template)
        self._first = b"" if first is None else first.text.encode()
        self._seen: list[int] = []
        self._data = bytearray()
        self._starts: list[int] = []  # of each token, in the bytes

    def read(self, generated: Sequence[int]) -> _Place:
        known = len(self._seen)
        if list(generated[:known]) != self._seen:
            self._seen, self._starts, known = [], [], 0
            self._data.clear()
        for token in generated[known:]:
            self._seen.append(token)
            self._starts.append(len(self._data))
            is_text = token < self._tokenizer.vocab_size
            self._data += self._tokenizer.token_bytes(token) if is_text else b""
        return self._place()

    def _place(self) -> _Place:
        begin = 0
        if not self._starts_inside:
            written = bytes(self._data.lstrip())
            if not written.startswith(self._opening):
                is_begun = self._first and written.startswith(self._first)
                is_begun = is_begun and self._opening.startswith(written)
                return _Place("thoughts" if is_begun else "answer")
            begin = len(self._data) - len(written) + len(self._opening)
        at = self._data.find(self._closing, begin)
        if at < 0:
            return _Place("thoughts")
        end, after = at + len(self._closing), self.gap[1].encode()
        rest = bytes(self._data[end:])
        same = next((i for i, (a, b) in enumerate(zip(rest, after, strict=False)) if a != b), None)
        if same is None and len(rest) < len(after):
            return _Place("gap", missing=after[len(rest) :].decode())
        behind = end + (len(after) if same is None else same)
        return _Place("answer", bisect_left(self._starts, behind))

    @property
    def text(self) -> bytes:
        return bytes(self._data)


class ThinkingMask:
    """See the module's docstring (the engine's `Mask` protocol).

    Args:
        starts_inside: the prompt ends inside of the thoughts.
        inner: of the answer behind them; None: it is free.
    """

    def __init__(
        self, template: ChatTemplate, inner: Mask | None, budget: int | None, starts_inside: bool
    ) -> None:
        self._reader = _Reader(template, starts_inside)
        self._tokenizer, self._inner, self._budget = template.tokenizer, inner, budget
        self._closing = template.reasoning[1] if template.reasoning is not None else ""
        first = _first_marker(template)
        self._opening_token = None if first is None else first.token
        self._is_answering = False

    def allowed(self, generated: Sequence[int]) -> NDArray[np.uint32] | None:
        place = self._reader.read(generated)
        if self._inner is None:
            return None
        if place.phase == "thoughts":
            return self._anything_but_ends()
        bits = self._inner.allowed(generated[place.start :] if place.phase == "answer" else [])
        may_open = self._opening_token is not None and not any(
            self._tokenizer.token_bytes(token).strip() for token in generated
        )
        if bits is None or not may_open or not self._may_think:
            return bits
        token = self._opening_token or 0
        bits[token // 32] |= np.uint32(1 << (token % 32))
        return bits

    @property
    def _may_think(self) -> bool:
        return self._budget is None or self._budget > 0

    def forced(self, generated: Sequence[int]) -> list[int]:
        place = self._reader.read(generated)
        self._is_answering = place.phase == "answer"
        if place.phase == "thoughts":
            is_spent = self._budget is not None and len(generated) >= self._budget
            return self._closed() if is_spent else []
        if self._inner is None:
            return []
        if place.phase == "gap":
            self._is_answering = True
            return _encoded(self._tokenizer, place.missing) + self._inner.forced([])
        may_think = self._opening_token is not None and not generated and self._may_think
        return [] if may_think else self._inner.forced(generated[place.start :])

    @property
    def is_finished(self) -> bool:
        return self._is_answering and self._inner is not None and self._inner.is_finished

    def _closed(self) -> list[int]:
        before, after = self._reader.gap
        before = "" if self._reader.text.endswith(before.encode()) else before
        tokens = _encoded(self._tokenizer, before + self._closing + after)
        self._is_answering = True
        return tokens + (self._inner.forced([]) if self._inner is not None else [])

    def _anything_but_ends(self) -> NDArray[np.uint32]:
        size = self._tokenizer.vocab_size
        bits = np.full(-(-size // 32), 0xFFFFFFFF, np.uint32)
        if size % 32:
            bits[-1] = (1 << (size % 32)) - 1
        for token in self._tokenizer.eos_ids:
            bits[token // 32] &= np.uint32(~(1 << (token % 32)) & 0xFFFFFFFF)
        return bits


def thinking_mask(
    template: ChatTemplate,
    prompt: Prompt,
    inner: MaskFactory | None,
    thinking: Thinking,
) -> MaskFactory | None:
    """The mask of an answer that may begin with thoughts; `inner` where it may not."""
    budget = 0 if thinking.enabled is False else thinking.budget
    if template.reasoning is None or _ends_with(prompt, template.reasoning[1]):
        return inner
    inside = starts_inside(template, prompt)
    if (inner is None and budget is None) or (budget == 0 and not inside):
        return inner
    return lambda: ThinkingMask(template, None if inner is None else inner(), budget, inside)


def closed(template: ChatTemplate, prompt: Prompt, thinking: Thinking) -> Prompt:
    """The prompt with its thoughts closed, where they are unwanted and its template has opened
    them all the same.
    """
    is_wanted = thinking.enabled is not False and thinking.budget != 0
    if is_wanted or template.reasoning is None or not starts_inside(template, prompt):
        return prompt
    before, after = template.reasoning_gap
    return Prompt(
        (*prompt.parts, PromptPart(before + template.reasoning[1] + after, True)), prompt.note
    )


NO_THOUGHTS = Thinking(enabled=False)


def starts_inside(template: ChatTemplate, prompt: Prompt) -> bool:
    """Whether an answer goes on with thoughts that the prompt has opened."""
    return template.reasoning is not None and _ends_with(prompt, template.reasoning[0])


def _ends_with(prompt: Prompt, tag: str) -> bool:
    """Whether a prompt ends with a tag that its template has written."""
    is_markup = bool(prompt.parts) and prompt.parts[-1].is_markup
    return is_markup and prompt.text.rstrip().endswith(tag.rstrip())


def _first_marker(template: ChatTemplate) -> Marker | None:
    """The marker with which thoughts begin, where it is one."""
    opening = template.reasoning[0] if template.reasoning is not None else ""
    first = next((part for part in template.tokenizer.split(opening) if part), None)
    return first if isinstance(first, Marker) else None


def _encoded(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text that goes on after another: no space before it that it does not have."""
    segments = tokenizer.split(text)
    before = next((m for m in tokenizer.markers.values() if not m.strips_right), None)
    if before is None:
        return tokenizer.encode_segments(segments)
    return tokenizer.encode_segments([before, *segments])[1:]
