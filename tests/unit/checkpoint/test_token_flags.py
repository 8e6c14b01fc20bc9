"""Flags of added tokens and names of special ones, where several files of a folder speak of them.

The answers are those of AutoTokenizer, transformers 5.24.0 (`tests/others/test_json_folders.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.byte_level_folder import END, write_byte_level_folder
from tests.support.spm_folder import added_token
from understudy.checkpoint.tokenizer_class import tokenizer_class
from understudy.checkpoint.tokenizer_source import folder_tokenizer
from understudy.text import Tokenizer, open_tokenizer

FIRST = 265  # the id behind the vocabulary


def opened(
    folder: Path, settings: Any, *, tokens: Any = (), files: Any = None, kind: str = "llama"
) -> Tokenizer:
    """A folder with a tokenizer.json whose added tokens are `tokens`, from `FIRST` on."""
    config = write_byte_level_folder(folder, settings, kind, files=files, is_json=True)
    path = folder / "tokenizer.json"
    described = json.loads(path.read_text())
    described["added_tokens"] += [{"id": FIRST + i, **token} for i, token in enumerate(tokens)]
    path.write_text(json.dumps(described))
    source = folder_tokenizer(folder, config)
    assert source is not None
    return open_tokenizer(source)


def texts(tokenizer: Tokenizer, text: str) -> list[str]:
    ids = tokenizer.encode(text, markers=True)
    return [tokenizer.token_bytes(token).decode() for token in ids]


def named(text: str, **flags: bool) -> dict[str, Any]:
    return {"__type": "AddedToken", **added_token(text, **flags)}


def test_flags_beside_a_name_count(tmp_path: Path) -> None:
    settings = {
        "pad_token": named("<x>", lstrip=True),
        "extra_special_tokens": [named("<y>", rstrip=True, special=True)],
    }
    tokenizer = opened(tmp_path, settings)
    assert texts(tokenizer, "a <x> a") == ["a", "<x>", " ", "a"]
    assert texts(tokenizer, "a <y> a") == ["a", " ", "<y>", "a"]
    assert tokenizer.is_special(FIRST)  # a name makes it so, whatever its flags say


def test_of_several_names_of_one_token_the_last_counts(tmp_path: Path) -> None:
    settings = {"bos_token": named("<x>", lstrip=True), "pad_token": "<x>"}
    assert texts(opened(tmp_path / "a", settings), "a <x>") == ["a", " ", "<x>"]
    settings = {"bos_token": "<x>", "pad_token": named("<x>", lstrip=True)}
    assert texts(opened(tmp_path / "b", settings), "a <x>") == ["a", "<x>"]


def test_the_decoder_goes_before_tokenizer_json_and_that_before_added_tokens(
    tmp_path: Path,
) -> None:
    own = added_token("<x>", lstrip=True, special=True)
    decoder = {"added_tokens_decoder": {str(FIRST): added_token("<x>", rstrip=True)}}
    tokenizer = opened(tmp_path / "a", decoder, tokens=[own])
    assert texts(tokenizer, "a <x> a") == ["a", " ", "<x>", "a"]
    assert tokenizer.is_special(FIRST)  # it stays what one file said
    beside = {"added_tokens.json": {"<x>": FIRST, "<y>": FIRST + 1}}
    tokenizer = opened(tmp_path / "b", {}, tokens=[own], files=beside)
    assert texts(tokenizer, "a <x> a<y>") == ["a", "<x>", " ", "a", "<y>"]
    assert (tokenizer.is_special(FIRST), tokenizer.is_special(FIRST + 1)) == (True, False)


def test_what_the_map_of_special_tokens_adds(tmp_path: Path) -> None:
    extra = ["<x>", "<y>"]
    files = {"special_tokens_map.json": {"image_token": "<z>", "extra_special_tokens": ["<y>"]}}
    tokenizer = opened(
        tmp_path / "a", {"image_token": "<i>", "extra_special_tokens": ["<x>"]}, files=files
    )
    assert tokenizer.special_tokens == {"image_token": "<i>"}  # a name of this model's own
    assert [tokenizer.marker_id(text) for text in extra] == [FIRST + 1, FIRST + 2]
    files = {"special_tokens_map.json": {"additional_special_tokens": ["<y>"]}}
    tokenizer = opened(tmp_path / "b", {"additional_special_tokens": ["<x>"]}, files=files)
    assert [tokenizer.marker_id(text) for text in extra] == [FIRST, None]


def test_normalized_tokens_are_found_in_what_the_others_leave(tmp_path: Path) -> None:
    tokens = [added_token("<x>", normalized=True), added_token("<x", normalized=False)]
    assert texts(opened(tmp_path, {}, tokens=tokens), "<x>") == ["<x", ">"]


@pytest.mark.parametrize(
    ("text", "found"),
    [("²<x>", True), ("\u0301<x>", False), ("\u200d<x>", False), ("Ⅷ<x>", False), ("½<x>½", True)],
)
def test_whole_words_by_the_characters_of_words(text: str, found: bool, tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, {}, tokens=[added_token("<x>", single_word=True)])
    assert (FIRST in tokenizer.encode(text, markers=True)) is found


@pytest.mark.parametrize(
    ("kind", "named_class", "right"),
    [
        ("qwen2", "LlamaTokenizer", "Qwen2Tokenizer"),
        ("qwen3", None, "Qwen2Tokenizer"),
        ("qwen3", "GPT2TokenizerFast", "GPT2Tokenizer"),
        ("qwen3", "PreTrainedTokenizerFast", "TokenizersBackend"),
        ("granite", "GPT2Tokenizer", "TokenizersBackend"),
        ("mistral", "LlamaTokenizer", "TokenizersBackend"),
        ("gemma3_text", None, "GemmaTokenizer"),
        ("lfm2", "GPT2Tokenizer", "GPT2Tokenizer"),
        ("llama", "LlamaTokenizerFast", "TokenizersBackend"),  # tokenizer.json is byte level
        ("llama", None, "TokenizersBackend"),
    ],
)
def test_the_class_that_opens_a_folder(
    kind: str, named_class: str | None, right: str, tmp_path: Path
) -> None:
    settings = {} if named_class is None else {"tokenizer_class": named_class}
    config = write_byte_level_folder(tmp_path, settings, kind, is_json=True)
    (tmp_path / "tokenizer.json").write_text('{"decoder": {"type": "ByteLevel"}}')
    assert tokenizer_class(tmp_path, settings, config) == right


def test_names_that_a_class_brings(tmp_path: Path) -> None:
    assert opened(tmp_path / "a", {}, kind="qwen3").special_tokens["eos_token"] == END
    settings = {"tokenizer_class": "GPT2Tokenizer"}
    assert opened(tmp_path / "b", settings, kind="granite").special_tokens == {}
    assert opened(tmp_path / "c", settings, kind="lfm2").special_tokens["bos_token"] == END
