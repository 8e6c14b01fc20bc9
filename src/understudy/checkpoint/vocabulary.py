"""A tokenizer as GGUF metadata: from a tokenizer.json, a SentencePiece model, or another GGUF's
vocabulary.

Key names and token types are those of the GGUF specification; what cannot be expressed in GGUF is
refused or noted, never dropped in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from understudy.checkpoint.gguf_tokenizer import prefix_metadata
from understudy.checkpoint.pre_tokenizer_name import pre_tokenizer_name
from understudy.errors import FormatError, UnderstudyError, UnsupportedError
from understudy.formats.tokenizer_source import AddedToken, TokenizerSource
from understudy.text.fast import has_byte_level
from understudy.text.spm import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    SpmModel,
    read_spm,
)

_INT32 = 5
ADDED_SCORE = -1000.0  # llama.cpp's converter gives it to tokens that no merge makes


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id as GGUF holds them; `notes` say what is not the same as in the source."""

    source: TokenizerSource
    notes: tuple[str, ...] = ()


def to_gguf_source(source: TokenizerSource) -> Vocabulary:
    """Any source as one of kind "gguf".

    Raises:
        FormatError: damaged.
        UnsupportedError: a tokenizer that GGUF readers have no name for.
    """
    if source.kind == "gguf":
        return Vocabulary(source)
    if source.kind == "sentencepiece":
        return _of_sentencepiece(source)
    try:
        description = with_added(json.loads(source.payload or b""), source.added)
        model = description["model"]
        if model.get("type", "BPE") != "BPE" or not isinstance(model["vocab"], dict):
            raise UnsupportedError(
                "tokenizer model is not implemented",
                where="tokenizer.json",
                expected="BPE",
                found=model.get("type"),
            )
        return (
            _byte_level(source, description)
            if has_byte_level(description)
            else _spm_like(source, description)
        )
    except UnderstudyError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise FormatError(
            f"not a tokenizer.json ({type(error).__name__}: {str(error)[:200]})",
            where="tokenizer.json",
        ) from error


def vocabulary_metadata(source: TokenizerSource, vocab_size: int) -> dict[str, Any]:
    """`tokenizer.*` keys of a source of kind "gguf"; ids that the network has beyond the vocabulary
    become unused tokens.

    Raises:
        FormatError: more tokens than the network's embedding has rows.
    """
    if len(source.tokens) > vocab_size:
        raise FormatError(
            "the tokenizer has more tokens than the embedding has rows",
            where="tokenizer",
            expected=f"at most {vocab_size}",
            found=len(source.tokens),
        )
    missing = vocab_size - len(source.tokens)
    types = source.types or (NORMAL,) * len(source.tokens)
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": source.model,
        "tokenizer.ggml.pre": source.pre or "default",
        "tokenizer.ggml.tokens": [
            *source.tokens,
            *(f"[PAD{len(source.tokens) + i}]" for i in range(missing)),
        ],
        "tokenizer.ggml.token_type": (_INT32, [*types, *[UNUSED] * missing]),
    }
    if source.scores:
        metadata["tokenizer.ggml.scores"] = [*map(float, source.scores), *[ADDED_SCORE] * missing]
    if source.merges:
        metadata["tokenizer.ggml.merges"] = list(source.merges)
    ids = {"bos": source.bos_id, "unknown": source.unk_id, "padding": source.pad_id}
    ids |= dict(zip(("eos", "eot"), source.eos_ids, strict=False))
    metadata |= {
        f"tokenizer.ggml.{name}_token_id": value for name, value in ids.items() if value is not None
    }
    metadata["tokenizer.ggml.add_bos_token"] = source.add_bos
    metadata["tokenizer.ggml.add_space_prefix"] = source.add_space_prefix
    if source.closing_ids and source.closing_ids[:1] == source.eos_ids[:1]:
        metadata["tokenizer.ggml.add_eos_token"] = True
    if source.model == "llama":
        metadata |= prefix_metadata(source)
    return metadata | _template_metadata(source)


def _template_metadata(source: TokenizerSource) -> dict[str, Any]:
    """As gguf-py writes them: the default under the plain key, the others by name and in a list."""
    found: dict[str, Any] = {}
    if source.chat_template is not None:
        found["tokenizer.chat_template"] = source.chat_template
    if source.named_templates:
        found["tokenizer.chat_templates"] = sorted(source.named_templates)
    for name, template in source.named_templates.items():
        found[f"tokenizer.chat_template.{name}"] = template
    return found


