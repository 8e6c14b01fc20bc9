"""What a checkpoint's own files add to the logits of every answer: tokens held back always, behind
the prompt, or behind other tokens.

The rules are those of transformers 5.24 (`SuppressTokensLogitsProcessor`,
`SuppressTokensAtBeginLogitsProcessor`, `NoBadWordsLogitsProcessor`,
`SequenceBiasLogitsProcessor`), and of the key `tokenizer.ggml.suppress_tokens`. A token that a
request's `logit_bias` names is the request's own affair.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import CheckpointWarning
from understudy.formats.safetensors_folder import read_json

HELD_BACK = -1e9  # added to a logit
GGUF_KEY = "tokenizer.ggml.suppress_tokens"
# Tokens that must come somewhere; the API shaped like transformers refuses them as arguments.
_FORCED = ("forced_bos_token_id", "forced_eos_token_id", "forced_decoder_ids")


@dataclass(frozen=True, slots=True)
class TokenBias:
    """`steady`: token -> what is added to its logit, `first`: only behind the prompt, `behind`: the
    same where a text ends with certain tokens.
    """

    steady: Mapping[int, float] = field(default_factory=dict)
    first: Mapping[int, float] = field(default_factory=dict)
    behind: tuple[tuple[tuple[int, ...], int, float], ...] = ()

    def passing(self, tokens: Sequence[int], num_prompt: int) -> dict[int, float]:
        """What is added for the next token of a text, beside what always is."""
        found = dict(self.first) if len(tokens) == num_prompt else {}
        for before, token, bias in self.behind:
            if tuple(tokens[-len(before) :]) == before:
                found[token] = found.get(token, 0.0) + bias
        return found

    def held_back(self) -> list[int]:
        """Tokens that no answer may have."""
        return sorted(token for token, bias in self.steady.items() if bias <= HELD_BACK)

    def gguf_entries(self, notes: list[str]) -> dict[str, Any]:
        """What a GGUF says of it; the rest is told in `notes`."""
        held = self.held_back()
        if len(held) < len(self.steady) or self.first or self.behind:
            notes.append(
                "tokens that generation_config.json biases, or holds back in some places alone, "
                "are free in a GGUF, which has no place for that"
            )
        return {GGUF_KEY: held} if held else {}

    def generation_config_entries(self) -> dict[str, Any]:
        """What generation_config.json says of what a GGUF says."""
        held = self.held_back()
        return {"suppress_tokens": held} if held else {}

    def renumbered(self, numbers: Mapping[int, int]) -> TokenBias:
        """The same under new ids; tokens that have none are gone."""
        return TokenBias(
            {numbers[token]: bias for token, bias in self.steady.items() if token in numbers},
            {numbers[token]: bias for token, bias in self.first.items() if token in numbers},
            tuple(
                (tuple(numbers[t] for t in before), numbers[token], bias)
                for before, token, bias in self.behind
                if numbers.keys() >= {*before, token}
            ),
        )


NO_BIAS = TokenBias()


def folder_token_bias(folder: Path, config: Mapping[str, Any], vocab_size: int) -> TokenBias:
    """By generation_config.json, or of old by config.json. Warns of what is not done."""
    path = folder / "generation_config.json"
    settings = read_json(path) if path.exists() else config
    where = path if path.exists() else folder / "config.json"
    if forced := [name for name in _FORCED if settings.get(name) not in (None, [])]:
        _warn(where, f"{', '.join(forced)}: no tokens are forced by this file")
    ends = settings.get("eos_token_id", config.get("eos_token_id"))
    return _bias_of(settings, ends if isinstance(ends, list) else [ends], where, vocab_size)


def gguf_token_bias(metadata: Mapping[str, Any], where: object, vocab_size: int) -> TokenBias:
    """By the key under which a GGUF has suppressed tokens."""
    return _bias_of({"suppress_tokens": metadata.get(GGUF_KEY)}, [], where, vocab_size)


def _bias_of(
    settings: Mapping[str, Any], ends: list[Any], where: object, vocab_size: int
) -> TokenBias:
    steady: dict[int, float] = {}
    behind: list[tuple[tuple[int, ...], int, float]] = []
    for name, (*before, token), bias in _sequences(settings, ends):
        if not all(type(t) is int and 0 <= t < vocab_size for t in (*before, token)):
            _warn(where, f"{name}: no tokens of the vocabulary, not obeyed: {[*before, token]}")
        elif before:
            behind.append((tuple(before), token, bias))
        else:
            steady[token] = steady.get(token, 0.0) + bias
    first = settings.get("begin_suppress_tokens") or []
    allowed = [t for t in first if type(t) is int and 0 <= t < vocab_size]
    if len(allowed) < len(first):
        _warn(where, f"begin_suppress_tokens: not all are tokens of the vocabulary: {first}")
    return TokenBias(steady, dict.fromkeys(allowed, HELD_BACK), tuple(behind))


def _sequences(
    settings: Mapping[str, Any], ends: list[Any]
) -> Iterator[tuple[str, list[Any], float]]:
    """Setting, tokens, and what is added to the logit of the last of them."""
    for token in settings.get("suppress_tokens") or []:
        yield "suppress_tokens", [token], HELD_BACK
    for tokens in settings.get("bad_words_ids") or []:
        if isinstance(tokens, list) and tokens and tokens not in ([end] for end in ends):
            yield "bad_words_ids", tokens, HELD_BACK
    biased = settings.get("sequence_bias") or []
    for entry in biased.items() if isinstance(biased, Mapping) else biased:
        match entry:
            case [list(tokens), int() | float() as bias] if tokens and math.isfinite(bias):
                yield "sequence_bias", tokens, float(bias)
            case _:
                yield "sequence_bias", [entry], 0.0


def _warn(where: object, what: str) -> None:
    warnings.warn(f"{where}: {what}", CheckpointWarning, stacklevel=4)
