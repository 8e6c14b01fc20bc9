"""A checkpoint with the rows of the kept pieces alone. Rows are copied as they are stored, so a
kept piece's logit is the same to the bit.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.lineage import KEY, lineage_of
from understudy.checkpoint.tokenizer_files import copied_files, tokenizer_files
from understudy.checkpoint.vocabulary import with_added
from understudy.checkpoint.weights import Weights, announced
from understudy.compress.trim.sentencepiece_file import renumbered, sentencepiece_file
from understudy.compress.trim.tokenizer import Numbers, trimmed_json, trimmed_source
from understudy.formats.tensor import StoredTensor
from understudy.formats.tokenizer_source import TokenizerSource

_MATRICES = ("model.embed_tokens.weight", "lm_head.weight", "lm_head.bias")
_LISTS = ("suppress_tokens", "begin_suppress_tokens")


def trimmed_checkpoint(
    checkpoint: Checkpoint, kept: Sequence[int], lineage: Mapping[str, Any] | None = None
) -> Checkpoint:
    """The same model over the kept ids, numbered anew in their order.

    Args:
        checkpoint: must have a tokenizer.
        kept: ids that stay, rising.
        lineage: what the file should say of where it comes from, beside what it says already.
    """
    assert checkpoint.tokenizer_source is not None
    numbers = {old: new for new, old in enumerate(kept)}
    source = trimmed_source(checkpoint.tokenizer_source, kept)
    metadata = _renumbered(checkpoint.metadata, numbers)
    if lineage is not None:
        note = lineage_of(metadata) | dict(lineage)
        key = "understudy" if "understudy" in metadata or checkpoint.path.is_dir() else KEY
        metadata[key] = note
    return dataclasses.replace(
        checkpoint,
        spec=checkpoint.spec.replace(vocab_size=len(kept)),
        weights=_rows(checkpoint.weights, np.asarray(kept, np.intp)),
        tokenizer_source=source,
        metadata=metadata,
        tokenizer_files=_files(source, checkpoint.path, numbers),
        token_bias=checkpoint.token_bias.renumbered(numbers),
    )


def _rows(weights: Weights, kept: np.ndarray[Any, np.dtype[np.intp]]) -> Weights:
    """Rows are taken when a matrix is asked for: the rest of a big embedding stays on disk."""
    found = {name: weights.stored(name) for name in weights}
    cut = [name for name in _MATRICES if name in found]
    for name in cut:
        shape = (len(kept), *found[name].shape[1:])
        found[name] = announced(name, shape, found[name].format)
    made = Weights(found)
    for name in weights:
        made.change(name, _taking(weights, name, kept if name in cut else None))
    return made


def _taking(weights: Weights, name: str, kept: Any) -> Any:
    def take(_: StoredTensor) -> StoredTensor:
        tensor = weights[name]
        return tensor if kept is None else tensor.take_rows(kept)

    return take


def _files(source: TokenizerSource, path: Path, numbers: Numbers) -> dict[str, bytes]:
    """The tokenizer's files in a folder: the original ones with other ids, or built anew."""
    copied = copied_files(path)
    if not copied:
        files = tokenizer_files(source, path)
        if source.kind == "gguf" and source.model == "llama":
            files["tokenizer.model"] = sentencepiece_file(source)
        return files
    if source.kind == "tokenizer.json" and "tokenizer.json" not in copied:  # of vocab.json
        whole = with_added(json.loads(source.payload or b"{}"), source.added)
        copied["tokenizer.json"] = json.dumps(whole).encode()
    files = {}
    for name, content in copied.items():
        if name == "tokenizer.json":
            files[name] = trimmed_json(content, numbers)
        elif name == "tokenizer.model":
            files[name] = renumbered(content, numbers)
        elif name in ("tokenizer_config.json", "generation_config.json"):
            changed = _renumbered(json.loads(content), numbers)
            files[name] = json.dumps(changed, indent=2, ensure_ascii=False).encode()
        elif name not in ("vocab.json", "merges.txt", "added_tokens.json"):  # said in the others
            files[name] = content
    return files


def _renumbered(settings: Mapping[str, Any], numbers: Numbers) -> dict[str, Any]:
    """Settings whose ids are the new ones; ids that are gone, and sequences with one of them, are
    left out.
    """
    changed = dict(settings)
    for key, value in settings.items():
        if key.endswith("_token_id") or key in _LISTS:
            changed[key] = _new_ids(value, numbers)
    if isinstance(words := settings.get("bad_words_ids"), list):
        changed["bad_words_ids"] = [
            _new_ids(word, numbers) for word in words if numbers.keys() >= set(word)
        ]
    if isinstance(biased := settings.get("sequence_bias"), list):
        changed["sequence_bias"] = [
            [_new_ids(word, numbers), bias] for word, bias in biased if numbers.keys() >= set(word)
        ]
    if isinstance(decoder := changed.get("added_tokens_decoder"), Mapping):
        changed["added_tokens_decoder"] = {
            str(numbers[int(token)]): entry
            for token, entry in decoder.items()
            if int(token) in numbers
        }
    return changed


def _new_ids(value: Any, numbers: Numbers) -> Any:
    if isinstance(value, list):
        return [numbers[token] for token in value if token in numbers]
    return numbers.get(value) if type(value) is int else value
