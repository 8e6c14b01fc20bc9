"""From a `TokenizerSource` to a `Tokenizer`, and the check of the real Nemotron vocabulary."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path

from understudy.errors import CheckpointWarning, UnsupportedError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text.fast import marker_of, segmenter_of_gguf, segmenter_of_json
from understudy.text.spm import (
    CONTROL,
    SPACE,
    UNKNOWN,
    USER_DEFINED,
    SpmModel,
    SpmSegmenter,
    read_spm,
    spm_markers,
)
from understudy.text.tokenizer import Marker, Segmenter, Tokenizer
from understudy.text.unigram import UnigramSegmenter

# nemotron_2_256k.model, the SentencePiece file of Nemotron-4 and the Minitron models.
NEMOTRON_BYTES = 4_545_602
NEMOTRON_SHA256 = "6dfd8b970f437002fc445214304969fe59e64d4f48500bd0b77ba55340f2d811"


def open_tokenizer(source: TokenizerSource) -> Tokenizer:
    """Makes the tokenizer that a source describes.

    Raises:
        FormatError: damaged or contradictory.
        UnsupportedError: a kind of vocabulary or pre-tokenizer that is not implemented.
    """
    bos, eos, pad = source.bos_id, source.eos_ids, source.pad_id
    segmenter: Segmenter
    if source.kind == "tokenizer.json":
        segmenter, markers = segmenter_of_json(source.payload or b"", source.added)
    elif source.kind == "sentencepiece" or source.model == "llama":
        model = (
            read_spm(source.payload or b"")
            if source.kind == "sentencepiece"
            else _spm_of_gguf(source)
        )
        model = _with_added(model, source)
        segmenter = UnigramSegmenter(model) if model.is_unigram else SpmSegmenter(model)
        markers = _spm_markers(model, source)
        bos = model.bos_id if bos is None else bos
        eos = eos or ((model.eos_id,) if model.eos_id is not None else ())
        pad = model.pad_id if pad is None else pad
    elif source.model == "gpt2":
        segmenter, markers = segmenter_of_gguf(source)
    else:
        raise UnsupportedError(
            "tokenizer model is not implemented",
            where="tokenizer.ggml.model",
            expected="gpt2 or llama",
            found=source.model,
        )
    size = max([segmenter.vocab_size, *(marker.token + 1 for marker in markers)])
    bos, pad, *ends = _within(size, bos, pad, *eos)
    return Tokenizer(
        segmenter,
        markers,
        bos_id=bos,
        eos_ids=[token for token in ends if token is not None],
        pad_id=pad,
        opening_ids=source.opening_ids,
        closing_ids=source.closing_ids,
        restarts=source.prefix == "always",
        special_tokens=source.special_tokens,
        chat_template=source.chat_template,
        named_templates=source.named_templates,
    )


def _within(size: int, *tokens: int | None) -> list[int | None]:
    """Special tokens, without those that no text is known for: configs often name ids of a larger
    vocabulary.
    """
    beyond = [token for token in tokens if token is not None and not 0 <= token < size]
    if beyond:
        warnings.warn(
            f"special tokens outside the vocabulary of {size} are not used: "
            f"{', '.join(map(str, beyond))}",
            CheckpointWarning,
            stacklevel=3,
        )
    return [None if token in beyond else token for token in tokens]


def _with_added(model: SpmModel, source: TokenizerSource) -> SpmModel:
    """The model without the pieces that are added tokens, so that no text gives their ids."""
    pieces, types = list(model.pieces), list(model.types)
    for token in source.added:
        if token.id < len(pieces):
            pieces[token.id] = token.text.replace(" ", SPACE)
            if types[token.id] != UNKNOWN:
                types[token.id] = CONTROL if token.is_special else USER_DEFINED
    return replace(
        model, pieces=tuple(pieces), types=tuple(types), doubles_blank=source.doubles_blank
    )


def _spm_markers(model: SpmModel, source: TokenizerSource) -> list[Marker]:
    """Pieces that are markers, and added tokens, which win and always cut the text."""
    added = {token.id for token in source.added}
    own = spm_markers(
        model,
        are_inside=not source.cuts_at_user_defined,
        blanks_are_inside=source.kind == "sentencepiece" or source.prefix == "first",
    )
    if source.kind == "gguf":  # llama.cpp finds the unknown token by its text too
        own += [
            Marker(token, text, is_special=True)
            for token, (text, kind) in enumerate(zip(model.pieces, model.types, strict=True))
            if kind == UNKNOWN
        ]
    return [*(m for m in own if m.token not in added), *map(marker_of, source.added)]


def _spm_of_gguf(source: TokenizerSource) -> SpmModel:
    types = source.types or (1,) * len(source.tokens)
    return SpmModel(
        source.tokens,
        source.scores,
        types,
        add_dummy_prefix=source.add_space_prefix,
        unk_id=source.unk_id,
    )


def check_nemotron_tokenizer(path: str | Path) -> str:
    """Says in one line whether a file is the original Nemotron vocabulary, byte for byte."""
    path = Path(path)
    if path.stat().st_size != NEMOTRON_BYTES:
        return (
            f"not the original Nemotron vocabulary: {path.stat().st_size} bytes, "
            f"expected {NEMOTRON_BYTES}"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != NEMOTRON_SHA256:
        return (
            f"not the original Nemotron vocabulary: sha256 {digest[:16]}…, "
            f"expected {NEMOTRON_SHA256[:16]}…"
        )
    return "the original Nemotron vocabulary (nemotron_2_256k.model)"
