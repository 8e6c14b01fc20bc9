"""Tokens and settings beside a tokenizer file, as transformers 5.24 puts them together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as FastTokenizer

from tests.support.spm_folder import SIZE, added_token, write_spm_folder
from understudy.checkpoint.gguf_tokenizer import gguf_tokenizer
from understudy.checkpoint.tokenizer_source import folder_tokenizer
from understudy.checkpoint.vocabulary import to_gguf_source, vocabulary_metadata
from understudy.errors import CheckpointWarning
from understudy.text import Tokenizer, open_tokenizer

X, Y, PAD = SIZE, SIZE + 1, SIZE + 2
ADDED = {"<|x|>": X, "<|y|>": Y, "[PAD]": PAD}
DECODER = {
    str(X): added_token("<|x|>", rstrip=True),
    str(Y): added_token("<|y|>", special=True),
}


def opened(folder: Path, settings: Any = None, **options: Any) -> Tokenizer:
    config = write_spm_folder(folder, settings, **options)
    source = folder_tokenizer(folder, config)
    assert source is not None
    return open_tokenizer(source)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, markers=True, add_special=True)


@pytest.mark.parametrize("settings", [None, {"added_tokens_decoder": DECODER}])
def test_added_tokens_are_tokens(settings: Any, tmp_path: Path) -> None:
    files = {"added_tokens.json": ADDED} if settings is None else {}
    tokenizer = opened(tmp_path, {"legacy": False, **(settings or {})}, files=files)
    assert ids_of(tokenizer, "<|x|>hi<|y|>") == [X, 264, Y]
    assert tokenizer.encode("<|x|>hi") == tokenizer.encode("<|x|>hi<|y|>")[: len("▁<|x|>") + 1]
    assert tokenizer.decode([X, 264, Y]) == "<|x|>hi<|y|>"
    assert tokenizer.decode([X, 264, Y], skip_special=True) == (
        "<|x|>hi" if settings else "<|x|>hi<|y|>"
    )


# (tokenizer_config.json, text, ids): answers of AutoTokenizer, transformers 5.24.0, for a Llama
# folder.
ANSWERS: list[tuple[dict[str, Any], str, list[int]]] = [
    ({}, " hi", [260, 265]),
    ({}, "</s>hi", [2, 265]),
    ({}, "<|x|> hi", [X, 260, 265]),
    ({}, "<sep>hi", [260, 259, 264]),
    ({}, "<|x|><sep>hi", [X, 260, 259, 264]),
    ({"legacy": False}, " hi", [265]),
    ({"legacy": False}, "</s>hi", [2, 264]),
    ({"legacy": False}, "<sep>hi", [260, 259, 264]),
    ({"tokenizer_class": "LlamaTokenizer"}, " hi", [265]),
    ({"tokenizer_class": "LlamaTokenizer"}, "<|x|>hi", [X, 264]),
    ({"tokenizer_class": "LlamaTokenizer"}, "<sep>hi", [259, 264]),
    ({"tokenizer_class": "LlamaTokenizerFast", "legacy": True}, "<|x|>hi", [X, 265]),
    ({"tokenizer_class": "LlamaTokenizerFast", "legacy": True}, "<|x|> hi", [X, 265]),
    ({"tokenizer_class": "LlamaTokenizer", "legacy": True}, "<sep>hi", [259, 265]),
    ({"add_bos_token": True}, "hi", [1, 265]),
    ({"add_bos_token": None}, "hi", [265]),
    ({"add_eos_token": True}, "hi", [265, 2]),
    ({"add_bos_token": True, "bos_token": None}, "hi", [265]),
    ({"add_bos_token": True, "bos_token": "<|x|>"}, "hi", [X, 265]),
    ({"add_eos_token": True, "eos_token": added_token("<|y|>")}, "hi", [265, Y]),
]


@pytest.mark.parametrize(("settings", "text", "ids"), ANSWERS)
def test_settings_of_a_sentencepiece_file(
    settings: dict[str, Any], text: str, ids: list[int], tmp_path: Path
) -> None:
    tokenizer = opened(tmp_path, settings, files={"added_tokens.json": ADDED})
    assert ids_of(tokenizer, text) == ids


@pytest.mark.parametrize("model_type", ["mistral", "nemotron"])
def test_other_families_are_legacy_whatever_class_they_name(
    model_type: str, tmp_path: Path
) -> None:
    settings = {"tokenizer_class": "LlamaTokenizer"}
    tokenizer = opened(
        tmp_path, settings, files={"added_tokens.json": ADDED}, model_type=model_type
    )
    assert ids_of(tokenizer, "<|x|>hi") == [X, 265]


def test_the_map_of_special_tokens_wins_unless_there_is_a_decoder(tmp_path: Path) -> None:
    files = {
        "special_tokens_map.json": {"eos_token": "<|y|>", "pad_token": added_token("[PAD]")},
        "added_tokens.json": ADDED,
    }
    told = opened(tmp_path / "a", {"eos_token": "</s>"}, files=files)
    assert told.special_tokens == {
        "bos_token": "<s>",
        "eos_token": "<|y|>",
        "pad_token": "[PAD]",
        "unk_token": "<unk>",
    }
    assert (told.pad_id, Y in told.eos_ids, told.is_special(PAD)) == (PAD, True, True)
    settings = {"eos_token": "</s>", "added_tokens_decoder": DECODER}
    decoded = opened(tmp_path / "b", settings, files=files)
    assert decoded.special_tokens["eos_token"] == "</s>"
    assert "pad_token" not in decoded.special_tokens
    assert decoded.marker_id("[PAD]") is None


def test_a_name_makes_a_token_special_and_keeps_its_flags(tmp_path: Path) -> None:
    settings = {"added_tokens_decoder": DECODER, "pad_token": "<|x|>", "legacy": False}
    tokenizer = opened(tmp_path, settings)
    assert tokenizer.is_special(X)
    assert ids_of(tokenizer, "<|x|> hi") == [X, 264]


def test_a_decoder_renames_a_piece(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, {"added_tokens_decoder": {"266": added_token("<|tool|>")}})
    assert (tokenizer.marker_id("<|tool|>"), tokenizer.decode([266])) == (266, "<|tool|>")


def test_tokens_beyond_the_embedding_are_named_and_stay_text(tmp_path: Path) -> None:
    with pytest.warns(CheckpointWarning, match=r"beyond the 271 rows.*<\|y\|>"):
        tokenizer = opened(tmp_path, files={"added_tokens.json": ADDED}, vocab_size=SIZE + 1)
    assert (tokenizer.marker_id("<|x|>"), tokenizer.marker_id("<|y|>")) == (X, None)


def test_a_gguf_of_the_folder_gives_its_ids(tmp_path: Path) -> None:
    for number, (settings, text, ids) in enumerate(ANSWERS):
        folder = tmp_path / str(number)
        config = write_spm_folder(folder, settings, files={"added_tokens.json": ADDED})
        source = folder_tokenizer(folder, config)
        assert source is not None
        made = to_gguf_source(source).source
        metadata = {
            key: value[1] if isinstance(value, tuple) else value
            for key, value in vocabulary_metadata(made, SIZE + 32).items()
        }
        again = gguf_tokenizer(metadata)
        assert again is not None
        assert ids_of(open_tokenizer(again), text) == ids


# ---- tokenizer.json ----


def fast(*, opening: str = "", closing: str = "") -> FastTokenizer:
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    found = FastTokenizer(models.BPE(vocab | {"<|spare|>": 256}, []))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    found.add_special_tokens([AddedToken(text, special=True) for text in ("<a>", "<b>")])
    found.add_tokens([AddedToken("<c>", special=False)])
    single = " ".join(part for part in (opening, "$A", closing) if part)
    around = [(text, found.token_to_id(text)) for text in {opening, closing} if text]
    if around:
        found.post_processor = processors.TemplateProcessing(single=single, special_tokens=around)
    return found


def json_folder(folder: Path, tokenizer: FastTokenizer, settings: Any, **config: Any) -> Tokenizer:
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    source = folder_tokenizer(folder, {"model_type": "llama", "vocab_size": 300, **config})
    assert source is not None
    return open_tokenizer(source)


@pytest.mark.parametrize("adds", [True, False, None])
def test_beside_a_tokenizer_json_its_post_processor_alone_adds(adds: Any, tmp_path: Path) -> None:
    settings = {
        "add_bos_token": adds,
        "add_eos_token": adds,
        "bos_token": "<a>",
        "eos_token": "<b>",
    }
    for number, options in enumerate(
        ({}, {"opening": "<a>"}, {"closing": "<b>"}, {"opening": "<c>", "closing": "<b>"})
    ):
        original = fast(**options)
        ours = json_folder(tmp_path / str(number), original, settings)
        assert ids_of(ours, "x") == original.encode("x").ids


def test_names_come_from_the_tokenizer_not_from_the_config(tmp_path: Path) -> None:
    ours = json_folder(
        tmp_path / "a", fast(), {"eos_token": "<b>"}, eos_token_id=[257, 258], pad_token_id=257
    )
    assert ours.special_tokens == {"eos_token": "<b>"}
    assert set(ours.eos_ids) == {257, 258}
    assert ours.special_tokens.get("pad_token") is None
    quiet = json_folder(tmp_path / "b", fast(), {"eos_token": "<b>"}, eos_token_id=None)
    assert (quiet.eos_ids, quiet.special_tokens["eos_token"]) == ((258,), "<b>")


def test_a_named_token_of_the_vocabulary_becomes_a_marker(tmp_path: Path) -> None:
    settings = {
        "pad_token": "<|spare|>",
        "eos_token": "<c>",
        "added_tokens_decoder": {"260": added_token("<new>", lstrip=True)},
    }
    ours = json_folder(tmp_path / "a", fast(), settings)
    assert ids_of(ours, "<|spare|>") == [256]
    assert (ours.is_special(256), ours.is_special(259)) == (True, True)
    assert ids_of(ours, "x <new>") == [*ours.encode("x"), 260]


def test_qwen2_names_its_end_where_no_file_does(tmp_path: Path) -> None:
    tokenizer = fast()
    assert json_folder(tmp_path / "a", tokenizer, {}, model_type="qwen2").special_tokens == {}
    tokenizer.add_special_tokens(["<|endoftext|>"])
    ours = json_folder(tmp_path / "b", tokenizer, {"eos_token": "<b>"}, model_type="qwen2")
    assert ours.special_tokens == {
        "eos_token": "<b>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
