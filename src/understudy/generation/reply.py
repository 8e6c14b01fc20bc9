"""One answer and how it came about: what `Model.generate` and `Session.say` give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from understudy.engine import TokenLogprob, Usage
from understudy.generation.moderation import Verdict
from understudy.generation.plan import Ledger
from understudy.text.toolcalls import ParsedCall

ReplyEnd = Literal["stop", "length", "cancelled", "error", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call under its own id, as it stands in the history."""

    id: str
    name: str
    arguments: dict[str, Any]

    @property
    def parsed(self) -> ParsedCall:
        return ParsedCall(self.name, self.arguments)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came back, as the model reads it.

    `is_error` where the tool failed, hung or was refused; `was_cut` where it was too long.
    """

    call: ToolCall
    content: str
    is_error: bool = False
    was_cut: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished answer.

    Attributes:
        text: as the user should see it, without reasoning and calls.
        finish_reason: `stop`, `length` (the limit of tokens), `cancelled`; `tool_calls`, where the
            calls wait for results; `content_filter`, where a check stopped it: then `text` is a
            notice, and `verdict` says what was found and where.
        usages: one for each time that the model was asked; `usage` is the last of them.
        raw_text, tokens: of the last time: all that the model wrote.
        reasoning: what it wrote before its answer, between the marks of its template.
        logprobs, prompt_logprobs: where they were asked for.
        tool_calls: all calls that were made, in order.
        results: of tools that were run.
        refused: calls that could not be run, with the reason.
        notes: what was changed of calls so that they could.
        citations, is_answered, confidence: of answers from documents; `is_answered` is False where
            the documents do not say.
        ledger: where the tokens of the last prompt went.
    """

    text: str
    finish_reason: ReplyEnd
    usages: tuple[Usage, ...] = ()
    raw_text: str = ""
    tokens: tuple[int, ...] = ()
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    refused: tuple[tuple[ParsedCall, str], ...] = ()
    notes: tuple[str, ...] = ()
    citations: tuple[Any, ...] = ()
    is_answered: bool = True
    confidence: float | None = None
    ledger: Ledger | None = None
    verdict: Verdict | None = None

    @property
    def usage(self) -> Usage:
        """Of the last time that the model was asked; all zero where it was not."""
        return self.usages[-1] if self.usages else Usage(0, 0, 0)


def numbered(calls: Iterable[ParsedCall], first: int = 1) -> list[ToolCall]:
    """Calls under ids that count up, as a conversation made here has them."""
    return [ToolCall(f"call_{i}", one.name, one.arguments) for i, one in enumerate(calls, first)]
