"""A turn of a character in a game, and how turns are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from understudy.engine import Usage
from understudy.generation.moderation import Verdict
from understudy.generation.plan import Ledger
from understudy.roleplay.lorebook import Rules
from understudy.roleplay.state import Action
from understudy.spec import ModelSpec, parameter_counts

EMOTIONS = ("neutral", "happy", "sad", "angry", "afraid", "surprised")
SMALL = 400_000_000  # parameters below which a cooler draw speaks better
KEEPS_MEMORY = 1_000_000_000  # a smaller model's facts are noise


@dataclass(frozen=True, slots=True)
class Turn:
    """What a character says and wants to do. `fault` says why a guard cut in, `is_cut` that the
    answer outgrew its reserve.

    `verdict` is there where it was the content guard: what it found, and on which side. `refused`
    are proposed actions that a condition forbids, with the reason; `was_redrawn` says that the
    first words left the character and were drawn again.
    """

    say: str
    emotion: str
    actions: tuple[Action, ...] = ()
    memory: tuple[str, ...] = ()
    ledger: Ledger | None = None
    usage: Usage | None = None
    fault: str | None = None
    is_cut: bool = False
    verdict: Verdict | None = None
    refused: tuple[tuple[Action, str], ...] = ()
    was_redrawn: bool = False


@dataclass(frozen=True, slots=True)
class NpcSettings:
    """How turns are made.

    Attributes:
        max_say: characters of what is said.
        reserve: tokens of the context that are kept for the answer.
        temperature: default 0.4 below 400M parameters, else 0.7.
        frequency_penalty: of the tokens of this speech alone; what the prompt says may be said
            again.
        persona: who the player is, for `{{persona}}`.
        rules: of the card's lorebook; default as its origin says.
        remembers: whether the model may write facts into memory; default from 1B parameters on.
    """

    user: str = "Traveller"
    emotions: tuple[str, ...] = EMOTIONS
    max_say: int = 240  # characters
    max_actions: int = 2
    max_memory: int = 1
    reserve: int = 320
    context: int | None = None
    temperature: float | None = None
    top_p: float = 0.9
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.2
    remembers: bool | None = None
    seed: int = 0
    greeting: int = 0
    persona: str = ""
    rules: Rules | None = None

    def draw(self, spec: ModelSpec, turn: int, again: int = 0) -> dict[str, Any]:
        """Sampling of turn number `turn` by a model of this size."""
        is_small = parameter_counts(spec)["total"] < SMALL
        heat = (0.4 if is_small else 0.7) if self.temperature is None else self.temperature
        seed = self.seed * 1_000_003 + turn + again * 500_009
        return {"temperature": heat, "top_p": self.top_p, "seed": seed}

    def keeps_memory(self, spec: ModelSpec) -> bool:
        """Whether a model of this size may write into memory."""
        large = parameter_counts(spec)["total"] >= KEEPS_MEMORY
        return large if self.remembers is None else self.remembers
