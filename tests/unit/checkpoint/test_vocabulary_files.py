"""vocab.json and merges.txt without a tokenizer.json, and tokens that no file gives an id; the ids
are those of transformers 5.23 (`tests/others/test_vocabulary_files.py` asks it again)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.byte_level_folder import END, SIZE, VOCABULARY, write_byte_level_folder
from understudy.checkpoint.tokenizer_source import folder_tokenizer
from understudy.errors import CheckpointWarning, FormatError
from understudy.text import Tokenizer, open_tokenizer


def opened(folder: Path, settings: Any, model_type: str = "llama", **options: Any) -> Tokenizer:
    source = folder_tokenizer(
        folder, write_byte_level_folder(folder, settings, model_type, **options)
    )
    assert source is not None
    return open_tokenizer(source)


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.id_to_piece(token) for token in tokenizer.encode(text, markers=True)]


def test_the_class_says_how_texts_are_cut(tmp_path: Path) -> None:
    gpt2 = opened(tmp_path / "a", {"tokenizer_class": "GPT2Tokenizer"})
    assert pieces(gpt2, "hello 12") == ["hell", "o", "Ġ", "12"]
    for number, (settings, kind) in enumerate(
        [({"tokenizer_class": "Qwen2TokenizerFast"}, "llama"), ({}, "qwen2")]
    ):
        qwen = opened(tmp_path / str(number), settings, kind)
        assert pieces(qwen, "hello 12") == ["hell", "o", "Ġ", "1", "2"]
        assert pieces(qwen, "e\u0301") == pieces(qwen, "\u00e9")  # NFC
    assert pieces(gpt2, "e\u0301") != pieces(gpt2, "\u00e9")


def test_lines_of_merges(tmp_path: Path) -> None:
    """The first line names a version; a merge that begins with # is one."""
    tokenizer = opened(tmp_path, {"tokenizer_class": "GPT2Tokenizer"})
    assert pieces(tokenizer, "##") == ["##"]


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        ({}, ["h"]),
        ({"add_bos_token": True}, [END, "h"]),
        ({"add_eos_token": True}, ["h", END]),
        ({"add_prefix_space": True}, ["Ġ", "h"]),
    ],
)
def test_what_stands_round_a_text(settings: Any, ids: list[str], tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, {"tokenizer_class": "GPT2Tokenizer", **settings})
    found = tokenizer.encode("h", markers=True, add_special=True)
    assert found == [VOCABULARY[piece] for piece in ids]


@pytest.mark.parametrize("is_json", [False, True])
def test_names_of_the_class(is_json: bool, tmp_path: Path) -> None:
    gpt2 = opened(tmp_path / "a", {"tokenizer_class": "GPT2Tokenizer"}, is_json=is_json)
    assert gpt2.special_tokens == dict.fromkeys(("bos_token", "eos_token", "unk_token"), END)
    qwen = opened(tmp_path / "b", {"tokenizer_class": "Qwen2Tokenizer"}, is_json=is_json)
    assert qwen.special_tokens == dict.fromkeys(("eos_token", "pad_token", "unk_token"), END)


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize(
    ("settings", "files", "expected"),
    [
        ({"extra_special_tokens": ["<a>", "<b>"]}, {}, ["<a>", "<b>"]),
        ({"additional_special_tokens": ["<a>"], "pad_token": "<p>"}, {}, ["<p>", "<a>"]),
        (
            {"additional_special_tokens": ["<a>"], "mask_token": "<m>", "bos_token": "<s>"},
            {},
            ["<s>", "<m>", "<a>"],
        ),
        ({"extra_special_tokens": {"image_token": "<i>"}}, {}, ["<i>"]),
        (
            {"additional_special_tokens": ["<a>"]},
            {"special_tokens_map.json": {"additional_special_tokens": ["<b>"]}},
            ["<a>"],
        ),
        (
            {"additional_special_tokens": ["<a>", "<b>"]},
            {"added_tokens.json": {"<z>": SIZE, "<a>": SIZE + 1}},
            ["<z>", "<a>", "<b>"],
        ),
    ],
)
def test_tokens_without_an_id_come_behind_the_vocabulary(
    settings: Any, files: Any, expected: list[str], is_json: bool, tmp_path: Path
) -> None:
    settings = {"tokenizer_class": "GPT2Tokenizer", **settings}
    tokenizer = opened(tmp_path, settings, files=files, is_json=is_json)
    behind = {m.text: m.token for m in tokenizer.markers.values() if m.token >= SIZE}
    assert behind == {text: SIZE + place for place, text in enumerate(expected)}


def test_a_row_must_be_there(tmp_path: Path) -> None:
    settings = {"tokenizer_class": "GPT2Tokenizer", "pad_token": "<p>"}
    with pytest.warns(CheckpointWarning, match="beyond the .* rows of the embedding.*<p>"):
        tokenizer = opened(tmp_path, settings, vocab_size=SIZE)
    assert tokenizer.marker_id("<p>") is None


def test_a_class_that_is_not_read_is_named(tmp_path: Path) -> None:
    config = write_byte_level_folder(tmp_path, {"tokenizer_class": "RobertaTokenizer"})
    with pytest.warns(CheckpointWarning, match="GPT2Tokenizer or Qwen2Tokenizer; found Roberta"):
        assert folder_tokenizer(tmp_path, config) is None


def test_damaged_merges_are_named(tmp_path: Path) -> None:
    config = write_byte_level_folder(tmp_path, {"tokenizer_class": "GPT2Tokenizer"})
    (tmp_path / "merges.txt").write_text("#version: 0.2\nq zz\n")
    with pytest.raises(FormatError, match=r"vocab\.json and merges\.txt"):
        folder_tokenizer(tmp_path, config)
