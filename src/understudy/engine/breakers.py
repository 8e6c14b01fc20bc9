"""The tokens of DRY's sequence breakers, found as llama.cpp does (`llama-sampler.cpp`, 2026-10).

A breaker may begin inside a token and end in later ones. So every token of the vocabulary whose
text ends with the breaker's beginning starts a sequence: that token, then the tokens of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.engine.params import SamplingParams
from understudy.text import Tokenizer

MAX_BREAKER_BYTES = 40
MAX_TAIL_TOKENS = 20


class Breakers:
    """The breakers of requests, each list found once: that reads the whole vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[tuple[str, ...], list[tuple[int, ...]]] = {}

    def of(self, params: SamplingParams) -> list[tuple[int, ...]]:
        """Those of a request; none where DRY is off."""
        if params.dry_multiplier == 0:
            return []
        texts = params.dry_sequence_breakers
        if texts not in self._known:
            self._known[texts] = breaker_tokens(self._tokenizer, texts)
        return self._known[texts]


def breaker_tokens(tokenizer: Tokenizer, breakers: Sequence[str]) -> list[tuple[int, ...]]:
    """Each as (first token, tokens of the rest); a token that holds all of one stands alone."""
    pieces = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
    found: dict[tuple[int, ...], None] = {}
    for breaker in breakers:
        text = breaker.encode()[:MAX_BREAKER_BYTES]
        for token, piece in enumerate(pieces):
            if text in piece:
                found[(token,)] = None
                continue
            for tail in _tails(piece, text):
                rest = tokenizer.encode(tail)[:MAX_TAIL_TOKENS]
                found[(token, *rest)] = None
    return list(found)


def _tails(piece: bytes, text: bytes) -> list[str]:
    """What is left of `text` behind each of its beginnings that `piece` ends with."""
    lengths = [n for n in range(1, min(len(piece), len(text) - 1) + 1) if piece.endswith(text[:n])]
    tails = (text[n:].decode(errors="ignore") for n in lengths)
    return [tail for tail in tails if tail]
