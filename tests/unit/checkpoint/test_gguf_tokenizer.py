"""What a GGUF's vocabulary is where keys are missing: llama.cpp's defaults, kind by kind."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from tests.support.spm_folder import WORDS
from understudy.checkpoint.gguf_tokenizer import gguf_tokenizer
from understudy.errors import CheckpointWarning, FormatError
from understudy.text import Tokenizer, open_tokenizer
from understudy.text.fast import byte_of_character
from understudy.text.pre_tokenizers import PRE_ALIASES, PRE_TOKENIZERS

SPM = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "<sep>", "<|im_end|>"]
SPM += WORDS
SPM_TYPES = [2, 3, 3, *[6] * 256, 4, 3, *[1] * len(WORDS)]
SCORES = [*[0.0] * 261, *(-float(rank + 1) for rank in range(len(WORDS)))]
BPE = [c for c, _ in sorted(byte_of_character().items(), key=lambda pair: pair[1])]
BPE += ["hi", "<s>", "</s>"]
BPE_TYPES = [*[1] * 257, 3, 3]


def opened(model: str, **keys: Any) -> Tokenizer:
    base: dict[str, Any] = {"model": model}
    if model == "llama":
        base |= {"tokens": SPM, "token_type": SPM_TYPES, "scores": SCORES}
    else:
        base |= {"tokens": BPE, "token_type": BPE_TYPES, "merges": ["h i"]}
    given = {key: value for key, value in (base | keys).items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        source = gguf_tokenizer({f"tokenizer.ggml.{key}": value for key, value in given.items()})
    assert source is not None
    return open_tokenizer(source)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, markers=True, add_special=True)


# (keys, text, ids): answers of llama-server (xllamacpp 2026.10), /tokenize with add_special.
LLAMA: list[tuple[dict[str, Any], str, list[int]]] = [
    ({}, "hi", [1, 266]),
    ({}, "<|im_end|>hi", [1, 260, 266]),
    ({}, "<sep>hi", [1, 259, 266]),
    ({}, " hi", [1, 261, 266]),
    ({}, "<unk>hi", [1, 0, 266]),
    ({"scores": None}, "hi a", [1, 266, 270]),
    ({"scores": [int(score) for score in SCORES]}, "hi a", [1, 266, 270]),
    ({"token_type": None}, "<|im_end|>é", [1, 260, 261, 198, 172]),
    ({"bos_token_id": 260}, "hi", [260, 266]),
    ({"bos_token_id": 100_000}, "hi", [1, 266]),
    ({"add_bos_token": False}, "hi", [266]),
    ({"add_eos_token": True}, "hi", [1, 266, 2]),
    ({"add_eos_token": True, "eos_token_id": 260}, "hi", [1, 266, 260]),
    ({"add_space_prefix": False}, "hi", [1, 265]),
    ({"add_space_prefix": False}, "<|im_end|>hi", [1, 260, 265]),
]


@pytest.mark.parametrize(("keys", "text", "ids"), LLAMA)
def test_llama_vocabulary(keys: dict[str, Any], text: str, ids: list[int]) -> None:
    assert ids_of(opened("llama", **keys), text) == ids


def test_ids_of_a_llama_vocabulary_without_keys() -> None:
    tokenizer = opened("llama")
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.pad_id) == (1, (2, 260), None)
    assert tokenizer.special_tokens == {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.parametrize("pre", [*PRE_TOKENIZERS, *PRE_ALIASES])
def test_whether_a_byte_level_text_begins_with_a_token(pre: str) -> None:
    kind = PRE_ALIASES.get(pre, pre)
    begins = kind in ("llama-bpe", "tekken")
    assert ids_of(opened("gpt2", pre=pre), "hi") == ([11, 256] if begins else [256])
    named = opened("gpt2", pre=pre, bos_token_id=257, eos_token_id=258)
    assert ids_of(named, "hi") == ([257, 256] if begins else [256])
    said = opened("gpt2", pre=pre, bos_token_id=257, add_bos_token=not begins)
    assert ids_of(said, "hi") == ([256] if begins else [257, 256])
    without = opened("gpt2", pre=pre)
    assert without.bos_id == (None if pre in ("glm4", "chatglm-bpe") else 11)
    assert 11 in without.eos_ids


def test_no_pre_tokenizer_is_the_default_one() -> None:
    metadata = {"model": "gpt2", "tokens": BPE, "token_type": BPE_TYPES, "merges": ["h i"]}
    keys = {f"tokenizer.ggml.{key}": value for key, value in metadata.items()}
    with pytest.warns(CheckpointWarning, match=r"no tokenizer\.ggml\.pre"):
        source = gguf_tokenizer(keys)
    assert source is not None
    assert source.pre == "default"
    with pytest.warns(CheckpointWarning, match="11 ends a text"):
        gguf_tokenizer(keys | {"tokenizer.ggml.pre": "qwen2"})


def test_lists_may_be_longer_than_the_tokens_but_not_shorter() -> None:
    longer = opened("llama", scores=[*SCORES, 0.0], token_type=[*SPM_TYPES, 1])
    assert longer.vocab_size == len(SPM)
    with pytest.raises(FormatError, match="shorter than the tokens"):
        opened("llama", scores=SCORES[:-1])


def test_an_end_known_by_its_text_is_a_control_token() -> None:
    types = [*SPM_TYPES]
    types[260] = 1
    assert opened("llama", token_type=types).is_special(260)


def test_named_templates() -> None:
    source = gguf_tokenizer(
        {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": SPM,
            "tokenizer.chat_template": "D",
            "tokenizer.chat_template.tool_use": "T",
            "tokenizer.chat_templates": ["tool_use"],
        }
    )
    assert source is not None
    assert (source.chat_template, source.named_templates) == ("D", {"tool_use": "T"})
