"""Tokenizers survive conversion: the same ids from the source, from the GGUF made of it, and from
the folder made of that.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.pre_tokenizer_name import pre_tokenizer_name
from understudy.checkpoint.tokenizer_files import tokenizer_json
from understudy.checkpoint.vocabulary import to_gguf_source, vocabulary_metadata
from understudy.errors import FormatError, UnsupportedError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.spec import ModelSpec
from understudy.text import open_tokenizer
from understudy.text.fast import PRE_TOKENIZERS

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the other dogs watched the fox in the morning.",
    "def parse(text: str) -> list[int]:\n    return [int(word) for word in text.split()]\n",
    "Die Größe der Äpfel: naïve café, 日本語のテスト, русский текст, 1234567890, it's WE'LL 🙂",
] * 8
NASTY = [
    "",
    " ",
    "  leading and trailing  ",
    "the dogs in the morning",
    "a\n\n\tb\r\n",
    "12345 3.14",
    "日本語🙂👩‍🚀é",
    "<|end|>x<|end|>",
    "it's IT'S we'll",
    "\x00\x01 ctrl",
    "▁ already",
    "x" * 300,
    "the the  the   the",
]


def _byte_level(pre: str) -> Tokenizer:
    make, takes_words = PRE_TOKENIZERS[pre]
    tokenizer = Tokenizer(models.BPE(ignore_merges=takes_words))
    tokenizer.pre_tokenizer = make()
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=alphabet,
        special_tokens=["<s>", "<|end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken("<note>", special=False, normalized=False)])
    return tokenizer


def _sentencepiece(add_dummy_prefix: bool = True) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        add_dummy_prefix=add_dummy_prefix,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols=["<extra_id_0>", "<extra_id_1>"],
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        split_digits=True,
        minloglevel=2,
    )
    return model.getvalue()


def _folder(path: Path, spec: ModelSpec, files: dict[str, bytes]) -> Path:
    write_folder(spec, random_weights(spec), path)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


# Metaspace, the form that transformers gives to SentencePiece, puts no second blank before a text
# that begins with one.
NOT_BLANK = [text for text in NASTY if not text.startswith((" ", "▁"))]


def _ids(path: Path, markers: bool = True, texts: list[str] = NASTY) -> list[list[int]]:
    source = open_checkpoint(path).tokenizer_source
    assert source is not None
    tokenizer = open_tokenizer(source)
    return [tokenizer.encode(text, markers=markers) for text in texts]


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_byte_level_survives(pre: str, tmp_path: Path) -> None:
    spec = SPECS["llama"]
    data = _byte_level(pre).to_str().encode()
    folder = _folder(tmp_path / "a", spec, {"tokenizer.json": data})
    assert save_checkpoint(open_checkpoint(folder), tmp_path / "b.gguf") == []
    source = open_checkpoint(tmp_path / "b.gguf").tokenizer_source
    assert source is not None
    assert (
        PRE_TOKENIZERS[source.pre] == PRE_TOKENIZERS[pre]
    )  # several names stand for the same thing
    assert len(source.tokens) == spec.vocab_size
    save_checkpoint(open_checkpoint(tmp_path / "b.gguf"), tmp_path / "c")
    original = Tokenizer.from_str(data.decode())
    expected = [original.encode(text, add_special_tokens=False).ids for text in NASTY]
    assert _ids(folder) == _ids(tmp_path / "b.gguf") == _ids(tmp_path / "c") == expected


@pytest.mark.parametrize("add_dummy_prefix", [True, False])
def test_sentencepiece_survives(add_dummy_prefix: bool, tmp_path: Path) -> None:
    spec = SPECS["nemotron"].replace(head_dim=16, rotary_dim=8)
    data = _sentencepiece(add_dummy_prefix)
    folder = _folder(tmp_path / "a", spec, {"tokenizer.model": data})
    assert save_checkpoint(open_checkpoint(folder), tmp_path / "b.gguf") == []
    original = sentencepiece.SentencePieceProcessor(model_proto=data)
    expected = [original.encode(text) for text in NASTY]
    assert _ids(folder, markers=False) == _ids(tmp_path / "b.gguf", markers=False) == expected
    save_checkpoint(open_checkpoint(tmp_path / "b.gguf"), tmp_path / "c")
    assert (tmp_path / "c" / "tokenizer.json").exists()
    assert _ids(tmp_path / "c", markers=False, texts=NOT_BLANK) == [
        original.encode(text) for text in NOT_BLANK
    ]


def test_a_sentencepiece_like_tokenizer_json_survives(tmp_path: Path) -> None:
    """The Nemotron folder: tokenizer.json made of a SentencePiece model, then a GGUF of that."""
    data = tokenizer_json(TokenizerSource("sentencepiece", _sentencepiece()))
    folder = _folder(
        tmp_path / "a",
        SPECS["nemotron"].replace(head_dim=16, rotary_dim=8),
        {"tokenizer.json": data},
    )
    assert save_checkpoint(open_checkpoint(folder), tmp_path / "b.gguf") == []
    assert _ids(folder, False, NOT_BLANK) == _ids(tmp_path / "b.gguf", False, NOT_BLANK)
    source = open_checkpoint(tmp_path / "b.gguf").tokenizer_source
    assert source is not None
    assert source.model == "llama"
    kinds = dict(zip(source.tokens, source.types, strict=True))
    assert [
        kinds[t]
        for t in ("<s>", "<unk>", "<extra_id_1>", "<0x0A>", "the" if "the" in kinds else "▁the")
    ] == [3, 2, 4, 6, 1]


def test_files_of_a_folder_are_copied_as_they_are(tmp_path: Path) -> None:
    files = {
        "tokenizer.json": _byte_level("gpt-2").to_str(pretty=True).encode(),
        "tokenizer_config.json": b'{"x":  1}',
    }
    folder = _folder(tmp_path / "a", SPECS["llama"], files)
    save_checkpoint(open_checkpoint(folder), tmp_path / "c")
    for name, data in files.items():
        assert (tmp_path / "c" / name).read_bytes() == data


def test_ids_template_and_bos_go_along(tmp_path: Path) -> None:
    tokenizer = _byte_level("gpt-2")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    settings = json.dumps({"chat_template": "{{ messages }}"}).encode()
    folder = _folder(
        tmp_path / "a",
        SPECS["llama"],
        {"tokenizer.json": tokenizer.to_str().encode(), "tokenizer_config.json": settings},
    )
    config = json.loads((folder / "config.json").read_text()) | {
        "bos_token_id": 0,
        "eos_token_id": [1, 2],
        "pad_token_id": 3,
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_checkpoint(open_checkpoint(folder), tmp_path / "b.gguf")
    save_checkpoint(open_checkpoint(tmp_path / "b.gguf"), tmp_path / "c")
    for path in (folder, tmp_path / "b.gguf", tmp_path / "c"):
        source = open_checkpoint(path).tokenizer_source
        assert source is not None
        assert (source.bos_id, source.eos_ids, source.pad_id, source.add_bos) == (
            0,
            (1, 2),
            3,
            True,
        )
        assert source.chat_template == "{{ messages }}"


def _description(**changes: Any) -> dict[str, Any]:
    description: dict[str, Any] = json.loads(_byte_level("gpt-2").to_str())
    return description | changes


def test_what_gguf_has_no_name_for_is_refused() -> None:
    odd = Tokenizer(models.BPE())
    odd.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("x"), "isolated"), pre_tokenizers.ByteLevel()]
    )
    with pytest.raises(UnsupportedError, match="no name in GGUF"):
        pre_tokenizer_name(
            _description(pre_tokenizer=json.loads(odd.to_str())["pre_tokenizer"]), []
        )
    lower = json.loads(normalizers.Lowercase().__getstate__())
    for change in ({"normalizer": lower}, {"model": {"type": "Unigram", "vocab": []}}):
        with pytest.raises(UnsupportedError):
            to_gguf_source(
                TokenizerSource("tokenizer.json", json.dumps(_description(**change)).encode())
            )


def test_nfc_is_noted() -> None:
    payload = json.dumps(_description(normalizer={"type": "NFC"})).encode()
    assert any(
        "NFC" in note for note in to_gguf_source(TokenizerSource("tokenizer.json", payload)).notes
    )


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"model": {"vocab": {"a": "b"}}}',
        b'{"model": {"vocab": {"a": -1}, "byte_fallback": true}}',
    ],
)
def test_damaged_tokenizers(payload: bytes) -> None:
    with pytest.raises((FormatError, UnsupportedError)):
        to_gguf_source(TokenizerSource("tokenizer.json", payload))


def test_more_tokens_than_rows() -> None:
    with pytest.raises(FormatError, match="more tokens than"):
        vocabulary_metadata(
            TokenizerSource("gguf", model="gpt2", pre="gpt-2", tokens=("a", "b")), 1
        )


def test_named_templates_survive_both_ways(tmp_path: Path) -> None:
    spec = SPECS["llama"]
    folder = _folder(
        tmp_path / "a", spec, {"tokenizer.json": _byte_level("gpt-2").to_str().encode()}
    )
    (folder / "chat_template.jinja").write_text("D")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("T")
    save_checkpoint(open_checkpoint(folder), tmp_path / "b.gguf")
    save_checkpoint(open_checkpoint(tmp_path / "b.gguf"), tmp_path / "c")
    save_checkpoint(open_checkpoint(folder), tmp_path / "d")
    save_checkpoint(open_checkpoint(folder), tmp_path / "d")  # in place of itself
    for path in (folder, tmp_path / "b.gguf", tmp_path / "c", tmp_path / "d"):
        source = open_checkpoint(path).tokenizer_source
        assert source is not None
        assert (source.chat_template, source.named_templates) == ("D", {"tool_use": "T"})


def test_a_template_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    spec = SPECS["llama"]
    folder = _folder(
        tmp_path / "a", spec, {"tokenizer.json": _byte_level("gpt-2").to_str().encode()}
    )
    settings = {"chat_template": [{"name": "../x", "template": "T"}]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    save_checkpoint(open_checkpoint(folder), tmp_path / "b.gguf")
    with pytest.raises(UnsupportedError, match="cannot be a file's"):
        save_checkpoint(open_checkpoint(tmp_path / "b.gguf"), tmp_path / "c")
