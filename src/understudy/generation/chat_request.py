"""What is asked for in a conversation: messages, tools, the form of the answer, settings.

`prepare.prepare_chat` makes of it a request that the engine will take.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.engine.request import Overflow
from understudy.errors import SchemaError, UsageError
from understudy.generation.calls import callable_tools
from understudy.generation.sizes import MAX_TOOL_SCHEMAS, MAX_TOOLS, num_subschemas
from understudy.generation.thinking import Thinking
from understudy.generation.tools import Tool
from understudy.text.templates import Message

RETRY_TEMPERATURE = 0.7  # greedy words would only come again


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What may stand as text: `json_schema` or a `lark` grammar, of which at most one is given."""

    json_schema: Mapping[str, Any] | None = None
    lark: str | None = None

    @property
    def is_given(self) -> bool:
        return self.json_schema is not None or self.lark is not None


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """Tools as a client sends them, OpenAI's dicts, and its choice among them."""

    tools: Sequence[Mapping[str, Any]] = ()
    choice: str | Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation to go on with.

    `choice` is none, auto, required or the name of a tool; `notes` are told with the answer.
    The answer goes on from `prefill`, the beginning of its text; with `opens_turn` false the model
    goes on behind the last message itself. `offered` stands for tools and choice that are still to
    be read, which `prepare_chat` does. `calls` are switches of `CallSettings` that are set for it.
    """

    messages: Sequence[Message]
    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    is_parallel: bool = True
    answer: AnswerForm = field(default_factory=AnswerForm)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    overflow: Overflow = "refuse"
    notes: tuple[str, ...] = ()
    prefill: str = ""
    opens_turn: bool = True
    thinking: Thinking = field(default_factory=Thinking)
    offered: OfferedTools | None = None
    calls: Mapping[str, Any] = field(default_factory=dict)

    def with_tools_read(self) -> ChatRequest:
        """The request with those offered tools that can be called, and a note for each that cannot.

        Raises:
            UsageError: too many, very large schemas, two of one name, no such choice, or one of
                which a call is required cannot be called.
        """
        if self.offered is None:
            return self
        if (number := len(self.offered.tools)) > MAX_TOOLS:
            expected = f"at most {MAX_TOOLS}"
            raise UsageError("too many", where="tools", expected=expected, found=str(number))
        if (found := num_subschemas(self.offered.tools)) > MAX_TOOL_SCHEMAS:
            expected = f"at most {MAX_TOOL_SCHEMAS:,} objects in their schemas"
            raise UsageError("too much", where="tools", expected=expected, found=f"{found:,}")
        try:
            tools, choice, notes = callable_tools(self.offered.tools, self.offered.choice)
        except SchemaError as error:
            raise UsageError(str(error), where="tools") from error
        return dataclasses.replace(self, tools=tools, choice=choice, notes=notes, offered=None)


def another_try(chat: ChatRequest, text: str, choice: str | None) -> ChatRequest:
    """The same asked once more: in other words, behind the text that is said, with the same
    call.
    """
    return dataclasses.replace(
        chat,
        prefill=chat.prefill + text,
        choice=choice or chat.choice,
        sampling={**in_other_words(chat.sampling), "n": 1},
    )


def in_other_words(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under which the same prompt is answered otherwise."""
    changed = dict(sampling)
    if (seed := sampling.get("seed")) is not None:
        changed["seed"] = seed + 1
    if (heat := sampling.get("temperature")) is not None:
        changed["temperature"] = max(heat, RETRY_TEMPERATURE)
    return changed
