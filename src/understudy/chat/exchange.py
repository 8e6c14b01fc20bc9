"""A message on its way to its reply, with the calls and results between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.chat.reply_text import ReplyText
from understudy.chat.sources import Grounding
from understudy.engine import Usage
from understudy.errors import UsageError
from understudy.generation.chat_request import in_other_words
from understudy.generation.intent import CallPolicy, Intent
from understudy.generation.moderation import Verdict
from understudy.generation.plan import Block, Ledger, Turn
from understudy.generation.reader import StreamParser
from understudy.generation.reply import Reply, ReplyEnd, ToolCall, ToolResult
from understudy.generation.results import ResultCheck
from understudy.generation.tools import Tool
from understudy.text.toolcalls import ParsedCall


@dataclass(frozen=True, slots=True)
class SessionAnswer:
    """How an exchange came out.

    Attributes:
        text: None where the documents do not say.
        tail: what is still to be given out of it.
    """

    text: str | None
    reason: ReplyEnd
    citations: tuple[Any, ...] = ()
    tail: str = ""


@dataclass(slots=True)
class Exchange:
    """`newest` are its turns: the message, then calls and results."""

    text: str
    grounding: Grounding | None
    said: Sequence[str] = ()  # before it
    newest: list[Turn] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    waiting: list[ToolCall] = field(default_factory=list)
    num_passages: int = 0
    refused: tuple[tuple[ParsedCall, str], ...] = ()
    ledger: Ledger | None = None
    is_retried: bool = False  # a broken call, or words out of character: drawn once more
    is_redrawn: bool = False  # an answer that is not what the results say
    notes: list[str] = field(default_factory=list)
    text_out: ReplyText | None = None  # of the last time that the model was asked

    @property
    def parser(self) -> StreamParser:
        """What the model wrote the last time, taken apart."""
        assert self.text_out is not None
        return self.text_out.parser

    @property
    def written(self) -> str:
        """Its text, without calls."""
        assert self.text_out is not None
        return self.text_out.text

    @property
    def given(self) -> str:
        """What was given out of it."""
        return self.text_out.given if self.text_out is not None else ""

    @property
    def may_retry(self) -> bool:
        """Whether nothing came of the last time but a call that broke its schema, or words that
        left the character.
        """
        said = self.given or self.parser.calls or self.is_retried
        return bool(self.parser.failed or self._fault) and not said

    @property
    def _fault(self) -> str | None:
        speech = self.text_out.speech if self.text_out is not None else None
        return speech.fault if speech is not None else None

    def retried(self, sampling: Mapping[str, Any]) -> dict[str, Any]:
        """Settings for another try; a session is greedy where it is not told otherwise."""
        self.is_retried = True
        if self._fault:
            self.notes.append(f"{self._fault}: drawn once more")
        return in_other_words({"temperature": 0.0, **sampling})

    def check(self, *, is_complete: bool) -> ResultCheck | None:
        """What the answer is held against: the results, and what was said before them."""
        if not self.results:
            return None
        told = [(result.call.name, result.content) for result in self.results]
        return ResultCheck(told, "\n".join([*self.said, self.text]), is_complete)

    def redrawn(self, sampling: Mapping[str, Any]) -> dict[str, Any]:
        """Settings for another answer to the same results."""
        self.is_redrawn = True
        self.notes.append("the answer is not what the results say: drawn once more")
        return in_other_words({"temperature": 0.0, **sampling})

    def note_calls(self, text: str, calls: Sequence[ToolCall]) -> None:
        """Calls of one message, and what was said before them."""
        self.calls += calls
        parsed, ids = tuple(call.parsed for call in calls), tuple(call.id for call in calls)
        thought = self.parser.reasoning
        self.newest.append(Turn("assistant", [Block("tools", text)], parsed, ids, thought))

    def note_result(self, result: ToolResult) -> None:
        self.results.append(result)
        self.newest.append(Turn("tool", [Block("tools", result.content)], ids=(result.call.id,)))

    def results_of_caller(self, results: Mapping[str, str]) -> list[ToolResult]:
        """Of the calls that wait, in their order; they wait no longer.

        Raises:
            UsageError: results of other calls, or not of all.
        """
        ids = [call.id for call in self.waiting]
        if sorted(ids) != sorted(results):
            raise UsageError(
                "results do not belong to the calls that wait",
                expected=" ".join(ids),
                found=list(results),
            )
        calls, self.waiting = self.waiting, []
        return [ToolResult(call, results[call.id]) for call in calls]

    def read(
        self, text: str, reason: str, *, is_grounded: bool
    ) -> tuple[str | None, tuple[Any, ...]]:
        """The answer that the documents support and its citations; None where they do not say."""
        if self.grounding is None or not self.num_passages:
            return text, ()
        if is_grounded and reason not in ("tool_calls", "cancelled"):
            return self.grounding.read(text, self.num_passages)
        return text, self.grounding.quotes(text, self.num_passages)

    def second_try(self, text: str) -> bool:
        """Whether the model is to be asked once more, since its answer says more than the documents
        do; it then sees less of them.
        """
        again = None
        if self.grounding is not None and self.num_passages and not self.is_retried:
            again = self.grounding.second_try(text, self.num_passages)
        if again is not None:
            self.grounding, self.is_retried = again, True
        return again is not None

    def intent(
        self, policy: CallPolicy | None, turns: Sequence[Turn], tools: Sequence[Tool], choice: str
    ) -> Intent:
        """What calls the message should lead to, or, behind results, whether there may be more."""
        if policy is None or not tools:
            return Intent(choice, tuple(tools))
        said = "\n".join([*(turn.text for turn in turns), *(turn.text for turn in self.newest)])
        return policy.intent(self.text, said, tools, choice, after_results=bool(self.results))

    def reply(self, answer: SessionAnswer, not_said: str) -> Reply:
        """What the caller gets; `not_said` where the documents do not say."""
        parser = self.text_out.parser if self.text_out is not None else None
        return Reply(
            not_said if answer.text is None else answer.text,
            answer.reason,
            tuple(self.usages),
            tool_calls=tuple(self.calls),
            results=tuple(self.results),
            reasoning=parser.reasoning if parser is not None else "",
            raw_text=self.text_out.raw if self.text_out is not None else "",
            refused=self.refused,
            notes=(*self.notes, *(parser.notes if parser is not None else ())),
            citations=answer.citations,
            is_answered=answer.text is not None,
            confidence=self.grounding.confidence if self.grounding is not None else None,
            ledger=self.ledger,
        )

    def stopped_reply(self, notice: str, verdict: Verdict) -> Reply:
        """What the caller gets where the content guard stopped it."""
        return Reply(
            notice,
            "content_filter",
            tuple(self.usages),
            tool_calls=tuple(self.calls),
            results=tuple(self.results),
            ledger=self.ledger,
            verdict=verdict,
        )
