"""Segmenters built on the `tokenizers` library: a tokenizer.json, or the byte-level BPE vocabulary
inside a GGUF file.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from operator import methodcaller
from typing import Any

from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models

from understudy.errors import FormatError, UnsupportedError
from understudy.formats.tokenizer_source import AddedToken, TokenizerSource
from understudy.text.pre_tokenizers import PRE_ALIASES, PRE_TOKENIZERS
from understudy.text.tokenizer import Marker, Segmenter

LONG_TEXT = 4096  # characters from which on Python's other threads run while it is encoded


@functools.cache
def byte_of_character() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    return table | {chr(256 + i): byte for i, byte in enumerate(others)}


class FastSegmenter(Segmenter):
    """Wraps two `tokenizers` objects without added tokens: one for the start of a text, one for
    later pieces.
    """

    def __init__(
        self,
        start: FastTokenizer,
        later: FastTokenizer,
        num_tokens: int,
        is_byte_level: bool,
        strips_first_space: bool = False,
    ) -> None:
        self._start, self._later = start, later
        self.vocab_size = num_tokens
        self._is_byte_level = is_byte_level
        self.strips_first_space = strips_first_space

    def encode(self, text: str, is_start: bool) -> list[int]:
        chosen = self._start if is_start else self._later
        with _as_format_error("the tokenizer cannot encode"):
            if len(text) < LONG_TEXT:
                return list(chosen.encode(text, add_special_tokens=False).ids)
            return list(chosen.encode_batch_fast([text], add_special_tokens=False)[0].ids)

    def piece(self, token: int) -> str:
        return self._start.id_to_token(token) or ""

    def bytes_of(self, token: int) -> bytes:
        piece = self.piece(token)
        if self._is_byte_level:
            table = byte_of_character()
            if all(c in table for c in piece):
                return bytes(table[c] for c in piece)
            return piece.encode()
        return spm_bytes(piece)


def spm_bytes(piece: str) -> bytes:
    """Bytes of a SentencePiece piece: `<0x0A>` is a byte, U+2581 a space."""
    if match := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", piece):
        return bytes([int(match[1], 16)])
    return piece.replace("▁", " ").encode()


def segmenter_of_json(
    payload: bytes, added: Sequence[AddedToken] = ()
) -> tuple[FastSegmenter, list[Marker]]:
    """From the bytes of a tokenizer.json, merges as "a b" strings or as pairs.

    Args:
        payload: the file.
        added: tokens that stand beside it; they win over those of the same text in the file.

    Raises:
        FormatError: not a tokenizer.json.
    """
    with _as_format_error("not a tokenizer.json"):
        description = json.loads(payload)
        markers = [_added(entry) for entry in description.get("added_tokens") or []]
        beside = {token.text for token in added}
        markers = [m for m in markers if m.text not in beside] + [*map(marker_of, added)]
        if any(
            type(m.token) is not int or not 0 <= m.token < 1 << 31 or not isinstance(m.text, str)
            for m in markers
        ):
            raise FormatError("an added token of tokenizer.json has no usable id or content")
        plain = {
            **description,
            "added_tokens": [],
            "post_processor": None,
            "truncation": None,
            "padding": None,
        }
        plain["model"] = _without(description["model"], {m.text for m in markers if not m.is_text})
        start = FastTokenizer.from_str(json.dumps(plain))
        later = _for_later_pieces(start, plain)
        vocab = description["model"]["vocab"]
        num_tokens = len(vocab) if isinstance(vocab, list) else max(vocab.values(), default=-1) + 1
    is_byte_level = has_byte_level(plain)
    kinds = _decoder_types(plain.get("decoder"))
    if not is_byte_level and not kinds <= _SPM_DECODERS:
        raise UnsupportedError(
            "decoder is not implemented",
            where="tokenizer.json",
            expected=" ".join(sorted(_SPM_DECODERS)),
            found=" ".join(sorted(kinds - _SPM_DECODERS)),
        )
    strips = not is_byte_level and ("Strip" in kinds or _prefixes(plain.get("decoder")))
    return FastSegmenter(start, later, num_tokens, is_byte_level, strips), markers


def has_byte_level(description: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json writes its pieces in GPT-2's characters for bytes."""
    return "ByteLevel" in json.dumps([description.get("pre_tokenizer"), description.get("decoder")])


_SPM_DECODERS = {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}


@contextlib.contextmanager
def _as_format_error(what: str) -> Iterator[None]:
    """The library raises bare Exceptions, and panics that are BaseExceptions."""
    try:
        yield
    except (FormatError, KeyboardInterrupt, SystemExit):
        raise
    except RecursionError as error:
        raise FormatError(f"{what} (nested too deeply)") from error
    except BaseException as error:
        raise FormatError(f"{what} ({type(error).__name__}: {error})") from error


def marker_of(token: AddedToken) -> Marker:
    """The marker that an added token is."""
    return Marker(
        token.id,
        token.text,
        token.is_special,
        strips_left=token.strips_left,
        strips_right=token.strips_right,
        is_whole_word=token.is_whole_word,
        is_second=token.is_normalized,
    )


