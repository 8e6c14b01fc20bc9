"""Which tokens end an answer: every file of a checkpoint that names some is heard.

Of a folder: `eos_token_id` of config.json and of generation_config.json (a number or a list), and
the `eos_token` of tokenizer_config.json, else of special_tokens_map.json, which is a text.
Fine-tunes often change the last alone. Of a GGUF: the ids under
`tokenizer.ggml.{eos,eot,eom}_token_id`, and the tokens whose text llama.cpp takes for an end
whatever the keys say (`llama_vocab::impl::load` of llama.cpp, 2026-10).
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import CheckpointWarning
from understudy.formats.safetensors_folder import read_json
from understudy.text.spm import read_spm

CLASS_ENDS = {"llama": 2, "mistral": 2, "nemotron": 3}  # Qwen2's class has none
GGUF_ENDS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
)


def whole_ids(value: Any) -> tuple[int, ...]:
    """The token ids in a number, a list of numbers, or neither."""
    values = value if isinstance(value, list) else [value]
    return tuple(v for v in values if type(v) is int and v >= 0)


def folder_ends(folder: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    """The ends that the files of a folder name, those of config.json first."""
    generation = _read(folder, "generation_config.json")
    found: list[int] = []
    for name, file in (("config.json", config), ("generation_config.json", generation)):
        found += whole_ids(file.get("eos_token_id"))
        _warn_of_others(file.get("eos_token_id"), folder / name)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        text = token_text(_read(folder, name).get("eos_token"))
        if text is not None:
            token = token_of_text(folder, text)
            found += [] if token is None else [token]
            break
    return tuple(dict.fromkeys(found)) or _class_end(folder, config)


def _warn_of_others(value: Any, where: Path) -> None:
    """Names what is no token id; null and -1 say that there is none."""
    values = value if isinstance(value, list) else [value]
    if odd := [v for v in values if v not in (None, -1) and not (type(v) is int and v >= 0)]:
        warnings.warn(
            f"{where}: eos_token_id: no token id, not used: {str(odd)[1:-1][:80]}",
            CheckpointWarning,
            stacklevel=2,
        )


def _class_end(folder: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    """What transformers' class has where no file names an end and config.json lacks the key, if it
    is a special token there: where it is a letter, it is no end.
    """
    token = CLASS_ENDS.get(str(config.get("model_type")))
    path = folder / "tokenizer.json"
    if token is None or "eos_token_id" in config or not path.exists():
        return ()
    entry = rb'"id"\s*:\s*%d\s*,[^{}]*"special"\s*:\s*true' % token
    return (token,) if re.search(entry, path.read_bytes()) else ()


def _read(folder: Path, name: str) -> dict[str, Any]:
    return read_json(folder / name) if (folder / name).exists() else {}


def token_text(entry: Any) -> str | None:
    """A special token is written as a text, or as an AddedToken: an object with its `content`."""
    text = entry.get("content") if isinstance(entry, Mapping) else entry
    return text if isinstance(text, str) and text else None


def token_of_text(folder: Path, text: str) -> int | None:
    """The id of a token of the folder's vocabulary, added ones included; None when it has no such
    token.
    """
    decoder = _read(folder, "tokenizer_config.json").get("added_tokens_decoder")
    for token, entry in decoder.items() if isinstance(decoder, dict) else ():
        if token_text(entry) == text and token.isdecimal():
            return int(token)
    if (added := whole_ids(_read(folder, "added_tokens.json").get(text))) != ():
        return added[0]
    if (folder / "tokenizer.json").exists():
        return _token_in_json((folder / "tokenizer.json").read_bytes(), text)
    if (folder / "tokenizer.model").exists():
        pieces = read_spm((folder / "tokenizer.model").read_bytes()).pieces
        return pieces.index(text) if text in pieces else None
    if (folder / "vocab.json").exists():
        return _token_in_json((folder / "vocab.json").read_bytes(), text)
    return None


def _token_in_json(payload: bytes, text: str) -> int | None:
    """Looks for the entry itself: a vocabulary of a quarter of a million tokens is not parsed for
    one of them.
    """
    spellings = {json.dumps(text), json.dumps(text, ensure_ascii=False)}
    for written in (re.escape(spelling.encode()) for spelling in spellings):
        added = rb'"id"\s*:\s*(\d+)\s*,\s*"content"\s*:\s*' + written
        if found := re.search(added, payload) or re.search(written + rb"\s*:\s*(\d+)", payload):
            return int(found[1])
    return None


def gguf_ends(named: Sequence[int | None], tokens: Sequence[str]) -> tuple[int, ...]:
    """The ends of a GGUF's vocabulary.

    Args:
        named: what the metadata name: eos, eot, eom.
        tokens: the vocabulary's texts by id.
    """
    found = [token for token in named if token is not None]
    wanted = dict.fromkeys(GGUF_ENDS) | {
        tokens[token]: token for token in found if 0 <= token < len(tokens)
    }
    by_text = {text: token for token, text in enumerate(tokens) if text in wanted}
    found += [by_text[text] for text in GGUF_ENDS if text in by_text]
    not_ends = _texts_that_go_on({*by_text})
    return tuple(dict.fromkeys(t for t in found if t not in {by_text[x] for x in not_ends}))


def _texts_that_go_on(texts: set[str]) -> set[str]:
    """llama.cpp's exceptions: families whose vocabulary holds such a text in another meaning."""
    goes_on = set()
    has_calls = {"<|return|>", "<|call|>"} <= texts or (
        "<|flush|>" in texts and not texts.isdisjoint({"<|call|>", "<|calls|>"})
    )
    if has_calls and "<|end|>" in texts:
        goes_on.add("<|end|>")
    if "<|tool_response>" in texts and "</s>" in texts:
        goes_on.add("</s>")
    return goes_on
