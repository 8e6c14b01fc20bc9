"""Special and added tokens of a Hugging Face folder: by name, by text, by id, as transformers 5.24
puts them together.

Names (`bos_token` → `<s>`) stand in tokenizer_config.json; special_tokens_map.json wins over it,
unless the config holds `added_tokens_decoder`, beside which it is not read. Added tokens stand in
that decoder, else in added_tokens.json; those of tokenizer.json come before both. A token that has
a name, or stands in `extra_special_tokens`, is special; one that no file gives an id comes behind
the vocabulary, named ones first.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.checkpoint.end_tokens import token_of_text, token_text
from understudy.checkpoint.vocabulary_files import (
    GPT2,
    QWEN2,
    size_of_vocabulary,
    tokenizer_class,
)
from understudy.errors import CheckpointWarning, FormatError
from understudy.formats.safetensors_folder import read_json
from understudy.formats.tokenizer_source import AddedToken
from understudy.text.spm import read_spm

# What transformers' classes name where no file does.
_LLAMA_NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_QWEN2_NAMES = dict.fromkeys(("eos_token", "pad_token", "unk_token"), "<|endoftext|>")
_GPT2_NAMES = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
# Model types whose tokenizer.json transformers opens without the class that the config names.
WITHOUT_CLASS = frozenset({"mistral", "mixtral", "nemotron", "olmo2", "olmo3", "phi3", "phimoe"})
# The order in which tokens without an id are appended.
_ORDER = [f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """`names` as a template sees them, `ids` of those that the vocabulary has, `added` on top of
    the vocabulary, `extra` special without a name.
    """

    names: Mapping[str, str]
    ids: Mapping[str, int]
    added: tuple[AddedToken, ...]
    extra: tuple[str, ...]


def uses_llama_class(settings: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether transformers opens the folder with LlamaTokenizer, whose defaults differ from those
    of the others.
    """
    name = str(settings.get("tokenizer_class") or "").removesuffix("Fast")
    return name == "LlamaTokenizer" and config.get("model_type") == "llama"


def special_tokens(
    folder: Path, settings: Mapping[str, Any], config: Mapping[str, Any]
) -> SpecialTokens:
    """Reads them.

    Args:
        folder: with a tokenizer.json or a tokenizer.model.
        settings: of tokenizer_config.json.
        config: of config.json; tokens beyond its `vocab_size` are left out, with a warning.

    Raises:
        FormatError: an added token without a text or an id.
    """
    names, extra = _names(folder, settings)
    for name, text in _class_names(folder, settings, config).items():
        if name not in names and token_of_text(folder, text) is not None:
            names[name] = text
    named = {name: text for name, text in names.items() if text is not None}
    tokens = {token.text: token for token in _in_file(folder)}
    for token in _declared(folder, settings, {*named.values(), *extra}):
        known = tokens.get(token.text) or _in_vocabulary(folder, token.text)
        tokens[token.text] = token if known is None else replace(token, id=known.id)
    homeless = []
    in_order = sorted(named, key=lambda name: _ORDER.index(name) if name in _ORDER else 7)
    for text in dict.fromkeys((*(named[name] for name in in_order), *extra)):
        found = tokens.get(text) or _in_vocabulary(folder, text)
        if found is None:
            homeless.append(text)
        elif text in named.values() or text not in tokens:
            tokens[text] = replace(found, is_special=True)
    added = _within(
        [*tokens.values(), *_appended(folder, homeless, tokens.values())], config.get("vocab_size")
    )
    ids = {token.text: token.id for token in added}
    named_ids = {name: ids[text] for name, text in named.items() if text in ids}
    return SpecialTokens(named, named_ids, added, tuple(extra))


def _names(folder: Path, settings: Mapping[str, Any]) -> tuple[dict[str, str | None], list[str]]:
    """Texts by name, None where a file says that there is none, and special tokens without a
    name.
    """
    entries = {name: value for name, value in settings.items() if name.endswith("_token")}
    extra = _extra(settings)
    if "added_tokens_decoder" not in settings:
        told = _read(folder, "special_tokens_map.json")
        entries |= {name: value for name, value in told.items() if name.endswith("_token")}
        extra = extra or _extra(told)
    if isinstance(extra, Mapping):  # names that only this model has
        entries |= extra
        extra = []
    names = {
        name: token_text(value) for name, value in entries.items() if not isinstance(value, bool)
    }
    return names, [text for entry in extra if (text := token_text(entry)) is not None]


def _extra(settings: Mapping[str, Any]) -> Any:
    return settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []


def _class_names(
    folder: Path, settings: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, str]:
    if config.get("model_type") == "qwen2":
        return _QWEN2_NAMES
    if uses_llama_class(settings, config):
        return _LLAMA_NAMES
    is_json = (folder / "tokenizer.json").exists()
    if is_json or not (folder / "tokenizer.model").exists():
        is_passed_over = is_json and config.get("model_type") in WITHOUT_CLASS
        name = None if is_passed_over else tokenizer_class(settings, config)
        return {GPT2: _GPT2_NAMES, QWEN2: _QWEN2_NAMES}.get(name or "", {})
    model = read_spm((folder / "tokenizer.model").read_bytes())
    ids = {"bos_token": model.bos_id, "eos_token": model.eos_id, "unk_token": model.unk_id}
    return {name: model.pieces[token] for name, token in ids.items() if token is not None}


def _in_file(folder: Path) -> list[AddedToken]:
    """The added tokens of tokenizer.json; that part alone is parsed."""
    path = folder / "tokenizer.json"
    entries = section(path.read_bytes(), "added_tokens") if path.exists() else None
    return [
        _token(entry.get("id"), entry, path)
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, Mapping)
    ]


def _declared(folder: Path, settings: Mapping[str, Any], special: set[str]) -> list[AddedToken]:
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, Mapping):
        path = folder / "tokenizer_config.json"
        return [
            _token(int(id) if str(id).isdecimal() else None, entry, path)
            for id, entry in decoder.items()
        ]
    path = folder / "added_tokens.json"
    return [
        _token(id, {"content": text, "special": text in special}, path)
        for text, id in _read(folder, "added_tokens.json").items()
    ]


def _token(id: Any, entry: Any, path: Path) -> AddedToken:
    text = token_text(entry)
    if text is None or type(id) is not int or not 0 <= id < 1 << 31:
        raise FormatError(
            "an added token has no usable id or content", where=path, found=str(entry)[:80]
        )
    flags = entry if isinstance(entry, Mapping) else {}
    return AddedToken(
        id,
        text,
        is_special=bool(flags.get("special")),
        strips_left=bool(flags.get("lstrip")),
        strips_right=bool(flags.get("rstrip")),
        is_whole_word=bool(flags.get("single_word")),
    )


def _in_vocabulary(folder: Path, text: str) -> AddedToken | None:
    token = token_of_text(folder, text)
    return None if token is None else AddedToken(token, text, is_special=False)


def _appended(folder: Path, texts: Sequence[str], known: Iterable[AddedToken]) -> list[AddedToken]:
    """Special tokens that no file gives an id: behind the vocabulary and all added tokens."""
    if not texts:
        return []
    first = max([_vocabulary_size(folder), *(token.id + 1 for token in known)])
    return [AddedToken(first + place, text, is_special=True) for place, text in enumerate(texts)]


def _vocabulary_size(folder: Path) -> int:
    if (folder / "tokenizer.json").exists():
        vocabulary = (read_json(folder / "tokenizer.json").get("model") or {}).get("vocab") or {}
        ids = vocabulary.values() if isinstance(vocabulary, Mapping) else range(len(vocabulary))
        return max(ids, default=-1) + 1
    if (folder / "tokenizer.model").exists():
        return len(read_spm((folder / "tokenizer.model").read_bytes()).pieces)
    return size_of_vocabulary(folder)


def _within(tokens: Iterable[AddedToken], vocab_size: Any) -> tuple[AddedToken, ...]:
    limit = vocab_size if type(vocab_size) is int and vocab_size > 0 else 1 << 31
    found = sorted(tokens, key=lambda token: token.id)
    if beyond := [token.text for token in found if token.id >= limit]:
        warnings.warn(
            f"added tokens beyond the {limit} rows of the embedding are plain text: "
            f"{', '.join(beyond[:5])}",
            CheckpointWarning,
            stacklevel=2,
        )
    return tuple(token for token in found if token.id < limit)


def section(payload: bytes, name: str) -> Any:
    """One value near the top of a large JSON file, None when it is not there or damaged: whoever
    parses the whole says so.
    """
    start = payload.find(json.dumps(name).encode())
    if start < 0:
        return None
    rest = payload[start + len(name) + 2 :].decode("utf-8", "ignore").lstrip()
    try:
        return json.JSONDecoder().raw_decode(rest.removeprefix(":").lstrip())[0]
    except (ValueError, RecursionError):
        return None


def _read(folder: Path, name: str) -> dict[str, Any]:
    return read_json(folder / name) if (folder / name).exists() else {}
