"""The tokenizer that is left: each of the three kinds with the kept pieces alone, numbered anew."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.compress.trim.sentencepiece_file import renumbered
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text.fast import merged_pair

Numbers = Mapping[int, int]  # old id -> new id, of the kept


def trimmed_source(source: TokenizerSource, kept: Sequence[int]) -> TokenizerSource:
    """The same source with the kept ids alone, in their order; ids that a template or setting
    names are renumbered, those that are gone left out."""
    numbers = {old: new for new, old in enumerate(kept)}
    changed: dict[str, Any] = {
        name: None if value is None else numbers.get(value)
        for name in ("bos_id", "unk_id", "pad_id")
        for value in [getattr(source, name)]
    }
    for name in ("eos_ids", "opening_ids", "closing_ids"):
        changed[name] = tuple(numbers[i] for i in getattr(source, name) if i in numbers)
    changed["added"] = tuple(
        dataclasses.replace(token, id=numbers[token.id])
        for token in source.added
        if token.id in numbers
    )
    if source.kind == "gguf":
        changed |= _gguf(source, kept)
    elif source.kind == "sentencepiece":
        changed["payload"] = renumbered(source.payload or b"", numbers)
    else:
        changed["payload"] = trimmed_json(source.payload or b"", numbers)
    return dataclasses.replace(source, **changed)


def _gguf(source: TokenizerSource, kept: Sequence[int]) -> dict[str, Any]:
    count = len(source.tokens)
    chosen = [token for token in kept if token < count]
    changed: dict[str, Any] = {
        name: tuple(values[token] for token in chosen)
        for name in ("tokens", "scores", "types")
        if (values := getattr(source, name))
    }
    known = set(changed["tokens"])
    changed["merges"] = tuple(m for m in source.merges if _is_whole(m, known))
    return changed


def _is_whole(merge: str | list[str], known: Mapping[str, int] | set[str]) -> bool:
    left, right = merged_pair(merge)
    return left in known and right in known and left + right in known


def trimmed_json(payload: bytes, numbers: Numbers) -> bytes:
    """A tokenizer.json of the kept ids."""
    description = json.loads(payload)
    model = description["model"]
    if isinstance(model["vocab"], list):  # Unigram: the place is the id
        model["vocab"] = [entry for i, entry in enumerate(model["vocab"]) if i in numbers]
        if model.get("unk_id") is not None:
            model["unk_id"] = numbers.get(model["unk_id"])
    else:
        vocab = {word: numbers[i] for word, i in model["vocab"].items() if i in numbers}
        model["vocab"] = vocab
        model["merges"] = [merge for merge in model.get("merges") or [] if _is_whole(merge, vocab)]
    description["added_tokens"] = [
        {**entry, "id": numbers[entry["id"]]}
        for entry in description.get("added_tokens") or []
        if entry["id"] in numbers
    ]
    processor = description.get("post_processor")
    for step in (processor, *((processor or {}).get("processors") or ())):
        _renumber_processor(step, numbers)
    return json.dumps(description, ensure_ascii=False).encode()


def _renumber_processor(step: dict[str, Any] | None, numbers: Numbers) -> None:
    if step is None:
        return
    for token in (step.get("special_tokens") or {}).values():
        token["ids"] = [numbers[i] for i in token["ids"] if i in numbers]
    for side in ("cls", "sep"):
        if side in step:
            word, token = step[side]
            step[side] = [word, numbers[token]]


def processor_ids(payload: bytes) -> frozenset[int]:
    """Every id that the post-processor of a tokenizer.json names: they must stay."""
    processor = json.loads(payload).get("post_processor")
    found: set[int] = set()
    for step in (processor, *((processor or {}).get("processors") or ())):
        tokens = ((step or {}).get("special_tokens") or {}).values()
        found |= {token for entry in tokens for token in entry["ids"]}
        found |= {step[side][1] for side in ("cls", "sep") if step and side in step}
    return frozenset(found)