def _notes(source: TokenizerSource) -> list[str]:
    """What GGUF has no key for."""
    notes = []
    if source.opening_ids and source.opening_ids != (source.bos_id,):
        notes.append(f"tokenizer: GGUF cannot say that texts begin with {source.opening_ids}")
    if any(t.strips_left or t.strips_right or t.is_whole_word for t in source.added):
        notes.append("tokenizer: GGUF cannot say that added tokens swallow blanks or stand alone")
    if source.closing_ids and source.closing_ids != source.eos_ids[:1]:
        notes.append(f"tokenizer: GGUF cannot say that texts end with {source.closing_ids}")
    return notes


def with_added(description: dict[str, Any], added: Sequence[AddedToken]) -> dict[str, Any]:
    """A tokenizer.json with the added tokens that stand beside it."""
    if not added:
        return description
    beside = {token.text for token in added}
    kept = [e for e in description.get("added_tokens") or [] if e.get("content") not in beside]
    entries = [
        {
            "id": token.id,
            "content": token.text,
            "special": token.is_special,
            "lstrip": token.strips_left,
            "rstrip": token.strips_right,
            "single_word": token.is_whole_word,
            "normalized": token.is_normalized,
        }
        for token in added
    ]
    in_order = sorted([*kept, *entries], key=lambda entry: entry["id"])
    return {**description, "added_tokens": in_order}


def _refuse_without_counterpart(model: SpmModel) -> None:
    if model.is_unigram or model.character_map:
        raise UnsupportedError(
            "sentencepiece model has no counterpart in GGUF",
            where="tokenizer.model",
            expected="BPE that rewrites no characters",
            found="Unigram" if model.is_unigram else "a normaliser",
            do="keep this model as a Hugging Face folder",
        )
    if model.treats_space_as_suffix:
        raise UnsupportedError(
            "sentencepiece model with blanks behind the words has no counterpart in GGUF",
            where="trainer_spec.treat_whitespace_as_suffix",
            do="keep this model as a Hugging Face folder",
        )


def _of_sentencepiece(source: TokenizerSource) -> Vocabulary:
    model = read_spm(source.payload or b"")
    _refuse_without_counterpart(model)
    count = max([len(model.pieces), *(token.id + 1 for token in source.added)])
    missing = range(len(model.pieces), count)
    tokens = [*model.pieces, *(f"[PAD{token}]" for token in missing)]
    scores = [*model.scores, *(ADDED_SCORE for _ in missing)]
    types = [*model.types, *(UNUSED for _ in missing)]
    for token in source.added:
        tokens[token.id] = token.text
        if types[token.id] != UNKNOWN:
            types[token.id] = CONTROL if token.is_special else USER_DEFINED
    eos = source.eos_ids or (() if model.eos_id is None else (model.eos_id,))
    found = replace(
        source,
        kind="gguf",
        payload=None,
        model="llama",
        pre="default",
        tokens=tuple(tokens),
        scores=tuple(scores),
        types=tuple(types),
        bos_id=model.bos_id if source.bos_id is None else source.bos_id,
        eos_ids=eos,
        unk_id=model.unk_id if source.unk_id is None else source.unk_id,
        pad_id=model.pad_id if source.pad_id is None else source.pad_id,
        add_space_prefix=model.add_dummy_prefix,
    )
    return Vocabulary(found, tuple(_notes(source)))


def _byte_level(source: TokenizerSource, description: Mapping[str, Any]) -> Vocabulary:
    notes = _notes(source)
    normalizer = description.get("normalizer")
    if normalizer is not None and normalizer.get("type") == "NFC":
        notes.append(
            "tokenizer: GGUF has no place for NFC normalisation; text that is not NFC may get "
            "other tokens"
        )
    elif normalizer is not None:
        raise UnsupportedError(
            "normaliser has no counterpart in GGUF",
            where="tokenizer.json",
            found=normalizer.get("type"),
        )
    tokens, types = _tokens_by_id(description)
    merges = tuple(_merge(entry) for entry in description["model"].get("merges", []))
    pre = pre_tokenizer_name(description, notes)
    return Vocabulary(
        replace(
            source,
            kind="gguf",
            payload=None,
            added=(),
            model="gpt2",
            pre=pre,
            tokens=tuple(tokens),
            types=tuple(types),
            merges=merges,
            unk_id=_unknown_id(source, description),
            add_space_prefix=False,
        ),
        tuple(notes),
    )


