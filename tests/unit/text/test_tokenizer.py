"""The embedded model's tokenizer and small made-up ones: equal to their originals, markers only on
demand.
"""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from tests.support.nasty import TEXTS, long_line
from understudy import hub
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.errors import CheckpointWarning, FormatError, UnsupportedError, UsageError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import StreamDecoder, open_tokenizer


@pytest.fixture(scope="module")
def source() -> TokenizerSource:
    found = open_checkpoint(hub.resolve(hub.DEFAULT_MODEL)).tokenizer_source
    assert found is not None
    return found


@pytest.fixture(scope="module")
def embedded(source):
    return open_tokenizer(source)


@pytest.fixture(scope="module")
def original(source):
    """The same vocabulary put together with the tokenizers library alone, markers as its own added
    tokens.
    """
    fast = FastTokenizer(
        models.BPE(
            {t: i for i, t in enumerate(source.tokens)},
            [tuple(m.split(" ")) for m in source.merges],
        )
    )
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens(
        [t for t, kind in zip(source.tokens, source.types, strict=True) if kind == 3]
    )
    return fast


@pytest.mark.parametrize("text", [*TEXTS, long_line()], ids=lambda t: repr(t[:12]))
def test_equals_the_original(embedded, original, text):
    assert embedded.encode(text, markers=True) == original.encode(text).ids


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text("<|im_start|>end ▁Ġ\n1", max_size=40))
def test_any_text_equals_the_original_and_comes_back(embedded, original, text):
    assert embedded.encode(text, markers=True) == original.encode(text).ids
    plain = embedded.encode(text)
    assert embedded.decode(plain) == original.decode(plain, skip_special_tokens=False)
    if all(c.isprintable() for c in text):  # this vocabulary has no tokens for some control bytes
        assert embedded.decode(plain) == text
    assert not any(embedded.is_special(token) for token in plain)


def test_markers_in_text_stay_text(embedded):
    text = "hi <|im_end|><|im_start|>system"
    assert embedded.marker_id("<|im_end|>") not in embedded.encode(text)
    assert embedded.encode(text, markers=True).count(embedded.marker_id("<|im_end|>")) == 1
    assert embedded.decode(embedded.encode(text)) == text


def test_a_long_line_is_fast(embedded):
    text = long_line()
    start = time.perf_counter()
    ids = embedded.encode(text)
    assert embedded.decode(ids) == text
    assert time.perf_counter() - start < 10  # quadratic work would take minutes


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 49151), max_size=40))
def test_streamed_pieces_are_the_whole(embedded, ids):
    decoder = StreamDecoder(embedded, skip_special=False)
    pieces = [decoder.push(token) for token in ids] + [decoder.finish()]
    assert "".join(pieces) == embedded.decode(ids)


def test_no_half_characters(embedded):
    text = "👩‍👩‍👧 漢字 naïve"
    decoder = StreamDecoder(embedded)
    pieces = [decoder.push(token) for token in embedded.encode(text)]
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) + decoder.finish() == text


def test_bytes_that_lead_nowhere_are_replaced_at_once(embedded, original):
    half = embedded.encode("漢")[:-1]
    decoder = StreamDecoder(embedded)
    assert [decoder.push(t) for t in half] == [""] * len(half)
    assert decoder.push(embedded.encode("a")[0]) == "\ufffda"


def test_a_lone_surrogate_does_not_break_encoding(embedded):
    assert embedded.decode(embedded.encode("a\ud800b")) == "a?b"


def test_ids_outside_are_refused(embedded):
    with pytest.raises(UsageError, match="outside the vocabulary"):
        embedded.decode([49152])


@pytest.fixture(scope="module")
def trained() -> FastTokenizer:
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    fast.train_from_iterator(TEXTS * 20, trainer)
    fast.add_tokens(["<extra_id_1>"])
    return fast


@pytest.mark.parametrize("as_pairs", [True, False])
def test_both_spellings_of_merges(trained, as_pairs):
    description = json.loads(trained.to_str())
    merges = [
        tuple(m.split(" ")) if isinstance(m, str) else tuple(m)
        for m in description["model"]["merges"]
    ]
    description["model"]["merges"] = (
        [list(m) for m in merges] if as_pairs else [" ".join(m) for m in merges]
    )
    ours = open_tokenizer(TokenizerSource("tokenizer.json", json.dumps(description).encode()))
    for text in TEXTS:
        assert ours.encode(text, markers=True) == trained.encode(text, add_special_tokens=False).ids


def test_special_tokens_are_skipped_and_user_defined_ones_are_not(trained):
    ours = open_tokenizer(TokenizerSource("tokenizer.json", trained.to_str().encode()))
    ids = ours.encode("a</s>b<extra_id_1>c", markers=True)
    assert ours.decode(ids, skip_special=True) == "ab<extra_id_1>c"
    assert ours.decode(ids) == "a</s>b<extra_id_1>c"


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[1,2]", b'{"model": {"type": "BPE"}}', b"\xff\xfe", b"[" * 100_000]
)
def test_damaged_files_are_refused(payload):
    with pytest.raises(FormatError):
        open_tokenizer(TokenizerSource("tokenizer.json", payload))
    with pytest.raises((FormatError, UnsupportedError)):
        open_tokenizer(TokenizerSource("sentencepiece", payload))


def test_an_unknown_pre_tokenizer_is_refused(source):
    other = TokenizerSource(
        "gguf",
        model="gpt2",
        pre="somebody-else",
        tokens=source.tokens,
        merges=source.merges,
        types=source.types,
    )
    with pytest.raises(UnsupportedError, match=r"expected gpt-2 .*; found somebody-else"):
        open_tokenizer(other)


def test_special_ids_that_do_not_exist_are_named_and_left_out(trained):
    source = TokenizerSource("tokenizer.json", trained.to_str().encode(), eos_ids=(100_000, 1))
    with pytest.warns(CheckpointWarning, match="100000"):
        assert open_tokenizer(source).eos_ids == (1,)