def _added(entry: Mapping[str, Any]) -> Marker:
    return Marker(
        entry["id"],
        entry["content"],
        bool(entry.get("special")),
        strips_left=bool(entry.get("lstrip")),
        strips_right=bool(entry.get("rstrip")),
        is_whole_word=bool(entry.get("single_word")),
        is_second=bool(entry.get("normalized")),
    )


def _without(model: Mapping[str, Any], hidden: set[str]) -> dict[str, Any]:
    """The model without the words of markers, so that no text can give their ids. The unknown token
    stays: it needs its id.
    """
    hidden = hidden - {model.get("unk_token")}
    vocab = model["vocab"]
    if isinstance(vocab, list):  # Unigram, where the place is the id
        unknown = model.get("unk_id")
        return {
            **model,
            "vocab": [
                [f"\uffff{i}", score] if piece in hidden and i != unknown else [piece, score]
                for i, (piece, score) in enumerate(vocab)
            ],
        }
    if hidden.isdisjoint(vocab):
        return dict(model)
    shown = {
        **model,
        "vocab": {piece: token for piece, token in vocab.items() if piece not in hidden},
    }
    if "merges" in model:
        shown["merges"] = [
            merge
            for merge, (left, right) in zip(
                model["merges"], map(merged_pair, model["merges"]), strict=True
            )
            if left + right not in hidden and left not in hidden and right not in hidden
        ]
    return shown


def merged_pair(merge: str | list[str]) -> tuple[str, str]:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _for_later_pieces(start: FastTokenizer, plain: Mapping[str, Any]) -> FastTokenizer:
    """The same tokenizer with Metaspace's prefix "first" switched off: only the start of a text
    gets it.
    """
    outside = {"pre_tokenizer": plain.get("pre_tokenizer"), "normalizer": plain.get("normalizer")}
    changed = _never_prefixed(outside)
    if changed == outside:
        return start
    empty = {
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    around = FastTokenizer.from_str(json.dumps({**empty, **changed}))
    later = FastTokenizer(start.model)
    for name in outside:
        if getattr(around, name) is not None:
            setattr(later, name, getattr(around, name))
    return later


def _never_prefixed(node: Any) -> Any:
    if isinstance(node, dict):
        changed = {key: _never_prefixed(value) for key, value in node.items()}
        if changed.get("type") == "Metaspace" and changed.get("prepend_scheme") == "first":
            changed["prepend_scheme"] = "never"
        return changed
    return [_never_prefixed(value) for value in node] if isinstance(node, list) else node


def _decoder_types(decoder: Any) -> set[str]:
    if not isinstance(decoder, dict):
        return set()
    inner = decoder.get("decoders") if decoder.get("type") == "Sequence" else [decoder]
    return {str(step.get("type")) for step in inner or []}


def _prefixes(decoder: Any) -> bool:
    """Whether a Metaspace decoder takes off the blank that its pre-tokenizer put in front."""
    steps = decoder.get("decoders", [decoder]) if isinstance(decoder, dict) else []
    return any(
        s.get("type") == "Metaspace" and s.get("prepend_scheme", "always") != "never" for s in steps
    )


def segmenter_of_gguf(source: TokenizerSource) -> tuple[FastSegmenter, list[Marker]]:
    """From the byte-level BPE vocabulary of a GGUF file.

    Raises:
        UnsupportedError: a pre-tokenizer that is not in `PRE_TOKENIZERS`.
        FormatError: merges and tokens contradict each other.
    """
    pre = PRE_ALIASES.get(source.pre, source.pre)
    if pre not in PRE_TOKENIZERS:
        raise UnsupportedError(
            "pre-tokenizer is not implemented",
            where="tokenizer.ggml.pre",
            expected=" ".join(PRE_TOKENIZERS),
            found=source.pre,
        )
    make, takes_words = PRE_TOKENIZERS[pre]
    types = source.types or (1,) * len(source.tokens)
    if len(types) != len(source.tokens):
        raise FormatError(
            "token types and tokens differ in number",
            where="tokenizer.ggml.token_type",
            expected=len(source.tokens),
            found=len(types),
        )
    markers = [
        Marker(i, t, kind == 3)
        for i, (t, kind) in enumerate(zip(source.tokens, types, strict=True))
        if kind in (3, 4)
    ]
    hidden = {m.text for m in markers if not m.is_text}
    vocab = {token: i for i, token in enumerate(source.tokens) if token not in hidden}
    with _as_format_error("merges do not fit the tokens"):
        merges = [
            (left, right)
            for left, right in map(methodcaller("split", " ", 1), source.merges)
            if left + right not in hidden and left not in hidden and right not in hidden
        ]
        fast = FastTokenizer(models.BPE(vocab, merges, ignore_merges=takes_words))
    fast.pre_tokenizer = make()
    fast.decoder = decoders.ByteLevel()
    return FastSegmenter(fast, fast, len(source.tokens), is_byte_level=True), markers
