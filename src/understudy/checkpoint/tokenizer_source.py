"""Finding the tokenizer of a Hugging Face folder among its files, as transformers 5.24 does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.checkpoint.end_tokens import folder_ends, whole_ids
from understudy.checkpoint.gguf_tokenizer import gguf_tokenizer
from understudy.checkpoint.special_tokens import section, special_tokens
from understudy.checkpoint.template_files import folder_templates
from understudy.checkpoint.tokenizer_class import LLAMA, tokenizer_class
from understudy.checkpoint.vocabulary_files import has_vocabulary_files, tokenizer_json_of_files
from understudy.formats.safetensors_folder import read_json
from understudy.formats.tokenizer_source import TokenizerSource


def folder_tokenizer(folder: Path, config: Mapping[str, Any]) -> TokenizerSource | None:
    """From tokenizer.json, else tokenizer.model, else vocab.json with merges.txt, and what stands
    in the files beside it (`special_tokens`, `template_files`, `end_tokens`). None when there is no
    tokenizer.

    Raises:
        FormatError: one of the files is not what its name says.
    """
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.exists() else {}
    payload = _json_payload(folder, settings, config)
    if payload is None and not (folder / "tokenizer.model").exists():
        return None
    special = special_tokens(folder, settings, config)
    bos = _token("bos_token", special.ids, config)
    named_end = [special.ids["eos_token"]] if "eos_token" in special.ids else []
    templates = folder_templates(folder, settings)
    common: dict[str, Any] = {
        "added": special.added,
        "bos_id": bos,
        "eos_ids": tuple(dict.fromkeys((*named_end, *folder_ends(folder, config)))),
        "unk_id": special.ids.get("unk_token"),
        "pad_id": _token("pad_token", special.ids, config),
        "special_tokens": special.names,
        "extra_special": special.extra,
        "chat_template": templates.pop("default", None),
        "named_templates": templates,
    }
    opening, closing = _around(settings, special.ids)
    if payload is not None:
        if (folder / "tokenizer.json").exists():
            opening, closing = _post_processor_ids(payload)
        return TokenizerSource(
            "tokenizer.json", payload, opening_ids=opening, closing_ids=closing, **common
        )
    is_llama = tokenizer_class(folder, settings, config) == LLAMA
    is_legacy = bool(settings.get("legacy", not is_llama))
    return TokenizerSource(
        "sentencepiece",
        (folder / "tokenizer.model").read_bytes(),
        opening_ids=opening,
        closing_ids=closing,
        prefix="always" if is_legacy else "first",
        doubles_blank=is_legacy and not is_llama,
        cuts_at_user_defined=is_llama,
        **common,
    )


def _json_payload(
    folder: Path, settings: Mapping[str, Any], config: Mapping[str, Any]
) -> bytes | None:
    """tokenizer.json, or one made of vocab.json and merges.txt where there is nothing better."""
    if (folder / "tokenizer.json").exists():
        return (folder / "tokenizer.json").read_bytes()
    if (folder / "tokenizer.model").exists() or not has_vocabulary_files(folder):
        return None
    return tokenizer_json_of_files(folder, settings, config)


def _around(
    settings: Mapping[str, Any], ids: Mapping[str, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What stands in front of a text and behind it where only tokenizer_config.json says so."""
    front, back = (
        (ids[f"{name}_token"],)
        if settings.get(f"add_{name}_token") is True and f"{name}_token" in ids
        else ()
        for name in ("bos", "eos")
    )
    return front, back


def _token(name: str, ids: Mapping[str, int], config: Mapping[str, Any]) -> int | None:
    """The id of a named token, else what config.json says."""
    return ids.get(name, next(iter(whole_ids(config.get(f"{name}_id"))), None))


def _post_processor_ids(payload: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that a tokenizer.json puts in front of a text and behind it.

    Its post-processor alone says so: transformers 5 drops `add_bos_token` and `add_eos_token` of
    tokenizer_config.json where a tokenizer.json is.
    """
    opening: tuple[int, ...] = ()
    closing: tuple[int, ...] = ()
    node = section(payload, "post_processor")
    try:
        for step in [node, *(node.get("processors", []) if isinstance(node, dict) else [])]:
            front, back = _processor_ids(step) if isinstance(step, dict) else ((), ())
            opening, closing = front + opening, closing + back
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return (), ()  # whoever parses the whole file says what is wrong with it
    return opening, closing


def _processor_ids(step: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What one post-processor of the tokenizers library adds to a single text."""
    if step.get("type") in ("BertProcessing", "RobertaProcessing"):
        return (int(step["cls"][1]),), (int(step["sep"][1]),)
    if step.get("type") != "TemplateProcessing":
        return (), ()
    sides: tuple[list[int], list[int]] = ([], [])
    is_behind = False
    for piece in step["single"]:
        if "SpecialToken" in piece:
            ids = step["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
            sides[is_behind].extend(map(int, ids))
        else:
            is_behind = True
    return tuple(sides[0]), tuple(sides[1])


__all__ = ["folder_tokenizer", "gguf_tokenizer"]
