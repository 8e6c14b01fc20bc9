"""Finding the tokenizer of a checkpoint: among the files of a folder, or in the metadata of a GGUF."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.checkpoint.end_tokens import folder_ends, gguf_ends, whole_ids
from understudy.errors import FormatError
from understudy.formats.safetensors_folder import read_json
from understudy.formats.tokenizer_source import TokenizerSource


def folder_tokenizer(folder: Path, config: Mapping[str, Any]) -> TokenizerSource | None:
    """From tokenizer.json, else tokenizer.model; ends from every file that names some (`end_tokens`), template from
    chat_template.jinja or tokenizer_config.json. None when there is no tokenizer.

    Raises:
        FormatError: one of the files is not what its name says.
    """
    path = folder / "tokenizer_config.json"
    tokens = read_json(path) if path.exists() else {}
    bos = next(iter(whole_ids(config.get("bos_token_id"))), None)
    common: dict[str, Any] = {
        "bos_id": bos,
        "eos_ids": folder_ends(folder, config),
        "pad_id": next(iter(whole_ids(config.get("pad_token_id"))), None),
        "chat_template": _template(folder, tokens),
    }
    if (folder / "tokenizer.json").exists():
        payload = (folder / "tokenizer.json").read_bytes()
        opening, closing = _post_processor_ids(payload)
        return TokenizerSource(
            "tokenizer.json", payload, opening_ids=opening, closing_ids=closing, **common
        )
    if (folder / "tokenizer.model").exists():
        add_bos = (
            tokens.get("add_bos_token", tokens.get("tokenizer_class") == "LlamaTokenizer") is True
        )
        return TokenizerSource(
            "sentencepiece",
            (folder / "tokenizer.model").read_bytes(),
            opening_ids=(bos,) if add_bos and bos is not None else (),
            **common,
        )
    return None


def _template(folder: Path, tokens: Mapping[str, Any]) -> str | None:
    template = tokens.get("chat_template")
    if (folder / "chat_template.jinja").exists():
        try:
            return (folder / "chat_template.jinja").read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(
                "chat template is not UTF-8", where=folder / "chat_template.jinja"
            ) from error
    if isinstance(template, list):  # several named templates: the default one
        named = [t for t in template if isinstance(t, dict) and t.get("name") == "default"]
        template = named[0].get("template") if named else None
    return template if isinstance(template, str) else None


def _post_processor_ids(payload: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that a tokenizer.json puts in front of a text and behind it.

    Its post-processor alone says so: transformers 5 drops `add_bos_token` and `add_eos_token` of
    tokenizer_config.json where a tokenizer.json is. Reads that part alone: the vocabulary behind it
    is long.
    """
    start = payload.find(b'"post_processor"')
    if start < 0:
        return (), ()
    try:
        text = (
            payload[start + len(b'"post_processor"') : start + (1 << 20)]
            .decode("utf-8", "ignore")
            .lstrip()
        )
        node, _ = json.JSONDecoder().raw_decode(text.removeprefix(":").lstrip())
        opening: tuple[int, ...] = ()
        closing: tuple[int, ...] = ()
        for step in [node, *(node.get("processors", []) if isinstance(node, dict) else [])]:
            front, back = _processor_ids(step) if isinstance(step, dict) else ((), ())
            opening, closing = front + opening, closing + back
        return opening, closing
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return (), ()  # whoever parses the whole file says what is wrong with it


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


def gguf_tokenizer(metadata: Mapping[str, Any]) -> TokenizerSource | None:
    """From `tokenizer.*` metadata; None when there are no tokens.

    Raises:
        FormatError: a value of a wrong type.
    """

    def read(key: str, kind: type, default: Any) -> Any:
        value = metadata.get(f"tokenizer.ggml.{key}", default)
        if value is not default and type(value) is not kind:
            raise FormatError(
                "metadata value has the wrong type",
                where=f"tokenizer.ggml.{key}",
                found=type(value).__name__,
            )
        return value

    def read_list(key: str, kind: type) -> tuple[Any, ...]:
        values = read(key, list, [])
        if not all(type(value) is kind for value in values):
            raise FormatError(
                "metadata list has entries of a wrong type",
                where=f"tokenizer.ggml.{key}",
                expected=kind.__name__,
            )
        return tuple(values)

    if "tokenizer.ggml.tokens" not in metadata:
        return None
    ends = [read(f"{kind}_token_id", int, None) for kind in ("eos", "eot", "eom")]
    tokens = read_list("tokens", str)
    is_spm = read("model", str, "") == "llama"
    bos = read("bos_token_id", int, None)
    template = metadata.get("tokenizer.chat_template")
    return TokenizerSource(
        "gguf",
        model=read("model", str, ""),
        pre=read("pre", str, ""),
        tokens=tokens,
        scores=read_list("scores", float),
        types=read_list("token_type", int),
        merges=read_list("merges", str),
        bos_id=bos,
        eos_ids=gguf_ends(ends, tokens),
        unk_id=read("unknown_token_id", int, None),
        pad_id=read("padding_token_id", int, None),
        opening_ids=(bos,) if read("add_bos_token", bool, is_spm) and bos is not None else (),
        add_space_prefix=read("add_space_prefix", bool, is_spm),
        chat_template=template if isinstance(template, str) else None,
    )