def _spm_like(source: TokenizerSource, description: Mapping[str, Any]) -> Vocabulary:
    model, prefix = description["model"], _space_prefix(description)
    if not model.get("byte_fallback"):
        raise UnsupportedError(
            "tokenizer is neither byte-level nor falls back to bytes", where="tokenizer.json"
        )
    tokens, types = _tokens_by_id(description)
    ids = model["vocab"]
    pairs = [_merge(entry) for entry in model.get("merges", [])]
    made: dict[str, int] = {}
    for rank, pair in enumerate(pairs):
        made.setdefault(pair.replace(" ", "", 1), rank)
    scores = [ADDED_SCORE if kind in (USER_DEFINED, UNUSED) else 0.0 for kind in types]
    for piece, token in ids.items():
        if types[token] == NORMAL:
            scores[token] = -float(made.get(piece, len(pairs)))
    notes = _notes(source)
    known = set(pairs)
    if any(not _has_all_splits(piece, ids, known) for piece in made):
        notes.append(
            "tokenizer: some merges are missing for pieces that could be made in two ways; rare "
            "words may split differently"
        )
    return Vocabulary(
        replace(
            source,
            kind="gguf",
            payload=None,
            added=(),
            model="llama",
            pre="default",
            tokens=tuple(tokens),
            scores=tuple(scores),
            types=tuple(types),
            unk_id=_unknown_id(source, description),
            add_space_prefix=prefix != "never",
            prefix="always" if prefix == "always" else "first",
            doubles_blank=not _has_metaspace(description),
        ),
        tuple(notes),
    )


def _has_all_splits(piece: str, ids: Mapping[str, int], known: set[str]) -> bool:
    """Whether every pair of pieces that concatenates to `piece` is a merge: SentencePiece joins
    any, BPE only those listed.
    """
    splits = ((piece[:at], piece[at:]) for at in range(1, len(piece)))
    return all(f"{left} {right}" in known for left, right in splits if left in ids and right in ids)


def _has_metaspace(description: Mapping[str, Any]) -> bool:
    return '"Metaspace"' in json.dumps(description.get("pre_tokenizer"))


def _space_prefix(description: Mapping[str, Any]) -> str:
    """Which texts get a blank in front (Metaspace, or the older normaliser Prepend): never, first
    or always.

    Raises:
        UnsupportedError: other normalisers or pre-tokenizers.
    """
    prefix = "never"
    for part in ("normalizer", "pre_tokenizer"):
        node = description.get(part) or {"type": "Sequence", "normalizers": []}
        for step in (
            node.get("normalizers", node.get("pretokenizers", []))
            if node.get("type") == "Sequence"
            else [node]
        ):
            kind = step.get("type")
            if kind == "Metaspace":
                scheme = "always" if step.get("add_prefix_space", True) else "never"
                prefix = str(step.get("prepend_scheme", scheme))
            elif kind == "Prepend" and step.get("prepend") == "▁":
                prefix = "always"
            elif kind == "Replace" and (step.get("pattern"), step.get("content")) == (
                {"String": " "},
                "▁",
            ):
                continue
            else:
                raise UnsupportedError(
                    "normaliser has no counterpart in GGUF", where="tokenizer.json", found=kind
                )
    return prefix


def _tokens_by_id(description: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """Tokens and types by id; ids between that nobody has become unused tokens."""
    model = description["model"]
    by_id = {token: piece for piece, token in model["vocab"].items()}
    added = {entry["id"]: entry for entry in description.get("added_tokens") or []}
    by_id |= {token: entry["content"] for token, entry in added.items()}
    if not by_id or not all(type(token) is int and 0 <= token < 1 << 24 for token in by_id):
        raise FormatError("token ids are not small whole numbers", where="tokenizer.json")
    count = max(by_id) + 1
    tokens = [by_id.get(token, f"[PAD{token}]") for token in range(count)]
    types = [NORMAL if token in by_id else UNUSED for token in range(count)]
    for token, piece in enumerate(tokens):
        if model.get("byte_fallback") and len(piece) == 6 and piece.startswith("<0x"):
            types[token] = BYTE
    for token, entry in added.items():
        types[token] = CONTROL if entry.get("special") else USER_DEFINED
    unknown = model.get("unk_token")
    if model.get("byte_fallback") and unknown in model["vocab"]:
        types[model["vocab"][unknown]] = UNKNOWN
    return tokens, types


def _unknown_id(source: TokenizerSource, description: Mapping[str, Any]) -> int | None:
    unknown = description["model"].get("unk_token")
    found = description["model"]["vocab"].get(unknown) if unknown is not None else None
    return source.unk_id if found is None else int(found)


def _merge(entry: Any) -> str:
    """A merge as "left right", from that or from a pair."""
    if isinstance(entry, str):
        return entry
    left, right = entry
    if " " in left or " " in right:
        raise UnsupportedError(
            "a merge contains a blank, which GGUF cannot express",
            where="tokenizer.json",
            found=entry,
        )
    return f"{left} {right}"
