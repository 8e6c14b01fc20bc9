"""Special and added tokens of a Hugging Face folder: by name, by text, by id, as transformers 5.24
puts them together.

Names (`bos_token` → `<s>`) stand in tokenizer_config.json; special_tokens_map.json wins over it
for the names that every tokenizer has, unless the config holds `added_tokens_decoder`, beside which
it is not read. Flags of a token: that decoder's, which go before those of tokenizer.json; without a
decoder tokenizer.json's, which go before added_tokens.json; else those beside its name. `special`
stays once any of them says so; a token with a name is special. One that no file gives an id comes
behind the vocabulary, named ones first.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.checkpoint.end_tokens import token_of_text, token_text
from understudy.checkpoint.tokenizer_class import CLASS_NAMES, tokenizer_class
from understudy.checkpoint.vocabulary_files import size_of_vocabulary
from understudy.errors import CheckpointWarning, FormatError
from understudy.formats.safetensors_folder import read_json
from understudy.formats.tokenizer_source import AddedToken
from understudy.text.spm import read_spm

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
    for name, default in _class_names(folder, settings, config).items():
        if name not in names and token_of_text(folder, default) is not None:
            names[name] = default
    named = {name: entry for name in _in_order(names) if (entry := names[name]) is not None}
    texts = {text for entry in named.values() if (text := token_text(entry)) is not None}
    tokens = {token.text: token for token in _in_file(folder)}
    for token in _declared(folder, settings, texts, {*map(str, map(token_text, extra))}):
        known = tokens.get(token.text) or _in_vocabulary(folder, token.text)
        tokens[token.text] = token if known is None else _with_id_of(known, token)
    homeless: dict[str, AddedToken] = {}
    for token in _written_out(folder, (*named.values(), *extra), texts):
        if token.text not in tokens:  # of several with one text the last counts
            homeless[token.text] = token
    for known_text in texts & tokens.keys():
        tokens[known_text] = replace(tokens[known_text], is_special=True)
    for new_text in [*homeless]:
        if (found := _in_vocabulary(folder, new_text)) is not None:
            tokens[new_text] = replace(homeless.pop(new_text), id=found.id)
    added = _within(
        [*tokens.values(), *_appended(folder, [*homeless.values()], tokens.values())],
        config.get("vocab_size"),
    )
    ids = {token.text: token.id for token in added}
    shown = {name: text for name in named if (text := token_text(named[name])) is not None}
    named_ids = {name: ids[text] for name, text in shown.items() if text in ids}
    return SpecialTokens(shown, named_ids, added, tuple(map(str, map(token_text, extra))))


def _written_out(folder: Path, entries: Iterable[Any], named: set[str]) -> Iterable[AddedToken]:
    """Tokens whose flags stand beside their name, without an id."""
    for entry in entries:
        token = _token(0, entry, folder, is_special=isinstance(entry, str))
        yield replace(token, is_special=token.is_special or token.text in named)


def _with_id_of(known: AddedToken, token: AddedToken) -> AddedToken:
    return replace(token, id=known.id, is_special=token.is_special or known.is_special)


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


def _names(folder: Path, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Entries by name, None where a file says that there is none, and those of special tokens
    without a name: texts, or objects with a `content` and flags.
    """
    entries = {name: value for name, value in settings.items() if name.endswith("_token")}
    listed, own = _listed(settings)
    own = {name: entries[name] for name in entries if name not in _ORDER and entries[name]} | own
    if "added_tokens_decoder" not in settings:
        told = _read(folder, "special_tokens_map.json")
        entries |= {name: value for name, value in told.items() if name.endswith("_token")}
        more, own_more = _listed(told)
        if listed and not told.get("extra_special_tokens"):
            more = []  # the older key counts where there is nothing else
        listed = [*listed, *(entry for entry in more if entry not in listed)]
        own |= own_more
    entries |= own  # names that only this model has
    names = {
        name: value if token_text(value) is not None else None
        for name, value in entries.items()
        if not isinstance(value, bool)
    }
    return names, [entry for entry in listed if token_text(entry) is not None]


def _listed(settings: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Special tokens without a name, and those that a file gives a name of this model's own."""
    found = settings.get("extra_special_tokens") or settings.get("additional_special_tokens")
    return (
        found if isinstance(found, list) else [],
        dict(found) if isinstance(found, Mapping) else {},
    )


def _class_names(
    folder: Path, settings: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, str]:
    name = tokenizer_class(folder, settings, config)
    if name in CLASS_NAMES:
        return CLASS_NAMES[name]
    if (folder / "tokenizer.json").exists() or not (folder / "tokenizer.model").exists():
        return {}
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


def _declared(
    folder: Path, settings: Mapping[str, Any], named: set[str], extra: set[str]
) -> list[AddedToken]:
    """Those that the files beside tokenizer.json give flags, with these flags."""
    decoder = settings.get("added_tokens_decoder")
    path = folder / "tokenizer_config.json"
    if isinstance(decoder, Mapping):
        entries = [
            (int(id) if str(id).isdecimal() else None, entry) for id, entry in decoder.items()
        ]
        found = [_token(id, entry, path) for id, entry in entries]
    else:
        path = folder / "added_tokens.json"
        beside = [
            _token(id, {"content": text, "special": text in named | extra}, path)
            for text, id in _read(folder, "added_tokens.json").items()
        ]
        by_id = {token.id: token for token in (*beside, *_in_file(folder))}
        found = list(by_id.values())
    return found


def _token(id: Any, entry: Any, path: Path, *, is_special: bool = False) -> AddedToken:
    text = token_text(entry)
    if text is None or type(id) is not int or not 0 <= id < 1 << 31:
        raise FormatError(
            "an added token has no usable id or content", where=path, found=str(entry)[:80]
        )
    flags = entry if isinstance(entry, Mapping) else {"special": is_special}
    return AddedToken(
        id,
        text,
        is_special=bool(flags.get("special")),
        strips_left=bool(flags.get("lstrip")),
        strips_right=bool(flags.get("rstrip")),
        is_whole_word=bool(flags.get("single_word")),
        is_normalized=bool(flags.get("normalized", not flags.get("special"))),
    )


def _in_vocabulary(folder: Path, text: str) -> AddedToken | None:
    token = token_of_text(folder, text)
    return None if token is None else AddedToken(token, text, is_special=False)


def _appended(
    folder: Path, new: Sequence[AddedToken], known: Iterable[AddedToken]
) -> list[AddedToken]:
    """Special tokens that no file gives an id: behind the vocabulary and all added tokens."""
    if not new:
        return []
    first = max([_vocabulary_size(folder), *(token.id + 1 for token in known)])
    return [replace(token, id=first + place) for place, token in enumerate(new)]


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
