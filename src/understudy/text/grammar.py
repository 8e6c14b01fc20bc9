"""Grammars as masks: what an answer may look like, said in Lark or JSON Schema, enforced token by
token by llguidance.

grammar = Grammar(tokenizer); model.generate(messages, make_mask=grammar.json_schema({...}))

The grammar's tokens are this tokenizer's ids. Markers can never be produced but for those that end
a text.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import SchemaError
from understudy.text.tokenizer import Tokenizer

_KNOWN: weakref.WeakKeyDictionary[Tokenizer, Any] = weakref.WeakKeyDictionary()


def json_rule(schema: Mapping[str, Any], *, compact: bool = False) -> str:
    """The right side of a rule for JSON of a schema, with white space only where it is usual."""
    options = {
        "whitespace_flexible": False,
        "item_separator": "," if compact else ", ",
        "key_separator": ":" if compact else ": ",
    }
    return f"%json {json.dumps({**schema, 'x-guidance': options})}"


def json_fault(schema: Mapping[str, Any]) -> str:
    """Why llguidance cannot hold a schema; empty where it can."""
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema))
        return str(LLMatcher.validate_grammar(grammar))
    except (ValueError, RecursionError) as error:
        return str(error) or type(error).__name__


class Grammar:
    """Makes masks for one tokenizer; reading its vocabulary takes half a second and is done
    once.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        if tokenizer not in _KNOWN:
            _KNOWN[tokenizer] = _vocabulary(tokenizer)
        self._vocabulary = _KNOWN[tokenizer]

    def lark(self, text: str) -> Callable[[], GrammarMask]:
        """A factory of masks for a grammar in llguidance's Lark.

        Raises:
            SchemaError: the grammar cannot be compiled.
        """
        return self._factory(text)

    def json_schema(
        self, schema: Mapping[str, Any], *, compact: bool = False
    ) -> Callable[[], GrammarMask]:
        """A factory of masks for JSON that fits a schema as llguidance reads it; properties come in
        its order.

        Args:
            compact: no white space between tokens of JSON, else one space after `:` and `,`.
        """
        return self._factory(f"start: {json_rule(schema, compact=compact)}")

    def _factory(self, grammar: str) -> Callable[[], GrammarMask]:
        from llguidance import LLMatcher

        first = LLMatcher(self._vocabulary, grammar, log_level=0)
        if first.is_error():
            raise SchemaError(
                f"grammar cannot be compiled ({' '.join(first.get_error().split())[:300]})"
            )
        size, has_end = self.tokenizer.vocab_size, bool(self.tokenizer.eos_ids)
        markers = _bits_of(self.tokenizer)
        return lambda: GrammarMask(first.deep_copy(), size, has_end, markers)


