"""`tokenizer(...)`, its tokens and rows, against what transformers 5.23 answered for the same files
(`tests/others/test_auto_tokenizer.py` asks it at random)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, processors

from tests.support.byte_level_folder import END, SIZE, VOCABULARY, write_byte_level_folder
from tests.support.spm_folder import write_spm_folder
from understudy import AutoTokenizer
from understudy.errors import UnderstudyWarning, UsageError

PAD = SIZE
HELL, LETTER, BLANK = (VOCABULARY[piece] for piece in ("hell", "o", "Ġ"))


@pytest.fixture
def tokenizer(tmp_path: Path) -> Any:
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "pad_token": "<p>"}
    write_byte_level_folder(tmp_path, settings, is_json=True)
    fast = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    fast.decoder = decoders.ByteLevel()
    around = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A {END}:1 $B:1", special_tokens=[(END, 0)]
    )
    fast.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), around])
    fast.save(str(tmp_path / "tokenizer.json"))
    return AutoTokenizer.from_pretrained(tmp_path)


def test_what_is_known_of_each_token(tokenizer: Any) -> None:
    found = tokenizer(
        "hello o",
        return_token_type_ids=True,
        return_special_tokens_mask=True,
        return_offsets_mapping=True,
        return_length=True,
    )
    assert found == {
        "input_ids": [0, HELL, LETTER, BLANK, LETTER],
        "token_type_ids": [0] * 5,
        "attention_mask": [1] * 5,
        "special_tokens_mask": [1, 0, 0, 0, 0],
        "offset_mapping": [(0, 0), (0, 4), (4, 5), (6, 6), (6, 7)],
        "length": [5],
    }
    assert list(found) == [
        "input_ids",
        "token_type_ids",
        "attention_mask",
        "special_tokens_mask",
        "offset_mapping",
        "length",
    ]


def test_pairs(tokenizer: Any) -> None:
    found = tokenizer("o", "hello", return_token_type_ids=True)
    assert (found["input_ids"], found["token_type_ids"]) == (
        [0, LETTER, 0, HELL, LETTER],
        [0, 0, 1, 1, 1],
    )
    assert tokenizer([("o", "o")])["input_ids"] == tokenizer(["o"], ["o"])["input_ids"]
    assert tokenizer.num_special_tokens_to_add(pair=True) == 2


@pytest.mark.parametrize(
    ("options", "ids", "mask"),
    [
        (
            {"padding": True},
            [[0, HELL, LETTER, PAD, PAD], [0, LETTER, BLANK, LETTER, LETTER]],
            [[1, 1, 1, 0, 0], [1] * 5],
        ),
        (
            {"padding": True, "padding_side": "left"},
            [[PAD, PAD, 0, HELL, LETTER], [0, LETTER, BLANK, LETTER, LETTER]],
            [[0, 0, 1, 1, 1], [1] * 5],
        ),
        ({"max_length": 2}, [[0, HELL], [0, LETTER]], [[1, 1]] * 2),
        (
            {"max_length": 3, "truncation_side": "left"},
            [[0, HELL, LETTER], [0, LETTER, LETTER]],
            [[1, 1, 1]] * 2,
        ),
        (
            {"max_length": 2, "truncation": False},
            [[0, HELL, LETTER], [0, LETTER, BLANK, LETTER, LETTER]],
            [[1] * 3, [1] * 5],
        ),
        (
            {"max_length": 4, "padding": "max_length", "truncation": True},
            [[0, HELL, LETTER, PAD], [0, LETTER, BLANK, LETTER]],
            [[1, 1, 1, 0], [1] * 4],
        ),
        (
            {"padding": True, "pad_to_multiple_of": 4, "max_length": 4, "truncation": True},
            [[0, HELL, LETTER, PAD], [0, LETTER, BLANK, LETTER]],
            [[1, 1, 1, 0], [1] * 4],
        ),
    ],
)
def test_rows_are_cut_and_padded(tokenizer: Any, options: Any, ids: Any, mask: Any) -> None:
    found = tokenizer(["hello", "o oo"], **options)
    assert (found["input_ids"], found["attention_mask"]) == (ids, mask)


@pytest.mark.parametrize(
    ("truncation", "ids"),
    [
        (True, [0, LETTER, LETTER, 0, LETTER, LETTER]),
        ("only_first", [0, LETTER, 0, LETTER, LETTER, LETTER]),
        ("only_second", [0, LETTER, LETTER, LETTER, 0, LETTER]),
    ],
)
def test_pairs_are_cut_by_strategies(tokenizer: Any, truncation: Any, ids: list[int]) -> None:
    assert tokenizer("ooo", "ooo", truncation=truncation, max_length=6)["input_ids"] == ids


def test_tokens_and_ids(tokenizer: Any) -> None:
    assert tokenizer.tokenize(f"hello{END}o") == ["hell", "o", END, "o"]
    assert tokenizer.tokenize("o", add_special_tokens=True) == [END, "o"]
    assert tokenizer.get_vocab() == {**VOCABULARY, "<p>": PAD}
    assert tokenizer.get_added_vocab() == {END: 0, "<p>": PAD}
    assert (len(tokenizer), tokenizer.vocab_size) == (SIZE + 1, SIZE)
    assert tokenizer.convert_tokens_to_ids(["o", "nope"]) == [LETTER, None]
    assert tokenizer.convert_ids_to_tokens([0, LETTER], skip_special_tokens=True) == ["o"]
    assert tokenizer.convert_tokens_to_string(["hell", "o", "Ġ", "o"]) == "hello o"
    assert tokenizer.get_special_tokens_mask([0, LETTER], already_has_special_tokens=True) == [1, 0]
    assert tokenizer.special_tokens_map == {"bos_token": END, "pad_token": "<p>"}


def test_special_tokens_of_a_text_may_stay_text(tokenizer: Any) -> None:
    ids = tokenizer(f"o{END}", split_special_tokens=True)["input_ids"]
    assert ids[:2] == [0, LETTER]
    assert 0 not in ids[2:]


def test_rows_made_earlier_are_padded(tokenizer: Any) -> None:
    assert tokenizer.pad({"input_ids": [[1, 2], [3]]}) == {
        "input_ids": [[1, 2], [3, PAD]],
        "attention_mask": [[1, 1], [1, 0]],
    }
    rows = tokenizer.pad([{"input_ids": [1]}], padding="max_length", max_length=3)
    assert rows["input_ids"] == [[1, PAD, PAD]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t("o", stride=3), "stride"),
        (lambda t: t(["o", "o"], is_split_into_words=True), "is_split_into_words"),
        (lambda t: t("o", padding="short"), "unknown strategy"),
        (lambda t: t("o", padding_side="top"), "unknown side"),
        (lambda t: t("o", truncation="only_second", max_length=1), "too short"),
        (
            lambda t: t("o", truncation=True, max_length=3, padding=True, pad_to_multiple_of=2),
            "multiple of 2",
        ),
        (lambda t: t.get_chat_template(), "no chat template"),
    ],
)
def test_what_cannot_be_done_is_said(tokenizer: Any, call: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call(tokenizer)


def test_padding_needs_a_token_and_a_length(tokenizer: Any) -> None:
    with pytest.warns(UnderstudyWarning, match="give max_length"):
        assert tokenizer("o", truncation=True)["input_ids"] == [0, LETTER]
    tokenizer.pad_token = None
    with pytest.raises(UsageError, match="no padding token"):
        tokenizer(["o", "hello"], padding=True)
    with pytest.raises(AttributeError, match="add_tokens"):
        tokenizer.add_tokens(["x"])


def test_places_in_a_sentencepiece_text(tmp_path: Path) -> None:
    write_spm_folder(tmp_path, {"tokenizer_class": "LlamaTokenizer", "legacy": False})
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.padding_side == "left"  # as the class has it
    found = tokenizer("hi 日a", return_offsets_mapping=True)
    assert found["offset_mapping"] == [(0, 2), (2, 3), (3, 4), (3, 4), (3, 4), (4, 5)]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"legacy": False}))
    assert AutoTokenizer.from_pretrained(tmp_path).padding_side == "right"
