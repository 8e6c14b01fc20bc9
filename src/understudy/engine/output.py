"""What the engine gives back, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token, its log-probability under the model, and the likeliest tokens at its place.

    A token that a grammar forced was not asked of the model: its log-probability is 0, without
    others.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts in tokens, times in seconds. `cached_tokens` of the prompt were not computed again;
    `first_token_s` is that of the first token that was sampled, not of what a grammar forced before
    it."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    dropped_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    first_token_s: float = 0.0
    decode_s: float = 0.0

    @property
    def prefill_rate(self) -> float:
        """Prompt tokens computed a second, queueing included."""
        computed = self.prompt_tokens - self.cached_tokens
        return computed / self.first_token_s if self.first_token_s > 0 else 0.0

    @property
    def decode_rate(self) -> float:
        """Tokens a second after the first."""
        return (self.completion_tokens - 1) / self.decode_s if self.decode_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Output:
    """What one step added to one answer of one request. `usage` comes with the last,
    `prompt_logprobs` once.

    `text` is what is certain by now, whole characters that can be no part of a stop; joined it is
    the answer. `stop` is the string (cut off) or the token (no text) that ended it.
    """

    id: int
    index: int
    text: str = ""
    new_tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None
    finish_reason: FinishReason | None = None
    stop: str | int | None = None
    error: str | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class Timing:
    """Clock readings of one sequence (time.perf_counter)."""

    added: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0
