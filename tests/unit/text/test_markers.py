"""Markers: text can never give their ids, unknown characters survive, odd vocabularies keep their
text.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer

from tests.support.nasty import TEXTS
from understudy.errors import FormatError, UnsupportedError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import open_tokenizer
from understudy.text.fast import PRE_ALIASES, PRE_TOKENIZERS

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def opened(fast: FastTokenizer):
    return open_tokenizer(TokenizerSource("tokenizer.json", fast.to_str().encode()))


def byte_level(extra: dict[str, int] | None = None, merges=(), **options) -> FastTokenizer:
    vocab = {c: i for i, c in enumerate(ALPHABET)}
    vocab |= {piece: len(vocab) + i for i, piece in enumerate(extra or {})}
    fast = FastTokenizer(models.BPE(vocab, list(merges), **options))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    fast.decoder = decoders.ByteLevel()
    return fast


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["<b>", "<", "b", ">", "<b", "b>", "x", " "]), max_size=8).map("".join)
)
def test_a_vocabulary_that_spells_its_marker(text):
    """Merges that lead to the marker's word are not followed, nor is the word taken whole."""
    merges = [("<", "b"), ("<b", ">")]
    for ignore_merges in (False, True):
        fast = byte_level({"<b": 0, "<b>": 0}, merges, ignore_merges=ignore_merges)
        fast.add_special_tokens(["<b>"])
        ours = opened(fast)
        ids = ours.encode(text)
        assert ours.marker_id("<b>") not in ids
        assert ours.decode(ids) == text
        assert ours.encode(text, markers=True) == fast.encode(text).ids


def test_gguf_markers_that_merges_would_make():
    vocab = (*ALPHABET, "<b", "<b>")
    types = (*[1] * len(ALPHABET), 1, 3)
    source = TokenizerSource(
        "gguf", model="gpt2", pre="llama-bpe", tokens=vocab, types=types, merges=("< b", "<b >")
    )
    ours = open_tokenizer(source)
    assert ours.decode(ours.encode("a<b>c")) == "a<b>c"
    assert ours.marker_id("<b>") not in ours.encode("a<b>c")
    assert ours.encode("<b>", markers=True) == [ours.marker_id("<b>")]


def test_unknown_characters_keep_their_id():
    """An <unk> that is an added token must come out of encoding, as it does from the library."""
    fast = FastTokenizer(
        models.BPE({"<unk>": 0, "a": 1, "b": 2}, [], unk_token="<unk>", fuse_unk=False)
    )
    fast.decoder = decoders.Fuse()
    fast.add_special_tokens(["<unk>"])
    ours = opened(fast)
    assert ours.encode("aébé") == fast.encode("aébé").ids == [1, 0, 2, 0]
    assert ours.encode("<unk>") == fast.encode("<").ids * 5


def test_unigram_words_of_markers_are_hidden():
    vocab = [("<unk>", 0.0), ("<b>", -0.1), *((c, -3.0) for c in "<b>ax▁")]
    fast = FastTokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=False))
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    fast.decoder = decoders.Metaspace(prepend_scheme="first")
    fast.add_special_tokens(["<unk>", "<b>"])
    ours = opened(fast)
    for text in ("a<b>x", "<b>", "ax a", "x<b> a"):
        assert ours.encode(text, markers=True) == fast.encode(text).ids
        assert 1 not in ours.encode(text)
        assert ours.decode(ours.encode(text)) == text


def test_runs_of_blanks_are_text_although_user_defined():
    fast = byte_level()
    fast.add_tokens(
        [
            AddedToken("  ", normalized=False),
            AddedToken("\n\n", normalized=False),
            AddedToken("<b>", normalized=False),
        ]
    )
    ours = opened(fast)
    for text in ("a  b", "\n\n\n", "   ", "<c>  \n\n"):
        assert ours.encode(text) == ours.encode(text, markers=True) == fast.encode(text).ids
    assert ours.encode_segments(["a ", " b"]) == ours.encode("a  b")
    assert ours.marker_id("<b>") not in ours.encode("<b>")


