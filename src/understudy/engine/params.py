"""How one request is sampled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.errors import UsageError

MAX_FACTOR = 100.0  # of an adapter
AdapterChoice = tuple[tuple[str, float], ...]  # names and factors; empty: the model alone
AdapterAsked = str | Mapping[str, float] | Iterable[Any]  # how a choice may be said


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Settings of one request, checked when made.

    Attributes:
        max_tokens: most tokens to generate; None: until the context is full.
        temperature: 0 is greedy.
        top_k, top_p, min_p: 0, 1 and 0 switch them off.
        repetition_penalty: divides (or multiplies, when negative) the logits of tokens of prompt
            and answer; 1 is off.
        frequency_penalty, presence_penalty: subtracted for tokens of the answer, as OpenAI defines
            them.
        penalty_last_n: the three penalties look at so many of the last tokens of prompt and answer;
            -1: at all, 0: at none.
        penalize_prompt: frequency and presence count the prompt's tokens too, as in llama.cpp.
        dry_multiplier, dry_base, dry_allowed_length, dry_penalty_last_n, dry_sequence_breakers: a
            token that would go on a repeated sequence of L tokens is lowered by multiplier ·
            base^(L - allowed_length); 0 switches it off. Sequences do not reach over a breaker.
        xtc_probability, xtc_threshold: how often, of all tokens that are at least this likely, only
            the least likely is kept; 0 switches it off.
        logit_bias: token id -> what is added to its logit.
        seed: the same seed gives the same text, alone or in a batch; None draws one.
        stop: strings that end the answer and are cut off.
        stop_token_ids: tokens that end the answer, beside those that end the checkpoint's texts.
        logprobs: number of likeliest tokens to report with each token of the answer; None: none.
        prompt_logprobs: the same for the tokens of the prompt.
        n: answers to the same prompt; answer i uses seed + i.
        ignore_eos: go on when the text ends (for measuring).
        adapter: which of the model's adapters act: a name, `name:0.5`, {name: factor}, or several;
            "" for none; None: those that act on whatever chooses nothing.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = 64
    penalize_prompt: bool = False
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    n: int = 1
    ignore_eos: bool = False
    adapter: AdapterAsked | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "stop", (self.stop,) if isinstance(self.stop, str) else _tuple("stop", self.stop)
        )
        object.__setattr__(self, "stop_token_ids", _tuple("stop_token_ids", self.stop_token_ids))
        _in("temperature", self.temperature, 0.0, 100.0)
        _in("top_p", self.top_p, 1e-6, 1.0)
        _in("min_p", self.min_p, 0.0, 1.0)
        self._check_repetition()
        if self.adapter is not None:
            object.__setattr__(self, "adapter", adapter_choice(self.adapter))
        _whole("top_k", self.top_k, 0, 1 << 30)
        _whole("n", self.n, 1, 1024)
        if self.max_tokens is not None:
            _whole("max_tokens", self.max_tokens, 1, 1 << 30)
        for name in ("logprobs", "prompt_logprobs"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 0, 100)
        if self.seed is not None:
            _whole("seed", self.seed, -(1 << 63), (1 << 64) - 1)
        if not all(isinstance(text, str) and text for text in self.stop):
            raise UsageError(
                "a stop must be a text that is not empty", where="stop", found=list(self.stop)
            )
        for token in self.stop_token_ids:
            _whole("stop_token_ids", token, 0, (1 << 31) - 1)
        if not isinstance(self.logit_bias, Mapping) or not all(
            map(_is_bias, self.logit_bias, self.logit_bias.values())
        ):
            raise UsageError(
                "a bias maps a token id to a finite number",
                where="logit_bias",
                found=self.logit_bias,
            )

    def _check_repetition(self) -> None:
        breakers = _tuple("dry_sequence_breakers", self.dry_sequence_breakers)
        object.__setattr__(self, "dry_sequence_breakers", breakers)
        _in("repetition_penalty", self.repetition_penalty, 0.01, 100.0)
        _in("frequency_penalty", self.frequency_penalty, -100.0, 100.0)
        _in("presence_penalty", self.presence_penalty, -100.0, 100.0)
        _in("dry_multiplier", self.dry_multiplier, 0.0, 100.0)
        _in("dry_base", self.dry_base, 0.0, 100.0)
        _in("xtc_probability", self.xtc_probability, 0.0, 1.0)
        _in("xtc_threshold", self.xtc_threshold, 0.0, 1.0)
        _whole("penalty_last_n", self.penalty_last_n, -1, 1 << 30)
        _whole("dry_penalty_last_n", self.dry_penalty_last_n, -1, 1 << 30)
        _whole("dry_allowed_length", self.dry_allowed_length, 0, 1 << 30)
        if not all(isinstance(text, str) and text for text in breakers):
            raise UsageError(
                "a breaker must be a text that is not empty",
                where="dry_sequence_breakers",
                found=list(breakers),
            )


def adapter_choice(asked: AdapterAsked) -> AdapterChoice:
    """Names and factors of what was asked for, in order.

    Raises:
        UsageError: not a name, names, or names with factors.
    """
    if isinstance(asked, str):
        asked = [asked] if asked else []
    if isinstance(asked, Mapping):
        asked = list(asked.items())
    several = asked if isinstance(asked, Iterable) else [asked]
    return tuple(_named_factor(part) for part in several)


def _named_factor(asked: Any) -> tuple[str, float]:
    name, factor = asked if isinstance(asked, tuple | list) and len(asked) == 2 else (asked, 1.0)
    if isinstance(name, str) and not isinstance(asked, tuple | list) and ":" in name:
        name, _, text = name.rpartition(":")
        try:
            factor = float(text)
        except ValueError:
            factor = text
    is_number = isinstance(factor, int | float) and not isinstance(factor, bool)
    if not isinstance(name, str) or not is_number or not abs(factor) <= MAX_FACTOR:
        raise UsageError(
            "not an adapter's name and factor",
            where="adapter",
            expected=f"NAME or NAME:FACTOR, a factor from -{MAX_FACTOR:g} to {MAX_FACTOR:g}",
            found=asked,
        )
    return name, float(factor)


def _tuple(name: str, values: Iterable[Any] | None) -> tuple[Any, ...]:
    if values is not None and (isinstance(values, str) or not isinstance(values, Iterable)):
        raise UsageError("setting must be a list", where=name, found=values)
    return tuple(values or ())


def _is_bias(token: object, value: object) -> bool:
    return (
        type(token) is int
        and 0 <= token < 1 << 31
        and isinstance(value, int | float)
        and math.isfinite(value)
    )


def _in(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(
            "setting is out of range", where=name, expected=f"{low:g} to {high:g}", found=value
        )


def _whole(name: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise UsageError(
            "setting is out of range",
            where=name,
            expected=f"a whole number from {low} to {high}",
            found=value,
        )
