"""From a `TokenizerSource` to a `Tokenizer`, and the check of the real Nemotron vocabulary."""

from __future__ import annotations

import hashlib
from pathlib import Path

from understudy.errors import FormatError, UnsupportedError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text.fast import segmenter_of_gguf, segmenter_of_json
from understudy.text.spm import SpmModel, SpmSegmenter, read_spm, spm_markers
from understudy.text.tokenizer import Segmenter, Tokenizer

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
        segmenter, markers = segmenter_of_json(source.payload or b"")
    elif source.kind == "sentencepiece" or source.model == "llama":
        model = (
            read_spm(source.payload or b"")
            if source.kind == "sentencepiece"
            else _spm_of_gguf(source)
        )
        segmenter, markers = SpmSegmenter(model), spm_markers(model)
        bos = model.bos_id if bos is None else bos
        eos = eos or ((model.eos_id,) if model.eos_id is not None else ())
        pad = model.pad_id if pad is None else pad
    elif source.model == "gpt2":
        segmenter, markers = segmenter_of_gguf(source)
        # A GGUF names one end; generation_config.json of these checkpoints lists this one too, and llama.cpp ends there as well.
        eos = tuple(
            dict.fromkeys(
                [*eos, *(m.token for m in markers if m.text == "<|endoftext|>" and m.is_special)]
            )
        )
    else:
        raise UnsupportedError(
            "tokenizer model is not implemented",
            where="tokenizer.ggml.model",
            expected="gpt2 or llama",
            found=source.model,
        )
    tokenizer = Tokenizer(
        segmenter,
        markers,
        bos_id=bos,
        eos_ids=eos,
        pad_id=pad,
        opening_ids=source.opening_ids,
        closing_ids=source.closing_ids,
        chat_template=source.chat_template,
    )
    for token in (bos, pad, *eos):
        if token is not None and not 0 <= token < tokenizer.vocab_size:
            raise FormatError(
                "special token is outside the vocabulary",
                expected=f"0 to {tokenizer.vocab_size - 1}",
                found=token,
            )
    return tokenizer


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
        return f"not the original Nemotron vocabulary: {path.stat().st_size} bytes, expected {NEMOTRON_BYTES}"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != NEMOTRON_SHA256:
        return f"not the original Nemotron vocabulary: sha256 {digest[:16]}…, expected {NEMOTRON_SHA256[:16]}…"
    return "the original Nemotron vocabulary (nemotron_2_256k.model)"
