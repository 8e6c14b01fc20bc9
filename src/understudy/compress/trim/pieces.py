"""Any vocabulary as pieces and the joins between them, and what a piece is joined from."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from understudy.checkpoint.vocabulary import to_gguf_source
from understudy.errors import UnsupportedError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text.fast import byte_of_character, has_byte_level, merged_pair
from understudy.text.spm import BYTE, NORMAL, UNKNOWN, UNUSED

Rank = Callable[[str, str], float | None]  # of a join, best first; None: the two do not join


@dataclass(frozen=True, slots=True)
class Pieces:
    """A vocabulary.

    Attributes:
        texts: the piece of each id; None where no text can give the id.
        markers: ids of added tokens and control pieces, which are found whole.
        fallbacks: ids of the single bytes, from which any text can be built.
        rank: which neighbours join. A vocabulary without joins (Unigram) has none.
        is_byte_level: pieces are written in GPT-2's characters for bytes.
    """

    texts: tuple[str | None, ...]
    markers: frozenset[int]
    fallbacks: frozenset[int]
    rank: Rank
    is_byte_level: bool

    @property
    def ids(self) -> dict[str, int]:
        return {
            text: token
            for token, text in enumerate(self.texts)
            if text is not None and token not in self.markers
        }

    def read(self, token: int) -> str | None:
        """A piece as a person reads it; None for one that is no whole characters."""
        text = self.texts[token]
        if text is None or not self.is_byte_level:
            return None if text is None else text.replace("▁", " ")
        table = byte_of_character()
        try:
            return bytes(table[character] for character in text).decode()
        except (KeyError, UnicodeDecodeError):
            return None


def pieces_of(source: TokenizerSource) -> Pieces:
    """The pieces of a tokenizer.

    Raises:
        UnsupportedError: a model whose segmentation a smaller vocabulary would change (WordPiece,
        word-level), or affixes that the joins of this vocabulary have.
    """
    if source.kind == "tokenizer.json":
        return _of_json(json.loads(source.payload or b""), source)
    source = to_gguf_source(source).source
    added = {token.id for token in source.added}
    types = source.types or (NORMAL,) * len(source.tokens)
    kinds = list(enumerate(types))
    texts: tuple[str | None, ...] = source.tokens
    markers = frozenset(i for i, kind in kinds if kind not in (NORMAL, BYTE)) | added
    is_byte_level = source.model == "gpt2"
    if is_byte_level:
        rank = _listed(map(merged_pair, source.merges))
        fallbacks = _byte_characters(texts, markers)
    else:
        rank = _scored(source.tokens, source.scores, types)
        fallbacks = frozenset(i for i, kind in kinds if kind in (BYTE, UNKNOWN))
    return Pieces(texts, markers, fallbacks, rank, is_byte_level)


def _of_json(description: Mapping[str, Any], source: TokenizerSource) -> Pieces:
    model, vocab = description["model"], description["model"]["vocab"]
    kind = model.get("type") or ("Unigram" if isinstance(vocab, list) else "BPE")
    if kind not in ("BPE", "Unigram"):
        raise UnsupportedError(
            "this kind of vocabulary cannot be trimmed",
            where="tokenizer.json: model.type",
            expected="BPE or Unigram",
            found=kind,
        )
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise UnsupportedError(
                f"a vocabulary with {key} cannot be trimmed",
                where="tokenizer.json",
                found=model[key],
            )
    words = vocab if isinstance(vocab, Mapping) else {w: i for i, (w, _) in enumerate(vocab)}
    beside = {token.id: token.text for token in source.added}
    added = {entry["id"]: entry["content"] for entry in description.get("added_tokens") or []}
    added |= beside
    by_id = {token: word for word, token in words.items()} | added
    texts = tuple(by_id.get(token) for token in range(max(by_id) + 1))
    markers = frozenset(added)
    is_byte_level = has_byte_level(description)
    if is_byte_level:
        fallbacks = _byte_characters(texts, markers)
    else:
        fallbacks = frozenset(words[f"<0x{i:02X}>"] for i in range(256) if f"<0x{i:02X}>" in words)
    return Pieces(
        texts,
        markers,
        fallbacks,
        _listed(map(merged_pair, model.get("merges") or ())),
        is_byte_level,
    )


def _listed(pairs: Iterable[tuple[str, str]]) -> Rank:
    ranks = {(left, right): float(i) for i, (left, right) in enumerate(pairs)}
    return lambda left, right: ranks.get((left, right))


def _scored(tokens: tuple[str, ...], scores: tuple[float, ...], types: tuple[int, ...]) -> Rank:
    """SentencePiece joins whatever makes a piece, the best score first."""
    found = {
        text: -score
        for text, score, kind in zip(tokens, scores, types, strict=True)
        if kind in (NORMAL, UNUSED)
    }
    return lambda left, right: found.get(left + right)


def _byte_characters(texts: tuple[str | None, ...], markers: frozenset[int]) -> frozenset[int]:
    table = byte_of_character()
    return frozenset(i for i, t in enumerate(texts) if t in table and i not in markers)


def steps_of(text: str, rank: Rank) -> set[str]:
    """The characters of a piece and all that stands between them and the piece while it is joined.

    The best join first, the leftmost of equals, as byte-pair encoding does. What does not join to
    one piece is in the vocabulary only for whole words: its parts are steps too.
    """
    parts = list(text)
    steps = set(parts)
    while len(parts) > 1:
        found = [
            (rank(left, right), i) for i, (left, right) in enumerate(itertools.pairwise(parts))
        ]
        known = [(value, i) for value, i in found if value is not None]
        if not known:
            break
        _, at = min(known)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        steps.add(parts[at])
    return steps