@pytest.mark.parametrize(
    "text",
    [
        "a <b> c",
        " <b> ",
        "a<b>c",
        "<b><b>",
        "x \u2003<b>\u00a0\n y",
        "\x1c<b>\x1c",
        "aa<b>_",
        "é<b>",
        "-<b>-",
    ],
)
@pytest.mark.parametrize(
    "flags",
    [{"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}, {"single_word": True}],
    ids=str,
)
def test_flags_of_added_tokens(text, flags):
    fast = byte_level()
    fast.add_special_tokens([AddedToken("<b>", normalized=False, **flags)])
    assert opened(fast).encode(text, markers=True) == fast.encode(text).ids


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
@pytest.mark.parametrize("text", [*TEXTS, "a<b>c", "<b> c<b>", " <b>"], ids=lambda t: repr(t[:12]))
def test_prefixes_around_markers(scheme, text):
    vocab = {
        "<unk>": 0,
        **{f"<0x{i:02X}>": i + 1 for i in range(256)},
        "▁": 257,
        "a": 258,
        "▁a": 259,
    }
    fast = FastTokenizer(
        models.BPE(vocab, [("▁", "a")], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    fast.decoder = decoders.Sequence(
        [*steps, decoders.Strip(" ", 1, 0)] if scheme != "never" else steps
    )
    fast.add_special_tokens(["<b>"])
    ours = opened(fast)
    ids = ours.encode(text, markers=True)
    assert ids == fast.encode(text).ids
    assert ours.decode(ids) == fast.decode(ids, skip_special_tokens=False)


def test_the_older_llama_form():
    """A normaliser puts the blank in front of every piece between markers."""
    vocab = {"<unk>": 0, **{f"<0x{i:02X}>": i + 1 for i in range(256)}, "▁": 257}
    fast = FastTokenizer(
        models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    fast.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    steps = [
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
    fast.decoder = decoders.Sequence(steps)
    fast.add_special_tokens(["<s>"])
    for text in ("hi", "<s>hi<s> x", " <s>"):
        assert opened(fast).encode(text, markers=True) == fast.encode(text).ids


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_pre_tokenizers_lose_nothing(name):
    source = TokenizerSource(
        "gguf", model="gpt2", pre=name, tokens=tuple(ALPHABET), types=(1,) * 256
    )
    ours = open_tokenizer(source)
    for text in TEXTS:
        assert ours.decode(ours.encode(text)) == text


def test_aliases_lead_to_known_names():
    assert set(PRE_ALIASES.values()) <= set(PRE_TOKENIZERS)
    source = TokenizerSource(
        "gguf", model="gpt2", pre="llama-v3", tokens=tuple(ALPHABET), types=(1,) * 256
    )
    assert open_tokenizer(source).encode("a") == [ALPHABET.index("a")]


def test_a_decoder_that_is_not_implemented_is_refused():
    fast = FastTokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    fast.decoder = decoders.WordPiece()
    with pytest.raises(UnsupportedError, match="decoder"):
        opened(fast)


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        {"model": None},
        {"model": {"type": "BPE", "vocab": 5}},
        {"added_tokens": [{"id": -1, "content": "x"}]},
        {"added_tokens": [{"id": 5}]},
        {"added_tokens": [{"id": 1 << 40, "content": "x"}]},
        {"added_tokens": 5},
        {"decoder": {"type": "Nobody"}},
    ],
)
def test_contradictory_files_are_one_error(change):
    description = json.loads(byte_level().to_str()) | change
    with pytest.raises(FormatError):
        open_tokenizer(TokenizerSource("tokenizer.json", json.dumps(description).encode()))


def test_merges_that_do_not_fit_are_refused():
    for merges in (("q qq",), ("lonely",), ("",)):
        source = TokenizerSource(
            "gguf",
            model="gpt2",
            pre="gpt-2",
            tokens=tuple(ALPHABET),
            types=(1,) * 256,
            merges=merges,
        )
        with pytest.raises(FormatError, match="merges do not fit"):
            open_tokenizer(source)
