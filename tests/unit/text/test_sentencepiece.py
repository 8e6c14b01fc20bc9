"""SentencePiece vocabularies against the sentencepiece library itself, in the layout of Nemotron's
256k file.
"""

from __future__ import annotations

import io

import pytest
import sentencepiece as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.nasty import TEXTS, long_line
from understudy.errors import FormatError, UnsupportedError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import StreamDecoder, open_tokenizer
from understudy.text.open import NEMOTRON_BYTES, check_nemotron_tokenizer

TRAINING = [
    *TEXTS[4:10],
    "The lighthouse keeper counts the ships that pass in the night, one by one.",
] * 60


def train(**options) -> bytes:
    """A model with <pad>, <unk>, <s>, </s> first, then <extra_id_*>, then bytes, merges and
    characters, as Nemotron has it.
    """
    out = io.BytesIO()
    settings_ = {
        "model_type": "bpe",
        "vocab_size": 700,
        "pad_id": 0,
        "unk_id": 1,
        "bos_id": 2,
        "eos_id": 3,
        "pad_piece": "<pad>",
        "byte_fallback": True,
        "split_digits": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "user_defined_symbols": [f"<extra_id_{i}>" for i in range(20)],
        "character_coverage": 0.99,
        "hard_vocab_limit": False,
        "minloglevel": 2,
    }
    sp.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING), model_writer=out, **(settings_ | options)
    )
    return out.getvalue()


@pytest.fixture(scope="module", params=[True, False], ids=["dummy prefix", "no prefix"])
def pair(request):
    payload = train(add_dummy_prefix=request.param)
    original = sp.SentencePieceProcessor()
    original.LoadFromSerializedProto(payload)
    return original, open_tokenizer(TokenizerSource("sentencepiece", payload))


def expected(original, text: str) -> list[int]:
    return original.encode(text.encode("utf-8", "replace").decode())


# The library itself matches user-defined pieces in any text, and drops NUL; those are told apart
# below.
SAFE = [t for t in [*TEXTS, long_line()] if "<extra_id" not in t and "\x00" not in t]


@pytest.mark.parametrize("text", SAFE, ids=lambda t: repr(t[:12]))
def test_equals_sentencepiece(pair, text):
    original, ours = pair
    assert ours.encode(text) == expected(original, text)
    assert ours.decode(ours.encode(text)) == text.replace("▁", " ")


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=50))
def test_any_text_equals_sentencepiece(pair, text):
    assume("<extra_id" not in text)  # the library takes the piece, here a text cannot give it
    original, ours = pair
    assert ours.encode(text) == expected(original, text)


def test_markers_as_the_library_matches_them(pair):
    original, ours = pair
    text = "<extra_id_0>System\nBe kind.\n\n<extra_id_1>User\nhi 12\n<extra_id_1>Assistant\n"
    expected_ids = original.encode(text)
    if (
        ours.strips_first_space
    ):  # the library puts its dummy space before a marker too; the Hugging Face form does not
        assert original.id_to_piece(expected_ids.pop(0)) == "▁"
    assert ours.encode(text, markers=True) == expected_ids
    assert ours.marker_id("<extra_id_1>") == 5
    assert 5 not in ours.encode("<extra_id_1>")
    assert ours.decode(ours.encode("say <extra_id_1> loud")) == "say <extra_id_1> loud"


def test_decoding_equals_the_library(pair):
    original, ours = pair
    for text in SAFE[:-1]:
        ids = ours.encode(text)
        assert ours.decode(ids) == original.decode(ids)
        decoder = StreamDecoder(ours)
        assert "".join(map(decoder.push, ids)) + decoder.finish() == ours.decode(ids)


def test_the_same_vocabulary_in_a_gguf(pair):
    original, ours = pair
    kinds = [
        2
        if original.is_unknown(i)
        else 3
        if original.is_control(i)
        else 6
        if original.is_byte(i)
        else 4
        if original.id_to_piece(i).startswith("<extra_id_")
        else 1
        for i in range(len(original))
    ]
    source = TokenizerSource(
        "gguf",
        model="llama",
        tokens=tuple(original.id_to_piece(i) for i in range(len(original))),
        scores=tuple(original.get_score(i) for i in range(len(original))),
        types=tuple(kinds),
        bos_id=2,
        eos_ids=(3,),
        unk_id=1,
        add_space_prefix=ours.strips_first_space,
    )
    other = open_tokenizer(source)
    for text in SAFE:
        assert other.encode(text) == ours.encode(text)


def test_special_ids_come_from_the_file(pair):
    _, ours = pair
    assert (ours.bos_id, ours.eos_ids, ours.pad_id) == (2, (3,), 0)


def test_cut_files_are_refused():
    payload = train()
    for cut in (1, 2, 10, 1000, len(payload) - 1):
        with pytest.raises((FormatError, UnsupportedError)):
            open_tokenizer(TokenizerSource("sentencepiece", payload[:cut]))


def test_the_check_of_the_original_nemotron_file(tmp_path):
    file = tmp_path / "tokenizer.model"
    file.write_bytes(train())
    assert "expected 4545602" in check_nemotron_tokenizer(file)
    file.write_bytes(bytes(NEMOTRON_BYTES))
    assert "sha256" in check_nemotron_tokenizer(file)
