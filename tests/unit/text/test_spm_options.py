"""Less usual SentencePiece models against the library, and damaged files."""

from __future__ import annotations

import random

import pytest

from tests.support import nemotron_tokenizer as stand_in
from tests.support.nasty import TEXTS, long_line
from understudy.errors import UnderstudyError, UnsupportedError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import open_tokenizer
from understudy.text.spm import proto_fields

sp = pytest.importorskip("sentencepiece")
# The library matches user-defined pieces in any text, and drops NUL.
SAFE = [
    t
    for t in [*TEXTS, long_line(30_000), "q\u4e00\u4e01 \u4e02", " \u4e00"]
    if "<extra_id" not in t and "\x00" not in t
]
# What the normalisers of the library rewrite: ligatures, widths, marks, blanks, Hangul.
REWRITTEN = [
    "ﬁne ½ ㌔ Å Å é e\u0301 ｱｲｳ ＡＢＣ １２ ①②",
    "\u3000x\u00a0y\t z\r\n\u200b\ufeff",
    "한국어 \u1100\u1161\u11a8 e\u0301\u0302 \u0344 \u0301",
    "Straße İSTANBUL ΣΑΣ",
]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"add_dummy_prefix": False},
        {"byte_fallback": False},
        {"remove_extra_whitespaces": True},
        {"remove_extra_whitespaces": True, "add_dummy_prefix": False},
        {"split_by_whitespace": False},
        {"split_digits": False},
        {"allow_whitespace_only_pieces": True},
        {"byte_fallback": False, "character_coverage": 0.98},
        {"treat_whitespace_as_suffix": True},
        {"treat_whitespace_as_suffix": True, "add_dummy_prefix": False},
        {"treat_whitespace_as_suffix": True, "remove_extra_whitespaces": True},
        {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True},
        {"normalization_rule_name": "nfkc_cf"},
        {"model_type": "unigram"},
        {"model_type": "unigram", "normalization_rule_name": "nmt_nfkc"},
        {"model_type": "unigram", "byte_fallback": False, "character_coverage": 0.98},
        {"model_type": "unigram", "split_by_whitespace": False, "add_dummy_prefix": False},
        {"model_type": "unigram", "treat_whitespace_as_suffix": True},
    ],
    ids=str,
)
def test_options_of_training(options):
    payload = stand_in.train(vocab_size=1600, **options)
    original = sp.SentencePieceProcessor()
    original.LoadFromSerializedProto(payload)
    ours = open_tokenizer(TokenizerSource("sentencepiece", payload))
    for text in [*SAFE, *REWRITTEN]:
        assert ours.encode(text) == original.encode(text), text[:40]


def test_other_kinds_are_refused_by_name():
    payload = stand_in.train(vocab_size=1600, model_type="char", byte_fallback=False)
    with pytest.raises(UnsupportedError, match="expected unigram or bpe; found char"):
        open_tokenizer(TokenizerSource("sentencepiece", payload))


@pytest.mark.parametrize("suffix", [False, True])
@pytest.mark.parametrize("strips", [False, True])
@pytest.mark.parametrize("prefix", [False, True])
def test_user_defined_pieces_stand_inside_a_text(suffix, strips, prefix):
    """The library normalises the whole text and then takes them out of it; a marker of ours does so
    too.
    """
    payload = stand_in.train(
        vocab_size=1600,
        treat_whitespace_as_suffix=suffix,
        remove_extra_whitespaces=strips,
        add_dummy_prefix=prefix,
    )
    original = sp.SentencePieceProcessor()
    original.LoadFromSerializedProto(payload)
    ours = open_tokenizer(TokenizerSource("sentencepiece", payload, cuts_at_user_defined=False))
    source = random.Random(5)
    pieces = ["bridge", "the", " ", "  ", "<extra_id_1>", "<extra_id_0>", "\n", "▁", "é", "1"]
    for _ in range(300):
        text = "".join(source.choices(pieces, k=source.randint(0, 7)))
        assert ours.encode(text, markers=True) == original.encode(text), text


def with_unused(payload: bytes, unused: set[int]) -> bytes:
    """The same model with the type of some pieces set to unused."""
    out, token = b"", 0
    for number, value in proto_fields(payload):
        assert isinstance(value, bytes)
        if number == 1:
            value += b"\x18\x05" if token in unused else b""
            token += 1
        size = bytes([len(value) & 127 | 128, len(value) >> 7 & 127 | 128, len(value) >> 14])
        out += bytes([number << 3 | 2]) + size + value
    return out


def test_unused_pieces_fall_apart_into_their_halves():
    payload = with_unused(stand_in.train(vocab_size=1600), set(range(1260, 1400, 2)))
    original = sp.SentencePieceProcessor()
    original.LoadFromSerializedProto(payload)
    assert original.is_unused(1262)
    ours = open_tokenizer(TokenizerSource("sentencepiece", payload))
    for text in SAFE:
        assert ours.encode(text) == original.encode(text), text[:40]


def test_damaged_files_are_an_error_or_a_vocabulary():
    payload, source = stand_in.PATH.read_bytes(), random.Random(3)
    for _ in range(150):
        damaged = bytearray(payload)
        for _ in range(source.choice([1, 3, 30])):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        try:
            tokenizer = open_tokenizer(TokenizerSource("sentencepiece", bytes(damaged)))
        except UnderstudyError:
            continue
        tokenizer.decode(tokenizer.encode("hello <extra_id_1> 12 漢\n", markers=True))
