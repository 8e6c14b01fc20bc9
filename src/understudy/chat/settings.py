"""How a session makes its replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from understudy.errors import UsageError
from understudy.generation.intent import CallSettings
from understudy.generation.reply import ToolCall
from understudy.generation.thinking import Thinking

Approve = Callable[[ToolCall], bool]
"""Asked before a tool runs; False refuses the call."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How replies are made.

    Attributes:
        context: tokens of prompt and answer; default the model's.
        reserve: tokens kept free for the answer, and most tokens of one, where a reply is not asked
            for with its own `max_tokens`.
        rounds: how often tools may be called for one reply.
        timeout_s, max_result: seconds and tokens that one tool's result may take.
        tools_budget: tokens of tool descriptions; beyond it the tools nearest to the message are
            shown.
        passages: most passages of documents for one message.
        grounded: answers must quote the documents, and without a passage near enough the answer is
            that they do not say; default where there are documents and neither tools nor a
            character.
        is_parallel: a reply may hold several calls.
        passages_in: `user` (in the newest message, so that earlier tokens are reused) or `system`
            (as NVIDIA's sample has it).
        calls: what is decided before the model whether a message wants a tool: see `CallSettings`;
            default the model's preset.
        repeats_question: after tools' results the question is asked once more; default for
            checkpoints that no tools were taught, which means that their own template does not know
            them.
        stops_at_speakers: a character's reply ends where somebody else's turn would begin.
        stays_in_character: a sentence with which a character becomes an assistant ("As an AI …") is
            not given out: before anything else was said the reply is drawn once more; the same for
            what was just said.
        thinking: whether the model thinks before it answers; default as its template has it.
        reasoning_budget: most tokens of thoughts; default half of those of an answer.
        user, seed, greeting: for characters: the user's name, of random macros, which greeting.
    """

    context: int | None = None
    reserve: int = 384
    rounds: int = 4
    timeout_s: float = 30.0
    max_result: int = 512
    tools_budget: int = 1200
    passages: int = 6
    grounded: bool | None = None
    passages_in: Literal["user", "system"] = "user"
    is_parallel: bool = True
    calls: CallSettings | None = None
    repeats_question: bool | None = None
    stops_at_speakers: bool = True
    stays_in_character: bool = True
    thinking: bool | None = None
    reasoning_budget: int | None = None
    user: str = "User"
    seed: int = 0
    greeting: int = 0

    def __post_init__(self) -> None:
        for name, low in (
            ("reserve", 1),
            ("rounds", 0),
            ("max_result", 32),
            ("tools_budget", 1),
            ("passages", 1),
        ):
            if type(getattr(self, name)) is not int or getattr(self, name) < low:
                raise UsageError(
                    "setting is out of range",
                    where=name,
                    expected=f"at least {low}",
                    found=getattr(self, name),
                )
        Thinking(self.thinking, self.reasoning_budget)
        if not self.timeout_s > 0:
            raise UsageError(
                "setting is out of range",
                where="timeout_s",
                expected="more than 0",
                found=self.timeout_s,
            )
        if self.passages_in not in ("user", "system"):
            raise UsageError(
                "no such place",
                where="passages_in",
                expected="user | system",
                found=self.passages_in,
            )
