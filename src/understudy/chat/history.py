"""The messages of a session, and which of them its prompts still hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.chat.saved import read_turn, turn_document
from understudy.engine import AdapterAsked
from understudy.generation.plan import Block, Plan, Turn
from understudy.generation.reply import ToolCall, numbered
from understudy.text.toolcalls import ParsedCall


@dataclass(slots=True)
class History:
    """Everything said so far.

    Attributes:
        start: number of the first turn that prompts still hold.
        num_calls: tool calls made so far; their ids count up.
        tokens: of the last prompt and of what the model wrote after it: whose keys and values are
            saved with the session.
        adapter: what acted on that prompt.
    """

    turns: list[Turn] = field(default_factory=list)
    start: int = 0
    num_calls: int = 0
    tokens: list[int] = field(default_factory=list)
    adapter: AdapterAsked | None = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """OpenAI's messages."""
        return [
            {key: value for key, value in turn.to_message().items() if key != "origin"}
            for turn in self.turns
        ]

    def number(self, calls: Iterable[ParsedCall]) -> list[ToolCall]:
        """Calls under ids of their own."""
        made = numbered(calls, self.num_calls + 1)
        self.num_calls += len(made)
        return made

    def drop(self, plan: Plan) -> int:
        """Leaves out for good what a prompt had no room for, so that the next ones begin alike.

        Returns how many messages of user and assistant that are.
        """
        newly = plan.dropped_turns[self.start :]
        self.start = len(plan.dropped_turns)
        return sum(turn.role in ("user", "assistant") and not turn.calls for turn in newly)

    def add(self, newest: Iterable[Turn], answer: str, reasoning: str = "") -> None:
        """An exchange that is over: the message, its calls and results, the answer, and what was
        thought before it.
        """
        for turn in newest:
            for block in turn.blocks:
                block.origin = "history" if block.origin == "user" else block.origin
            self.turns.append(turn)
        self.turns.append(Turn("assistant", [Block("history", answer)], reasoning=reasoning))

    def undo(self) -> None:
        """Forgets the last exchange."""
        while self.turns and self.turns[-1].role != "user":
            self.turns.pop()
        if self.turns:
            self.turns.pop()
        self.start = min(self.start, len(self.turns))

    def to_document(self, since: int = 0) -> dict[str, Any]:
        """As plain JSON; the turns from number `since` on."""
        turns = [turn_document(turn) for turn in self.turns[since:]]
        return {"turns": turns, "start": self.start, "calls": self.num_calls}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> History:
        """What `to_document` gave; KeyError, TypeError or ValueError where it is something else."""
        turns = [read_turn(turn) for turn in document["turns"]]
        return cls(turns, int(document["start"]), int(document["calls"]))
