"""Segmenters built on the `tokenizers` library: a tokenizer.json, or the byte-level BPE vocabulary inside a GGUF file."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer

from understudy.errors import FormatError, UnsupportedError
from understudy.files.tokenizer_source import TokenizerSource
from understudy.text.tokenizer import Marker, Segmenter

_LETTERS_AND = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _split(pattern: str) -> Any:
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip


def _gpt2() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _digits_then_gpt2() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


# `tokenizer.ggml.pre` -> (pre-tokenizer, whether a word that is in the vocabulary is taken whole).
PRE_TOKENIZERS: dict[str, tuple[Any, bool]] = {
    "gpt-2": (_gpt2, False),
    "smollm": (_digits_then_gpt2, False),
    "llama-bpe": (lambda: _split(_LETTERS_AND % "{1,3}"), True),
    "qwen2": (lambda: _split(_LETTERS_AND % ""), False),
    "tekken": (lambda: _split(_TEKKEN), True),
}


@functools.cache
def _byte_of_character() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    return table | {chr(256 + i): byte for i, byte in enumerate(others)}


class FastSegmenter(Segmenter):
    """Wraps two `tokenizers` objects without added tokens: one for the start of a text, one for later pieces."""

    def __init__(self, start: FastTokenizer, later: FastTokenizer, num_tokens: int, is_byte_level: bool) -> None:
        self._start, self._later = start, later
        self.vocab_size = num_tokens
        self._is_byte_level = is_byte_level
        self.strips_first_space = not is_byte_level

    def encode(self, text: str, is_start: bool) -> list[int]:
        chosen = self._start if is_start else self._later
        return list(chosen.encode(text, add_special_tokens=False).ids)

    def piece(self, token: int) -> str:
        return self._start.id_to_token(token) or ""

    def bytes_of(self, token: int) -> bytes:
        piece = self.piece(token)
        if self._is_byte_level:
            table = _byte_of_character()
            if all(c in table for c in piece):
                return bytes(table[c] for c in piece)
            return piece.encode()
        return spm_bytes(piece)


def spm_bytes(piece: str) -> bytes:
    """Bytes of a SentencePiece piece: `<0x0A>` is a byte, U+2581 a space."""
    if match := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", piece):
        return bytes([int(match[1], 16)])
    return piece.replace("▁", " ").encode()


def segmenter_of_json(payload: bytes) -> tuple[FastSegmenter, list[Marker]]:
    """From the bytes of a tokenizer.json, merges as "a b" strings or as pairs.

    Raises:
        FormatError: not a tokenizer.json.
    """
    try:
        description = json.loads(payload)
        added = description.get("added_tokens") or []
        markers = [
            Marker(t["id"], t["content"], bool(t.get("special")), bool(t.get("lstrip")), bool(t.get("rstrip"))) for t in added
        ]
        plain = {**description, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        start = FastTokenizer.from_str(json.dumps(plain))
        later = FastTokenizer.from_str(json.dumps(_never_prefixed(plain)))
    except RecursionError as error:
        raise FormatError("not a tokenizer.json (nested too deeply)") from error
    except Exception as error:  # the library raises a bare Exception
        raise FormatError(f"not a tokenizer.json ({type(error).__name__}: {error})") from error
    if any(type(m.token) is not int or not 0 <= m.token < 1 << 31 or not isinstance(m.text, str) for m in markers):
        raise FormatError("an added token of tokenizer.json has no usable id or content")
    is_byte_level = "ByteLevel" in json.dumps([plain.get("decoder"), plain.get("pre_tokenizer")])
    return FastSegmenter(start, later, start.get_vocab_size(), is_byte_level), markers


def _never_prefixed(node: Any) -> Any:
    """The same description with Metaspace's prefix "first" switched off: only the start of a text gets it."""
    if isinstance(node, dict):
        changed = {key: _never_prefixed(value) for key, value in node.items() if key not in ("model", "vocab", "merges")}
        changed |= {key: node[key] for key in ("model", "vocab", "merges") if key in node}
        if changed.get("type") == "Metaspace" and changed.get("prepend_scheme") == "first":
            changed["prepend_scheme"] = "never"
        return changed
    if isinstance(node, list):
        return [_never_prefixed(value) for value in node]
    return node


def segmenter_of_gguf(source: TokenizerSource) -> tuple[FastSegmenter, list[Marker]]:
    """From the byte-level BPE vocabulary of a GGUF file.

    Raises:
        UnsupportedError: a pre-tokenizer that is not in `PRE_TOKENIZERS`.
        FormatError: merges and tokens contradict each other.
    """
    if source.pre not in PRE_TOKENIZERS:
        raise UnsupportedError("pre-tokenizer is not implemented", where="tokenizer.ggml.pre",
                               expected=" ".join(PRE_TOKENIZERS), found=source.pre)  # fmt: skip
    make, takes_words = PRE_TOKENIZERS[source.pre]
    types = source.types or (1,) * len(source.tokens)
    if len(types) != len(source.tokens):
        raise FormatError("token types and tokens differ in number", where="tokenizer.ggml.token_type",
                          expected=len(source.tokens), found=len(types))  # fmt: skip
    vocab = {token: i for i, token in enumerate(source.tokens)}
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in source.merges)]
    try:
        fast = FastTokenizer(models.BPE(vocab, pairs, ignore_merges=takes_words))
    except Exception as error:  # the library raises a bare Exception
        raise FormatError(f"merges do not fit the tokens ({error})", where="tokenizer.ggml.merges") from error
    fast.pre_tokenizer = make()
    fast.decoder = decoders.ByteLevel()
    markers = [Marker(i, t, kind == 3) for i, (t, kind) in enumerate(zip(source.tokens, types, strict=True)) if kind in (3, 4)]
    return FastSegmenter(fast, fast, len(source.tokens), is_byte_level=True), markers