class GrammarMask:
    """Follows one answer (the engine's `Mask` protocol).

    Args:
        has_end: whether the vocabulary names a token that ends a text; without one an answer ends
            where its grammar lets nothing follow.
        markers: the bits of all markers but ends. Where the grammar lets one of them follow,
            llguidance 1.9 shows others too, so that each is asked about.
    """

    def __init__(
        self,
        matcher: Any,
        vocab_size: int,
        has_end: bool = True,
        markers: NDArray[np.uint32] | None = None,
    ) -> None:
        self._markers = markers
        self._vocab_size, self._has_end = vocab_size, has_end
        self._matcher, self._num_words = matcher, -(-vocab_size // 32)
        self._unused = -vocab_size % 32  # bits of the last word that stand for no token
        self._seen: list[int] = []

    def allowed(self, generated: Sequence[int]) -> NDArray[np.uint32]:
        self._follow(generated)
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint32)[: self._num_words].copy()
        self._check()
        if self._unused:
            bits[-1] &= (1 << (32 - self._unused)) - 1
        if self._markers is not None:
            self._drop_wrong(bits, self._markers)
        return bits

    def _drop_wrong(self, bits: NDArray[np.uint32], markers: NDArray[np.uint32]) -> None:
        """Clears the markers that cannot follow."""
        shown = np.flatnonzero(np.unpackbits((bits & markers).view(np.uint8), bitorder="little"))
        if len(shown) < 2:
            return
        for token in map(int, shown):
            if not self._matcher.validate_tokens([token]):
                bits[token // 32] &= np.uint32(~(1 << (token % 32)) & 0xFFFFFFFF)

    def forced(self, generated: Sequence[int]) -> list[int]:
        self._follow(generated)
        if self._matcher.is_stopped():
            self._check()
            return []
        tokens = [int(token) for token in self._matcher.compute_ff_tokens()]
        self._check()
        if self._has_end:
            return tokens
        tokens = [token for token in tokens if token < self._vocab_size]
        self._follow([*generated, *tokens])  # so that `is_finished` is asked behind them
        return tokens

    @property
    def is_finished(self) -> bool:
        if self._has_end or self._matcher.is_stopped():
            return bool(self._matcher.is_stopped())
        return not self.allowed(self._seen).any()

    def _follow(self, generated: Sequence[int]) -> None:
        """Brings the matcher to this text, going back where guessed tokens were not taken."""
        common = 0
        while (
            common < min(len(self._seen), len(generated))
            and self._seen[common] == generated[common]
        ):
            common += 1
        if common < len(self._seen):
            self._matcher.rollback(len(self._seen) - common)
            del self._seen[common:]
        new = [int(token) for token in generated[common:]]
        if new and not self._matcher.is_stopped():
            self._matcher.consume_tokens(new)
            self._check()
        self._seen += new

    def _check(self) -> None:
        """A grammar that grows too large stops as if the text were at its end: that is no end."""
        if self._matcher.is_error():
            lines = self._matcher.get_error().splitlines()
            why = next((line for line in lines if line.startswith("Error: ")), lines[0])
            raise ValueError(f"the grammar cannot be followed ({why.removeprefix('Error: ')})")


def _bits_of(tokenizer: Tokenizer) -> NDArray[np.uint32]:
    """Bit i of word i // 32 set where token i is a marker that no text holds and that ends none."""
    bits = np.zeros(-(-tokenizer.vocab_size // 32), np.uint32)
    for marker in tokenizer.markers.values():
        if marker.is_text or marker.token in tokenizer.eos_ids:
            continue
        bits[marker.token // 32] |= np.uint32(1 << (marker.token % 32))
    return bits


class _Words:
    """The vocabulary in the shape that llguidance asks for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        # llguidance asks for an end. Where the checkpoint names none, it is one past the
        # vocabulary, which no mask shows.
        self.ends = tokenizer.eos_ids or (tokenizer.vocab_size,)
        self.eos_token_id, self.bos_token_id = self.ends[0], tokenizer.bos_id
        self.special_token_ids = sorted(marker.token for marker in tokenizer.markers.values())
        special = set(self.special_token_ids)
        self.tokens = [
            b"" if token in special else tokenizer.token_bytes(token)
            for token in range(tokenizer.vocab_size)
        ]
        if not tokenizer.eos_ids:
            self.special_token_ids.append(tokenizer.vocab_size)
            self.tokens.append(b"")
        self._tokenizer = tokenizer
        self._before = next(
            (marker for marker in tokenizer.markers.values() if not marker.strips_right), None
        )

    def __call__(self, text: str | bytes) -> list[int]:
        """Ids of a text that goes on after others: no space before it that it does not have.

        Most tokenizers put none behind a marker; SentencePiece's older ones do, but none behind a
        line's end.
        """
        words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        encode, wanted = self._tokenizer.encode, words.encode()
        ids = (
            self._tokenizer.encode_segments([self._before, words])[1:]
            if self._before is not None
            else encode(words)
        )
        if self._bytes(ids) == wanted:
            return ids
        line_end, both = encode("\n"), encode("\n" + words)
        rest = both[len(line_end) :]
        return rest if both[: len(line_end)] == line_end and self._bytes(rest) == wanted else ids

    def _bytes(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.tokens[token] for token in ids)


def _vocabulary(tokenizer: Tokenizer) -> Any:
    from llguidance import LLTokenizer, TokenizerWrapper

    words = _Words(tokenizer)
    return LLTokenizer(
        TokenizerWrapper(words), n_vocab=len(words.tokens), eos_token=list(words.ends)
    )
